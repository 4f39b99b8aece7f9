"""What the benchmark says of its samples."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import chart, report
from benchmarks.process import BenchmarkError
from benchmarks.results import Failure, Part, Results, Sample, joined, read
from benchmarks.targets import verdicts

SMALL = {"cpu": 10.0, "rate": 30_000.0, "p50": 1.0, "p99": 4.0}


def small(number: int, proxy: str, cpu: float) -> Sample:
    """A sample of small requests that differs in CPU only."""
    return Sample(number, "small-64", proxy, {**SMALL, "cpu": cpu})


class SummaryTests(SynchronousTestCase):
    """Medians and ratios."""

    def test_median_and_spread(self) -> None:
        """A summary holds the median, the lowest and the highest of the rounds."""
        results = Results(
            {}, [small(0, "nginx", 30.0), small(1, "nginx", 10.0), small(2, "nginx", 11.0)]
        )
        summary = results.summary("nginx", "small-64", "cpu")

        assert summary is not None
        self.assertEqual((11.0, 10.0, 30.0), (summary.median, summary.lowest, summary.highest))
        self.assertEqual((10.5, 20.5), summary.quartiles)
        self.assertIsNone(summary.ratio)

    def test_ratio_pairs_rounds(self) -> None:
        """Ratios are taken within a round, so a slow machine in one round does not count for one
        proxy only.
        """
        results = Results(
            {},
            [
                small(0, "tcpmesh", 8.0),
                small(0, "envoy", 10.0),
                small(1, "tcpmesh", 80.0),
                small(1, "envoy", 100.0),
            ],
        )

        self.assertEqual(0.8, results.ratio("tcpmesh", "envoy", "small-64", "cpu"))

    def test_ratio_needs_both(self) -> None:
        """A round in which Envoy has no figure, or none but zero, counts for no ratio."""
        results = Results(
            {}, [small(0, "tcpmesh", 8.0), small(1, "tcpmesh", 8.0), small(1, "envoy", 0.0)]
        )

        self.assertIsNone(results.ratio("tcpmesh", "envoy", "small-64", "cpu"))

    def test_absent(self) -> None:
        """A proxy without samples has no summary."""
        self.assertIsNone(Results({}).summary("tcpmesh", "small-64", "cpu"))

    def test_json(self) -> None:
        """Written results are read back equal."""
        path = Path(self.mktemp())
        results = Results(
            {"cores": "2"},
            [small(0, "envoy", 1.5)],
            [Failure(0, "new", "envoy", "why")],
            ["noisy"],
            True,
            {"tcpmesh-uring": "no io_uring"},
            [Part(0, {"load": "0.1"})],
        )
        results.write(path)

        self.assertEqual(results, read(path))

    def test_earlier_results(self) -> None:
        """A figure that an earlier run did not take is absent, and the rest is shown."""
        results = Results({}, [Sample(0, "small-1000", "envoy", SMALL)])

        self.assertIsNone(results.summary("envoy", "small-1000", "newcomer"))
        self.assertIn("small-1000: rate", report.markdown(results, None))

    def test_other_file(self) -> None:
        """A file of something else is refused."""
        path = Path(self.mktemp())
        for text in ("{}", "[]", "no JSON", '{"facts": {}, "samples": [{}]}'):
            path.write_text(text)
            self.assertRaisesRegex(BenchmarkError, "is not a results.json", read, path)


class RunsTests(SynchronousTestCase):
    """Several runs, put together."""

    def run_of(self, cpu: float, commit: str = "1", **facts: str) -> Results:
        """Two rounds, in which Envoy takes 10 and 20."""
        return Results(
            {"processor": "P", "tcpmesh": commit, "envoy": "1.40", "rounds": "2", **facts},
            [
                each
                for number, theirs in enumerate((10.0, 20.0))
                for each in (small(number, "tcpmesh", cpu), small(number, "envoy", theirs))
            ],
        )

    def test_rounds(self) -> None:
        """Rounds of the second run follow those of the first, and medians are over all."""
        both = joined(self.run_of(8.0), self.run_of(4.0))

        self.assertEqual(4, both.rounds())
        summary = both.summary("tcpmesh", "small-64", "cpu")
        assert summary is not None
        self.assertEqual((6.0, 4.0, 8.0), (summary.median, summary.lowest, summary.highest))
        self.assertEqual("4, in 2 runs", both.facts["rounds"])

    def test_third(self) -> None:
        """A third run follows the second."""
        three = joined(joined(self.run_of(8.0), self.run_of(4.0)), self.run_of(2.0))

        self.assertEqual([0, 2, 4], [part.first for part in three.runs])
        last = three.of_run(2).summary("tcpmesh", "small-64", "cpu")
        assert last is not None
        self.assertEqual(2.0, last.median)

    def test_facts(self) -> None:
        """What was so in one run alone is told of that run, also of the first of three."""
        two = joined(self.run_of(8.0, load="0.1"), self.run_of(4.0, load="0.2"))
        three = joined(two, self.run_of(4.0, load="0.3"))

        self.assertNotIn("load", three.facts)
        self.assertEqual(["0.1", "0.2", "0.3"], [part.facts["load"] for part in three.runs])

    def test_another_program(self) -> None:
        """Runs of two versions are not put together."""
        error = self.assertRaises(
            BenchmarkError, joined, self.run_of(8.0), self.run_of(4.0, commit="2")
        )
        self.assertIn("another tcpmesh (1, not 2)", str(error))

    def test_page(self) -> None:
        """The page has what each run came to, for the figures to steer by."""
        text = report.markdown(joined(self.run_of(8.0), self.run_of(4.0, load="0.2")), None)

        row = "| small-64: CPU per request, µs | 8.0 / 15.0 (0.60x) | 4.0 / 15.0 (0.30x) |"
        self.assertIn(row, text)
        self.assertIn("Run 2: load: 0.2.", text)

    def test_one_run(self) -> None:
        """Of a single run nothing of that kind is said."""
        self.assertNotIn("From run to run", report.markdown(self.run_of(8.0), None))


class TargetTests(SynchronousTestCase):
    """The project's targets."""

    def test_met_and_missed(self) -> None:
        """CPU at 0.8 of Envoy's meets its target, and an aim that is another proxy's figure is
        found.
        """
        results = Results(
            {}, [small(0, "tcpmesh", 8.0), small(0, "envoy", 10.0), small(0, "nginx", 7.0)]
        )
        found = {verdict.target.metric: verdict for verdict in verdicts(results)}

        self.assertTrue(found["cpu"].reached)
        self.assertEqual(0.7, found["cpu"].aim)
        self.assertFalse(found["cpu"].aim_reached)

    def test_rates_rise(self) -> None:
        """A bulk rate below Envoy's misses its target, although it is the smaller number."""
        samples = [
            Sample(0, "download", "tcpmesh", {"cpu": 0.2, "rate": 0.9}),
            Sample(0, "download", "envoy", {"cpu": 0.3, "rate": 1.0}),
        ]
        found = {verdict.target.metric: verdict for verdict in verdicts(Results({}, samples))}

        self.assertFalse(found["rate"].reached)
        self.assertTrue(found["cpu"].reached)


