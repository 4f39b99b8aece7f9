"""Statistics as text and as JSON: `tcpmesh.stats.text` and `tcpmesh.stats.select`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.exposition.prometheus import exposition
from tcpmesh.stats.exposition.text_format import PrometheusText
from tcpmesh.stats.family import Declaration
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.select import STEPS, Kind, Query, Selection
from tcpmesh.stats.store import Store
from tcpmesh.stats.text import HistogramView, as_json, as_text, number_text
from tcpmesh.wire.regex import Regex


def sample() -> Store:
    """A store with one statistic of each kind that was used and one that was not."""
    store = Store()
    store.counter("b.total").tally += 2
    store.counter("b.none")
    store.gauge("a.active", Merge.SUM).set(1)
    store.text_readout("z.version").set('say "hi"')
    for value in (1, 2, 2):
        store.histogram("h.ms").record(value)
    store.histogram("h.none")
    store.merge_histograms()
    return store


def text(store: Store, view: HistogramView = HistogramView.SUMMARY, **query: Any) -> str:
    """The text page."""
    return "".join(as_text(Selection(store, Query(**query)), view))


def parsed(store: Store, view: HistogramView = HistogramView.SUMMARY, **query: Any) -> Any:
    """The list of the JSON page."""
    return json.loads("".join(as_json(Selection(store, Query(**query)), view)))["stats"]


QUANTILES = (
    "P0({0},1.05) P25({0},1.05) P50({1},2.033333333333333) P75({2},2.066666666666667) "
    "P90({2},2.066666666666667) "
    "P95({2},2.066666666666667) P99({2},2.066666666666667) P99.5({2},2.066666666666667) "
    "P99.9({2},2.066666666666667) "
    "P100({2},2.066666666666667)"
)


class TextTests(SynchronousTestCase):
    """Lines for people."""

    def test_order_and_form(self) -> None:
        """Texts come first, then counters and gauges together by name, then histograms."""
        quantiles = QUANTILES.format(1.05, 2.033333333333333, 2.066666666666667)
        self.assertEqual(
            f'z.version: "say \\"hi\\""\na.active: 1\nb.none: 0\nb.total: 2\nh.ms: {quantiles}\n'
            f"h.none: No recorded values\n",
            text(sample()),
        )

    def test_an_interval_without_values(self) -> None:
        """After an interval without values its quantiles are not numbers, those of all time
        stay.
        """
        store = sample()
        store.merge_histograms()
        self.assertIn(f"h.ms: {QUANTILES.format('nan', 'nan', 'nan')}\n", text(store))

    def test_buckets(self) -> None:
        """Buckets hold what is up to their bound, or disjoint, what is between."""
        self.assertIn(
            "h.ms: B0.5(0,0) B1(1,1) B5(3,3) B10(3,3)", text(sample(), HistogramView.CUMULATIVE)
        )
        self.assertIn("B1.8e+06(3,3)", text(sample(), HistogramView.CUMULATIVE))
        self.assertIn(
            "h.ms: B0.5(0,0) B1(1,1) B5(2,2) B10(0,0)", text(sample(), HistogramView.DISJOINT)
        )
        self.assertIn("h.none: No recorded values", text(sample(), HistogramView.CUMULATIVE))

    def test_detailed(self) -> None:
        """The detailed view shows the bins themselves."""
        self.assertIn(
            "h.ms:\n  totals=1,0.1:1, 2,0.1:2\n  intervals=1,0.1:1, 2,0.1:2\n  summary=P0(1.05",
            text(sample(), HistogramView.DETAILED),
        )

    def test_numbers(self) -> None:
        """Numbers are as short as they can be."""
        self.assertEqual(
            ["0", "2", "2.5", "nan", "inf"],
            [number_text(x) for x in (0.0, 2.0, 2.5, float("nan"), float("inf"))],
        )


class JsonTests(SynchronousTestCase):
    """JSON for scripts."""

    def test_simple(self) -> None:
        """Each counter, gauge and text is an object, all histograms together are the last."""
        *simple, histograms = parsed(sample())
        self.assertEqual(
            [
                {"name": "z.version", "value": 'say "hi"'},
                {"name": "a.active", "value": 1},
                {"name": "b.none", "value": 0},
                {"name": "b.total", "value": 2},
            ],
            simple,
        )
        self.assertEqual(
            [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100],
            histograms["histograms"]["supported_quantiles"],
        )
        first, second = histograms["histograms"]["computed_quantiles"]
        self.assertEqual(
            ("h.ms", {"cumulative": 1.05, "interval": 1.05}), (first["name"], first["values"][0])
        )
        self.assertEqual(
            ("h.none", {"cumulative": None, "interval": None}),
            (second["name"], second["values"][0]),
        )

    def test_buckets_and_details(self) -> None:
        """Buckets and details have the forms that Envoy gives them."""
        (found,) = parsed(
            sample(), HistogramView.DISJOINT, used_only=True, kinds=frozenset({Kind.HISTOGRAMS})
        )
        self.assertEqual(
            {"upper_bound": 5, "interval": 2, "cumulative": 2}, found["histograms"][0]["buckets"][2]
        )
        (found,) = parsed(
            sample(), HistogramView.DETAILED, used_only=True, kinds=frozenset({Kind.HISTOGRAMS})
        )
        self.assertEqual(
            {"lower_bound": 2, "width": 0.1, "count": 2},
            found["histograms"]["details"][0]["totals"][1],
        )

    def test_parts(self) -> None:
        """Every mix of kinds is valid JSON, nothing at all included."""
        for kinds in (
            {Kind.COUNTERS},
            {Kind.HISTOGRAMS},
            {Kind.TEXT_READOUTS, Kind.HISTOGRAMS},
            set[Kind](),
        ):
            found = parsed(sample(), kinds=frozenset(kinds))
            self.assertEqual(Kind.HISTOGRAMS in kinds, bool(found) and "histograms" in found[-1])

    def test_unusual_names(self) -> None:
        """A name with quotes, backslashes or letters beyond ASCII comes back as it was."""
        names = ['a"b', "a\\b", "a\u00e9b", "a\x7fb", "a\nb", "plain"]
        store = Store()
        for name in names:
            store.counter(name).tally += 3
        found = parsed(store)
        self.assertEqual([{"name": name, "value": 3} for name in sorted(names)], found)


class QueryTests(SynchronousTestCase):
    """Asking for some only."""

    def test_used_only(self) -> None:
        """What was never written to can be left out, histograms too."""
        self.assertEqual(
            ["z.version", "a.active", "b.total", "h.ms"],
            [line.split(":")[0] for line in text(sample(), used_only=True).splitlines()],
        )

    def test_pattern(self) -> None:
        """A pattern is searched in the whole name, and may be turned round."""
        self.assertEqual("b.total: 2\n", text(sample(), pattern=Regex("tot")))
        self.assertNotIn("b.total", text(sample(), pattern=Regex("tot"), invert=True))

    def test_used_of_many(self) -> None:
        """Of counters and gauges those that were written to are found, by name, and of them those
        that the expression asks for.
        """
        store = Store()
        for number in range(400):
            name = f"{number:03}"
            store.counter(f"c{name}").tally += number % 50 == 0
            store.gauge(f"b{name}" if number % 2 else f"d{name}", Merge.SUM).add(number == 399)
        store.declare(Declaration(counters=("c000.declared",)))
        made = [f"c{number:03}: 1" for number in range(0, 400, 50)]
        gauges = [f"b{number:03}: {int(number == 399)}" for number in range(1, 400, 2)]
        self.assertEqual([*gauges, *made], text(store, used_only=True).splitlines()[: 200 + 8])
        self.assertEqual(
            ["c100: 1", "c150: 1"],
            text(store, used_only=True, pattern=Regex("^c1")).splitlines(),
        )
        self.assertEqual(
            ["b399: 1", "d398: 0"],
            text(store, used_only=True, pattern=Regex("39[89]")).splitlines(),
        )

    def test_hidden(self) -> None:
        """None is hidden, so whoever asks for hidden ones alone gets none."""
        self.assertEqual("", text(sample(), hidden_only=True))

    def test_nothing_found_for_a_while(self) -> None:
        """While nothing matches there are empty pieces, at which others can have their turn."""
        store = Store()
        for number in range(5000):
            store.counter(f"c{number}")
        selection = Selection(store, Query(pattern=Regex("no such")))
        for pieces in (
            as_text(selection),
            as_json(selection),
            exposition(selection, store.tagger, PrometheusText()),
        ):
            self.assertGreaterEqual(list(pieces).count(""), 10)

    def test_dear_expressions(self) -> None:
        """The dearer the expression is, the sooner others have their turn, found or not found."""
        dear = Regex("(?:.?){1000}")
        self.assertGreater(dear.steps, STEPS // 4)
        store = Store()
        for number in range(100):
            store.counter(f"c{number}")
        for invert in (False, True):
            for used_only in (False, True):
                query = Query(used_only, dear, invert)
                self.assertGreaterEqual(len(list(Selection(store, query).rows())), 25)
                query = Query(used_only, Regex("c"), invert)
                self.assertLessEqual(len(list(Selection(store, query).rows())), 2)

    def test_kinds(self) -> None:
        """Kinds can be asked for one by one."""
        self.assertEqual("a.active: 1\n", text(sample(), kinds=frozenset({Kind.GAUGES})))

    def test_up_to_date(self) -> None:
        """What is counted elsewhere is brought in before anything is shown."""
        store = sample()
        store.add_collector(lambda: store.gauge("a.active", Merge.SUM).set(7))
        self.assertIn("a.active: 7\n", text(store))
