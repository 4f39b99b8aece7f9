"""A network in memory: listening and connecting without sockets, a reactor or time that passes by
itself.

`MemoryNetwork` is an `INetwork` like those of `tcpmesh.net`, so whatever is built on one of them
runs on it unchanged. Nothing happens until a test says so: `pump` does all that can be done now,
`step` does one thing, `advance` lets time pass. The streams themselves are in
`tcpmesh.testing.memory.transport`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from zope.interface import implementer

from twisted.internet.base import BaseConnector
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectionRefusedError,
    NoRouteError,
)
from twisted.internet.interfaces import IConnector, IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import ICountsAccepts, INetwork, IPausable
from tcpmesh.net.connecting.connect_check import ConnectCheckListener, FactoryConnectCheck
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.listen import BindError
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.testing.memory.pipe import EventQueue
from tcpmesh.testing.memory.transport import MemoryTransport, connect_in_memory
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions
from tcpmesh.values.stream.tcp_facts import TcpFacts

log = Logger()

MOST_STEPS = 1_000_000
"""So many steps in one `pump` mean that something goes round in circles."""

FIRST_PORT = 32768
"""The first number given to a port 0 and to a client's end."""


class MemorySocket:
    """What `MemoryNetwork.bind` gives in place of a socket."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self.network = network
        self.address = address
        self.family = address.family

    def getsockname(self) -> Any:
        """The bound address as a socket would tell it."""
        return self.address.sockaddr

    def setblocking(self, blocks: bool) -> None:
        """Nothing ever waits."""

    def dup(self) -> MemorySocket:
        """Another one of the same address, which stays bound until both are closed."""
        return self.network.add(MemorySocket(self.network, self.address))

    def listen(self, backlog: int = 0) -> None:
        """A bound address in memory needs nothing more; without a factory it still refuses."""

    def close(self) -> None:
        """Give the address free, unless others have it too."""
        self.network.release(self)

    def remove_file(self) -> None:
        """There is none."""

    def close_unopened(self) -> None:
        """The same, before anybody listened."""
        self.close()


@implementer(IPausable)
class MemoryPort:
    """A listening port of a memory network.  Of several at one address each gets a client by
    turns.
    """

    def __init__(self, network: MemoryNetwork, sock: MemorySocket, factory: Any) -> None:
        self.factory = factory
        self.sock = sock
        self._network = network
        self._pauses = 0
        self._waiting: list[MemoryTransport] = []
        """Clients that the kernel would have in its queue while nobody accepts."""
        self.startListening()

    def startListening(self) -> None:
        """Accept clients from now on."""
        self.factory.doStart()
        self._network.ports.setdefault(self.sock.address, []).append(self)

    def stopListening(self) -> None:
        """Accept no more, and give the address free; what was accepted lives on."""
        ports = self._network.ports.get(self.sock.address, [])
        if self in ports:
            ports.remove(self)
            if not ports:
                del self._network.ports[self.sock.address]
            self.sock.close()
            self.factory.doStop()
            for transport in self._waiting:
                transport.start(Protocol())
                transport.abortConnection()
            self._waiting.clear()

    def getHost(self) -> Any:
        """The bound `Address`."""
        return self.sock.address

    def pause_accepting(self) -> None:
        """Let clients wait."""
        self._pauses += 1

    def resume_accepting(self) -> None:
        """Accept again, where nobody else has asked for a pause, each with a step of its own."""
        self._pauses -= 1
        if not self._pauses:
            waiting, self._waiting = self._waiting, []
            for transport in waiting:
                self._network.steps.add(partial(self.accept, transport))

    def accept(self, transport: MemoryTransport) -> None:
        """Give a new connection to the factory's protocol."""
        if self._pauses:
            self._waiting.append(transport)
            return
        try:
            protocol = self.factory.buildProtocol(transport.getPeer())
        except Exception:
            log.failure("The factory of a memory port failed")
            protocol = None
        if ICountsAccepts.providedBy(self.factory):
            self.factory.accepted_in_event(1)
        transport.start(protocol if protocol is not None else Protocol())
        if protocol is None:
            transport.loseConnection()


