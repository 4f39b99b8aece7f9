"""What a flush tells stats sinks: `Store.taking_snapshot`."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import IStatsSnapshot
from tcpmesh.stats import family
from tcpmesh.stats.metrics import KEPT_LIMIT, Merge
from tcpmesh.stats.snapshot import Snapshot
from tcpmesh.stats.store import Declaration, Store


def snapshot_of(store: Store) -> Snapshot:
    """What a flush finds, taken in one go."""
    steps = store.taking_snapshot(12.5)
    while True:
        try:
            next(steps)
        except StopIteration as e:
            found: Snapshot = e.value
            return found


def found(stats: Any) -> list[Any]:
    """All that a snapshot has of one kind."""
    return [each for each in stats if each is not None]


class SnapshotTests(SynchronousTestCase):
    """What is in one."""

    def setUp(self) -> None:
        """A store with one statistic of each kind that has moved, and one that has not."""
        self.store = Store()
        self.scope = self.store.scope("cluster.c")
        self.counter = self.scope.counter("total")
        self.gauge = self.scope.gauge("active", Merge.SUM)
        self.histogram = self.scope.histogram("length_us", "us")
        self.text = self.scope.text_readout("version")
        self.scope.counter("failed")
        self.scope.gauge("idle", Merge.SUM)
        self.scope.histogram("never")
        self.scope.text_readout("none")
        self.scope.declare(Declaration(counters=("declared",)))

    def test_interface(self) -> None:
        """It is what sinks are promised."""
        verifyObject(IStatsSnapshot, snapshot_of(self.store))

    def test_unused(self) -> None:
        """What nothing was ever written to is not there."""
        snapshot = snapshot_of(self.store)
        for stats in (
            snapshot.counters(),
            snapshot.gauges(),
            snapshot.histograms(),
            snapshot.text_readouts(),
        ):
            self.assertEqual([], found(stats))

    def test_counters(self) -> None:
        """A counter tells its total and what it has grown by since the last flush, also where that
        is nothing; an operator's reset takes nothing of the growth away.
        """
        self.counter.tally += 3
        self.assertEqual([("cluster.c.total", 3, 3)], found(snapshot_of(self.store).counters()))
        self.counter.tally += 2
        self.store.reset_counters()
        self.counter.tally += 1
        self.assertEqual([("cluster.c.total", 1, 3)], found(snapshot_of(self.store).counters()))
        self.assertEqual([("cluster.c.total", 1, 0)], found(snapshot_of(self.store).counters()))

    def test_others(self) -> None:
        """Gauges and text readouts are told as they are, each time."""
        self.gauge.add(2)
        self.text.set("v1")
        for _ in range(2):
            snapshot = snapshot_of(self.store)
            self.assertEqual([("cluster.c.active", 2)], found(snapshot.gauges()))
            self.assertEqual([("cluster.c.version", "v1")], found(snapshot.text_readouts()))

    def test_histograms(self) -> None:
        """A histogram tells the bins of the interval and of all time, its unit and its buckets;
        after an interval with nothing the first ones are empty.
        """
        self.histogram.record(25)
        self.histogram.record(25)
        (told,) = found(snapshot_of(self.store).histograms())
        self.assertEqual(("cluster.c.length_us", "us", 19), (*told[:2], len(told.bounds)))
        self.assertEqual([(25, 1, 2)], told.interval.bins())
        (told,) = found(snapshot_of(self.store).histograms())
        self.assertEqual(([], 2), (told.interval.bins(), told.total.count))

    def test_values(self) -> None:
        """Where a sink wants them values are there as they were, up to a limit."""
        self.histogram.record(1)
        (told,) = found(snapshot_of(self.store).histograms())
        self.assertEqual([], told.interval.values)
        self.store.keep_values()
        later = self.store.histogram("z")
        for histogram in (self.histogram, later):
            for value in range(KEPT_LIMIT * 2):
                histogram.record(value)
        for told in found(snapshot_of(self.store).histograms()):
            self.assertEqual(list(range(KEPT_LIMIT)), told.interval.values)
            self.assertEqual(KEPT_LIMIT * 2, told.interval.count)
            self.assertEqual([], told.total.values)

    def test_values_of_workers(self) -> None:
        """They come from other processes too."""
        worker, main = Store(), Store()
        for store in (worker, main):
            store.keep_values()
        histogram = worker.scope("cluster.c").histogram("length_ms")
        main.merge(worker.deltas(), "worker_0")
        histogram.record(1234)
        main.merge(worker.deltas(), "worker_0")
        (told,) = found(snapshot_of(main).histograms())
        self.assertEqual([1234], told.interval.values)

    def test_tags(self) -> None:
        """Any name can be had without its tags."""
        name, tags = snapshot_of(self.store).tags("cluster.c.total")
        self.assertEqual(("cluster.total", (("envoy.cluster_name", "c"),)), (name, tags))

    def test_rests(self) -> None:
        """There is a rest after a bounded number of statistics, used or not."""
        self.patch(family, "PART", 2)
        for number in range(4):
            self.scope.counter(f"other_{number}")
        self.counter.tally += 1
        counters = list(snapshot_of(self.store).counters())
        self.assertEqual([("cluster.c.total", 1, 1), None, None, None], counters)

    def test_wall(self) -> None:
        """It says when it was taken."""
        self.assertEqual(12.5, snapshot_of(self.store).wall)
