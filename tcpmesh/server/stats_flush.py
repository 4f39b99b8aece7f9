"""Flushing statistics: ends an interval of all histograms, brings `server.` up to date, and gives
what has happened to each stats sink.

It is one task of the cooperator, so traffic goes on meanwhile, however many statistics there are.
A flush that is due while the one before is not through is left out and counted, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from time import time
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import CooperativeTask, Cooperator, LoopingCall, TaskFinished
from twisted.logger import Logger

from tcpmesh.interfaces import IStatsSink
from tcpmesh.registry import MainContext, build_checked, check_provides, find
from tcpmesh.stats.store import Store
from tcpmesh.values.all_or_nothing import all_or_nothing

_log = Logger(namespace="stats")


class StatsFlush:
    """All flushes of a process.

    :param update: brings up to date what is only so at a flush.
    :param wall: seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        update: Callable[[], object],
        clock: IReactorTime,
        wall: Callable[[], float] = time,
    ) -> None:
        self._store = store
        self._update = update
        self._wall = wall
        self._sinks: Sequence[IStatsSink] = ()
        self._cooperator: Cooperator | None = None
        self._dropped = store.counter("server.dropped_stat_flushes")
        self._is_behind = False
        """Whether flushes are left out, which is said once."""
        self._steps: Iterator[None] | None = None
        self._task: CooperativeTask[Any] | None = None
        self._interval: float | None = None
        self._timer = LoopingCall(self.flush)
        self._timer.clock = clock

    def start(
        self, sinks: Sequence[IStatsSink], cooperator: Cooperator, interval: float | None
    ) -> None:
        """Flush every so many seconds from now on, or with `None` only when `flush` is called."""
        self._sinks = sinks
        self._cooperator = cooperator
        self._begin(interval)

    def change(self, sinks: Sequence[IStatsSink], interval: float | None) -> Iterator[None]:
        """Flush to these sinks, in this interval, from now on: to be gone through, and over when
        the sinks of before get nothing more.
        """
        self._sinks = sinks
        if self._cooperator is not None and interval != self._interval:
            self._begin(interval)
        flush = self._steps
        while flush is not None and self._steps is flush:
            yield

    def _begin(self, interval: float | None) -> None:
        if self._timer.running:
            self._timer.stop()
        self._interval = interval
        if interval is not None:
            self._timer.start(interval, now=False)

    def flush(self) -> None:
        """Begin a flush, if none is under way."""
        if self._steps is not None:
            self._dropped.tally += 1
            if not self._is_behind:
                self._is_behind = True
                _log.warn(
                    "a flush of the statistics is due while the one before is under way: it is "
                    "left out, and so are others until one is in time"
                )
        elif self._cooperator is not None:
            self._is_behind = False
            self._steps = self._flushing()
            self._task = self._cooperator.cooperate(self._steps)

    def flushing(self) -> Iterator[None]:
        """Begin a flush, if none is under way, and wait for its end: to be gone through."""
        self.flush()
        while self._steps is not None:
            yield

    def stop(self) -> None:
        """End the flush that is under way at once, flush once more, and never again."""
        if self._cooperator is None:
            return
        self._cooperator = None
        had_timer = self._timer.running
        if had_timer:
            self._timer.stop()
        if self._task is not None and self._steps is not None:
            with suppress(TaskFinished):
                self._task.stop()
            _exhaust(self._steps)
        if had_timer:
            _exhaust(self._flushing())

    def _flushing(self) -> Iterator[None]:
        try:
            self._update()
            if not self._sinks:
                yield from self._store.merging_histograms()
                return
            snapshot = yield from self._store.taking_snapshot(self._wall())
            for sink in self._sinks:
                try:
                    yield from sink.flush(snapshot)
                except Exception:
                    _log.failure("a stats sink fails: {sink}", sink=type(sink).__name__)
        except Exception:
            _log.failure("statistics cannot be flushed")
        finally:
            self._steps = None


def wants_values(messages: Iterable[Any]) -> bool:
    """Whether any of these `metrics.v3.StatsSink` is one that sends values one by one.

    :raise LookupError: where one is not known.
    """
    return any(getattr(find(each.typed_config)[0], "wants_values", False) for each in messages)


def build_sinks(messages: Iterable[Any], context: MainContext) -> list[IStatsSink]:
    """The sinks of these `metrics.v3.StatsSink`: all, or none.

    :raise LookupError: where one is not known.
    :raise tcpmesh.registry.BrokenExtension: where another package's fails.
    """
    sinks: list[IStatsSink] = []
    with all_or_nothing() as undo:
        for each in messages:
            config = each.typed_config
            sink = build_checked(
                config, context, partial(check_provides, interface=IStatsSink, config=config)
            )
            undo.callback(sink.close)
            sinks.append(sink)
    return sinks


def _exhaust(steps: Iterator[None]) -> None:
    for _ in steps:
        pass
