"""Every order of events of a proxied connection, to a depth: none stuck, no byte lost or doubled,
every count back where it was.

Random games find what is likely; this finds what is possible.  A `Game` is one client and one
upstream with the proxy between them, on a memory network whose buffers hold a handful of bytes, so
that a few writes fill everything there is.  Its events are what both sides can do (send a little,
send more than fits, end, close, reset, pause, resume), that time passes until the next timer, and
that a wrapper becomes ready.  What an event sets off may be delivered at once, or only after the
next event: that is how two things come to happen "at the same time".

`explore` plays all sequences of events, shortest first, and remembers the states it has seen: what
is alike from here on need not be played again.  Two moments are alike where all that can still
decide anything is equal: both ends, what the kernels hold, the steps that wait and in which order,
the timers, and everything the proxy keeps about the connection.  Totals that only ever grow are
left out, for nothing may be decided by them.

From each state that was not seen before the game is played to its end: both sides read all there
is, and end what they send.  Then both must have lost their connection without any timer's help,
what arrived must be what was sent, and the proxy must have forgotten that there ever was somebody.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

from tcpmesh.testing.harness import Client, Server, pattern
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.memory.transport import MemoryTransport
from tcpmesh.testing.mesh import Mesh
from tcpmesh.testing.recording import RecordingProtocol

CAPACITY = 8
"""Bytes that each kernel of a game holds for each direction."""

SOME, MUCH = 3, 40
"""Bytes of a small write, and of one for which there is room nowhere."""

SILENCE = 5
"""Seconds in which a game gives up an upstream that does not answer; its connect timeouts are to be
shorter, and its idle timeout longer.
"""

FOREVER = 24 * 3600.0
"""Seconds after which no timer can be left."""

LEFT_OUT = frozenset(
    (
        "bytes",
        "written",
        "pauses",
        "resumes",
        "id",
        "started",
        "filters_began",
        "ended",
        "connect_began",
        "connect_ended",
        "connection_id",
        "stats",
        "store",
        "_log",
        "__weakref__",
    )
)
"""Attributes by which nothing is decided: totals, numbers, times, and where things are counted."""

LOOKED_INTO = (
    "tcpmesh.connection.",
    "tcpmesh.extensions.filters.network.",
    "tcpmesh.cluster.upstream.pool",
    "tcpmesh.values.stream.",
    "tcpmesh.testing.wrappers",
)
"""Modules whose objects are part of a connection's state."""


@dataclass(frozen=True)
class Event:
    """One event, and whether all that it sets off happens before the next."""

    name: str
    settled: bool = True

    def __str__(self) -> str:
        return self.name if self.settled else f"{self.name}, and meanwhile"


class Explorable(Protocol):
    """What can be explored: it can be played again and again from its beginning."""

    def begin(self) -> None:
        """Start anew."""

    def events(self) -> Iterable[Event]:
        """What can happen now."""

    def play(self, event: Event) -> None:
        """Let it happen."""

    def state(self) -> Hashable:
        """All that can still decide anything."""

    def finish(self) -> str:
        """Play to the end; what is wrong then, or an empty string."""

    def abandon(self) -> None:
        """Play no further: only leave nothing behind."""


@dataclass(frozen=True)
class Flaw:
    """A sequence of events after which something is wrong."""

    events: tuple[Event, ...]
    what: str

    def __str__(self) -> str:
        return f"{self.what}, after: {'; '.join(map(str, self.events))}"


@dataclass(frozen=True)
class Explored:
    """What an exploration has seen."""

    states: int
    """Moments of which no two are alike."""

    sequences: int
    """Sequences of events that were played."""

    flaws: tuple[Flaw, ...]


def explore(game: Explorable, depth: int, most_flaws: int = 3) -> Explored:
    """Play every sequence of up to `depth` events, from every moment that is unlike all others.

    Ends early with `most_flaws`, the shortest ones there are.
    """
    seen: set[Hashable] = set()
    flaws: list[Flaw] = []
    played = 0
    edge: list[tuple[Event, ...]] = [()]
    for length in range(depth + 1):
        beyond: list[tuple[Event, ...]] = []
        for events in edge:
            played += 1
            game.begin()
            for event in events:
                game.play(event)
            state = game.state()
            if state in seen:
                game.abandon()
                continue
            seen.add(state)
            # What is still to be delivered after the last event, is delivered at the end anyway.
            last = length + 1 == depth
            beyond += [(*events, event) for event in game.events() if event.settled or not last]
            wrong = game.finish()
            if wrong:
                flaws.append(Flaw(events, wrong))
                if len(flaws) >= most_flaws:
                    return Explored(len(seen), played, tuple(flaws))
        edge = beyond
    return Explored(len(seen), played, tuple(flaws))


# ---------------------------------------------------------------- the game of a proxy


