"""Coarse shared timers: what a proxy needs of time, without a reactor call for each connection.

A connection arms a timer, and nearly always disarms it before it fires: a connect timeout, an idle
timeout.  All timers of one length fire in the order in which they were armed, so one queue for each
length needs no heap: an insertion-ordered `dict` gives O(1) to arm and O(1) to disarm, and one
reactor call, for the head of the queue, serves them all.

Configurations name few lengths, but a client may have one of its own, such as an idle timeout that
a filter takes from what the client says.  So a queue lives only as long as somebody holds it or
something waits in it, and where there are many, one that becomes empty does not wait for its call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import islice, takewhile
from typing import Any, Generic, TypeVar
from weakref import ref

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

log = Logger(namespace="main")

T = TypeVar("T", bound=Hashable)

MOST_EMPTY = 64
"""So many queues may keep their call of the clock while nothing waits in them, which is cheaper
where connections come and go one at a time."""

BATCH = 32
"""Items of a queue that expire in one turn of the clock, for each may end a connection."""


class TimeoutQueue(Generic[T]):
    """Items that are each due the same number of seconds after they were added."""

    __slots__ = (
        "__weakref__",
        "_armed",
        "_call",
        "_clock",
        "_expired",
        "_now",
        "_since",
        "seconds",
    )

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        expired: Callable[[T], object],
        armed: set[TimeoutQueue[Any]] | None = None,
    ) -> None:
        """`armed`: where this puts itself while it has a call of the clock."""
        self._armed: set[TimeoutQueue[Any]] = set() if armed is None else armed
        self.seconds = seconds
        self._clock = clock
        self._now = clock.seconds
        self._expired = expired
        self._since: dict[T, float] = {}
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._since)

    def add(self, item: T) -> None:
        """Call `expired(item)` in `seconds`; an item already waiting starts anew."""
        # What an attribute holds is called by a name: as a method it would be looked for in vain.
        since, now = self._since, self._now
        if item in since:
            del since[item]
        since[item] = now()
        if self._call is None:
            self._call = self._clock.callLater(self.seconds, self._run)
            self._armed.add(self)

    def due(self, item: T) -> float:
        """When an item that waits is due, as the clock counts."""
        return self._since[item] + self.seconds

    def discard(self, item: T) -> None:
        """Forget the item, if it is waiting."""
        since = self._since
        since.pop(item, None)
        if not since and len(self._armed) > MOST_EMPTY:
            self.stop()

    def stop(self) -> None:
        """Forget all items."""
        self._since.clear()
        if self._call is not None and self._call.active():
            self._call.cancel()
            self._call = None
            self._armed.discard(self)

    def set_length(self, seconds: float) -> None:
        """Items are due so many seconds after they were added from now on, those that wait too."""
        self.seconds = seconds
        if self._call is not None and self._call.active():
            self._call.reset(self._next(self._clock.seconds()))

    def _next(self, now: float) -> float:
        """Seconds until the first item is due."""
        first = next(iter(self._since.values()), now)
        return max(first + self.seconds - now, 0.0)

    def _run(self) -> None:
        # `_call` stays set meanwhile: what is added now waits behind what is there already, which
        # is called for below.
        since, now = self._since, self._clock.seconds()
        for item in self._over(now):
            # Unless what expired before it has discarded it or started it anew.
            if since.get(item, now + 1) + self.seconds <= now:
                del since[item]
                try:
                    self._expired(item)
                except BaseException:
                    log.failure("a timer failed")
        if since:
            self._call = self._clock.callLater(self._next(now), self._run)
        else:
            self._call = None
            self._armed.discard(self)

    def _over(self, now: float) -> list[T]:
        """Items that are due: looked for in one go, since the head of a `dict` is dearer to find
        the more has left it.
        """
        first, seconds = islice(self._since.items(), BATCH), self.seconds
        return [item for item, _ in takewhile(lambda each: each[1] + seconds <= now, first)]


_Key = tuple[float, Callable[[Any], object]]


class TimeoutQueues:
    """The timer queues of one network, made at first use."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._armed: set[TimeoutQueue[Any]] = set()
        """Those that have a call of the clock."""
        self._queues: dict[_Key, ref[TimeoutQueue[Any]]] = {}

    def queue(self, seconds: float, expired: Callable[[T], object]) -> TimeoutQueue[T]:
        """The queue for this time and this function: pass a function that lives as long as the
        process, not a closure.
        """
        key = (seconds, expired)
        known = self._queues.get(key)
        found = None if known is None else known()
        if found is None:
            found = TimeoutQueue(self.clock, seconds, expired, self._armed)
            self._queues[key] = ref(found, partial(self._forget, key))
        return found

    def _forget(self, key: _Key, gone: ref[TimeoutQueue[Any]]) -> None:
        if self._queues.get(key) is gone:
            del self._queues[key]

    def stop(self) -> None:
        """Forget all that waits, so that no call of the clock is left."""
        for queue in tuple(self._armed):
            queue.stop()
