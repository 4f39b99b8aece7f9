"""The connections to one host over HTTP/2: those that take requests, and those that the host has
asked to leave.

The first one is made when a request comes; another, as in Envoy, when one comes for which those
that there are have no room, if circuit breakers allow it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConnector
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.connection import Http2Connection
from tcpmesh.rpc.http2.counts import HostCounts
from tcpmesh.rpc.http2.options import Http2Options
from tcpmesh.rpc.http2.owner import ConnectionOwner
from tcpmesh.rpc.http2.stream import (
    Http2Stream,
    Reset,
    ResetReason,
    StreamObserver,
    TwoWayObserver,
    TwoWayStream,
)


class Dialling(Protocol):
    """An attempt to connect, as far as it is of interest here: an `IConnector`, say."""

    def stopConnecting(self) -> None:
        """Give up."""


Dial = Callable[[OneShotFactory], Dialling]
"""Connects for a client factory."""


class _Attempt(OneShotFactory):
    """One attempt to connect: the client factory of its connector."""

    def __init__(self, host: Http2Host, now: float) -> None:
        self.host: Http2Host | None = host
        self.begun = now
        self.connector: Dialling | None = None

    def buildProtocol(self, addr: Any) -> Http2Connection | None:
        """Connected."""
        host, self.host = self.host, None
        self.connector = None
        return host.connected(self.begun) if host is not None else None

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """There is no connection."""
        host, self.host = self.host, None
        self.connector = None
        if host is not None:
            host.failed(reason, self.begun)

    def give_up(self) -> None:
        """Nobody wants it any more."""
        connector, self.connector, self.host = self.connector, None, None
        if connector is not None:
            connector.stopConnecting()


class Http2Host(ConnectionOwner):
    """One host.

    :param dial: connects for a client factory.
    :param unused: called when it has neither streams nor connections.
    """

    def __init__(
        self,
        dial: Dial,
        options: Http2Options,
        network: INetwork,
        random: Random,
        counts: HostCounts,
        unused: Callable[[], object] = lambda: None,
    ) -> None:
        self._dial = dial
        self._options = options
        self._network = network
        self._random = random
        self._counts = counts
        self._unused = unused
        self._waiting: deque[Http2Stream] = deque()
        self._is_draining = False
        """Whether nobody has asked for a stream since none were to come any more."""
        self._attempt: _Attempt | None = None
        self._open: dict[Http2Connection, None] = {}
        """The connections that take streams, now or once they have room; those made first come
        first.
        """
        self._connections: dict[Http2Connection, float] = {}
        """All that there are, and when each was begun."""
        self._idle = (
            network.timers.queue(options.idle_timeout, _has_idled) if options.idle_timeout else None
        )

    @property
    def is_used(self) -> bool:
        """Whether it has streams or connections."""
        return bool(self._connections or self._waiting or self._attempt)

    # Streams

    def open(
        self, fields: Fields, observer: StreamObserver, body: bytes = b"", *, ended: bool = False
    ) -> Http2Stream:
        """Make a request; `observer` may hear of its end before this returns.

        :param body: what is known of its body.
        :param ended: whether that is all of it.
        """
        stream = Http2Stream(fields, observer, self._over)
        stream.send(body)
        if ended:
            stream.end()
        self._place(stream)
        return stream

    def open_tunnel(self, fields: Fields, observer: TwoWayObserver) -> TwoWayStream:
        """Make a request whose two directions are each for itself; `observer` may hear of its end
        before this returns.
        """
        stream = TwoWayStream(fields, observer, self._over)
        self._place(stream)
        return stream

    def _place(self, stream: Http2Stream) -> None:
        """A stream begins on a connection that has room, or waits for one."""
        self._is_draining = False
        connection = self._with_room()
        if connection is not None and self._counts.may_begin():
            self._begin(connection, stream)
        elif connection is not None or not self._counts.may_wait():
            stream.fail(Reset(ResetReason.OVERFLOW))
        else:
            self._wait(stream)

    def _with_room(self) -> Http2Connection | None:
        return next((each for each in self._open if each.takes_streams), None)

    def _wait(self, stream: Http2Stream) -> None:
        stream.carrier = self
        self._waiting.append(stream)
        self._counts.waits(1)
        self._connect()

    def _begin(self, connection: Http2Connection, stream: Http2Stream) -> None:
        self._counts.begins()
        connection.begin(stream)

    def _begin_waiting(self, connection: Http2Connection) -> None:
        """Streams that wait go to a connection, as many as it takes."""
        while self._waiting and connection.takes_streams:
            stream = self._waiting.popleft()
            self._counts.waits(-1)
            self._begin(connection, stream)

    def wants_to_send(self, stream: Http2Stream) -> None:
        """It waits; what it has to send goes with it."""

    def charge(self, count: int) -> None:
        """It has been sent nothing."""

    def took(self, stream: TwoWayStream, size: int) -> None:
        """Likewise."""

    def give_up(self, stream: Http2Stream, reset: Reset) -> None:
        """A stream that waits is not wanted any more."""
        self._waiting.remove(stream)
        self._counts.waits(-1)
        stream.finish(reset)

    def _fail_waiting(self, reset: Reset) -> None:
        waiting, self._waiting = self._waiting, deque()
        self._counts.waits(-len(waiting))
        for stream in waiting:
            stream.fail(reset)

    def _over(self, stream: Http2Stream, reset: Reset | None) -> None:
        if not stream.id:
            if reset is not None:
                self._counts.refused(reset, stream.is_two_way)
        elif stream.is_two_way:
            self._counts.tunnel_over(reset)
        else:
            self._counts.over(stream.status, reset)

    # Connections

    def _connect(self) -> None:
        """See to it that there is a connection for those that wait, or will be."""
        counts = self._counts
        if not self._waiting or self._attempt is not None:
            return
        # One that has no stream and takes none is of a host that wants none at all.
        if any(each.takes_streams or not each.active for each in self._open):
            return
        if self._connections and not counts.may_connect():
            return
        counts.dialled()
        attempt = self._attempt = _Attempt(self, self._network.clock.seconds())
        connector = self._dial(attempt)
        if attempt.host is not None:
            attempt.connector = connector

    def connected(self, begun: float) -> Http2Connection:
        """An attempt has succeeded."""
        self._attempt = None
        self._counts.connected(self._network.clock.seconds() - begun)
        connection = Http2Connection(self._options, self._network, self, self._random)
        self._connections[connection] = begun
        self._open[connection] = None
        return connection

    def failed(self, reason: Failure, begun: float) -> None:
        """An attempt has failed: so have all that wait."""
        self._attempt = None
        remote = self._counts.failed(reason)
        self._counts.closed(self._network.clock.seconds() - begun, remote, False)
        late = reason.check(ConnectTimeout) is not None
        kind = ResetReason.CONNECTION_TIMEOUT if late else ResetReason.CONNECTION_FAILURE
        self._fail_waiting(Reset(kind, str(reason.value), failure=reason))
        self._tidy()

    # As the owner of connections

    def ready(self, connection: Http2Connection) -> None:
        """Connected."""
        self._begin_waiting(connection)
        if self._is_draining:
            connection.leave()
        self._has_streams(connection)
        self._connect()

    def has_room(self, connection: Http2Connection) -> None:
        """A stream has ended, or the host takes more."""
        self._begin_waiting(connection)
        self._has_streams(connection)

    def _has_streams(self, connection: Http2Connection) -> None:
        if self._idle is not None and connection in self._open and not connection.active:
            self._idle.add(connection)

    def idled(self, connection: Http2Connection) -> None:
        """A connection had no stream when the idle timeout was over."""
        self._counts.idle_timeout()
        connection.close()

    def leaves(self, connection: Http2Connection, code: int) -> None:
        """The host takes no more streams there: the next one is for another connection."""
        if connection in self._open:
            del self._open[connection]
            if self._idle is not None:
                self._idle.discard(connection)
            self._connect()

    def ended(self, connection: Http2Connection, remote: bool) -> None:
        """A connection is gone."""
        self.leaves(connection, 0)
        begun = self._connections.pop(connection)
        seconds = self._network.clock.seconds() - begun
        self._counts.closed(seconds, remote, connection.had_streams)
        self._connect()
        self._tidy()

    def told_to_leave(self) -> None:
        """The host wants no more streams on a connection."""
        self._counts.told_to_leave()

    def protocol_error(self) -> None:
        """The host does not keep to HTTP/2."""
        self._counts.protocol_error()

    def silent(self) -> None:
        """The host has not answered a ping in time."""
        self._counts.silent()

    def most_requests(self) -> None:
        """A connection has had as many streams as it may."""
        self._counts.most_requests()

    def bytes_received(self, size: int) -> None:
        """So many bytes have come."""
        self._counts.bytes_received(size)

    def bytes_sent(self, size: int) -> None:
        """So many bytes are sent."""
        self._counts.bytes_sent(size)

    # Its end

    def drain(self) -> None:
        """No new streams come: close what has none."""
        self._is_draining = True
        for connection in tuple(self._open):
            connection.leave()
        self._tidy()

    def retire(self, reset: Reset) -> None:
        """Its cluster is gone: requests are broken off, and tunnels go on to their end."""
        self._is_draining = True
        self._give_up_attempt()
        self._fail_waiting(reset)
        for connection in tuple(self._connections):
            connection.retire(reset)
        self._tidy()

    def host_failed(self) -> None:
        """The host is out, and who uses it is to leave it."""
        self.close(Reset(ResetReason.LOCAL_RESET, "the host is unhealthy"))

    def close(self, reset: Reset) -> None:
        """Break all streams off, and close."""
        self._give_up_attempt()
        self._fail_waiting(reset)
        for connection in tuple(self._connections):
            connection.close()
        self._tidy()

    def _give_up_attempt(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._counts.closed(self._network.clock.seconds() - attempt.begun, False, False)
            attempt.give_up()

    def _tidy(self) -> None:
        if not self.is_used:
            self._unused()


def _has_idled(connection: Http2Connection) -> None:
    if not connection.active:
        connection.owner.idled(connection)