class _Attempt:
    """A connection in the making, in the role that an unconnected client socket has for Twisted's
    `BaseConnector`.
    """

    def __init__(self, connector: MemoryConnector) -> None:
        self._connector = connector
        self.over = False

    def failIfNotConnected(self, reason: BaseException) -> None:
        """End the attempt, unless it has ended."""
        if not self.over:
            self.over = True
            self._connector.connectionFailed(Failure(reason))


@implementer(IConnector)
class MemoryConnector(BaseConnector):
    """The connector of one outgoing connection, with the states and callbacks of Twisted's own."""

    def __init__(
        self,
        network: MemoryNetwork,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None,
    ) -> None:
        super().__init__(factory, timeout, cast(Any, network.clock))
        self._network = network
        self._address = address
        self._source = options.source if options is not None else None
        self._on_failure: Callable[[TcpFacts | None], object] | None = None

    def _makeTransport(self) -> Any:
        attempt = _Attempt(self)
        self._network.steps.add(lambda: self._answer(attempt))
        return attempt

    def connect(self) -> None:
        """Begin."""
        self._network.connecting.add(self)
        super().connect()

    def connectionFailed(self, reason: Failure) -> None:
        """There is no connection."""
        self._network.connecting.discard(self)
        call, self._on_failure = self._on_failure, None
        if call is not None:
            call(self._network.facts_of_attempts)
        super().connectionFailed(reason)

    def getDestination(self) -> Any:
        """The `Address` that is connected to."""
        return self._address

    def _answer(self, attempt: _Attempt) -> None:
        """A step: what the network has to say to this attempt."""
        network = self._network
        if attempt.over or self._address in network.silent:
            return
        error = network.failure_of(self._address, self._source)
        if error is not None:
            attempt.failIfNotConnected(error)
            return
        attempt.over = True
        port = network.port_at(self._address)
        near, far = network.pair(network.client_address(self._address, self._source), self._address)
        network.steps.add(lambda: port.accept(far))
        self._connected(near)

    def on_failure(self, call: Callable[[TcpFacts | None], object]) -> None:
        """If there will be no connection, call this with what a test says."""
        self._on_failure = call

    def _connected(self, transport: MemoryTransport) -> None:
        self._network.connecting.discard(self)
        self._on_failure = None
        self.transport = cast(Any, transport)
        transport.connector = self
        protocol: IProtocol | None = self.buildProtocol(transport.getPeer())
        transport.start(protocol if protocol is not None else Protocol())
        if protocol is None:
            transport.loseConnection()


