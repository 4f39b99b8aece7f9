"""The clients of a filter chain with a transport socket: each is wrapped before a filter sees it,
and its handshake has to be over in time (`transport_socket_connect_timeout`).

As in Envoy the filters get the client at once, so tcp_proxy connects to the upstream while the
handshake goes on; they hear nothing from the client before it is over, and what they write waits.
A client whose handshake takes too long is closed, and counted.

Different from Envoy: where the configuration gives no time, it is `TIMEOUT`, and not endless.  A
client that says nothing would keep its connection, and one to an upstream, for ever.

Where resources run short, the overload manager may reduce that time (`reduce_timeouts`), also for
clients that have waited for a part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IDownstreamTransportSocketFactory, INetwork
from tcpmesh.logs.debug import debug_logger
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.overload import TRANSPORT_SOCKET_CONNECT, Overload
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy

debug_log = debug_logger("connection")

TIMEOUT = 15.0
"""Seconds, where `transport_socket_connect_timeout` is not given."""


class Handshakes:
    """Wraps the clients of one `listener.v3.FilterChain`.

    :param on_timeout: is told of each handshake that takes too long.
    :param attach: gives a client to the filters.
    :param overload: may reduce the time.
    """

    def __init__(
        self,
        message: Any,
        socket: IDownstreamTransportSocketFactory,
        network: INetwork,
        on_timeout: Callable[[], None],
        attach: Callable[[Connection], None],
        overload: Overload,
    ) -> None:
        self.socket = socket
        self.on_timeout = on_timeout
        self._attach = attach
        timeout = (
            seconds(message.transport_socket_connect_timeout)
            if message.HasField("transport_socket_connect_timeout")
            else TIMEOUT
        )
        self.deadline: TimeoutQueue[_Handshake] | None = (
            network.timers.queue(timeout, _Handshake.on_timeout) if timeout else None
        )
        if self.deadline is not None:
            overload.scale(TRANSPORT_SOCKET_CONNECT, self.deadline, timeout)

    def attach(self, connection: Connection) -> None:
        """Serve a client: what `FilterChain.attach` is where there is a transport socket, with a
        wrapper between the socket and the connection.
        """
        handshake, below = _Handshake(self, connection), connection.transport
        wrapper = self.socket.accepted(connection, handshake)
        if wrapper is None:
            self._attach(connection)
            return
        if self.deadline is not None:
            self.deadline.add(handshake)
        connection.transport = connection.read_source = wrapper
        connection.stream_info.peeked = False  # the handshake takes them
        wrapper.protocol = connection
        below.protocol = wrapper
        wrapper.makeConnection(below)
        if wrapper.protocol is not None:
            self._attach(connection)


class _Handshake:
    """That of one client: the observer of its wrapper."""

    __slots__ = ("_connection", "_handshakes")

    def __init__(self, handshakes: Handshakes, connection: Connection) -> None:
        self._handshakes = handshakes
        self._connection = connection

    def handshake_done(self, wrapper: Any) -> None:
        """The client may be heard."""
        deadline = self._handshakes.deadline
        if deadline is not None:
            deadline.discard(self)

    def handshake_failed(self, wrapper: Any, reason: Failure) -> None:
        """The client is gone, as the wrapper's protocol is told too."""
        info, words = self._connection.stream_info, reason.getErrorMessage()
        info.close(CloseReason(EndedBy.DOWNSTREAM, info.phase, Cause.HANDSHAKE_FAILED, None, words))
        if debug_log.enabled:
            debug_log.debug("[C{id}] no handshake: {reason}", id=info.id, reason=words)
        self.handshake_done(wrapper)

    def on_timeout(self) -> None:
        """It took too long."""
        self._handshakes.on_timeout()
        info = self._connection.stream_info
        info.close(CloseReason(EndedBy.PROXY, info.phase, Cause.HANDSHAKE_TIMEOUT))
        info.local_close_reason = "transport_socket_timeout"
        info.termination_details = "transport socket timeout was reached"
        self._connection.transport.cutConnection()
