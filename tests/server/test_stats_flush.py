"""Flushes of the statistics, and the sinks that they go to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from envoy.config.metrics.v3.stats_pb2 import StatsSink
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from zope.interface import implementer

from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import IStatsSink
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.registry import (
    BrokenExtension,
    MainContext,
    extension,
)
from tcpmesh.server.stats_flush import StatsFlush, build_sinks, wants_values
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.test_registry import RegistryTestCase, packed
from tests.told import told_in


@implementer(IStatsSink)
class Sink:
    """A sink that keeps the counters of each flush; `rests` steps after them."""

    wants_values = True

    def __init__(self, rests: int = 0) -> None:
        self.flushes: list[dict[str, int]] = []
        self.rests = rests
        self.closed = 0

    def flush(self, snapshot: Any) -> Iterator[None]:
        self.flushes.append({each.name: each.delta for each in snapshot.counters() if each})
        for _ in range(self.rests):
            yield

    def close(self) -> None:
        self.closed += 1


class Failing(Sink):
    """A sink that is broken."""

    def flush(self, snapshot: Any) -> Iterator[None]:
        yield
        raise RuntimeError("out of order")


class StatsFlushTests(SynchronousTestCase):
    """When sinks are given something, and what."""

    def setUp(self) -> None:
        """A store with a counter, whose cooperator does one step in a second."""
        self.clock = Clock()
        self.store = Store()
        self.counter = self.store.counter("c")
        self.updates = 0
        self.flush = StatsFlush(self.store, self.update, self.clock, lambda: 7.0)
        self.sink = Sink()

    def update(self) -> None:
        """What is brought up to date at a flush."""
        self.updates += 1

    def start(self, *sinks: Any, interval: float | None = 5.0) -> None:
        """Begin to flush."""
        self.flush.start(sinks or (self.sink,), shared_cooperator(self.clock), interval)

    def test_interval(self) -> None:
        """Each interval ends with a flush, which tells growth once."""
        self.start()
        self.counter.tally += 2
        self.clock.advance(4)
        self.assertEqual([], self.sink.flushes)
        self.clock.advance(1)
        self.clock.advance(5)
        self.assertEqual([{"c": 2}, {"c": 0}], self.sink.flushes)
        self.assertEqual(2, self.updates)

    def test_histograms(self) -> None:
        """Without sinks a flush ends the interval of histograms all the same."""
        histogram = self.store.histogram("h")
        self.flush.start((), shared_cooperator(self.clock), 5.0)
        histogram.record(1)
        self.clock.advance(5)
        self.assertEqual(1, histogram.cumulative.count)

    def test_on_demand(self) -> None:
        """Without an interval only who asks has a flush."""
        self.start(interval=None)
        self.counter.tally += 1
        self.clock.advance(100)
        self.assertEqual([], self.sink.flushes)
        self.flush.flush()
        self.clock.advance(0)
        self.assertEqual([{"c": 1}], self.sink.flushes)

    def test_changed(self) -> None:
        """Other sinks are told in another interval, and those of before nothing any more once the
        flush is through that was under way.
        """
        turns: list[Any] = []
        cooperator = Cooperator(lambda: lambda: True, cast(Any, turns.append))
        old, new = Sink(rests=20), Sink()
        self.flush.start((old,), cooperator, 5.0)
        self.counter.tally += 1
        self.flush.flush()
        while not old.flushes:
            turns.pop()()
        change = self.flush.change((new,), 1.0)
        next(change)
        while turns:
            turns.pop()()
        self.assertRaises(StopIteration, next, change)
        self.counter.tally += 2
        self.clock.advance(1)
        while turns:
            turns.pop()()
        self.assertEqual(([{"c": 1}], [{"c": 2}]), (old.flushes, new.flushes))

    def test_changed_to_demand(self) -> None:
        """There may be no interval any more."""
        self.start()
        self.assertEqual([], list(self.flush.change((self.sink,), None)))
        self.clock.advance(20)
        self.assertEqual([], self.sink.flushes)

    def test_dropped(self) -> None:
        """A flush that is due while one is under way is left out and counted; what it would have
        told the next one tells.
        """
        cooperator = shared_cooperator(self.clock, iter(range(1000)).__next__)
        sink = Sink(rests=20)
        self.flush.start((sink,), cooperator, 5.0)
        self.counter.tally += 1
        self.flush.flush()
        self.flush.flush()
        self.counter.tally += 1
        dropped = self.store.counter("server.dropped_stat_flushes")
        self.assertEqual(1, dropped.tally)
        self.clock.pump([0] * 100)
        self.assertEqual([{"c": 2, dropped.name: 1}], sink.flushes)

    def test_dropped_time_and_again(self) -> None:
        """However many flushes in a row are left out, the log says so once; and once more when
        that begins again after a flush that was in time.
        """
        told = told_in(self, "stats")
        cooperator = shared_cooperator(self.clock, iter(range(1000)).__next__)
        self.flush.start((Sink(rests=20),), cooperator, None)
        for _ in range(2):
            for _ in range(5):
                self.flush.flush()
            self.clock.pump([0] * 100)
        self.assertEqual(2, sum("is due while" in each for each in told.lines))

    def test_failing(self) -> None:
        """A sink that fails is logged, and the others are served."""
        self.start(Failing(), self.sink)
        self.counter.tally += 1
        self.clock.advance(5)
        self.assertEqual([{"c": 1}], self.sink.flushes)
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_stop(self) -> None:
        """At the end what has happened since the last flush is flushed, and then no more."""
        self.start()
        self.counter.tally += 1
        self.flush.stop()
        self.assertEqual([{"c": 1}], self.sink.flushes)
        self.flush.stop()
        self.flush.flush()
        self.clock.advance(100)
        self.assertEqual(1, len(self.sink.flushes))

    def test_stop_in_the_middle(self) -> None:
        """A flush that is under way at the end is gone through first."""
        self.start(Sink(rests=3), self.sink)
        self.counter.tally += 1
        self.flush.flush()
        self.counter.tally += 1
        self.flush.stop()
        self.assertEqual([{"c": 2}, {"c": 0}], self.sink.flushes)

    def test_stop_on_demand(self) -> None:
        """Where only admin asks nothing is flushed at the end, as in Envoy."""
        self.start(interval=None)
        self.counter.tally += 1
        self.flush.stop()
        self.assertEqual([], self.sink.flushes)


def sink_message(config: Any) -> StatsSink:
    """A sink of this configuration."""
    return StatsSink(typed_config=packed(config))


class BuildTests(RegistryTestCase):
    """Which sinks there are."""

    def setUp(self) -> None:
        """Two that are known."""
        super().setUp()
        self.built: list[Any] = []
        built = self.built

        @extension(Struct)
        class Known(Sink):
            """One that keeps its messages."""

            def __init__(self, message: Any, context: MainContext) -> None:
                super().__init__()
                built.append(self)

        @extension(Duration)
        class Wrong:
            """One that is none."""

            def __init__(self, message: Any, context: MainContext) -> None:
                """Nothing is there."""

        self.main = MainContext(MemoryNetwork(), Store())

    def test_built(self) -> None:
        """Each message is a sink of its own."""
        sinks = build_sinks([sink_message(Struct()), sink_message(Struct())], self.main)
        self.assertEqual(self.built, sinks)

    def test_all_or_nothing(self) -> None:
        """Where one cannot be had those before it are closed."""
        with self.assertRaises(BrokenExtension) as caught:
            build_sinks([sink_message(Struct()), sink_message(Duration())], self.main)
        self.assertIn(
            "has no `close`, `flush`, `wants_values`: see IStatsSink", str(caught.exception)
        )
        self.assertEqual([1], [each.closed for each in self.built])

    def test_values(self) -> None:
        """Values are kept where one of the sinks wants them."""
        self.assertTrue(wants_values([sink_message(Struct())]))
        self.assertFalse(wants_values([sink_message(Duration())]))
        self.assertFalse(wants_values([]))
