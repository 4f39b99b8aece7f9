"""Pages of statistics: what queries ask for, and what is refused, in the real Envoy's words."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.metrics import Merge
from tests.admin.client import Client
from tests.admin.fakes import FakeServer
from tests.stats.exposition.messages import families

PROTOBUF = "application/vnd.google.protobuf"
OPENMETRICS = "application/openmetrics-text"


class StatsPageTests(SynchronousTestCase):
    """`/stats` and what belongs to it."""

    def setUp(self) -> None:
        """A server with a few statistics."""
        self.server = FakeServer()
        self.client = Client(self.server)
        scope = self.server.store.scope("cluster.c")
        scope.counter("total").tally += 3
        scope.gauge("active", Merge.SUM).set(1)
        for value in (1, 5):
            scope.histogram("length").record(value)
        scope.histogram("never")
        self.server.store.merge_histograms()

    def ask(self, path: str, method: str = "GET", **headers: str) -> Any:
        """An answer."""
        return self.client.ask(path, method, b"", **headers)

    def refused(self, path: str) -> str:
        """What a call is refused with."""
        found = self.ask(path)
        self.assertEqual(400, found.status)
        return str(found.body)

    def test_empty_values(self) -> None:
        """A parameter without a value is one that was not given."""
        whole = self.ask("/stats?filter=^cluster").body
        for name in ("format", "type", "histogram_buckets", "hidden"):
            self.assertEqual(whole, self.ask(f"/stats?filter=^cluster&{name}=").body)

    def test_hidden(self) -> None:
        """None is hidden: so only those are none, and all others are all."""
        for value in ("include", "exclude"):
            self.assertIn("cluster.c.total: 3\n", self.ask(f"/stats?hidden={value}").body)
        self.assertEqual("", self.ask("/stats?hidden=only").body)
        usage = "usage: /stats?hidden=(include|only|exclude)\n\n"
        for path in ("/stats", "/stats/prometheus"):
            self.assertEqual(usage, self.refused(f"{path}?hidden=bogus"))

    def test_wrong_expression(self) -> None:
        """What is no expression is said in the words of the library."""
        for path in ("/stats", "/stats/prometheus"):
            self.assertEqual("Invalid re2 regex: missing ]: [", self.refused(f"{path}?filter=["))

    def test_wrong_buckets(self) -> None:
        """Buckets that do not exist, and those that a format cannot show, are refused."""
        names = "cumulative|disjoint|detailed|summary|prometheusnative"
        for path in ("/stats?", "/stats/prometheus?"):
            self.assertEqual(
                f"usage: /stats?histogram_buckets=({names})\n",
                self.refused(f"{path}histogram_buckets=bogus"),
            )
        self.assertEqual(
            "Invalid histogram_buckets type for non prometheus stats type",
            self.refused("/stats?histogram_buckets=prometheusnative"),
        )
        for view in ("disjoint", "detailed"):
            self.assertEqual(
                "unsupported prometheus histogram bucket mode",
                self.refused(f"/stats/prometheus?histogram_buckets={view}"),
            )
        self.assertEqual(
            "unsupported prometheusnative histogram type when not using protobuf exposition format",
            self.refused("/stats/prometheus?histogram_buckets=prometheusnative"),
        )

    def test_unused_histogram(self) -> None:
        """A histogram without values says so in every view of the text."""
        for view in ("summary", "cumulative", "disjoint", "detailed"):
            text = self.ask(f"/stats?filter=never&histogram_buckets={view}").body
            self.assertEqual("cluster.c.never: No recorded values\n", text)

    def test_whole_numbers(self) -> None:
        """Whole numbers have no point in JSON."""
        for view in ("summary", "cumulative", "detailed"):
            text = self.ask(f"/stats?format=json&filter=length&histogram_buckets={view}").body
            self.assertNotIn(".0,", text)
            self.assertNotIn(".0}", text)

    def test_kinds_for_scrapers(self) -> None:
        """A page for scrapers has all kinds, whatever is asked for, if there is such a kind."""
        text = self.ask("/stats/prometheus?type=Gauges").body
        self.assertIn("envoy_cluster_total{", text)
        self.assertEqual("invalid &type= param", self.refused("/stats/prometheus?type=bogus"))

    def test_protobuf(self) -> None:
        """Who accepts it before text, or asks for it, gets protobuf."""
        for path, accept in (
            ("/stats/prometheus?prom_protobuf", ""),
            ("/stats/prometheus", f"{PROTOBUF};proto=x;q=0.1,text/plain"),
            ("/stats?format=prometheus", f"*/*, {PROTOBUF}"),
            ("/stats/prometheus", f"{OPENMETRICS},{PROTOBUF}"),
        ):
            found = self.ask(path, accept=accept)
            self.assertTrue(found.headers["content-type"].startswith(f"{PROTOBUF}; proto=io."))
            names = [each.name for each in families(found.data)]
            self.assertIn("envoy_cluster_total", names)

    def test_native(self) -> None:
        """Native histograms come with protobuf, in as many buckets as are wanted."""
        path = "/stats/prometheus?prom_protobuf&filter=c.length$&histogram_buckets=prometheusnative"
        for more, schema in (("", 4), ("&native_histogram_max_buckets=1", -4)):
            (family,) = families(self.ask(path + more).data)
            self.assertEqual(schema, family.metric[0].histogram.schema)
        for wrong in ("0", "-1", "1.5", "99999999999"):
            self.assertEqual(
                "invalid native_histogram_max_buckets value: must be a positive integer",
                self.refused(f"{path}&native_histogram_max_buckets={wrong}"),
            )

    def test_text_for_scrapers(self) -> None:
        """All others get text."""
        for accept in ("", "*/*", f"text/plain,{PROTOBUF}", f"{OPENMETRICS},text/plain;q=0.1"):
            found = self.ask("/stats/prometheus", accept=accept)
            self.assertEqual("text/plain; charset=UTF-8", found.headers["content-type"])

    def test_openmetrics(self) -> None:
        """OpenMetrics is for those who accept neither of the other two."""
        found = self.ask("/stats/prometheus", accept=f"{OPENMETRICS}; version=1.0.0, */*;q=0.1")
        self.assertTrue(found.headers["content-type"].startswith(f"{OPENMETRICS}; version=1.0.0"))
        self.assertTrue(found.body.endswith("# EOF\n"))

    def test_flush(self) -> None:
        """A page waits for the flush that the configuration may want before it."""
        for path in ("/stats", "/stats?format=json", "/stats/prometheus?prom_protobuf"):
            before = self.server.flushes
            self.ask(path)
            self.assertEqual(before + 1, self.server.flushes)

    def test_lookups(self) -> None:
        """Names that are looked up are listed once somebody wants that."""
        path = "/stats/recentlookups"
        self.assertTrue(self.ask(path).body.startswith("Lookup tracking is not enabled. Use "))
        self.assertEqual(405, self.ask(f"{path}/enable").status)
        self.assertEqual("OK\n", self.ask(f"{path}/enable", "POST").body)
        self.assertEqual("OK\n", self.ask(f"{path}/clear", "POST").body)
        self.assertEqual("   Count Lookup\n\ntotal: 0\n", self.ask(path).body)
        for _ in range(2):
            self.server.store.counter("x")
        self.assertEqual("   Count Lookup\n       2 x\n\ntotal: 2\n", self.ask(path).body)
        self.assertEqual("OK\n", self.ask(f"{path}/disable", "POST").body)
        self.assertIn("\n\ntotal: 2\n", self.ask(path).body)
