"""Prometheus' text and OpenMetrics, as the official parsers read them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.exposition.prometheus import exposition
from tcpmesh.stats.exposition.text_format import OpenMetricsText, PrometheusText
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.select import Query, Selection
from tcpmesh.stats.store import Store
from tests.stats.exposition.test_prometheus import NAMES


def rendered(store: Store, form: PrometheusText, **options: Any) -> str:
    """A page."""
    return "".join(exposition(Selection(store, Query()), store.tagger, form, **options))


def samples(families: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """All samples, by their names and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


class OpenMetricsTests(SynchronousTestCase):
    """What only OpenMetrics has."""

    def test_page(self) -> None:
        """Counters are told by `_total`, which those that end so have once, and the page ends with
        a line that says so.
        """
        store = Store()
        store.counter("cluster.c.upstream_cx_total").tally += 2
        store.counter("cluster.c.bind_errors").tally += 1
        store.gauge("cluster.c.membership_total", Merge.MAX).set(3)
        self.assertEqual(
            "# TYPE envoy_cluster_bind_errors counter\n"
            'envoy_cluster_bind_errors_total{envoy_cluster_name="c"} 1\n'
            "# TYPE envoy_cluster_upstream_cx counter\n"
            'envoy_cluster_upstream_cx_total{envoy_cluster_name="c"} 2\n'
            "# TYPE envoy_cluster_membership_total gauge\n"
            'envoy_cluster_membership_total{envoy_cluster_name="c"} 3\n'
            "# EOF\n",
            rendered(store, OpenMetricsText()),
        )

    def test_numbers_in_labels(self) -> None:
        """Bounds and quantiles are written in the one way that is canonical."""
        store = Store()
        store.histogram("h").record(1)
        store.histogram("h").bounds = (0.5, 1, 25, 300000, 1800000, 1e7, 12345678)
        store.merge_histograms()
        page = rendered(store, OpenMetricsText())
        for bound in ("0.5", "1.0", "25.0", "300000.0", "1.8e+06", "1e+07", "1.2345678e+07"):
            self.assertIn(f'envoy_h_bucket{{le="{bound}"}} ', page)
        store.histogram("never")
        page = rendered(store, OpenMetricsText(), summaries=True)
        self.assertIn('envoy_h{quantile="1.0"} 1.05\n', page)
        self.assertIn('envoy_h{quantile="0.999"} 1.05\n', page)
        self.assertIn('envoy_never{quantile="0.0"} NaN\n', page)


class ParserTests(SynchronousTestCase):
    """Pages of any names."""

    names = st.lists(NAMES, max_size=6)

    @settings(deadline=None)
    @given(names, names, names, st.booleans())
    def test_official(
        self, counters: list[str], gauges: list[str], histograms: list[str], summaries: bool
    ) -> None:
        """The official parsers take every page, and miss nothing in it."""
        store = Store()
        for name in counters:
            store.counter(name).tally += 1
        for name in gauges:
            store.gauge(name, Merge.SUM).set(1)
        for name in histograms:
            store.histogram(name).record(1)
        store.merge_histograms()
        count = (
            len(set(counters)) + len(set(gauges)) + (12 if summaries else 22) * len(set(histograms))
        )
        text = rendered(store, PrometheusText(), summaries=summaries)
        self.assertEqual(count, len(samples(text_families(text))))
        text = rendered(store, OpenMetricsText(), summaries=summaries)
        self.assertEqual(count, len(samples(openmetrics_families(text))))
