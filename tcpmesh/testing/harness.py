"""Where a test of transports plays: the same test runs on a memory network and on real sockets of
any kind.

A `TransportHarness` has an `INetwork`, makes connected pairs, and waits.  Waiting is always for
something, with a bound, and never for time to pass: in memory the network is pumped until nothing
more can happen; on sockets the reactor turns until the condition holds.
"""

from __future__ import annotations

import random
import socket
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.listen import bind, open_socket
from tcpmesh.testing.in_flight import in_flight
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.phases import check_phases
from tcpmesh.testing.recording import OneWayRecordingProtocol, RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions, SocketOption

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase
else:
    TestCase = object

PATIENCE = 15.0
"""Seconds until a wait on real sockets fails."""

BUFFERS = (socket.SO_SNDBUF, socket.SO_RCVBUF)

REPEATED = 1.0
"""Seconds in which a packet that was lost is surely sent again, the first time after 0.2."""

TURN = 0.001
"""Seconds between two looks at the condition that is waited for."""


BLOCK = 1 << 18
ENOUGH = 1 << 20
MOST = 1 << 26
"""Bytes written at a time to fill_buffers a connection; left over at least, for kernels change
their mind; and in all at most.
"""

_NOISE = random.Random(4).randbytes(262_139)


def pattern(start: int, size: int) -> bytes:
    """Bytes `start` to `start + size` of an endless sequence in which a lost, doubled or moved byte
    shows.
    """
    skip = start % len(_NOISE)
    return (_NOISE * ((skip + size) // len(_NOISE) + 1))[skip : skip + size]


class Server(Factory):
    """Gives each client the next protocol of a list, then those that `make` makes; `None` turns a
    client away.
    """

    noisy = False

    def __init__(self, *protocols: Any, make: Callable[[], Any] = RecordingProtocol) -> None:
        self.protocols = list(protocols)
        self.make = make
        self.built: list[Any] = []

    def buildProtocol(self, addr: Any) -> Any:
        """The next protocol."""
        protocol = self.protocols.pop(0) if self.protocols else self.make()
        self.built.append(protocol)
        return protocol


class Client(ClientFactory):
    """Gives its one protocol to the connection, and remembers why there was none."""

    noisy = False

    def __init__(self, given: Any) -> None:
        self.given = given
        self.connected = False
        self.failure: Failure | None = None

    def buildProtocol(self, addr: Any) -> Any:
        """The protocol."""
        self.connected = True
        return self.given

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """There is no connection, and there will be none."""
        self.failure = reason


class TransportHarness(ABC):
    """A network, and what a test does with it."""

    network: Any
    tcp = True
    """True where connections have TCP's options and resets; a unix socket has neither."""

    watches_after_eof = True
    """True where a reset is noticed after EOF, though nothing is written."""

    def __init__(self) -> None:
        self._ports: list[Any] = []
        self.recorders: list[OneWayRecordingProtocol] = []
        self._stopped = False

    @abstractmethod
    def new_address(self, family: str = "") -> Address:
        """Where to listen: an address in use by nobody; on real sockets of this family, where it is
        not to be the stage's own.
        """

    @abstractmethod
    def bind(self, address: Address) -> Any:
        """What `network.listen` wants for a socket, listening."""

    @abstractmethod
    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Let things happen until the condition holds; an AssertionError where it does not come to
        hold.
        """

    @abstractmethod
    async def settle(self) -> None:
        """Let all that is on its way arrive."""

    @abstractmethod
    def unanswering(self) -> Address:
        """An address that neither accepts nor refuses."""

    def listen(self, factory: Any, address: Address | None = None) -> Any:
        """A listening port for the factory, stopped with the harness."""
        port = self.network.listen(self.bind(address or self.new_address()), factory)
        self._ports.append(port)
        return port

    async def pair(self, client: Any = None, server: Any = None) -> tuple[Any, Any]:
        """Connect the two protocols, recorders if not given, to each other; both have their
        transports then.
        """
        client, server = client or RecordingProtocol(), server or RecordingProtocol()
        self._watch(client, server)
        return await self._connect(client, server)

    def dial(self, client: Any, server: Any) -> Client:
        """Begin to connect the two protocols to each other; the client's factory, which knows what
        came of it.
        """
        self._watch(client, server)
        return self._dial(client, server)

    def _watch(self, *protocols: Any) -> None:
        self.recorders += [p for p in protocols if isinstance(p, OneWayRecordingProtocol)]

    def _dial(self, client: Any, server: Any) -> Client:
        factory = Client(client)
        self.network.connect(self.listen(Server(server)).getHost(), factory, PATIENCE)
        return factory

    async def _connect(self, client: Any, server: Any) -> tuple[Any, Any]:
        factory = self._dial(client, server)
        await self.until(
            lambda: (client.transport and server.transport) or factory.failure, "a connected pair"
        )
        assert factory.failure is None, factory.failure
        return client, server

    async def fill_buffers(
        self, near: Any, far: Any, is_stuck: Callable[[], bool] = lambda: True
    ) -> int:
        """Let `far` stop reading, and write to `near` until the kernels take no more; returns how
        many bytes were written.

        `is_stuck`: whether what passes the bytes on, where something does, holds some that it does
        not get rid of; it does when this returns.
        """
        far.transport.pauseProducing()
        written, waiting = 0, -1
        while written < MOST:
            is_still = near.transport.buffered == waiting and not self.is_repeating(near.transport)
            has_enough = near.transport.buffered >= ENOUGH
            if is_still and has_enough and is_stuck():
                return written
            if is_still or not has_enough:
                near.transport.write(pattern(written, BLOCK))
                written += BLOCK
            waiting = near.transport.buffered
            await self.settle()
        raise AssertionError("the other side does not read, and yet all is taken")

    def is_repeating(self, transport: Any) -> bool:
        """Whether bytes were lost that the kernel will send again soon."""
        return False

    async def stop_network(self) -> None:
        """Stop the network: the last thing that can be done here but to look at what comes of
        it.
        """
        self._stopped = True
        stopped: list[object] = []
        self.network.stop().addCallback(stopped.append)
        await self.until(lambda: stopped, "the end of the network")

    def end_witnesses(self) -> list[str]:
        """Abort what is still connected; what the recorders have to complain about."""
        for recorder in self.recorders:
            if recorder.transport is not None and not recorder.lost:
                recorder.transport.abortConnection()
        return [flaw for recorder in self.recorders if (flaw := recorder.flaw())]

    async def close(self) -> None:
        """End all connections and listening ports; a flaw that a recorder saw is an
        AssertionError.
        """
        self.end_witnesses()
        await self.until(
            lambda: all(w.lost or w.transport is None for w in self.recorders),
            "the loss of every connection",
        )
        if not self._stopped:
            await self.settle()
        flaws = self.end_witnesses()
        await self._tear_down()
        assert not flaws, flaws

    async def _tear_down(self) -> None:
        """Stop what listens."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)


class MemoryHarness(TransportHarness):
    """A stage without sockets or time: `MemoryNetwork` takes the same arguments."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        self.network = MemoryNetwork(**how)

    def new_address(self, family: str = "") -> Address:
        return Address("127.0.0.1", 0)

    def bind(self, address: Address) -> Any:
        return self.network.bind(address)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        self.network.pump()
        assert condition(), f"all is quiet, but there is not yet {what}"

    async def settle(self) -> None:
        self.network.pump()

    def unanswering(self) -> Address:
        address = Address("127.0.0.9", 9)
        self.network.silent.add(address)
        return address


class SocketHarness(TransportHarness):
    """A stage of real sockets on loopback, `network` being made of the reactor: "tcp4", "tcp6" or
    "unix".
    """

    def __init__(
        self,
        reactor: Any,
        network: Callable[[Any], Any],
        family: str,
        watches_after_eof: bool = True,
        buffers: int = 0,
    ) -> None:
        """`buffers`: bytes that the kernel is asked to hold for each direction of an accepted
        connection, 0 for its default.
        """
        super().__init__()
        self._options = (
            tuple(SocketOption(socket.SOL_SOCKET, name, buffers) for name in BUFFERS)
            if buffers
            else ()
        )
        self.watches_after_eof = watches_after_eof
        self._clock = MonotonicReactor(reactor)
        self.network = network(self._clock)
        self.tcp = family != "unix"
        self._reactor = reactor
        self._holds: list[socket.socket] = []
        self._directory = tempfile.TemporaryDirectory(prefix="stage")
        self._sockets = 0
        self._family = family
        self._metronome: tuple[Any, Any] | None = None
        self._under_way, self._under_way_since = 0, 0.0

    def new_address(self, family: str = "") -> Address:
        family = family or self._family
        if family != "unix":
            return Address("127.0.0.1" if family == "tcp4" else "::1", 0)
        self._sockets += 1
        return Address(str(Path(self._directory.name) / f"{self._sockets}.sock"))

    def bind(self, address: Address) -> socket.socket:
        sock = bind(address, ListenOptions(reuse_port=False, before_bind=self._options))
        open_socket(sock, ListenOptions())
        return sock

    async def until(self, condition: Callable[[], object], what: str) -> None:
        limit = self._reactor.seconds() + PATIENCE
        while not condition():
            assert self._reactor.seconds() < limit, f"waited {PATIENCE} s in vain for {what}"
            await deferLater(self._reactor, TURN)

    async def settle(self) -> None:
        """Two round trips on a connection of its own: what was sent before them on loopback has
        been reported by then.
        """
        if self._metronome is None:
            self._metronome = await self._connect(RecordingProtocol(), RecordingProtocol())
        there, back = self._metronome
        for _ in range(2):
            for near, far in ((there, back), (back, there)):
                wanted = len(far.received) + 1
                near.transport.write(b".")
                await self.until(
                    lambda far=far, wanted=wanted: len(far.received) == wanted,  # type: ignore[misc]
                    "the metronome",
                )

    def is_repeating(self, transport: Any) -> bool:
        """Until all has arrived, or nothing has for some time: who has a window and no memory left
        may never take it.
        """
        now, under_way = self._reactor.seconds(), in_flight(transport) if self.tcp else 0
        if under_way != self._under_way:
            self._under_way, self._under_way_since = under_way, now
        return under_way > 0 and now < self._under_way_since + REPEATED

    def unanswering(self) -> Address:
        """A listening socket whose accept queue is full, so that the kernel leaves every further
        SYN without an answer.
        """
        here = self.new_address()
        listener = socket.create_server((here.host, 0), family=here.family, backlog=0)
        self._holds.append(listener)
        address = Address.from_sockaddr(listener.family, listener.getsockname())
        for _ in range(2):
            client = socket.socket(listener.family)
            client.setblocking(False)
            client.connect_ex(address.sockaddr)
            self._holds.append(client)
        return address

    async def _tear_down(self) -> None:
        await super()._tear_down()
        for end in () if self._stopped else self._metronome or ():
            end.transport.loseConnection()
            await self.until(lambda end=end: end.lost, "the end of the metronome")  # type: ignore[misc]
        for sock in self._holds:
            sock.close()
        await self.stop_network()
        left = self._clock.getDelayedCalls()
        self._clock.stop()
        self._directory.cleanup()
        assert not left, f"a network that was stopped has left {left}"


class HarnessTestCase(TestCase):
    """The base of suites that play on a harness: a subclass that is a `TestCase` too says which."""

    harness: TransportHarness

    def make_harness(self) -> TransportHarness:
        """The stage for one test."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Every test has a stage of its own."""
        check_phases(self)
        self.harness = self.make_harness()

    async def tearDown(self) -> None:  # type: ignore[override]
        """No connection and no socket outlives a test."""
        await self.harness.close()

    async def reset_heard(self, recorder: OneWayRecordingProtocol) -> None:
        """Wait until the recorder has heard of the peer's reset, which over a unix socket is an end
        like others.
        """
        if "eof" in recorder.events and not self.harness.watches_after_eof:
            while not recorder.lost:
                recorder.transport.write(b"?")
                await self.harness.settle()
        await self.harness.until(
            lambda: recorder.lost if self.harness.tcp else recorder.ended, "the reset"
        )
        if self.harness.tcp:
            self.assertTrue(recorder.lost_to(ConnectionLost), recorder.reason)

    async def one_at_a_time(self, recorder: OneWayRecordingProtocol, size: int) -> None:
        """Wait until the recorder, which pauses in each delivery, has received so many bytes: each
        time it is resumed there is one delivery.
        """
        for n in range(1, size + 1):
            await self.harness.until(
                lambda n=n: len(recorder.sizes) == n,  # type: ignore[misc]
                "the next delivery",
            )
            await self.harness.settle()
            self.assertEqual(n, len(recorder.sizes))
            recorder.transport.resumeProducing()
            if len(recorder.received) >= size:
                return

    async def receives(self, recorder: OneWayRecordingProtocol, data: bytes) -> None:
        """Wait until the recorder has received exactly these bytes."""
        await self.harness.until(lambda: len(recorder.received) >= len(data), f"{len(data)} bytes")
        self.assertEqual(len(data), len(recorder.received))
        self.assertTrue(data == recorder.received, "the bytes are not those that were sent")
