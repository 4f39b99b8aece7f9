"""Watches over event loops: one that does not turn for a while is counted, as Envoy counts a
thread, and a worker's that does not turn for long is ended.

Each loop shows that it turns by a timer of its own (`beat`).  A loop that did not for the time
`miss_timeout` counts one miss, however long it lasts, and one mega miss after `megamiss_timeout`.
Main looks at all of them, and at its own: it is late itself where its loop did not turn, and then
it knows nothing of the others, whose messages are not read yet.

Envoy ends the whole process after `kill_timeout`, where one is set.  Here a worker is a process,
and another one takes its place, so where nothing is set a worker has `KILL` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime

from tcpmesh.config.fields.values import seconds
from tcpmesh.facts import dataclass
from tcpmesh.stats.store import Store
from tcpmesh.values.workers import worker_name

KILL = 10.0
"""Seconds after which a worker that does not answer is ended, where the configuration says
nothing.
"""

SHORTEST_BEAT = 0.01
"""Seconds."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds that an event loop may take for a turn."""

    miss: float = 0.2
    megamiss: float = 1.0
    kill: float = KILL
    """0 for any time."""

    @property
    def beat(self) -> float:
        """Seconds after which a loop shows again that it turns: often enough that one that is
        only a little late is not counted.
        """
        return max(self.miss / 2, SHORTEST_BEAT)


def timeouts_of(message: Any) -> Timeouts:
    """Those of a `bootstrap.v3.Watchdog`."""
    return Timeouts(
        *(
            seconds(getattr(message, f"{name}_timeout"))
            if message.HasField(f"{name}_timeout")
            else getattr(Timeouts, name)
            for name in ("miss", "megamiss", "kill")
        )
    )


def watchdogs_of(bootstrap: Any) -> tuple[Timeouts, Timeouts]:
    """Those of main and of workers."""
    watchdogs = bootstrap.watchdogs
    one_for_both = bootstrap.watchdog if bootstrap.HasField("watchdog") else None
    return (
        timeouts_of(one_for_both or watchdogs.main_thread_watchdog),
        timeouts_of(one_for_both or watchdogs.worker_watchdog),
    )


class WatchedLoop:
    """One event loop.

    :param scopes: the names that its misses are counted under.
    """

    def __init__(self, store: Store, scopes: Sequence[str], timeouts: Timeouts) -> None:
        self._misses = [store.scope(scope).counter("watchdog_miss") for scope in scopes]
        self._mega_misses = [store.scope(scope).counter("watchdog_mega_miss") for scope in scopes]
        self._timeouts = timeouts
        self._last = float("inf")
        self._has_missed = self._has_mega_missed = False

    def touch(self, now: float) -> None:
        """It turns."""
        self._last = now
        self._has_missed = self._has_mega_missed = False

    def begins(self, now: float) -> None:
        """It begins to turn soon: until then nothing is counted."""
        self._last = now
        self._has_missed = self._has_mega_missed = True

    def forget(self) -> None:
        """It is no more, and another one may be touched in its place."""
        self._last = float("inf")

    def excuse(self, seconds: float, now: float) -> None:
        """So much of the time since it turned does not count: nobody could see it turn, and
        perhaps the whole machine stood still.
        """
        if self._last < now:
            self._last = min(self._last + seconds, now)

    def look(self, now: float) -> float:
        """Count what is to be counted; the seconds since it turned."""
        late = now - self._last
        if late > self._timeouts.miss and not self._has_missed:
            self._has_missed = True
            _count(self._misses)
        if late > self._timeouts.megamiss and not self._has_mega_missed:
            self._has_mega_missed = True
            _count(self._mega_misses)
        return late


class Watchdogs:
    """The loops of main and of all workers.

    :param stuck: told of a worker that is to be ended.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        bootstrap: Any,
        count: int,
        stuck: Callable[[int], object],
    ) -> None:
        self._clock = clock
        self._stuck = stuck
        of_main, self.of_workers = watchdogs_of(bootstrap)
        self._main = WatchedLoop(store, ("main_thread", "server.main_thread"), of_main)
        self._workers = [
            WatchedLoop(store, ("workers", f"server.{worker_name(index)}"), self.of_workers)
            for index in range(count)
        ]
        self._interval = min(of_main.beat, self.of_workers.beat)
        self._call: Any = None

    def start(self) -> None:
        """Look from now on."""
        self._main.touch(self._clock.seconds())
        self._call = self._clock.callLater(self._interval, self._look)

    def stop(self) -> None:
        """Look no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def touch(self, index: int) -> None:
        """A worker's loop turns."""
        self._workers[index].touch(self._clock.seconds())

    def begins(self, index: int) -> None:
        """A worker was started, and is ended where its loop does not turn in time."""
        self._workers[index].begins(self._clock.seconds())

    def forget(self, index: int) -> None:
        """A worker is no more."""
        self._workers[index].forget()

    def _look(self) -> None:
        now = self._clock.seconds()
        self._call = self._clock.callLater(self._interval, self._look)
        late = self._main.look(now)
        self._main.touch(now)
        if late > 2 * self._interval:
            for loop in self._workers:
                loop.excuse(late, now)
            return
        kill = self.of_workers.kill
        for index, loop in enumerate(self._workers):
            if loop.look(now) > kill > 0:
                loop.forget()
                self._stuck(index)


def _count(counters: Sequence[Any]) -> None:
    for counter in counters:
        counter.tally += 1
