"""Connecting through a transport socket: to who asks for a connection it is one attempt, which has
succeeded once the uppermost transport is ready, and one time limit.

A `WrappedNetwork` stands before another network, so whoever connects by one (Happy Eyeballs, pools,
health checks) need not know.  Where there is no transport socket there is no such network either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectError, UserError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConnector
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork, IReadyAtOnce, IUpstreamTransportSocketFactory
from tcpmesh.net.above import NetworkAbove
from tcpmesh.net.connecting.connect_check import ConnectCheckListener, FactoryConnectCheck
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions


class HandshakeFailed(ConnectError):
    """There was a connection, but its handshake came to nothing; `reason` tells why."""

    def __init__(self, reason: Failure) -> None:
        super().__init__(string=reason.getErrorMessage())
        self.reason = reason


@implementer(IConnector)
class WrappedConnector(OneShotFactory):
    """One attempt to connect; the client factory of the connection below, and the observer of the
    wrapper on it.
    """

    def __init__(
        self,
        network: WrappedNetwork,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None,
        for_client: bool,
    ) -> None:
        self._network = network
        self._address = address
        self._factory = factory
        self._below: tuple[Any, ...] = (address, self, timeout, options, for_client)
        """How the connection below is asked for; in it this refers to itself, until it is over."""
        self._queue = network.timers.queue(timeout, WrappedConnector.timed_out)
        self._connector: Any = None
        """That of the connection below, until the attempt is over."""
        self._transport: Any = None

    def connect(self) -> None:
        """Begin; the factory hears of the outcome later, never from within this call."""
        self._queue.add(self)
        network = self._network
        self._connector = connector = network.below.connect(*self._below)
        connecting = getattr(network.socket, "connecting", None)
        if connecting is not None:
            connecting(connector, network.options)

    def stopConnecting(self) -> None:
        """Give up; the factory hears a `UserError`."""
        if self._connector is not None:
            self._give_up()
            self._network.clock.callLater(0, self._tell, Failure(UserError()))

    def disconnect(self) -> None:
        """Give up, or close the connection that was made."""
        if self._connector is not None:
            self.stopConnecting()
        elif self._transport is not None:
            self._transport.loseConnection()

    def getDestination(self) -> Address:
        """Where this connects to."""
        return self._address

    def on_failure(self, call: Callable[[TcpFacts | None], object]) -> None:
        """If there will be no connection below, call this with what the system knows of it."""
        if self._connector is not None:
            self._connector.on_failure(call)

    def timed_out(self) -> None:
        """The time is over."""
        self._give_up()
        self._tell(Failure(ConnectTimeout()))

    # As the factory of the connection below

    def buildProtocol(self, addr: Any) -> Any:
        """There is a connection: the wrapper that makes the handshake on it."""
        if self._connector is None:
            return None
        network = self._network
        self._transport = network.socket.connected(self._address, self, network.options)
        return self._transport

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """There is none."""
        if self._connector is not None:
            self._finish()
            self._tell(reason)

    # As the observer of the wrapper

    def handshake_done(self, wrapper: Any) -> None:
        """The connection can be used."""
        self._finish()
        protocol = self._factory.buildProtocol(self._address)
        if protocol is None:
            wrapper.loseConnection()
            return
        wrapper.protocol = protocol
        protocol.makeConnection(wrapper)

    def handshake_failed(self, wrapper: Any, reason: Failure) -> None:
        """It cannot, and never will."""
        self._transport = None
        if self._connector is not None:
            self._finish()
            self._tell(Failure(HandshakeFailed(reason)))

    def _give_up(self) -> None:
        connector, transport = self._connector, self._transport
        self._finish()
        if transport is not None:
            transport.abortConnection()
        else:
            connector.stopConnecting()

    def _finish(self) -> None:
        """The attempt is over."""
        self._connector = None
        self._below = ()
        self._queue.discard(self)

    def _tell(self, reason: Failure) -> None:
        self._factory.clientConnectionFailed(self, reason)


@implementer(INetwork)
class WrappedNetwork(NetworkAbove):
    """A network on which outgoing connections get a transport socket; what is accepted does not.

    :param options: what the transport socket is told of them.
    """

    def __init__(
        self,
        below: INetwork,
        socket: IUpstreamTransportSocketFactory,
        options: TransportSocketOptions = NO_OPTIONS,
    ) -> None:
        super().__init__(below)
        self.socket = socket
        self.options = options

    def with_options(self, options: TransportSocketOptions) -> WrappedNetwork:
        """The same network for connections of which the transport socket is told this."""
        return WrappedNetwork(self.below, self.socket, options)

    def connect(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> WrappedConnector:
        """Connect, and make the handshake, within `timeout` seconds together."""
        connector = WrappedConnector(self, address, factory, timeout, options, for_client)
        connector.connect()
        return connector

    def connect_check(
        self,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None = None,
    ) -> Any:
        """What finds out, time and again, whether a connection can be made, handshake included."""
        if IReadyAtOnce.providedBy(self.socket):
            return self.below.connect_check(address, listener, timeout, options)
        return FactoryConnectCheck(self, address, listener, timeout, options)