class Side:
    """The client or the upstream of a game."""

    def __init__(self, name: str, recorder: RecordingProtocol) -> None:
        self.name = name
        self.recorder = recorder
        self.offered = 0
        self.is_paused = self.has_ended = self.has_left = False

    @property
    def transport(self) -> Any:
        """Its end of the connection, or `None` while there is none."""
        return self.recorder.transport

    def acts(self) -> Iterable[str]:
        """What it can do now."""
        if self.transport is None or self.has_left or self.recorder.lost:
            return
        if not self.has_ended:
            # Where more waits already than fits, still more makes no difference.
            yield from ("end",) if self.transport.buffered else ("some", "much", "end")
        yield "resume" if self.is_paused else "pause"
        yield from ("close", "reset")

    def act(self, what: str) -> None:
        """Do it."""
        if what in ("some", "much"):
            size = SOME if what == "some" else MUCH
            self.transport.write(pattern(self.offered, size))
            self.offered += size
        elif what == "end":
            self.has_ended = True
            self.transport.loseWriteConnection()
        elif what in ("pause", "resume"):
            self.is_paused = what == "pause"
            act = (
                self.transport.pauseProducing if self.is_paused else self.transport.resumeProducing
            )
            act()
        else:
            self.has_left = True
            (self.transport.loseConnection if what == "close" else self.transport.abortConnection)()

    @property
    def sent(self) -> bytes:
        """What the kernel has taken of its bytes."""
        dropped = self.transport.dropped if self.transport is not None else 0
        return pattern(0, self.offered - dropped)


def _nothing(mesh: Mesh) -> None:
    """What has to happen before the end of most games."""


class ProxyGame:
    """A client, a proxy and an upstream.

    :param bootstrap: the proxy's configuration in YAML; its first listener is dialled.
    :param listener: where that listener is.
    :param upstream: where the upstream listens.
    :param extra: further events by name, such as that a wrapper becomes ready; each may happen
        once.
    :param at_end: what has to happen before the end, if it has not yet.
    """

    def __init__(
        self,
        bootstrap: str,
        listener: str = "127.0.0.1:1",
        upstream: str = "127.0.0.2:80",
        extra: Mapping[str, Callable[[Mesh], None]] = MappingProxyType({}),
        at_end: Callable[[Mesh], None] = _nothing,
    ) -> None:
        self.mesh = Mesh(bootstrap, MemoryNetwork(capacity=CAPACITY, chunk=CAPACITY))
        self.mesh.pump()
        self._listener = listener
        self._server: Server = self.mesh.upstream(upstream, Server())
        self._extra = extra
        self._at_end = at_end
        self._gauges = self._counted()

    # Explorable

    def begin(self) -> None:
        """A new client has connected; the proxy has not accepted it yet."""
        network = self.mesh.network
        network.transports.clear()
        network.refused.clear()
        network.silent.clear()
        self._server.built.clear()
        self._dialled: Client = self.mesh.dial(self._listener)
        while not self._dialled.connected:
            network.step()
        self._client = Side("client", self._dialled.given)
        self._upstream: Side | None = None
        self._has_expired = False
        self._left = dict(self._extra)

    def events(self) -> Iterable[Event]:
        """What the sides can do, that a timer expires, and what was given as `extra`."""
        for side in self._sides():
            for act in side.acts():
                yield Event(f"{side.name} {act}")
                yield Event(f"{side.name} {act}", settled=False)
        if self.mesh.network.clock.getDelayedCalls():
            yield Event("timer")
        for name in self._left:
            yield Event(name)
            yield Event(name, settled=False)

    def play(self, event: Event) -> None:
        """Let an event happen."""
        who, _, what = event.name.partition(" ")
        if event.name in self._left:
            self._left.pop(event.name)(self.mesh)
        elif what:
            next(side for side in self._sides() if side.name == who).act(what)
        else:
            self._expire()
        if event.settled:
            self.mesh.network.pump()

    def state(self) -> Hashable:
        """Both ends, the kernels, the steps that wait, the timers, and what the proxy keeps."""
        network = self.mesh.network
        order = {id(transport): number for number, transport in enumerate(network.transports)}
        clock = network.clock
        return (
            tuple(
                (side.is_paused, side.has_ended, side.has_left, *side.recorder.events[-1:])
                for side in self._sides()
            ),
            self._has_expired,
            tuple(self._left),
            (len(network.refused), len(network.silent)),
            tuple(_transport_state(each) for each in network.transports),
            tuple(_step_state(step, order) for step in network.steps.waiting()),
            tuple(sorted(round(c.getTime() - clock.seconds(), 3) for c in clock.getDelayedCalls())),
            _Look(order).at([each.protocol for each in network.transports if not each.lost]),
        )

    def finish(self) -> str:
        """Let both read to the end and end; what is wrong then."""
        network = self.mesh.network
        network.pump()
        self._at_end(self.mesh)
        network.pump()
        for side in self._sides():
            if side.transport is not None:
                side.transport.resumeProducing()
        for _ in range(SILENCE if network.silent else 0):
            network.advance(1.0)
        network.pump()
        for end in ("loseWriteConnection", "loseConnection"):
            for side in self._sides():
                if side.transport is not None and not side.recorder.lost:
                    getattr(side.transport, end)()
            network.pump()
            stuck = [side.name for side in self._sides() if not side.recorder.ended]
            if stuck:
                self.abandon()
                return f"stuck: {', '.join(stuck)}"
        return self._wrong_now() or self._left_behind()

    def abandon(self) -> None:
        """Close everything, and let all timers expire."""
        for transport in self.mesh.network.transports:
            transport.abortConnection()
        self.mesh.network.pump()
        self.mesh.advance(FOREVER)
        self.mesh.advance(FOREVER)

    # Its parts

    def _sides(self) -> list[Side]:
        if self._upstream is None and self._server.built:
            self._upstream = Side("upstream", self._server.built[0])
        return [side for side in (self._client, self._upstream) if side is not None]

    def _expire(self) -> None:
        """Let time pass until the timer that is next."""
        clock = self.mesh.network.clock
        calls = clock.getDelayedCalls()
        if calls:
            self._has_expired = True
            clock.advance(max(0.0, min(call.getTime() for call in calls) - clock.seconds()))

    def _wrong_now(self) -> str:
        """What is wrong with the bytes, or with the ends."""
        sides = self._sides()
        for side in sides:
            flaw = side.recorder.flaw()
            if flaw:
                return f"the {side.name} saw {flaw}"
        if len(sides) == 2:
            for one, other in (sides, sides[::-1]):
                if not other.sent.startswith(one.recorder.received):
                    return f"the {one.name} got bytes that were not sent"
                missing = len(other.sent) - len(one.recorder.received)
                if missing and not one.has_left and not self._has_expired:
                    return f"the {one.name} misses {missing} bytes"
        return ""

    def _left_behind(self) -> str:
        """What the proxy has not forgotten."""
        self.mesh.advance(FOREVER)
        self.mesh.advance(FOREVER)
        now = self._counted()
        changed = {name: value for name, value in now.items() if value != self._gauges.get(name)}
        if changed:
            return f"gauges are not back: {changed}"
        calls = self.mesh.network.clock.getDelayedCalls()
        return f"timers are left: {calls}" if calls else ""

    def _counted(self) -> dict[str, int]:
        self.mesh.store.collect()
        return {gauge.name: gauge.tally for gauge in self.mesh.store.gauges()}