@implementer(INetwork)
class MemoryNetwork:
    """Listeners and clients that reach each other in memory.

    An address at which nobody listens refuses; `refused`, `unroutable` and `silent` are sets of
    addresses that refuse, that have no route and that never answer, whoever listens there.
    `unbindable` are source addresses that cannot be had.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        capacity: int = 65536,
        chunk: int = 65536,
        choose: Callable[[int], int] | None = None,
    ) -> None:
        """`capacity`: bytes that the kernels hold for each direction of a connection; `chunk`: the
        most read at once.
        """
        self.clock = clock if clock is not None else Clock()
        self.timers = TimeoutQueues(cast(Any, self.clock))
        self.cooperator = shared_cooperator(cast(Any, self.clock))
        self.steps = EventQueue(choose)
        self.ports: dict[Address, list[MemoryPort]] = {}
        self.refused: set[Address] = set()
        self.unroutable: set[Address] = set()
        self.silent: set[Address] = set()
        self.unbindable: set[Address] = set()
        self.exhausted: set[Address] = set()
        """Addresses for a connection to which this machine has no descriptor left."""
        self.connecting: set[MemoryConnector] = set()
        """Attempts to connect that are under way."""
        self.facts_of_attempts: TcpFacts | None = None
        """What is told of attempts to connect that fail."""
        self.transports: list[MemoryTransport] = []
        """Both ends of every connection there has been, in order, the client's first."""
        self._capacity, self._chunk = capacity, chunk
        self._bound: dict[Address, list[MemorySocket]] = {}
        self._options: dict[Address, ListenOptions | None] = {}
        """Those that an address was bound with."""
        self._next_port = FIRST_PORT

    # INetwork

    def listen(
        self, sock: Any, factory: Any, accepts_per_event: int = 0, passes: Any = None
    ) -> MemoryPort:
        """Accept the clients of `sock`, which `bind` gave; each comes with a step of its own."""
        return MemoryPort(self, sock, factory)

    def connect(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> MemoryConnector:
        """Connect to `address`; the answer comes with the next step."""
        connector = MemoryConnector(self, address, factory, timeout, options)
        connector.connect()
        return connector

    def connect_check(
        self,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None = None,
    ) -> FactoryConnectCheck:
        """What finds out, time and again, whether an address accepts connections."""
        return FactoryConnectCheck(self, address, listener, timeout, options)

    def stop(self) -> Deferred[None]:
        """Close all ports and connections; what their ends hear comes with the next steps."""
        for port in [port for ports in self.ports.values() for port in ports]:
            port.stopListening()
        for connector in tuple(self.connecting):
            connector.stopConnecting()
        for transport in self.transports:
            transport.cutConnection()
        self.timers.stop()
        return succeed(None)

    # What a test does

    def bind(self, address: Address, options: ListenOptions | None = None) -> MemorySocket:
        """Like `tcpmesh.net.listen.bind`: port 0 gives a free one, an address in use raises
        `BindError`, but where it is bound once more with the very same options, for another worker.
        """
        if address.family != socket.AF_UNIX and address.port == 0:
            address = Address(address.host, self._free_port())
        if address in self._bound and (options is None or options is not self._options[address]):
            raise BindError(f"cannot bind '{address}': Address already in use")
        self._options[address] = options
        return self.add(MemorySocket(self, address))

    def take_rest(self, address: Address, options: ListenOptions) -> Sequence[MemorySocket]:
        """Nobody was here before."""
        return ()

    def add(self, sock: MemorySocket) -> MemorySocket:
        """A socket more that is bound."""
        self._bound.setdefault(sock.address, []).append(sock)
        return sock

    def release(self, sock: MemorySocket) -> None:
        """A socket is closed."""
        bound = self._bound.get(sock.address, [])
        if sock in bound:
            bound.remove(sock)
            if not bound:
                del self._bound[sock.address]

    def pair(self, client: Address, server: Address) -> tuple[MemoryTransport, MemoryTransport]:
        """Two connected transports that no protocol has yet: give each to one with `start`."""
        pair = connect_in_memory(self.steps, client, server, self._capacity, self._chunk)
        self.transports += pair
        return pair

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call this once time has passed, if only none of it."""
        cast(Any, self.clock).callLater(0, call)

    def step(self) -> bool:
        """Do one thing that can be done now; False where there is none."""
        return self.steps.run_one()

    def pump(self) -> None:
        """Do all that can be done without time passing, calls due now included."""
        for _ in range(MOST_STEPS):
            if not self.steps.run_one() and not self._run_due():
                return
        raise AssertionError(f"not quiet after {MOST_STEPS} steps")

    def advance(self, seconds: float) -> None:
        """Do what can be done, let time pass, and do what can be done then."""
        self.pump()
        self.clock.advance(seconds)
        self.pump()

    # What a connector asks

    def failure_of(self, address: Address, source: Address | None) -> ConnectError | None:
        """Why no connection to `address` can be had, or `None`."""
        if address in self.exhausted:
            return ConnectError(errno.EMFILE, "Too many open files")
        if source is not None and source in self.unbindable:
            return ConnectBindError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        if address in self.unroutable:
            return NoRouteError(errno.EHOSTUNREACH, "No route to host")
        if address in self.refused or not self._ports_of(address):
            return ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return None

    def port_at(self, address: Address) -> MemoryPort:
        """Who listens at `address`, and gets the next client."""
        ports = self._ports_of(address)
        if not ports:
            raise LookupError(f"nobody listens at {address}")
        ports.append(ports.pop(0))
        return ports[-1]

    def client_address(self, server: Address, source: Address | None) -> Address:
        """The address of a client's end."""
        if server.family == socket.AF_UNIX:
            return Address("@")
        if source is not None and source.port:
            return source
        host = (
            source.host
            if source is not None
            else "::1"
            if server.family == socket.AF_INET6
            else "127.0.0.1"
        )
        return Address(host, self._free_port())

    def _ports_of(self, address: Address) -> list[MemoryPort]:
        wildcard = Address("::" if address.family == socket.AF_INET6 else "0.0.0.0", address.port)
        return self.ports.get(address) or self.ports.get(wildcard) or []

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port - 1

    def _run_due(self) -> bool:
        """Run the calls that are due now; False where there are none."""
        due = any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
        self.clock.advance(0)
        return due
