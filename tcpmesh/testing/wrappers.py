"""Transport sockets for tests, and a way to put any of them under all connections of a harness.

What `WrappedTransport` promises has to hold for every wrapper: one that does nothing, one that
holds bytes back and cuts them otherwise, one that has to talk before it is ready and sends more
bytes than it is given.  The suites of `tcpmesh.testing.contract` play on each of them, below and
above others, by `wrap_harness`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from tcpmesh.connection.wrapped.network import WrappedNetwork
from tcpmesh.connection.wrapped.states import HandshakeObserver
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.interfaces import ICountsAccepts, IUpstreamTransportSocketFactory
from tcpmesh.testing.harness import TransportHarness
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions

FEW = 3
"""Bytes that `DelayingTransport` parts from the others."""

ROUNDS = 3
"""How often each side of a `FramingTransport` speaks before both are ready."""

HEADER = struct.Struct("!BH")
LONGEST = 0xFFFF
DATA, HELLO, BYE, ALERT = range(4)

Make = Callable[[Any, HandshakeObserver, bool], WrappedTransport]
"""Makes a wrapper of a clock, for its observer; true: on the side that has connected."""


class IdentityTransport(WrappedTransport):
    """Passes everything on as it is, and is ready at once."""

    __slots__ = ()

    def __init__(self, clock: Any, observer: HandshakeObserver, connected: bool = True) -> None:
        super().__init__(clock, observer)


class DelayingTransport(IdentityTransport):
    """Holds bytes back until the next turn, both ways, and lets them go in other pieces: a few, and
    in the turn after that the rest.
    """

    __slots__ = ("_calls", "_parted")

    def __init__(self, clock: Any, observer: HandshakeObserver, connected: bool = True) -> None:
        super().__init__(clock, observer, connected)
        self._calls: dict[Callable[[], None], IDelayedCall] = {}
        self._parted = False

    def begin(self) -> None:
        """Ready at once, and holding back."""
        self.limit_reads(0)
        self.limit_writes(0)
        super().begin()

    def received(self, data: memoryview) -> None:
        """Let it come later."""
        super().received(data)
        self._later(self._read)

    def unread(self, data: Any) -> None:
        """Let it come later."""
        super().unread(data)
        self._later(self._read)

    def resumeProducing(self) -> None:
        """Let come what waits."""
        super().resumeProducing()
        self._later(self._read)

    def write(self, data: Any) -> None:
        """Let it go later."""
        super().write(data)
        self._later(self._write)

    def room_there(self) -> None:
        """Let go what waits."""
        super().room_there()
        self._later(self._write)

    def released(self) -> None:
        """Nothing moves any more."""
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()

    def _later(self, step: Callable[[], None]) -> None:
        if step not in self._calls and (self._plain or self._pending):
            self._calls[step] = self.clock.callLater(0, step)

    def _read(self) -> None:
        del self._calls[self._read]
        if self._plain and not self._paused:
            self.limit_reads(self._size(len(self._plain)))
            self._later(self._read)

    def _write(self) -> None:
        del self._calls[self._write]
        if self._pending and not self._full:
            self.limit_writes(self._size(len(self._pending)))
            self._later(self._write)

    def _size(self, waiting: int) -> int:
        self._parted = not self._parted
        return min(waiting, FEW) if self._parted else waiting


class FramingTransport(IdentityTransport):
    """Makes records of the bytes, as TLS does: a kind, a length, and no byte is of use before all
    of its record is there.

    Before it is ready the two sides greet each other `ROUNDS` times.  It says goodbye before it
    ends its stream, and fails where it gets a record of a kind that it does not know.
    """

    __slots__ = ("_heard", "_said", "_wire", "connected")

    def __init__(self, clock: Any, observer: HandshakeObserver, connected: bool = True) -> None:
        super().__init__(clock, observer)
        self.connected = connected
        self._wire = bytearray()
        self._heard = self._said = 0

    def begin(self) -> None:
        """Who has connected speaks first."""
        if self.connected:
            self._hello()

    def received(self, data: memoryview) -> None:
        """Take the records that are whole."""
        wire = self._wire
        wire += data
        while len(wire) >= HEADER.size:
            kind, size = HEADER.unpack_from(wire)
            if kind > ALERT:
                self._record(ALERT)
                self.fail(f"{kind} is no kind of record")
                return
            if len(wire) < HEADER.size + size:
                return
            body = bytes(wire[HEADER.size : HEADER.size + size])
            del wire[: HEADER.size + size]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind == HELLO:
            self._heard += 1
            if self._said < ROUNDS:
                self._hello()
            if self._heard == ROUNDS:
                self.handshake_done()
        elif kind == BYE:
            self.deliver_end()
        elif kind == ALERT:
            self.fail("the peer sent an alert")
        else:
            self.deliver(body)

    def send_plain(self, data: Any) -> None:
        """Make records of it."""
        for start in range(0, len(data), LONGEST):
            self._record(DATA, bytes(data[start : start + LONGEST]))

    def goodbye(self) -> None:
        """The last record."""
        self._record(BYE)

    def _hello(self) -> None:
        self._said += 1
        self._record(HELLO, b"hello")

    def _record(self, kind: int, body: bytes = b"") -> None:
        self.send(HEADER.pack(kind, len(body)) + body, len(body) if kind == DATA else 0)


class SilentTransport(IdentityTransport):
    """Never becomes ready: the handshake of a peer that has nothing to say."""

    __slots__ = ()

    def begin(self) -> None:
        """Wait."""


class WaitingTransport(IdentityTransport):
    """Becomes ready when a test says so; until then it reads nothing, and then it passes everything
    on as it is.
    """

    __slots__ = ()

    def begin(self) -> None:
        """Wait."""
        waiting.append(self)
        self._stalled = True
        self.below.pauseProducing()


waiting: list[WaitingTransport] = []
"""Those whose handshake is still to end, in order; `make_ready` ends it."""


def make_ready() -> None:
    """End the handshake of all that wait."""
    ready, waiting[:] = waiting[:], []
    for each in ready:
        each.handshake_done()


class FailingTransport(IdentityTransport):
    """Gives up at once."""

    __slots__ = ()

    def begin(self) -> None:
        """Fail."""
        self.fail("this handshake always fails")


class _Ready:
    """Gives a protocol the transport once that is ready."""

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build

    def handshake_done(self, wrapper: WrappedTransport) -> None:
        """The protocol is made now, as without a wrapper."""
        try:
            protocol = self._build()
        except Exception:
            wrapper.abortConnection()
            raise
        if protocol is None:
            wrapper.loseConnection()
            return
        wrapper.protocol = protocol
        protocol.makeConnection(wrapper)

    def handshake_failed(self, wrapper: WrappedTransport, reason: Failure) -> None:
        """There is nobody to be told."""


@implementer(ICountsAccepts)
class WrappingFactory(Factory):
    """A server factory whose clients are wrapped before they get to another's protocols."""

    noisy = False

    def __init__(self, factory: Any, clock: Any, make: Make) -> None:
        self.factory = factory
        self._clock = clock
        self._make = make
        counts = ICountsAccepts.providedBy(factory)
        self.accepted_in_event = factory.accepted_in_event if counts else lambda accepted: None

    def doStart(self) -> None:
        """A port listens for it."""
        self.factory.doStart()

    def doStop(self) -> None:
        """A port listens no more."""
        self.factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """A wrapper, which is given the protocol when it is ready."""
        return self._make(self._clock, _Ready(lambda: self.factory.buildProtocol(addr)), False)


