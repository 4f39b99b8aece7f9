"""What a store tells of itself, and what another one makes of it: `Store.deltas` and
`Store.merge`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats import family
from tcpmesh.stats import store as store_module
from tcpmesh.stats.deltas import PART, Deltas, GaugeValue, Interval, Names, joined, parts
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.select import Query, Selection
from tcpmesh.stats.store import Declaration, Scope, Store
from tcpmesh.stats.text import as_text


def shown(store: Store) -> dict[str, int]:
    """Counters and gauges by name, as an operator sees them."""
    store.collect()
    counters = {counter.name: counter.tally for counter in store.counters()}
    return {**counters, **{gauge.name: gauge.tally for gauge in store.gauges()}}


def go_through(steps: Iterator[None]) -> int:
    """Do all of it; how many steps that takes."""
    return sum(1 for _ in steps)


class DeltasTests(SynchronousTestCase):
    """What a store tells."""

    def setUp(self) -> None:
        """A store that has told all of its past."""
        self.store = Store()
        self.scope = self.store.scope("cluster.c")
        self.counter = self.scope.counter("total")
        self.gauge = self.scope.gauge("active", Merge.SUM)
        self.histogram = self.scope.histogram("ms")
        self.text = self.scope.text_readout("version")
        self.first = self.store.deltas()

    def test_first(self) -> None:
        """The first are whole: all names, by their prefixes."""
        self.assertTrue(self.first.is_whole)
        names = Names(("total",), ("active",), ("ms",), ("version",))
        self.assertEqual({"cluster.c.": names}, {k: v for k, v in self.first.shown.items() if k})
        self.assertEqual(({}, {}), (self.first.counters, self.first.gauges))

    def test_nothing(self) -> None:
        """Where nothing has happened there is nothing to tell."""
        deltas = self.store.deltas()
        self.assertEqual((Deltas(), False), (deltas, bool(deltas)))

    def test_parts(self) -> None:
        """They can be sent in parts of a bounded size, and be put together again."""
        for number in range(1200):
            self.store.counter(f"c{number}").tally += 1
            self.store.scope(f"s{number}").gauge("g", Merge.SUM).set(number)
        for deltas in (self.first, Deltas(), self.store.deltas(), self.store.deltas(True)):
            told = list(parts(deltas))
            self.assertEqual(deltas, joined(told))
            most = (len(each.counters) + len(each.gauges) + len(each.shown) for each in told)
            self.assertLessEqual(max(most), PART)

    def test_growth(self) -> None:
        """Of counters it is their growth, and each is told once."""
        self.counter.tally += 3
        self.assertEqual({"cluster.c.total": 3}, self.store.deltas().counters)
        self.counter.tally += 1
        self.assertEqual({"cluster.c.total": 1}, self.store.deltas().counters)
        self.assertFalse(self.store.deltas())

    def test_reset(self) -> None:
        """What was counted before a reset and not told yet is not lost."""
        self.counter.tally += 3
        self.store.deltas()
        self.counter.tally += 2
        self.store.reset_counters()
        self.counter.tally += 4
        self.assertEqual({"cluster.c.total": 6}, self.store.deltas().counters)
        self.store.reset_counters()
        self.assertFalse(self.store.deltas())

    def test_gauges(self) -> None:
        """Of gauges it is what they are, and how they are merged; only those that were moved."""
        self.gauge.add(2)
        self.scope.gauge("state", Merge.MAIN).set(0)
        self.assertEqual(
            {
                "cluster.c.active": GaugeValue(Merge.SUM, 2),
                "cluster.c.state": GaugeValue(Merge.MAIN, 0),
            },
            self.store.deltas().gauges,
        )
        self.gauge.set(2)
        self.assertFalse(self.store.deltas())

    def test_gauge_up_and_down(self) -> None:
        """A gauge that went up and down again between two looks is told: it was used."""
        for _ in range(2):
            self.gauge.raised += 1
            self.gauge.lowered += 1
            self.assertEqual(
                {"cluster.c.active": GaugeValue(Merge.SUM, 0)}, self.store.deltas().gauges
            )
        self.assertFalse(self.store.deltas())

    def test_histograms(self) -> None:
        """Of histograms it is what they were given, in bins, also where intervals have ended
        meanwhile; telling ends one.
        """
        self.histogram.record(1)
        self.store.merge_histograms()
        self.histogram.record(25)
        self.histogram.record(1.01)
        self.assertEqual(
            {"cluster.c.ms": Interval("ms", 27.01, ((10, 2), (125, 1)))},
            self.store.deltas().histograms,
        )
        self.assertEqual(
            (2, 3), (self.histogram.last_interval.count, self.histogram.cumulative.count)
        )
        self.assertFalse(self.store.deltas())

    def test_text_readouts(self) -> None:
        """Texts are told when they are set."""
        self.text.set("v1")
        self.assertEqual({"cluster.c.version": "v1"}, self.store.deltas().text_readouts)
        self.assertFalse(self.store.deltas())

    def test_whole(self) -> None:
        """Who knows nothing yet is told all names, gauges and texts; growth only once all the
        same.
        """
        self.counter.tally += 1
        self.gauge.add(1)
        self.text.set("v1")
        self.store.deltas()
        deltas = self.store.deltas(whole=True)
        self.assertEqual(self.first.shown, deltas.shown)
        self.assertEqual(
            ({}, {"cluster.c.active": GaugeValue(Merge.SUM, 1)}, {"cluster.c.version": "v1"}),
            (deltas.counters, deltas.gauges, deltas.text_readouts),
        )

    def test_names(self) -> None:
        """A prefix at which names have come or gone is told with all names there are now; equal
        ones are one object.
        """
        for name in ("d", "e"):
            scope = self.store.scope(f"cluster.{name}")
            scope.counter("total")
            scope.declare(Declaration(counters=("other",), gauges=("version",)))
        told = self.store.deltas().shown
        names = Names(("total", "other"), ("version",))
        self.assertEqual({"cluster.d.": names, "cluster.e.": names}, told)
        self.assertIs(told["cluster.d."], told["cluster.e."])
        self.scope.close()
        self.assertEqual({"cluster.c.": Names()}, self.store.deltas().shown)

    def test_dropped(self) -> None:
        """What was counted before its scope closed is still told."""
        self.counter.tally += 5
        self.histogram.record(1)
        self.scope.close()
        deltas = self.store.deltas()
        self.assertEqual({"cluster.c.total": 5}, deltas.counters)
        self.assertEqual({"cluster.c.ms": Interval("ms", 1, ((10, 1),))}, deltas.histograms)

    def test_collected(self) -> None:
        """What is counted elsewhere is brought in first."""

        def collect() -> None:
            self.counter.tally += 7

        self.store.add_collector(collect)
        self.assertEqual({"cluster.c.total": 7}, self.store.deltas().counters)

    def test_steps(self) -> None:
        """What happens between two steps is told then or the next time, and never lost."""
        self.patch(family, "PART", 1)
        self.patch(store_module, "NAMES_STEP", 1)
        main, counters = Store(), [self.scope.counter(f"c{n}") for n in range(4)]
        main.merge(self.store.deltas(whole=True), "w")
        counted, left = 0, 3
        while left:
            steps = self.store.gathering()
            while True:
                try:
                    next(steps)
                except StopIteration as e:
                    main.merge(e.value, "w")
                    break
                if left > 1:
                    for counter in (*counters, self.scope.counter(f"new{counted}")):
                        counter.tally += 1
                        counted += 1
            left -= 1
        total = sum(stat.tally for stat in main.counters())
        self.assertEqual((counted, True), (total, counted > 20))

    def test_nobody_asks(self) -> None:
        """A store whose deltas nobody wants keeps nothing for them."""
        store = Store()
        for _ in range(3):
            scope = store.scope("listener.l")
            scope.counter("total").tally += 1
            scope.close()
        self.assertEqual({}, store.deltas().counters)


class MergeTests(SynchronousTestCase):
    """What main shows of two workers, named a and b."""

    def setUp(self) -> None:
        """Main, and two workers with one cluster."""
        self.main = Store()
        self.workers = {name: Store() for name in "ab"}
        self.scopes = {name: store.scope("cluster.c") for name, store in self.workers.items()}

    def send(self, *names: str) -> None:
        """These workers, or both, tell what they have."""
        for name in names or "ab":
            self.main.merge(self.workers[name].deltas(), name)

    def test_counted_last(self) -> None:
        """What was counted last under a name that goes is in main's own deltas."""
        self.send()
        self.main.deltas()
        self.scopes["a"].counter("n").tally += 3
        self.send()
        self.scopes["a"].counter("n").tally += 4
        for scope in self.scopes.values():
            scope.close()
        self.send()
        self.assertEqual(7, self.main.deltas().counters["cluster.c.n"])

    def each_gauge(self, merge: Merge) -> list[Any]:
        """A gauge of this kind in each worker."""
        return [scope.gauge("g", merge) for scope in self.scopes.values()]

    def value(self, name: str) -> int | None:
        """What main shows, if it does."""
        return shown(self.main).get(f"cluster.c.{name}")

    def test_counters(self) -> None:
        """Counters are summed, with main's own."""
        for number, scope in enumerate(self.scopes.values(), 1):
            scope.counter("total").tally += number
        self.main.scope("cluster.c").counter("total").tally += 10
        self.send()
        self.send()
        self.assertEqual(13, self.value("total"))

    def test_reset(self) -> None:
        """After a reset in main, counting goes on from 0."""
        counter = self.scopes["a"].counter("total")
        counter.tally += 5
        self.send()
        self.main.reset_counters()
        counter.tally += 1
        self.send()
        self.assertEqual(1, self.value("total"))

    def test_sum(self) -> None:
        """Gauges that are parts of a whole are summed, with main's own."""
        one, other = self.each_gauge(Merge.SUM)
        one.set(3)
        other.set(4)
        own = self.main.scope("cluster.c").gauge("g", Merge.SUM)
        own.set(1)
        self.send()
        self.assertEqual(8, self.value("g"))
        one.add(-2)
        own.add(1)
        self.send()
        self.assertEqual(7, self.value("g"))

    def test_max(self) -> None:
        """Of gauges that all workers see the greatest is shown."""
        one, other = self.each_gauge(Merge.MAX)
        one.set(3)
        other.set(4)
        self.send()
        self.assertEqual(4, self.value("g"))
        other.set(2)
        self.send()
        self.assertEqual(3, self.value("g"))

    def test_main(self) -> None:
        """What only main knows no worker says."""
        self.each_gauge(Merge.MAIN)[0].set(3)
        self.send()
        self.assertEqual(0, self.value("g"))
        self.main.scope("cluster.c").gauge("g", Merge.MAIN).set(9)
        self.send()
        self.assertEqual(9, self.value("g"))

    def test_main_of_its_own(self) -> None:
        """What a process says of itself alone its own deltas tell."""
        self.main.gauge("server.live", Merge.MAIN).set(1)
        self.assertEqual({"server.live": GaugeValue(Merge.MAIN, 1)}, self.main.deltas().gauges)

    def test_histograms(self) -> None:
        """Histograms are put together, and shown after main's own interval."""
        for scope in self.scopes.values():
            scope.histogram("bytes", unit="").record(7)
        self.send()
        self.main.merge_histograms()
        histogram = next(self.main.histograms())
        self.assertEqual(("cluster.c.bytes", ""), (histogram.name, histogram.unit))
        self.assertEqual((2, 14), (histogram.last_interval.count, histogram.last_interval.sum))

    def test_text_readouts(self) -> None:
        """Main's own text is shown, or else that of the first worker that has one."""
        for name in "ba":
            self.scopes[name].text_readout("version").set(name)
        self.send("b", "a")
        self.assertEqual(["a"], [text.readout for text in self.main.text_readouts()])
        go_through(self.main.withdrawing("a"))
        self.assertEqual(["b"], [text.readout for text in self.main.text_readouts()])
        self.main.text_readout("cluster.c.version").set("main")
        self.assertEqual(["main"], [text.readout for text in self.main.text_readouts()])

    def test_names(self) -> None:
        """Names that nothing has moved yet are shown at 0, and cost no objects."""
        self.scopes["a"].declare(Declaration(counters=("declared",)))
        self.scopes["b"].counter("made")
        self.send()
        self.assertEqual({"cluster.c.declared": 0, "cluster.c.made": 0}, shown(self.main))

    def test_names_go_with_the_last(self) -> None:
        """A name is shown, with what all have counted, until nobody has it any more."""
        for scope in self.scopes.values():
            scope.counter("total").tally += 1
        self.send()
        self.scopes["a"].close()
        self.send()
        self.assertEqual(2, self.value("total"))
        self.scopes["b"].close()
        self.send()
        self.assertEqual({}, shown(self.main))
        self.workers["a"].scope("cluster.c").counter("total")
        self.send()
        self.assertEqual(0, self.value("total"))

    def test_last_words(self) -> None:
        """What a worker counted before it gave up a name is added while another has the name, and
        forgotten where none has.
        """
        for scope in self.scopes.values():
            scope.counter("total").tally += 1
        self.send()
        for name in "ab":
            self.scopes[name].counter("total").tally += 10
            self.scopes[name].close()
            self.send(name)
            self.assertEqual({"a": 12, "b": None}[name], self.value("total"))

    def test_gauges_go_with_their_names(self) -> None:
        """A worker that gives up a gauge has no part in it any more."""
        for gauge in self.each_gauge(Merge.SUM):
            gauge.set(5)
        self.send()
        self.scopes["a"].close()
        self.send()
        self.assertEqual(5, self.value("g"))

    def test_dead_worker(self) -> None:
        """A dead worker's gauges are withdrawn, what it counted stays; another one in its place
        begins anew.
        """
        for merge, name in ((Merge.SUM, "sum"), (Merge.MAX, "max")):
            for number, scope in enumerate(self.scopes.values(), 3):
                scope.gauge(name, merge).set(number)
        self.scopes["b"].counter("total").tally += 7
        self.send()
        go_through(self.main.withdrawing("b"))
        go_through(self.main.withdrawing("unknown"))
        self.assertEqual((3, 3, 7), tuple(map(self.value, ("sum", "max", "total"))))
        self.workers["b"] = Store()
        scope = self.workers["b"].scope("cluster.c")
        scope.gauge("sum", Merge.SUM).set(1)
        scope.counter("total").tally += 1
        self.send()
        self.assertEqual((4, 3, 8), tuple(map(self.value, ("sum", "max", "total"))))

    def test_replaced_worker(self) -> None:
        """What is whole takes the place of all that its source has told: names and gauges that are
        not there are gone.
        """
        self.scopes["a"].gauge("g", Merge.SUM).set(3)
        self.workers["a"].scope("cluster.d").counter("total")
        self.send()
        self.workers["a"] = Store()
        self.workers["a"].scope("cluster.c").gauge("g", Merge.SUM)
        self.send()
        self.assertEqual({"cluster.c.g": 0}, shown(self.main))

    def test_steps(self) -> None:
        """Taking in what a worker with many clusters tells, and letting go of it, takes many steps,
        none of which is long.
        """
        gauges = tuple(f"gauge{number}" for number in range(100))
        for number in range(200):
            scope = self.workers["a"].scope(f"cluster.c{number}")
            for name in gauges:
                scope.gauge(name, Merge.SUM).set(1)
        deltas = self.workers["a"].deltas()
        self.assertGreater(go_through(self.main.merging(deltas, "a")), 100)
        self.assertGreater(go_through(self.main.merging(deltas, "a")), 180)
        self.assertGreater(go_through(self.main.withdrawing("a")), 75)
        self.assertGreater(go_through(self.main.forgetting("a")), 190)

    def test_forget(self) -> None:
        """What only a source had that does not come again is gone, what others have too stays."""
        self.scopes["a"].counter("total").tally += 1
        self.scopes["b"].counter("total").tally += 1
        self.scopes["b"].counter("other").tally += 1
        self.send()
        go_through(self.main.forgetting("b"))
        go_through(self.main.forgetting("b"))
        self.assertEqual({"cluster.c.total": 2}, shown(self.main))

    def test_predecessor(self) -> None:
        """A process that takes over inherits growth and parts of a whole, as in Envoy, and not what
        its predecessor sees of its own clusters; what is withdrawn at its end is only that.
        """
        for merge in Merge:
            self.scopes["a"].gauge(merge.value, merge).set(3)
        self.scopes["a"].counter("total").tally += 2
        child = Store()
        scope = child.scope("cluster.c")
        for merge in Merge:
            scope.gauge(merge.value, merge).set(1)
        child.merge(self.workers["a"].deltas(), "parent", is_predecessor=True)
        expected = {"sum": 4, "max": 1, "main": 1, "total": 2}
        self.assertEqual({f"cluster.c.{name}": n for name, n in expected.items()}, shown(child))
        go_through(child.forgetting("parent"))
        expected = {"sum": 1, "max": 1, "main": 1}
        self.assertEqual({f"cluster.c.{name}": n for name, n in expected.items()}, shown(child))

    def test_sink(self) -> None:
        """What workers tell, main's own deltas tell in turn, once."""
        self.scopes["a"].counter("total").tally += 2
        self.scopes["a"].histogram("ms").record(1)
        for gauge in self.each_gauge(Merge.SUM):
            gauge.set(1)
        self.main.deltas()
        self.send()
        deltas = self.main.deltas()
        self.assertEqual(
            ({"cluster.c.total": 2}, {"cluster.c.g": GaugeValue(Merge.SUM, 2)}),
            (deltas.counters, deltas.gauges),
        )
        self.assertEqual({"cluster.c.ms": Interval("ms", 1, ((10, 1),))}, deltas.histograms)
        self.assertFalse(self.main.deltas())

    def test_read_as_any_other(self) -> None:
        """A reader sees no difference."""
        self.scopes["a"].counter("total").tally += 2
        self.scopes["a"].declare(Declaration(gauges=("version",)))
        self.send()
        self.assertEqual(
            "cluster.c.total: 2\ncluster.c.version: 0\n",
            "".join(as_text(Selection(self.main, Query()))),
        )


