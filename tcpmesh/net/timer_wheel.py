"""Calls at their times, for many whose delays all differ, as those of health checks with jitter do.

The `TimeoutQueues` of connections have a queue for each length of time; here every delay may be its
own.  Times are kept in whole milliseconds: calls of one millisecond wait together, and a heap
orders only the milliseconds that have any, so that ten thousand calls a second cost a heap of some
hundreds.  Three more things keep them cheap and harmless.  A turn that follows closely on another
is put off a little, so that calls are made in batches and the reactor wakes up rarely; a turn makes
only a few calls before it lets the reactor serve connections, however many are due; and calls that
were cancelled are thrown out once they are more than half, for hosts that come and go may leave
more of them behind than there are hosts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger(namespace="main")

GAP = 0.005
"""Seconds from one turn to the next, where the next is not yet overdue."""

BATCH = 64
"""Calls in one turn."""

MOST_CANCELLED = 256
"""So many cancelled calls may wait for their time however few others there are."""

TICKS = 1000
"""Times of the clock in one second that calls are told apart by."""

Entry = list[Any]
"""[call]; `call` is `None` once it was made or cancelled."""


class TimerWheel:
    """Calls to be made at their times, by one clock."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._heap: list[int] = []
        self._waiting: dict[int, deque[Entry]] = {}
        """By the tick at which they are due; the heap has the keys."""
        self._size = self._cancelled = 0
        """Entries, and those of them whose call was cancelled."""
        self._call: IDelayedCall | None = None
        self._wakes = 0.0
        self._running = False
        self._last = float("-inf")

    def add(self, delay: float, call: Callable[[], object]) -> Entry:
        """Call in `delay` seconds; `cancel` takes what this returns."""
        due = self._clock.seconds() + delay
        tick = int(due * TICKS + 0.5)
        if not self._running and (self._call is None or due < self._wakes):
            self._arm(tick)
        entry: Entry = [call]
        self._size += 1
        waiting = self._waiting.get(tick)
        if waiting is not None:
            waiting.append(entry)
            return entry
        self._waiting[tick] = deque((entry,))
        heappush(self._heap, tick)
        return entry

    def cancel(self, entry: Entry) -> None:
        """Do not make this call, if it was not made yet."""
        if entry[0] is not None:
            entry[0] = None
            self._cancelled += 1
            if self._running:
                return
            if self._cancelled == self._size:
                self.stop()  # nobody is to be woken for what nobody waits for
            elif MOST_CANCELLED < self._cancelled > self._size // 2:
                self._throw_out()

    def _throw_out(self) -> None:
        """Forget what was cancelled."""
        self._waiting = {
            tick: deque(left)
            for tick, waiting in self._waiting.items()
            if (left := [entry for entry in waiting if entry[0] is not None])
        }
        self._heap = sorted(self._waiting)  # which is a heap
        self._size -= self._cancelled
        self._cancelled = 0

    def stop(self) -> None:
        """Forget all calls."""
        for waiting in self._waiting.values():
            waiting.clear()
        self._waiting.clear()
        self._size = self._cancelled = 0
        self._heap.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _arm(self, tick: int) -> None:
        before, now = self._call, self._clock.seconds()
        self._wakes = wakes = max(tick / TICKS, self._last + GAP, now)
        self._call = self._clock.callLater(wakes - now, self._run)
        if before is not None:
            before.cancel()

    def _run(self) -> None:
        heap, now = self._heap, self._clock.seconds()
        tick = int(now * TICKS + 0.5)
        self._call = None
        self._running = True
        left = BATCH
        while heap and heap[0] <= tick and left:
            waiting = self._waiting[heap[0]]
            left = self._serve(waiting, left)
            if not waiting and heap:  # which it is not where a call has stopped all
                del self._waiting[heappop(heap)]
        self._last = now if left else float("-inf")
        self._running = False
        if self._cancelled == self._size:
            self.stop()
        elif heap:
            self._arm(heap[0])

    def _serve(self, waiting: deque[Entry], left: int) -> int:
        """Make at most so many of the calls; how many more there could have been."""
        while waiting and left:
            entry = waiting.popleft()
            self._size -= 1
            call, entry[0] = entry[0], None
            if call is None:
                self._cancelled -= 1
            else:
                left -= 1
                _make(call)
        return left


def _make(call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException:
        log.failure("a scheduled call failed")