@implementer(IUpstreamTransportSocketFactory)
class WrapperSocket:
    """Wraps what is connected."""

    wraps = True

    def __init__(self, clock: Any, make: Make) -> None:
        self._clock = clock
        self._make = make

    def connected(
        self, address: Any, observer: HandshakeObserver, options: TransportSocketOptions
    ) -> WrappedTransport:
        """Wrap a connection."""
        return self._make(self._clock, observer, True)

    def close(self) -> None:
        """Nothing is held."""


class WrappingNetwork(WrappedNetwork):
    """A network that wraps what it accepts too; otherwise it is the one below, a memory network's
    clockwork too.
    """

    def __init__(self, below: Any, make: Make) -> None:
        super().__init__(below, WrapperSocket(below.clock, make))
        self._make = make

    def listen(
        self, sock: Any, factory: Any, accepts_per_event: int = 0, passes: Any = None
    ) -> Any:
        """Accept clients, wrapped."""
        wrapping = WrappingFactory(factory, self.clock, self._make)
        return self.below.listen(sock, wrapping, accepts_per_event, passes)

    def bind(self, address: Any, options: Any = None) -> Any:
        """As the network below does; in memory nobody needs options."""
        return self.below.bind(address, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def wrap_harness(harness: TransportHarness, makers: Sequence[Make]) -> TransportHarness:
    """The same harness, with one wrapper upon another on every connection, the first lowest."""
    for make in makers:
        harness.network = WrappingNetwork(harness.network, make)
    return harness