NAMES = ("x", "y")

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["count", "add", "set", "record"]),
            st.integers(0, 2),
            st.sampled_from(NAMES),
            st.integers(1, 40),
        ),
        st.tuples(
            st.sampled_from(["open", "close", "tell", "whole", "deliver", "reset"]),
            st.integers(0, 2),
            st.just("x"),
            st.just(0),
        ),
    ),
    min_size=30,
    max_size=100,
)


class GameTests(SynchronousTestCase):
    """Workers that count, tell and are heard in any order."""

    @settings(max_examples=200, deadline=None)
    @given(STEPS)
    def test_same_as_one_store(self, steps: list[tuple[str, int, str, int]]) -> None:
        """In the end main shows what one store would that had seen everything, and a third store
        that main tells shows it too.
        """
        game = Game()
        for kind, worker, name, number in steps:
            game.play(kind, worker, name, number)
        self.assertEqual(game.expected(), game.seen())


class Game:
    """Three workers, what they have sent and main has not seen, and a store that sees all at once.

    Main has all names itself, as it has the configuration, so none of them is lost when the last
    worker closes its scope.  Of a gauge in one store only the sum can be the same, so the others
    are remembered.
    """

    def __init__(self) -> None:
        self.main, self.one, self.third = Store(), Store(), Store()
        for store in (self.main, self.one):
            store.scope("s").declare(
                Declaration(NAMES, ("x.sum", "y.sum", "x.max", "y.max"), ("x.ms", "y.ms"))
            )
        self.workers = [Store() for _ in range(3)]
        self.sent: list[deque[Deltas]] = [deque() for _ in range(3)]
        self.scopes: list[list[tuple[Scope, Scope]]] = [[] for _ in range(3)]
        self.greatest: dict[tuple[int, str], int] = {}
        for worker in range(3):
            self.open(worker)
            self.play("tell", worker, "", 0)

    def open(self, worker: int) -> None:
        """A scope more, in the worker and in the store that sees all."""
        self.scopes[worker].append((self.workers[worker].scope("s"), self.one.scope("s")))

    def play(self, kind: str, worker: int, name: str, number: int) -> None:
        """One thing happens."""
        sent = self.sent[worker]
        if kind == "open":
            self.open(worker)
        elif kind == "close" and len(self.scopes[worker]) > 1:
            for scope in self.scopes[worker].pop():
                scope.close()
        elif kind in ("tell", "whole"):
            sent.append(self.workers[worker].deltas(whole=kind == "whole"))
        elif kind == "deliver" and sent:
            self.main.merge(sent.popleft(), f"w{worker}")
            self.third.merge(self.main.deltas(), "main")
        elif kind == "reset":
            self.workers[worker].reset_counters()
        else:
            self.move(kind, worker, name, number)

    def move(self, kind: str, worker: int, name: str, number: int) -> None:
        """A statistic moves, in both.  Gauges are those of a scope that stays: one that closes
        takes back what it has.
        """
        for scope in self.scopes[worker][0]:
            if kind == "add":
                scope.gauge(f"{name}.sum", Merge.SUM).add(number - 20)
        for scope in self.scopes[worker][-1]:
            if kind == "count":
                scope.counter(name).tally += number
            elif kind == "record":
                scope.histogram(f"{name}.ms").record(number)
        if kind == "set":
            self.scopes[worker][0][0].gauge(f"{name}.max", Merge.MAX).set(number)
            self.greatest[worker, f"s.{name}.max"] = number

    def expected(self) -> dict[str, object]:
        """What there should be."""
        found = dict(self.results(self.one))
        for name in NAMES:
            full = f"s.{name}.max"
            found[full] = max((self.greatest.get((n, full), 0) for n in range(3)), default=0)
        return found

    def seen(self) -> dict[str, object]:
        """What main shows when all was told, and heard."""
        for worker in range(3):
            self.play("tell", worker, "", 0)
            while self.sent[worker]:
                self.play("deliver", worker, "", 0)
        self.third.merge(self.main.deltas(), "main")
        found = dict(self.results(self.main))
        third = dict(self.results(self.third))
        assert found == third, (found, third)
        return found

    def results(self, store: Store) -> Iterator[tuple[str, object]]:
        """All that a store shows."""
        yield from shown(store).items()
        store.merge_histograms()
        for histogram in store.histograms():
            yield histogram.name, (histogram.cumulative.sum, histogram.cumulative.counts())
