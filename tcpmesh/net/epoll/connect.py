"""Connecting for the epoll transports: one attempt, which becomes a transport or fails."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLOUT
from socket import AF_INET, AF_UNIX, IPPROTO_TCP, TCP_NODELAY
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectError, UserError, getConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConnector
from twisted.python.failure import Failure

from tcpmesh.net import congestion
from tcpmesh.net.epoll.poller import READABLE, WATCH
from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.sockets import NONBLOCKING_STREAM, STREAM, BareSocket, tcp_facts
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions
from tcpmesh.values.stream.tcp_facts import TcpFacts

FAILURE = EPOLLERR | EPOLLHUP


@implementer(IConnector)
class EpollConnector:
    """One attempt to connect."""

    __slots__ = (
        "_address",
        "_factory",
        "_fd",
        "_for_client",
        "_network",
        "_options",
        "_queue",
        "_transport",
    )

    def __init__(
        self,
        network: EpollResources,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None,
        for_client: bool,
    ) -> None:
        self._network = network
        self._address = address
        self._factory = factory
        self._options = options
        self._for_client = for_client
        queue = network.connect_timeouts
        if queue.seconds != timeout:
            queue = network.connect_timeouts = network.timers.queue(timeout, timed_out)
        self._queue = queue
        self._transport: Any = None
        self._fd = -1

    def connect(self) -> None:
        """Begin; the factory hears of the outcome later, never from within this call."""
        try:
            self._fd = self._open()
            self._begin()
        except OSError as e:
            self._close()
            self._network.clock.callLater(0, self._fail, e)
            return
        except ConnectError as e:
            self._network.clock.callLater(0, self._failed_with, e)
            return
        self._queue.add(self)

    def _open(self) -> int:
        address, reserve = self._address, self._network.reserve
        sock = BareSocket(address.family, NONBLOCKING_STREAM)
        try:
            if self._for_client and sock.fileno() >= reserve.for_upstreams:
                reserve.check(sock.fileno())
            if address.family != AF_UNIX:
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
                if congestion.default_paces():
                    congestion.spare_loopback(sock, address)
            if self._options is not None:
                self._options.apply(sock)
            self._call(sock)
        except BaseException:
            sock.close()
            raise
        fd: int = sock.detach()
        return fd

    def _call(self, sock: Any) -> None:
        """Ask the system for the connection.

        :raise OSError: where it says at once that there will be none.
        """
        error = sock.connect_ex(self._address.sockaddr)
        if error and error != errno.EINPROGRESS:
            raise OSError(error, os.strerror(error))

    def _begin(self) -> None:
        """Be told of the outcome."""
        self._network.poller.register(self._fd, self, WATCH)

    def ready(self, mask: int) -> None:
        """The attempt came to an end, one way or the other."""
        if mask & FAILURE:
            error: int = self._asked(_error_of)
            if error:
                self._close()
                self._fail(OSError(error, os.strerror(error)))
                return
        if mask & EPOLLOUT:
            transport = self._connected()
            if mask & READABLE and transport is not None:
                transport.ready(mask & READABLE)

    def ready_again(self) -> None:
        """Nothing is ever put off here."""

    def failed(self) -> None:
        """The factory raised."""
        if self._transport is not None:
            self._transport.abortConnection()
        else:
            self._close()

    def stop(self) -> None:
        """The poller stops."""
        self._close()
        self._failed_with(UserError())

    def stopConnecting(self) -> None:
        """Give up; the factory hears a `UserError`."""
        if self._fd >= 0:
            self._close()
            self._network.clock.callLater(0, self._failed_with, UserError())

    def disconnect(self) -> None:
        """Give up, or close the connection that was made."""
        if self._transport is not None:
            self._transport.loseConnection()
        else:
            self.stopConnecting()

    def getDestination(self) -> Address:
        """Where this connects to."""
        return self._address

    def on_failure(self, call: Callable[[TcpFacts | None], object]) -> None:
        """If there will be no connection, call this with what the system knows of the attempt."""
        if self._fd >= 0:
            self._network.before_close[self] = (lambda: call(self._asked(tcp_facts)),)

    def _connected(self) -> Any:
        """There is a connection; its transport, if anybody wants it."""
        fd, self._fd = self._fd, -1
        self._queue.discard(self)
        network, address = self._network, self._address
        if network.before_close:
            network.before_close.pop(self, None)
        family = address.family
        # An IPv6 address may be one of IPv4 to who asks the transport; that one is found out then.
        peer = address if family == AF_INET else address.sockaddr
        make = network.transport_type
        transport = self._transport = make(network, fd, family, peer, True)
        network.poller.replace(fd, transport)
        protocol = self._factory.buildProtocol(address)
        if protocol is None:
            transport.abortConnection()
            return None
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def _asked(self, ask: Callable[[Any], Any]) -> Any:
        """What the socket answers."""
        sock = BareSocket(self._address.family, STREAM, 0, self._fd)
        try:
            return ask(sock)
        finally:
            sock.detach()

    def _close(self) -> None:
        if self._network.before_close:
            for call in self._network.before_close.pop(self, ()):
                call()
        fd, self._fd = self._fd, -1
        self._queue.discard(self)
        if fd >= 0:
            self._network.poller.close(fd)

    def _fail(self, error: OSError) -> None:
        self._failed_with(getConnectError(error))

    def _failed_with(self, error: ConnectError) -> None:
        self._factory.clientConnectionFailed(self, Failure(error))

    def timed_out(self) -> None:
        """The time for connecting is over."""
        self._close()
        self._failed_with(ConnectTimeout())


def _error_of(sock: Any) -> int:
    return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def timed_out(connector: EpollConnector) -> None:
    """What the queues of connect timeouts call."""
    connector.timed_out()
