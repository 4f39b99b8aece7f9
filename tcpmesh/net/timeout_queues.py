"""Coarse shared timers: what a proxy needs of time, without a reactor call for each connection.

A connection arms a timer, and nearly always disarms it before it fires: a connect timeout, an idle
timeout.  All timers of one length fire in the order in which they were armed, so one queue for each
length needs no heap: an insertion-ordered `dict` gives O(1) to arm and O(1) to disarm, and one
reactor call, for the head of the queue, serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger(namespace="main")

T = TypeVar("T", bound=Hashable)

MOST_SHARED = 256
"""Queues that are shared."""


class TimeoutQueue(Generic[T]):
    """Items that are each due the same number of seconds after they were added."""

    __slots__ = ("__weakref__", "_call", "_clock", "_due", "_expired", "seconds", "sleeps")

    def __init__(self, clock: IReactorTime, seconds: float, expired: Callable[[T], object]) -> None:
        self.seconds = seconds
        self.sleeps = False
        """Whether it has no call of the clock while nobody waits.  Where many wait by turns it is
        cheaper to leave the call there.
        """
        self._clock = clock
        self._expired = expired
        self._due: dict[T, float] = {}
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: T) -> None:
        """Call `expired(item)` in `seconds`; an item already waiting starts anew."""
        due = self._due
        if item in due:
            del due[item]
        due[item] = self._clock.seconds() + self.seconds
        if self._call is None:
            self._call = self._clock.callLater(self.seconds, self._run)

    def discard(self, item: T) -> None:
        """Forget the item, if it is waiting."""
        self._due.pop(item, None)
        if self.sleeps and not self._due and self._call is not None and self._call.active():
            self._call.cancel()
            self._call = None

    def stop(self) -> None:
        """Forget all items."""
        self._due.clear()
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _run(self) -> None:
        # `_call` stays set meanwhile: what is added now waits behind what is there already, which
        # is called for below.
        due, now = self._due, self._clock.seconds()
        for item in self._over(now):
            if (
                due.get(item, now + 1) <= now
            ):  # unless what expired before it has discarded it or started it anew
                del due[item]
                try:
                    self._expired(item)
                except Exception:
                    log.failure("a timer failed")
        self._call = (
            self._clock.callLater(max(due[next(iter(due))] - now, 0.0), self._run) if due else None
        )

    def _over(self, now: float) -> list[T]:
        """The items that are due: looked for in one go, since the head of a `dict` is dearer to
        find the more has left it.
        """
        over = []
        for item, when in self._due.items():
            if when > now:
                break
            over.append(item)
        return over


class TimeoutQueues:
    """The timer queues of one network, made at first use and shared: configurations name few
    different times.

    Clients may name any number of them, for example by an idle timeout that a PROXY header has put
    into the filter state.  So only `MOST_SHARED` are shared, those that wait for nothing make room
    for others, and who finds no room gets a queue of its own, which leaves nothing behind.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._queues: dict[tuple[float, Callable[[Any], object]], TimeoutQueue[Any]] = {}
        self._unshared: WeakSet[TimeoutQueue[Any]] = WeakSet()

    def queue(self, seconds: float, expired: Callable[[T], object]) -> TimeoutQueue[T]:
        """The queue for this time and this function: pass a function that lives as long as the
        process, not a closure.
        """
        key = (seconds, expired)
        found = self._queues.get(key)
        if found is None:
            found = TimeoutQueue(self.clock, seconds, expired)
            if len(self._queues) >= MOST_SHARED:
                self._make_room()
            if len(self._queues) < MOST_SHARED:
                self._queues[key] = found
            else:
                found.sleeps = True
                self._unshared.add(found)
        return found

    def _make_room(self) -> None:
        """Share those no more that nobody waits in; whoever has one may go on with it."""
        for key, queue in tuple(self._queues.items()):
            if not queue:
                del self._queues[key]
                queue.sleeps = True
                queue.stop()
                self._unshared.add(queue)

    def stop(self) -> None:
        """Forget all that waits, so that no call of the clock is left."""
        for queue in (*self._queues.values(), *self._unshared):
            queue.stop()
