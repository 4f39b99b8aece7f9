"""The picture of the README."""

from __future__ import annotations

from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.overview import FOLDER, PICTURE, PROXIES, panels, svg
from benchmarks.results import Results, Sample, read


class OverviewTests(SynchronousTestCase):
    """The picture that is published, and the results that it is drawn from."""

    def setUp(self) -> None:
        """Read what is published."""
        self.results = read(FOLDER / "results.json")

    def test_published(self) -> None:
        """It is the one that `python -m benchmarks.overview` draws of the published results."""
        self.assertEqual(svg(self.results), PICTURE.read_text(encoding="utf-8"))

    def test_figures(self) -> None:
        """Each figure in it stands in results.md, in the column of its proxy."""
        text = (FOLDER / "results.md").read_text(encoding="utf-8")
        rows = [
            [cell.strip() for cell in line.split("|")]
            for line in text.splitlines()
            if line.startswith("|")
        ]
        for panel in panels(self.results):
            shown = [text for _, _, text in panel.prices]
            columns = [rows[0].index(proxy) for proxy in PROXIES]
            table = [
                [row[column].partition(" ")[0] for column in columns]
                for row in rows
                if len(row) == len(rows[0])
            ]
            self.assertIn(shown, table, panel.title)
            for figure in shown:
                self.assertIn(f">{figure}</text>", PICTURE.read_text(encoding="utf-8"))

    def test_bars(self) -> None:
        """It is well-formed; each panel has a bar for each proxy, as long as the price is high."""
        rectangles = [
            node
            for node in ElementTree.fromstring(svg(self.results)).iter()
            if node.tag.endswith("rect")
        ]
        bars = [float(node.attrib["width"]) for node in rectangles[1:]]
        drawn = [bars[start : start + len(PROXIES)] for start in range(0, len(bars), len(PROXIES))]

        for panel, widths in zip(panels(self.results), drawn, strict=True):
            prices = [price for _, price, _ in panel.prices]
            for price, width in zip(prices, widths, strict=True):
                self.assertAlmostEqual(price / max(prices), width / max(widths), places=2)

    def test_incomplete(self) -> None:
        """Of a run that leaves out a proxy or a workload there is no picture."""
        partial = Results({}, [Sample(0, "small-64", "tcpmesh", {"cpu": 8.0})])

        error = self.assertRaises(LookupError, svg, partial)
        self.assertIn("envoy", str(error))
