"""The listeners in this process that connections of the same process can go to, by their names, and
how they are connected to: without a socket.

Each worker has its own, so a connection stays in its worker, as in Envoy.  As there, a listener
has its client as soon as somebody connects, while who connects is told in the next turn of the
event loop: where the listener has closed the connection at once, there was none.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectError, UserError, getConnectError
from twisted.internet.interfaces import IConnector
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork
from tcpmesh.net.above import NetworkAbove
from tcpmesh.net.connecting.connect_check import ConnectCheckListener, FactoryConnectCheck
from tcpmesh.net.internal.pipe import Turns
from tcpmesh.net.internal.transport import InternalTransport, joined
from tcpmesh.values.address import INTERNAL, Address
from tcpmesh.values.socket_options import ConnectOptions
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tcpmesh.values.stream.transport_socket_options import NOTHING_PASSED, Passthrough

CLIENT = Address.internal("internal_client_address")
"""Where every connection to a listener in this process comes from."""

BUFFER = 1 << 20
"""Bytes that fit into each direction of a connection, if nothing else is said
(`buffer_size_kb`).
"""

READ_SIZE = 256 * 1024
"""Bytes that are delivered at once, at most."""

MOST_HOPS = 32
"""Through so many listeners of this process a client may come, one after the other.  Who comes
through more than a few goes round in circles.
"""

log = Logger(namespace="connection")

Accept = Callable[[InternalTransport], object]


class InternalListeners:
    """Who accepts connections in this process.

    :param network: whose event loop it is.
    :param buffer: bytes that fit into each direction of a connection.
    """

    def __init__(self, network: INetwork, buffer: int = BUFFER) -> None:
        self.clock = network.clock
        self.call_soon = network.call_soon
        self.turns = Turns(network.call_soon)
        self._buffer = buffer
        self._accepting: dict[str, Accept] = {}

    def listen(self, name: str, accept: Accept) -> None:
        """Connections to this name are for `accept` from now on, in place of whoever had them."""
        self._accepting[name] = accept

    def stop_listening(self, name: str, accept: Accept) -> None:
        """... and no more, unless they have become somebody else's."""
        if self._accepting.get(name) == accept:
            del self._accepting[name]

    def find(self, address: Address) -> Accept | None:
        """Who accepts what goes to this address; a name or an id in it may have slashes."""
        name = address.host.removeprefix(INTERNAL)
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in self._accepting:
                return self._accepting[name]
        return None

    def pair(self, address: Address) -> tuple[InternalTransport, InternalTransport]:
        """Two connected transports, that of who connects first."""
        return joined(InternalTransport, self.turns, CLIENT, address, self._buffer, READ_SIZE)


@implementer(IConnector)
class InternalConnector:
    """One attempt to connect to a listener in this process."""

    __slots__ = (
        "_address",
        "_factory",
        "_listeners",
        "_on_failure",
        "_options",
        "_transport",
        "passed",
    )

    def __init__(
        self,
        listeners: InternalListeners,
        address: Address,
        factory: Any,
        options: ConnectOptions | None,
    ) -> None:
        self._listeners = listeners
        self._address = address
        self._factory = factory
        self._options = options
        self._transport: InternalTransport | None = None
        self._on_failure: Callable[[TcpFacts | None], object] | None = None
        self.passed = NOTHING_PASSED
        """What the listener is to know of who connects; may be set until it has answered."""

    def connect(self) -> None:
        """Begin; the factory hears of the outcome later, never from within this call."""
        self._listeners.call_soon(self._answer)

    def _answer(self) -> None:
        if self._factory is None:
            return
        hops = self._options.hops if self._options is not None else 0
        accept = self._listeners.find(self._address)
        if hops >= MOST_HOPS:
            self._fail(errno.ELOOP)
            return
        if accept is None:
            self._fail(errno.EINVAL)
            return
        near, far = self._listeners.pair(self._address)
        far.passed = Passthrough(hops + 1, self.passed.metadata, self.passed.filter_state)
        try:
            accept(far)
        except BaseException:
            log.failure("the factory of a listener in this process failed")
            far.abortConnection()
        if far.is_over:
            near.abortConnection()
            self._fail(errno.EINVAL)
        elif self._factory is None:
            near.abortConnection()
        else:
            self._connected(near)

    def _connected(self, near: InternalTransport) -> None:
        factory, self._factory, self._on_failure = self._factory, None, None
        protocol = factory.buildProtocol(self._address)
        if protocol is None:
            near.abortConnection()
            return
        self._transport = near
        near.start(protocol)

    def _fail(self, number: int) -> None:
        self._failed_with(getConnectError(OSError(number, os.strerror(number))))

    def _failed_with(self, error: ConnectError) -> None:
        factory, self._factory = self._factory, None
        call, self._on_failure = self._on_failure, None
        if call is not None:
            call(None)
        factory.clientConnectionFailed(self, Failure(error))

    def stopConnecting(self) -> None:
        """Give up; the factory hears a `UserError`."""
        factory, self._factory = self._factory, None
        if factory is not None:
            self._listeners.call_soon(
                lambda: factory.clientConnectionFailed(self, Failure(UserError()))
            )

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
        """If there will be no connection, call this: the system knows nothing of the attempt."""
        if self._factory is not None:
            self._on_failure = call


@implementer(INetwork)
class WithInternal(NetworkAbove):
    """A network on which the listeners in this process can be connected to, too."""

    def __init__(self, below: INetwork, listeners: InternalListeners) -> None:
        super().__init__(below)
        self._listeners = listeners

    def connect(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> IConnector:
        """Connect; to a listener in this process that takes no time."""
        if not address.is_internal:
            return self.below.connect(address, factory, timeout, options, for_client)
        connector = InternalConnector(self._listeners, address, factory, options)
        connector.connect()
        return connector

    def connect_check(
        self,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None = None,
    ) -> Any:
        """What finds out, time and again, whether an address accepts connections."""
        if not address.is_internal:
            return self.below.connect_check(address, listener, timeout, options)
        return FactoryConnectCheck(self, address, listener, timeout, options)
