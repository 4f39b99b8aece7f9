"""Statistics for Prometheus: `tcpmesh.stats.prometheus`."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.exposition.formats import metric_name
from tcpmesh.stats.exposition.prometheus import _Series, exposition
from tcpmesh.stats.exposition.text_format import PrometheusText
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.select import Query, Selection
from tcpmesh.stats.store import Store
from tcpmesh.stats.tags import DEFAULT_RULES, FixedTag, TaggedName, Tagger, TagRule
from tests.stats.exposition.strict import Page, read


def rendered(store: Store, query: Query | None = None, **options: Any) -> str:
    """The page as text."""
    selection = Selection(store, query or Query())
    return "".join(exposition(selection, store.tagger, PrometheusText(), **options))


def page(store: Store, **options: Any) -> Page:
    """The page as a strict scraper reads it."""
    return read(rendered(store, **options))


NAMES = st.one_of(
    st.text(max_size=12),
    st.text(alphabet='ab.-_:"\\\n\udc80', max_size=6),
    st.builds(
        "{}.{}.{}".format,
        st.sampled_from(("cluster", "listener", "tcp", "listener.admin", "proxy_proto", "x.rbac")),
        st.text(alphabet='ab."\\\n_-\u00e9\udc80', max_size=5),
        st.sampled_from(("h", "h_sum", "h.count", "h_bucket", "ssl.ciphers.X", "_rq_2xx")),
    ),
)


class ExpositionTests(SynchronousTestCase):
    """The page that is scraped."""

    def test_numbers(self) -> None:
        """Counters and gauges keep their names, without what became labels; a series without labels
        has empty braces.
        """
        store = Store()
        for name, count in (("b", 2), ("a", 1)):
            store.counter(f"cluster.{name}.upstream_cx_total").tally += count
        store.gauge("server.live", Merge.SUM).set(1)
        self.assertEqual(
            "# TYPE envoy_cluster_upstream_cx_total counter\n"
            'envoy_cluster_upstream_cx_total{envoy_cluster_name="a"} 1\n'
            'envoy_cluster_upstream_cx_total{envoy_cluster_name="b"} 2\n'
            "# TYPE envoy_server_live gauge\n"
            "envoy_server_live{} 1\n",
            rendered(store),
        )

    def test_histogram(self) -> None:
        """Buckets are cumulative and end with all values; the sum is exact."""
        store = Store()
        for value in (1, 2, 700000, 10**8):
            store.histogram("tcp.p.ms").record(value)
        store.merge_histograms()
        found = page(store)
        self.assertEqual("histogram", found.types["envoy_tcp_ms"])
        got = [
            found.value("envoy_tcp_ms_bucket", envoy_tcp_prefix="p", le=le)
            for le in ("0.5", "1", "5", "1800000", "3600000", "+Inf")
        ]
        self.assertEqual([0, 1, 2, 3, 3, 4], got)
        self.assertEqual(100700003, found.value("envoy_tcp_ms_sum", envoy_tcp_prefix="p"))
        self.assertEqual(4, found.value("envoy_tcp_ms_count", envoy_tcp_prefix="p"))

    def test_labels(self) -> None:
        """The name of a label has what may stand in one, and begins with no digit; of two tags that
        come to one name the first counts.
        """
        rules = [FixedTag(name, name) for name in ("a.b", "a-b", "1st", "")]
        store = Store(Tagger(rules))
        store.counter("x").tally += 1
        self.assertIn('envoy_x{a_b="a.b",_1st="1st",_=""} 1\n', rendered(store))

    def test_an_unused_histogram_is_there(self) -> None:
        """A histogram without values has all its series, at 0, so that rates can be taken from the
        start.
        """
        store = Store()
        for name in ("h", "cluster.a.h", "cluster.b.h"):
            store.histogram(name)
        store.merge_histograms()
        found = page(store)
        labels = ({"envoy_cluster_name": "a"}, {"envoy_cluster_name": "b"})
        for name, more in (("envoy_h", {}), *(("envoy_cluster_h", each) for each in labels)):
            self.assertEqual(0, found.value(f"{name}_count", **more))
            self.assertEqual(0, found.value(f"{name}_sum", **more))
            self.assertEqual(0, found.value(f"{name}_bucket", le="0.5", **more))
            self.assertEqual(0, found.value(f"{name}_bucket", le="+Inf", **more))
        self.assertEqual(3 * 22, len(found.series))

    def test_summary(self) -> None:
        """On request histograms are summaries of the last interval."""
        store = Store()
        store.histogram("h").record(3)
        store.merge_histograms()
        found = page(store, summaries=True)
        self.assertEqual(
            ("summary", 3.05), (found.types["envoy_h"], found.value("envoy_h", quantile="0.5"))
        )
        self.assertEqual((3, 1), (found.value("envoy_h_sum"), found.value("envoy_h_count")))

    def test_text_readouts(self) -> None:
        """Texts are left out, or on request are labels."""
        store = Store()
        store.text_readout("control_plane.identifier").set('a"\\\n')
        self.assertEqual("", rendered(store))
        found = page(store, text_readouts=True)
        self.assertEqual(0, found.value("envoy_control_plane_identifier", text_value='a"\\\n'))

    def test_names_that_collide(self) -> None:
        """Statistics whose metrics would be the same are both there, told apart by their full
        names.
        """
        store = Store()
        store.counter("a-b").tally += 1
        store.counter("a.b").tally += 2
        store.gauge("a_b", Merge.SUM).set(3)
        found = page(store)
        self.assertEqual(1, found.value("envoy_a_b"))
        self.assertEqual(2, found.value("envoy_a_b", stat_name="a.b"))
        self.assertEqual(3, found.value("envoy_a_b_gauge"))

    @settings(deadline=None)
    @given(
        st.lists(NAMES, max_size=8),
        st.lists(NAMES, max_size=8),
        st.lists(NAMES, max_size=8),
        st.booleans(),
    )
    def test_any_names_give_a_valid_page(
        self, counters: list[str], gauges: list[str], histograms: list[str], summary: bool
    ) -> None:
        """Whatever listeners, clusters and filters are called, a scraper takes the page, and
        nothing is missing in it.
        """
        store = Store()
        for name in counters:
            store.counter(name).tally += 1
        for name in gauges:
            store.gauge(name, Merge.SUM).set(1)
            store.text_readout(name).set(name)
        for name in histograms:
            store.histogram(name).record(1)
        store.merge_histograms()
        found = page(store, summaries=summary, text_readouts=True)
        per_histogram = 12 if summary else 22
        self.assertEqual(
            len(set(counters)) + 2 * len(set(gauges)) + per_histogram * len(set(histograms)),
            len(found.series),
        )


class SeriesTests(SynchronousTestCase):
    """The short way for statistics of clusters."""

    parts = st.sampled_from(
        (
            "a",
            "rbac",
            "endpoint",
            "10.0.0.1_80",
            "ssl",
            "ciphers",
            "upstream_rq_503",
            "x_rq_2xx",
            "",
        )
    )

    @given(parts | st.text(max_size=5), st.lists(parts, max_size=4), st.booleans())
    def test_as_the_long_way(self, cluster: str, rest: list[str], has_fixed: bool) -> None:
        """It comes to the same metric and labels as looking at the whole name."""
        rules = (*DEFAULT_RULES, FixedTag("zone", "a")) if has_fixed else DEFAULT_RULES
        tagger, form = Tagger(rules), PrometheusText()
        name = ".".join(("cluster", cluster, *rest))
        left, tags = tagger.tag(name)
        for _ in range(2):
            series = _Series(tagger, form)(name)
            self.assertEqual((metric_name(left), form.labels(tags)), series)

    def test_short(self) -> None:
        """Names of many clusters are taken apart once for all of them."""
        looked: list[str] = []

        class Counting(Tagger):
            def tag(self, name: str) -> TaggedName:
                looked.append(name)
                return super().tag(name)

            def of_cluster(self, rest: str) -> TaggedName | None:
                looked.append(rest)
                return super().of_cluster(rest)

        series_of = _Series(Counting(), PrometheusText())
        for cluster in ("a", "b", "c"):
            metric, labels = series_of(f"cluster.{cluster}.upstream_cx_total")
            self.assertEqual("envoy_cluster_upstream_cx_total", metric)
            self.assertEqual(f'envoy_cluster_name="{cluster}"', labels)
        self.assertEqual([".upstream_cx_total"], looked)

    def test_given(self) -> None:
        """Tags that a statistic was made with count, whatever its name."""
        tagger = Tagger()
        tagger.give("cluster.c.total", ("cluster.c.total", (("a", "b"),)))
        series = _Series(tagger, PrometheusText())
        self.assertEqual(("envoy_cluster_c_total", 'a="b"'), series("cluster.c.total"))

    def test_rules_of_ones_own(self) -> None:
        """With rules that look at names there is only the long way."""
        tagger = Tagger((*DEFAULT_RULES, TagRule("t", r"(a)")))
        self.assertIsNone(tagger.of_cluster(".upstream_cx_total"))
        self.assertIsNotNone(Tagger().of_cluster(".upstream_cx_total"))