def _transport_state(transport: MemoryTransport) -> Hashable:
    """What decides anything at one end of a connection: all but the bytes themselves."""
    return tuple(
        len(value) if isinstance(value, bytearray) else value
        for name, value in sorted(vars(transport).items())
        if isinstance(value, (bool, bytearray))
    ) + _pipe_state(transport)


def _pipe_state(transport: MemoryTransport) -> tuple[Hashable, ...]:
    pipe = transport.outgoing
    return (len(pipe.data), pipe.fin, pipe.reset, pipe.deaf)


def _step_state(step: Any, order: dict[int, int]) -> Hashable:
    """A step that waits: what it does, and to which transport."""
    owner = getattr(step, "__self__", None)
    return (getattr(step, "__name__", ""), order.get(id(owner), -1))


class _Look:
    """A walk through what the proxy keeps about a connection."""

    def __init__(self, transports: dict[int, int]) -> None:
        self._known: dict[int, int] = {}
        self._transports = transports

    def at(self, value: Any) -> Hashable:
        """A value that is equal for two objects by which the same is decided."""
        if value is None or isinstance(value, (bool, str, Enum)):
            return value
        if isinstance(value, int):
            return min(value, 2)
        if isinstance(value, (bytes, bytearray, memoryview)):
            return len(value)
        if isinstance(value, (tuple, list)):
            return tuple(self.at(each) for each in value)
        if isinstance(value, (set, frozenset, dict)):
            return len(value)
        if id(value) in self._transports:
            return ("transport", self._transports[id(value)])
        if not type(value).__module__.startswith(LOOKED_INTO):
            return type(value).__name__
        if id(value) in self._known:
            return ("again", self._known[id(value)])
        self._known[id(value)] = len(self._known)
        return (type(value).__name__, *(self.at(each) for each in _parts(value)))


def _parts(value: Any) -> Sequence[Any]:
    """The attributes of an object, in a fixed order."""
    names = sorted(
        {name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())}
        | vars(value).keys()
        if hasattr(value, "__dict__")
        else {name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())}
    )
    return [getattr(value, name, None) for name in names if name not in LEFT_OUT]
