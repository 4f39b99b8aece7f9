"""Where each request was, microsecond by microsecond.

A request begins when the client calls the kernel to send it.  It is with the proxy until the server
is woken for it, then with the server until that calls the kernel to send its reply; that is with
the proxy until the client is woken, and with the client until its call ends.  In each of the four
stages a thread is at any moment in one of five states (`Part`), as the kernel's record tells; so
what they last adds up to what the client waited.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from benchmarks.process import BenchmarkError
from benchmarks.waits.events import Event, Kind


class Part(Enum):
    """What a thread did while a message was with it."""

    ASLEEP = "it sleeps: whoever sent is still in the kernel with it"
    WAKING = "it was woken, and waits for a processor"
    PREEMPTED = "it was at work, and its processor was taken away"
    KERNEL = "it is at work, in the kernel"
    PROGRAM = "it is at work, in the program"


PARTS = tuple(Part)

Split = dict[Part, int]


class Timeline:
    """What one thread did, in the order of time.

    :ivar calls: when it called the kernel, and for what.
    :ivar ends: when calls were over.
    :ivar wakings: when it was woken.
    :ivar near: how many of these were by a thread on the processor that it then got.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        self.calls: list[tuple[int, int]] = []
        self.ends: list[int] = []
        self.wakings: list[int] = []
        self.near = 0
        self._moments: list[int] = []
        self._parts: list[Part] = []
        self._in_call = True  # in which it sleeps
        self._woken_at = -1
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        before = self._parts[-1] if self._parts else Part.ASLEEP
        part = Part.PROGRAM
        if event.kind is Kind.ENTER:
            self._in_call = True
            self.calls.append((event.at, event.call))
        elif event.kind is Kind.EXIT:
            self._in_call = False
            self.ends.append(event.at)
        elif event.kind is Kind.WOKEN:
            if before is not Part.ASLEEP:
                return
            self.wakings.append(event.at)
            self._woken_at = event.processor
            part = Part.WAKING
        elif event.kind is Kind.SLEEPS:
            part = Part.ASLEEP
        elif event.kind is Kind.PREEMPTED:
            part = Part.PREEMPTED
        elif before is Part.WAKING:
            self.near += event.processor == self._woken_at
        if part is Part.PROGRAM and self._in_call:
            part = Part.KERNEL
        self._moments.append(event.at)
        self._parts.append(part)

    def split(self, start: int, end: int) -> Split:
        """How long it did what between two moments."""
        split = dict.fromkeys(PARTS, 0)
        place = bisect_right(self._moments, start) - 1
        while start < end:
            last = place + 1 == len(self._moments)
            until = end if last else min(self._moments[place + 1], end)
            split[self._parts[place] if place >= 0 else Part.ASLEEP] += until - start
            start = until
            place += 1
        return split

    def woken(self, start: int, end: int) -> int | None:
        """When it was first woken between two moments; `None` if it was not."""
        place = bisect_left(self.wakings, start)
        found = self.wakings[place] if place < len(self.wakings) else end
        return found if found < end else None

    def ended(self, start: int, end: int) -> int | None:
        """When a call of it was first over between two moments; `None` if none was."""
        place = bisect_left(self.ends, start)
        found = self.ends[place] if place < len(self.ends) else end
        return found if found < end else None


@dataclass(frozen=True)
class Passage:
    """One request and its reply: what the proxy, the server, the proxy and the client did while it
    was with them.
    """

    request: Split
    server: Split
    reply: Split
    client: Split

    def proxy(self, *parts: Part) -> int:
        """Microseconds that the proxy did this, with the request and with the reply."""
        return sum(self.request[part] + self.reply[part] for part in parts)

    def peers(self, *parts: Part) -> int:
        """The same of server and client."""
        return sum(self.server[part] + self.client[part] for part in parts)

    @property
    def total(self) -> int:
        """All of it."""
        return self.proxy(*PARTS) + self.peers(*PARTS)


@dataclass(frozen=True)
class Record:
    """What a record tells of the requests of one connection.

    :ivar missed: how many requests could not be followed.
    :ivar calls: how often the proxy called the kernel for what, for each request.
    :ivar wakings: how often it was woken, for each request.
    :ivar near: the part of these that was by a thread on the processor that it then got.
    """

    passages: list[Passage]
    missed: int
    calls: dict[int, float]
    wakings: float
    near: float


@dataclass(frozen=True)
class Threads:
    """Who is who; of several, the one that calls the kernel most has the connection.

    :ivar sending: the numbers of the calls by which client and server send.
    :ivar leaving: those by which the proxy may.
    """

    client: int
    servers: Collection[int]
    proxy: Collection[int]
    sending: Collection[int]
    leaving: Collection[int]

    def all(self) -> tuple[int, ...]:
        """Everybody."""
        return self.client, *self.servers, *self.proxy


def follow(events: Iterable[Event], threads: Threads) -> Record:
    """Follow each request.

    :raise BenchmarkError: there is none that could be followed.
    """
    by_thread: dict[int, list[Event]] = {}
    for event in events:
        by_thread.setdefault(event.thread, []).append(event)

    def calls_by(thread: int) -> int:
        return sum(event.kind is Kind.ENTER for event in by_thread.get(thread, ()))

    def busiest(some: Iterable[int]) -> Timeline:
        return Timeline(by_thread.get(max(some, key=calls_by), ()))

    way = _Way(busiest([threads.client]), busiest(threads.proxy), busiest(threads.servers), threads)
    passages = list(way.passages())
    asked = len(way.sent)
    if not passages:
        raise BenchmarkError("the kernel's record does not show a single request")
    counts = Counter(call for _, call in way.proxy.calls)
    return Record(
        passages,
        asked - len(passages),
        {call: count / asked for call, count in counts.most_common()},
        len(way.proxy.wakings) / asked,
        way.proxy.near / max(len(way.proxy.wakings), 1),
    )


class _Way:
    """The three threads that a request is with."""

    def __init__(
        self, client: Timeline, proxy: Timeline, server: Timeline, threads: Threads
    ) -> None:
        self._client, self.proxy, self._server = client, proxy, server
        self.sent = [at for at, call in client.calls if call in threads.sending]
        self._replied = [at for at, call in server.calls if call in threads.sending]
        self._left = [at for at, call in proxy.calls if call in threads.leaving]

    def passages(self) -> Iterable[Passage]:
        """All requests whose way is clear: each is answered before the next is sent."""
        ends = [*self.sent[1:], self._client.ends[-1] + 1] if self._client.ends else []
        for sent, until in zip(self.sent, ends, strict=False):
            place = bisect_left(self._replied, sent)
            if place == len(self._replied) or self._replied[place] >= until:
                continue
            replied = self._replied[place]
            arrived = self._reached(self._server, sent, replied)
            back = self._reached(self._client, replied, until)
            end = None if back is None else self._client.ended(back, until)
            if arrived is None or back is None or end is None:
                continue
            yield Passage(
                self.proxy.split(sent, arrived),
                self._server.split(arrived, replied),
                self.proxy.split(replied, back),
                self._client.split(back, end),
            )

    def _reached(self, peer: Timeline, start: int, end: int) -> int | None:
        """When what the proxy got from `start` on was with `peer`: it is woken, or, where it was
        awake, its next call to the kernel is over.
        """
        woken = peer.woken(start, end)
        if woken is not None:
            return woken
        place = bisect_left(self._left, end)
        left = self._left[place - 1] if place else start
        return peer.ended(max(left, start), end) if left >= start else None
