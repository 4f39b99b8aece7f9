"""Calls at their times, shared by many whose delays all differ, as those of health checks with jitter do.

The `Timers` of connections have a queue for each length of time; here every delay is its own, so it is a heap, with one
reactor call for its head.  Two things keep ten thousand entries a second cheap and harmless.  A turn that follows closely on
another is put off a little, so that calls are made in batches and the reactor wakes up rarely; and a turn makes only a few
calls before it lets the reactor serve connections, however many are due.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger(namespace="main")

GAP = 0.005
"""Seconds from one turn to the next, where the next is not yet overdue."""

BATCH = 64
"""Calls in one turn."""

Entry = list[Any]
"""[due, number, call]: due in seconds of the clock; `call` is `None` once it was made or cancelled."""


class Calls:
    """Calls to be made at their times, by one clock."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._heap: list[Entry] = []
        self._numbers = count()
        self._call: IDelayedCall | None = None
        self._wakes = 0.0
        self._running = False
        self._last = float("-inf")

    def add(self, delay: float, call: Callable[[], object]) -> Entry:
        """Call in `delay` seconds; `cancel` takes what this returns."""
        due = self._clock.seconds() + delay
        entry: Entry = [due, next(self._numbers), call]
        heappush(self._heap, entry)
        if not self._running and (self._call is None or due < self._wakes):
            self._arm(due)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Do not make this call, if it was not made yet."""
        entry[2] = None

    def stop(self) -> None:
        """Forget all calls."""
        self._heap.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _arm(self, due: float) -> None:
        if self._call is not None:
            self._call.cancel()
        now = self._clock.seconds()
        self._wakes = wakes = max(due, self._last + GAP, now)
        self._call = self._clock.callLater(wakes - now, self._run)

    def _run(self) -> None:
        heap, now = self._heap, self._clock.seconds()
        self._call = None
        self._running = True
        made = 0
        while heap and heap[0][0] <= now and made < BATCH:
            entry = heappop(heap)
            call, entry[2] = entry[2], None
            if call is not None:
                made += 1
                _make(call)
        self._last = float("-inf") if made == BATCH else now
        self._running = False
        if heap:
            self._arm(heap[0][0])


def _make(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception:
        log.failure("a scheduled call failed")