class ReportTests(SynchronousTestCase):
    """The Markdown report and the chart."""

    def setUp(self) -> None:
        self.results = Results(
            {"kernel": "Linux"}, [small(0, "tcpmesh", 8.0), small(0, "envoy", 10.0)]
        )

    def test_ratio_beside_median(self) -> None:
        """A cell shows the median and the ratio to Envoy, whose own cell shows the median only."""
        self.assertIn("| 8.0 (0.80x) | 10.0 |", report.markdown(self.results, None))

    def test_uncounted(self) -> None:
        """A figure that nobody has, such as instructions where they cannot be counted, has no
        line.
        """
        self.assertNotIn("instructions", report.markdown(self.results, None))
        values = {**SMALL, "user": 12.3, "kernel": 4.5}
        self.results.samples.append(Sample(1, "small-64", "envoy", values))
        self.assertIn(
            "| small-64: in the program, thousand instructions per request | - | 12.3 |",
            report.markdown(self.results, None),
        )

    def test_failures(self) -> None:
        """What went wrong is listed; else the report says that all was right."""
        self.assertIn("Every byte and every reply was right", report.markdown(self.results, None))
        self.results.failures.append(Failure(2, "upload", "tcpmesh", "wrong bytes between 1 and 2"))

        self.assertIn(
            "- round 3, tcpmesh, upload: wrong bytes between 1 and 2",
            report.markdown(self.results, None),
        )

    def test_absent(self) -> None:
        """Who could not run here is told with the reason."""
        self.results.absent["tcpmesh-uring"] = "the kernel refuses it"

        self.assertIn(
            "tcpmesh-uring is left out, it did not run here: the kernel refuses it.",
            report.markdown(self.results, None),
        )

    def test_warnings(self) -> None:
        """What speaks against the figures stands above them."""
        self.results.warnings.append("Noisy.")

        self.assertIn("**Noisy.**", report.markdown(self.results, None))

    def test_chart(self) -> None:
        """The chart is well-formed and has a bar for each proxy and figure to steer by, beside its
        ground and legend.
        """
        picture = chart.svg(self.results)

        assert picture is not None
        bars = [
            node for node in ElementTree.fromstring(picture).iter() if node.tag.endswith("rect")
        ]
        self.assertEqual(1 + 2 + 2 * 2, len(bars))

    def test_cut_bar(self) -> None:
        """A bar longer than twice Envoy's is cut, and shows it."""
        self.results.samples.append(small(0, "nginx", 25.0))
        picture = chart.svg(self.results)

        assert picture is not None
        self.assertEqual(1, picture.count('class="cut"'))
        self.assertIn(">2.50<", picture)

    def test_no_chart(self) -> None:
        """Without Envoy there is nothing to compare with, and no chart."""
        self.assertIsNone(chart.svg(Results({}, [small(0, "tcpmesh", 8.0)])))
