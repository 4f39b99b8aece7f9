"""Counting, and names that come and go: `tcpmesh.stats.store`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats import family
from tcpmesh.stats.family import SORT_STEP
from tcpmesh.stats.metrics import PENDING_LIMIT, Counter, Merge
from tcpmesh.stats.store import COLLECT_STEP, AnyStat, Declaration, Store, sanitize


def names(stats: Iterable[AnyStat]) -> list[str]:
    """The names of statistics, in their order."""
    return [stat.name for stat in stats]


class StoreTests(SynchronousTestCase):
    """A store of statistics."""

    def setUp(self) -> None:
        """Make an empty one."""
        self.store = Store()

    def test_same_name_same_object(self) -> None:
        """Whoever asks for a name gets the one object that counts it."""
        scope = self.store.scope("cluster.c")
        self.assertIs(
            self.store.counter("cluster.c.upstream_cx_total"), scope.counter("upstream_cx_total")
        )
        self.assertIs(self.store.gauge("g", Merge.SUM), self.store.gauge("g", Merge.SUM))
        self.assertIs(self.store.histogram("h"), self.store.histogram("h"))
        self.assertIs(self.store.text_readout("t"), self.store.text_readout("t"))

    def test_in_order_of_names(self) -> None:
        """Statistics are listed by name, whenever they were made."""
        for name in ("b", "c", "a"):
            self.store.counter(name)
        self.assertEqual(["a", "b", "c"], names(self.store.counters()))
        self.store.counter("aa")
        self.assertEqual(["a", "aa", "b", "c"], names(self.store.counters()))

    def test_sorted_in_steps(self) -> None:
        """Ordering can be done in steps; names that come meanwhile are in their places all the
        same.
        """
        self.patch(family, "SORT_STEP", 2)
        for name in "ecabd":
            self.store.counter(name)
        self.assertTrue(len(list(self.store.sort())) > 3)
        self.assertEqual(list("abcde"), names(self.store.counters()))
        self.store.counter("f")
        steps = self.store.sort()
        next(steps)
        self.store.counter("aa")
        list(steps)
        self.assertEqual(["a", "aa", *"bcdef"], names(self.store.counters()))
        self.assertEqual(1, len(list(self.store.sort())))

    def test_sorted_together(self) -> None:
        """However many want the names in order at a time, they are sorted once."""
        for number in range(5 * SORT_STEP):
            self.store.counter(f"c{number}")
        alone = len(list(self.store.sort()))
        self.store.counter("another")
        all_steps = [iter(self.store.sort()) for _ in range(100)]
        steps = 0
        while all_steps:
            all_steps = [each for each in all_steps if next(each, False) is None]
            steps += len(all_steps)
        self.assertLess(steps, 5 * alone + 5 * 100)

    def test_many_collectors(self) -> None:
        """Where there are many collectors, others have their turn between them."""
        called: list[int] = []
        for number in range(3 * COLLECT_STEP):
            self.store.add_collector(partial(called.append, number))
        steps = self.store.collecting()
        next(steps)
        self.assertLess(len(called), COLLECT_STEP)
        self.assertEqual(2, len(list(steps)))
        self.assertEqual(3 * COLLECT_STEP, len(called))

    def test_collected_in_steps(self) -> None:
        """What collects much does a part of it at each step; `collect` does all."""
        counter = self.store.counter("c")

        def collect() -> Iterator[None]:
            for _ in range(3):
                counter.tally += 1
                yield

        self.store.add_collector(collect)
        steps = self.store.collecting()
        next(steps)
        self.assertEqual(1, counter.tally)
        self.store.collect()
        self.assertEqual(4, counter.tally)

    def test_used(self) -> None:
        """A statistic is used once it was written, whatever it is now."""
        counter, gauge, text = (
            self.store.counter("c"),
            self.store.gauge("g", Merge.SUM),
            self.store.text_readout("t"),
        )
        self.assertFalse(counter.was_used or gauge.was_used or text.was_used)
        counter.tally += 1
        gauge.set(0)
        text.set("")
        self.store.reset_counters()
        self.assertEqual(0, counter.tally)
        self.assertTrue(counter.was_used and gauge.was_used and text.was_used)

    def test_reset_counts_from_zero(self) -> None:
        """A reset first brings in what is counted elsewhere, so that none of it comes afterwards;
        gauges stay.
        """
        counter, gauge = self.store.counter("bytes"), self.store.gauge("active", Merge.SUM)
        pending = [5]

        def collect() -> None:
            counter.tally += pending.pop() if pending else 0

        self.store.add_collector(collect)
        gauge.add(2)
        self.store.reset_counters()
        self.store.collect()
        self.assertEqual((0, 2), (counter.tally, gauge.tally))

    def test_collectors(self) -> None:
        """Collectors run at each collection until they are removed, and one may remove itself."""
        seen = []

        def once() -> None:
            seen.append("once")
            self.store.remove_collector(once)

        def always() -> None:
            seen.append("always")

        self.store.add_collector(once)
        self.store.add_collector(always)
        self.store.collect()
        self.store.collect()
        self.assertEqual(["once", "always", "always"], seen)

    def test_sanitize(self) -> None:
        """Colons, which would end a name in statsd, become underscores; nothing else changes."""
        self.assertEqual("[__1]_80", sanitize("[::1]:80"))


class ScopeTests(SynchronousTestCase):
    """Scopes: who holds which names."""

    def setUp(self) -> None:
        """Make an empty store."""
        self.store = Store()

    def test_close_drops_names(self) -> None:
        """What belonged to a listener or cluster goes with it, scopes below included; others
        stay.
        """
        self.store.counter("server.live")
        scope = self.store.scope("cluster.c")
        scope.counter("total")
        scope.scope("ssl").gauge("active", Merge.SUM)
        scope.histogram("ms")
        scope.text_readout("version")
        scope.declare(Declaration(counters=("idle",)))
        scope.close()
        self.assertEqual(["server.live"], names(self.store.counters()))
        self.assertEqual(
            [], [*self.store.gauges(), *self.store.histograms(), *self.store.text_readouts()]
        )

    def test_names_live_as_long_as_their_last_holder(self) -> None:
        """A listener that replaces one of the same address goes on with its numbers."""
        old, new = self.store.scope("listener.l"), self.store.scope("listener.l")
        old.counter("total").tally += 3
        self.assertEqual(3, new.counter("total").tally)
        old.close()
        self.assertEqual(["listener.l.total"], names(self.store.counters()))
        new.close()
        self.assertEqual([], names(self.store.counters()))
        self.assertEqual(0, self.store.scope("listener.l").counter("total").tally)

    def test_asking_twice_holds_once(self) -> None:
        """A scope that asked for a name several times lets go of it with one close."""
        scope = self.store.scope("x")
        scope.counter("a")
        scope.counter("a")
        scope.close()
        scope.close()
        self.assertEqual([], names(self.store.counters()))

    def test_declared_names_are_shown(self) -> None:
        """Declared names are listed at 0, in order and once, and give way to the real statistic."""
        one, two = self.store.scope("c"), self.store.scope("c")
        for scope in (one, two):
            scope.declare(
                Declaration(
                    counters=("z", "a"), gauges=("g",), histograms=("h",), text_readouts=("t",)
                )
            )
        one.counter("m").tally += 1
        two.counter("a").tally += 2
        self.assertEqual(
            [("c.a", 2), ("c.m", 1), ("c.z", 0)],
            [(each.name, each.tally) for each in self.store.counters()],
        )
        self.assertEqual(["c.g"], names(self.store.gauges()))
        self.assertEqual(["c.h"], names(self.store.histograms()))
        self.assertEqual(["c.t"], names(self.store.text_readouts()))
        self.assertFalse(any(stat.was_used for stat in self.store.gauges()))


class PartTests(SynchronousTestCase):
    """All statistics of a kind, a few at a time."""

    def setUp(self) -> None:
        """Five counters."""
        self.patch(family, "PART", 2)
        self.store = Store()
        self.scope = self.store.scope("a")
        for number in range(5):
            self.scope.counter(str(number))
        self.family = self.store._families.counters

    def names(self, parts: Iterable[list[Counter]]) -> list[list[str]]:
        """What is in these parts."""
        return [[stat.name for stat in part] for part in parts]

    def test_parts(self) -> None:
        """Each is in one part, the first time and again."""
        wanted = [["a.0", "a.1"], ["a.2", "a.3"], ["a.4"]]
        self.assertEqual(wanted, self.names(self.family.parts()))
        self.assertEqual(wanted, self.names(self.family.parts()))

    def test_changes_meanwhile(self) -> None:
        """Where names come meanwhile those that were not seen yet are, once, and new ones too."""
        parts = self.family.parts()
        self.assertEqual([["a.0", "a.1"]], self.names([next(parts)]))
        self.store.counter("b")
        self.assertEqual([["a.2", "a.3"], ["a.4", "b"]], self.names(parts))
        self.assertEqual(6, sum(map(len, self.family.parts())))


class UsedTests(SynchronousTestCase):
    """What counts as used."""

    def test_counter(self) -> None:
        """A counter may be used though it is 0, if somebody says so."""
        counter = Store().counter("c")
        counter.touch()
        self.assertEqual((0, True), (counter.tally, counter.was_used))

    def test_gauge(self) -> None:
        """A gauge that follows a number counts as used from the first one that is not 0."""
        gauge = Store().gauge("g", Merge.SUM)
        gauge.follow(0)
        self.assertFalse(gauge.was_used)
        gauge.follow(2)
        gauge.follow(0)
        self.assertEqual((0, True), (gauge.tally, gauge.was_used))

    def test_gauge_in_two_directions(self) -> None:
        """A gauge goes up with `raised` and down with `lowered`, beside all other ways to move it,
        and counts as used from the first step.
        """
        gauge = Store().gauge("g", Merge.SUM)
        gauge.raised += 3
        self.assertEqual((3, True), (gauge.tally, gauge.was_used))
        gauge.lowered += 3
        self.assertEqual((0, True), (gauge.tally, gauge.was_used))
        gauge.add(2)
        gauge.lowered += 1
        self.assertEqual(1, gauge.tally)
        gauge.set(5)
        gauge.raised += 1
        gauge.set_others(10)
        self.assertEqual(16, gauge.tally)


class HistogramTests(SynchronousTestCase):
    """Histograms: an interval, and all time."""

    def test_seen_after_a_merge(self) -> None:
        """Values show after the next merge; the interval then begins anew, the total goes on."""
        store = Store()
        histogram = store.histogram("ms")
        histogram.record(5)
        self.assertFalse(histogram.was_used)
        store.merge_histograms()
        self.assertEqual((1, 1), (histogram.last_interval.count, histogram.cumulative.count))
        histogram.record(7)
        histogram.record(8)
        store.merge_histograms()
        self.assertEqual((2, 3), (histogram.last_interval.count, histogram.cumulative.count))
        store.merge_histograms()
        self.assertEqual((0, 3), (histogram.last_interval.count, histogram.cumulative.count))

    def test_memory_is_bounded(self) -> None:
        """Any number of values between two merges is counted without keeping them all."""
        histogram = Store().histogram("ms")
        for value in range(PENDING_LIMIT * 3 + 1):
            histogram.record(value)
        self.assertLess(len(histogram._pending), PENDING_LIMIT)
        histogram.merge()
        self.assertEqual(PENDING_LIMIT * 3 + 1, histogram.last_interval.count)

    def test_histograms_do_not_share(self) -> None:
        """What one histogram records is not seen in another that had nothing yet."""
        store = Store()
        store.histogram("a").record(1)
        other = store.histogram("b")
        store.merge_histograms()
        self.assertEqual((0, 0), (other.last_interval.count, other.cumulative.count))
