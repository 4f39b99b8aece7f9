"""Knocking: whether an address accepts a connection, which is closed at once.

That is all a health check without a payload asks, perhaps of ten thousand hosts a second, so the
fast sockets have a way of their own for it.  A connection on this machine, or to a unix socket, is
made by the kernel before `connect` returns, though it says "in progress": to call `connect` a
second time tells, and then there was nothing to watch.  Only a host that is further away is watched
by the poller.  No transport and no protocol is made for either.  One object knocks again and again.
"""

from __future__ import annotations

from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions


class ConnectCheckListener(Protocol):
    """Who knocks."""

    def on_connected(self) -> None:
        """A connection was made."""

    def on_refused(self, timed_out: bool) -> None:
        """None could be made, or not in time."""


@implementer(IProtocol)
class _CloseAtOnce:
    """The protocol of a connection that was only to be made: it has no state, so that all share
    one.
    """

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()

    def connectionMade(self) -> None:
        pass

    def dataReceived(self, data: bytes) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        pass


CLOSE_AT_ONCE = _CloseAtOnce()


class FactoryConnectCheck:
    """The same over the `connect` of any network: it is the client factory of its own
    connections.
    """

    def __init__(
        self,
        network: Any,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None,
    ) -> None:
        self._network = network
        self._where = (address, self, timeout, options)
        self._listener = listener
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

    def buildProtocol(self, addr: Any) -> _CloseAtOnce:
        """Twisted: connected."""
        self._connector = None
        self._listener.on_connected()
        return CLOSE_AT_ONCE

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Twisted: not connected."""
        if self._connector is not None:
            self._connector = None
            self._listener.on_refused(reason.check(ConnectTimeout) is not None)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Twisted: closed, as it was to be."""
