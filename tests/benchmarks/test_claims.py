"""What pages say of speed, and the published figures."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import report
from benchmarks.claims import CLAIMS, findings
from benchmarks.overview import FOLDER
from benchmarks.proxies import PROXIES
from benchmarks.results import Results, Sample, read
from benchmarks.tools import REPOSITORY
from benchmarks.workloads import WORKLOADS


class ClaimTests(SynchronousTestCase):
    """Sentences of README.md and other pages."""

    def test_words(self) -> None:
        """Each stands in its page as it is quoted."""
        for claim in CLAIMS:
            text = " ".join((REPOSITORY / claim.page).read_text(encoding="utf-8").split())
            self.assertIn(claim.words, text)

    def test_rows(self) -> None:
        """Each has a row in the report of a full run: both proxies can do the work."""
        listeners = {proxy.name: proxy.listeners for proxy in PROXIES}
        works = {work.name: work for work in WORKLOADS}
        for claim in CLAIMS:
            work = works[claim.workload]
            self.assertIn(claim.metric, {metric.key for metric in work.metrics})
            for proxy in (claim.proxy, claim.other):
                self.assertIn(work.listener, listeners[proxy], claim)

    def test_published(self) -> None:
        """None is refuted by the published figures."""
        for finding in findings(read(FOLDER / "results.json")):
            self.assertTrue(finding.holds, finding)

    def test_refuted(self) -> None:
        """The report says where one is."""
        samples = [
            Sample(0, "new", proxy, {"cpu": cpu})
            for proxy, cpu in (("tcpmesh", 80.0), ("nginx", 100.0), ("haproxy", 60.0))
        ]
        text = report.markdown(Results({}, samples), None)

        self.assertIn("| nginx / tcpmesh | 1.00x | 1.25x | **not so** |", text)
        self.assertIn("| haproxy / tcpmesh | 1.00x | 0.75x |  |", text)
