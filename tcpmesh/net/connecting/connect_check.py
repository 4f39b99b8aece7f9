"""Connect checks: whether an address accepts a connection, which is closed at once.

That is all a health check without a payload asks, perhaps of ten thousand hosts a second, so the
fast sockets have a way of their own for it.  A connection on this machine, or to a unix socket, is
made by the kernel before `connect` returns, though it says "in progress": to call `connect` a
second time tells, and then there was nothing to watch.  Only a host that is further away is watched
by the poller.  No transport and no protocol is made for either.  One object checks again and again.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.python.failure import Failure

from tcpmesh.net.protocol import OneShotFactory, QuietProtocol
from tcpmesh.net.sockets import is_exhausted
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions


class ConnectCheckListener(Protocol):
    """Who asks."""

    def on_connected(self) -> None:
        """A connection was made."""

    def on_refused(self, timed_out: bool) -> None:
        """None could be made, or not in time."""

    def on_not_tried(self) -> None:
        """This machine has no descriptor or no memory left for one."""


class _CloseAtOnce(QuietProtocol):
    """The protocol of a connection that was only to be made: it has no state, so that all share
    one.
    """

    def makeConnection(self, transport: Any) -> None:
        transport.loseConnection()


CLOSE_AT_ONCE = _CloseAtOnce()


class FactoryConnectCheck(OneShotFactory):
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
        self._address = address
        self._timeout = timeout
        self._options = options
        self._listener = listener
        self._connector: Any = None

    def start(self) -> None:
        """Check once."""
        self._connector = self._network.connect(self._address, self, self._timeout, self._options)

    def stop(self) -> None:
        """Give up: the listener hears nothing."""
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.stopConnecting()

    def buildProtocol(self, addr: Any) -> _CloseAtOnce:
        """Connected: that was the question."""
        self._connector = None
        self._listener.on_connected()
        return CLOSE_AT_ONCE

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Not connected."""
        if self._connector is not None:
            self._connector = None
            if is_exhausted(reason):
                self._listener.on_not_tried()
            else:
                self._listener.on_refused(reason.check(ConnectTimeout) is not None)
