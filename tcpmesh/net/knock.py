"""Knocking: whether an address accepts a connection, which is closed at once.

That is all a health check without a payload asks, perhaps of ten thousand hosts a second, so the fast sockets have a way of
their own for it.  A connection on this machine, or to a unix socket, is made by the kernel before `connect` returns, though it
says "in progress": to call `connect` a second time tells, and then there was nothing to watch.  Only a host that is further
away is watched by the poller.  No transport and no protocol is made for either.  One object knocks again and again.
"""

from __future__ import annotations

import errno
import socket
from select import EPOLLERR, EPOLLHUP, EPOLLONESHOT, EPOLLOUT
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from tcpmesh.net.address import Address
from tcpmesh.net.options import ConnectOptions
from tcpmesh.net.shared import Shared
from tcpmesh.net.sockets import BareSocket

MADE = frozenset((0, errno.EISCONN))
UNDER_WAY = frozenset((errno.EINPROGRESS, errno.EALREADY))
STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK


class Visitor(Protocol):
    """Who knocks."""

    def accepted(self) -> None:
        """A connection was made."""

    def refused(self, timed_out: bool) -> None:
        """None could be made, or not in time."""


class EpollKnock:
    """Knocks at one address with bare sockets; the visitor may hear of the outcome from within `start`.

    @param timeout: seconds.
    """

    __slots__ = ("_address", "_fd", "_network", "_options", "_queue", "_visitor")

    def __init__(self, network: Shared, address: Address, visitor: Visitor, timeout: float, options: ConnectOptions | None) -> None:
        self._network = network
        self._address = address
        self._visitor = visitor
        self._options = options
        self._queue = network.timers.queue(timeout, _timed_out)
        self._fd = -1

    def start(self) -> None:
        """Knock once; not while a knock is under way."""
        try:
            sock = BareSocket(self._address.family, STREAM)
        except OSError:
            self._visitor.refused(False)
            return
        error = self._connect(sock)
        if error in UNDER_WAY:
            self._watch(sock.detach())
            return
        sock.close()
        if error in MADE:
            self._visitor.accepted()
        else:
            self._visitor.refused(False)

    def _connect(self, sock: Any) -> int:
        """The error number of an attempt, 0 where a connection was made."""
        sockaddr = self._address.sockaddr
        try:
            if self._options is not None:
                self._options.apply(sock)
            error: int = sock.connect_ex(sockaddr)
            return sock.connect_ex(sockaddr) if error == errno.EINPROGRESS else error
        except (OSError, ConnectError):
            return errno.ECONNREFUSED

    def stop(self) -> None:
        """Never mind."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            self._queue.discard(self)
            self._network.poller.close(fd)

    def _watch(self, fd: int) -> None:
        self._fd = fd
        self._queue.add(self)
        self._network.poller.register(fd, self, EPOLLOUT | EPOLLONESHOT)

    def ready(self, mask: int) -> None:
        """The poller: the knock was answered."""
        error = self._error() if mask & (EPOLLERR | EPOLLHUP) else 0
        self.stop()
        if error:
            self._visitor.refused(False)
        else:
            self._visitor.accepted()

    def ready_again(self) -> None:
        """Nothing is ever put off here."""

    def failed(self) -> None:
        """The visitor raised."""
        self.stop()

    def timed_out(self) -> None:
        """Nobody answers."""
        self.stop()
        self._visitor.refused(True)

    def _error(self) -> int:
        sock = BareSocket(self._address.family, socket.SOCK_STREAM, 0, self._fd)
        try:
            return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        finally:
            sock.detach()


def _timed_out(knock: EpollKnock) -> None:
    knock.timed_out()


@implementer(IProtocol)
class _Leaving:
    """The protocol of a connection that was only to be made: it has no state, so that all share one."""

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()

    def connectionMade(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        pass


LEAVING = _Leaving()


class FactoryKnock:
    """The same over the `connect` of any network: it is the client factory of its own connections."""

    def __init__(self, network: Any, address: Address, visitor: Visitor, timeout: float, options: ConnectOptions | None) -> None:
        self._network = network
        self._where = (address, self, timeout, options)
        self._visitor = visitor
        self._connector: Any = None

    def start(self) -> None:
        """Knock once."""
        self._connector = self._network.connect(*self._where)

    def stop(self) -> None:
        """Never mind."""
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()

    def doStart(self) -> None:
        """Twisted: a connector will use this factory."""

    def doStop(self) -> None:
        """Twisted: no connector uses this factory any more."""

    def startedConnecting(self, connector: Any) -> None:
        """Twisted: connecting has begun."""

    def buildProtocol(self, addr: Any) -> _Leaving:
        """Twisted: connected."""
        self._connector = None
        self._visitor.accepted()
        return LEAVING

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Twisted: not connected."""
        if self._connector is not None:
            self._connector = None
            self._visitor.refused(reason.check(ConnectTimeout) is not None)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Twisted: closed, as it was to be."""
