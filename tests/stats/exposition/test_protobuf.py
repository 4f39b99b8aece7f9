"""Prometheus' protobuf format, as protobuf itself reads it."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.exposition.prometheus import exposition
from tcpmesh.stats.exposition.protobuf import PrometheusProtobuf, varint
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.select import Query, Selection
from tcpmesh.stats.store import Store
from tests.stats.exposition.messages import families


class ProtobufTests(SynchronousTestCase):
    """What a page has."""

    def setUp(self) -> None:
        """A store with nothing in it."""
        self.store = Store()

    def page(self, form: PrometheusProtobuf | None = None, **options: Any) -> list[Any]:
        """The families of a page."""
        self.store.merge_histograms()
        pieces = exposition(
            Selection(self.store, Query()),
            self.store.tagger,
            form or PrometheusProtobuf(),
            **options,
        )
        return families(b"".join(pieces))

    def test_numbers(self) -> None:
        """Counters and gauges are families with labels and values."""
        for name, count in (("a", 300), ("b", 1 << 60)):
            self.store.counter(f"cluster.{name}.total").tally += count
        self.store.gauge("server.live", Merge.SUM).set(-1)
        counters, gauges = self.page()
        self.assertEqual(("envoy_cluster_total", 0), (counters.name, counters.type))
        self.assertEqual(
            [("envoy_cluster_name", "a", 300), ("envoy_cluster_name", "b", float(1 << 60))],
            [(m.label[0].name, m.label[0].value, m.counter.value) for m in counters.metric],
        )
        self.assertEqual(
            ("envoy_server_live", 1, -1), (gauges.name, gauges.type, gauges.metric[0].gauge.value)
        )

    def test_histogram(self) -> None:
        """Buckets are cumulative; that of all values is the count."""
        for value in (1, 2, 10**8):
            self.store.histogram("h").record(value)
        (family,) = self.page()
        found = family.metric[0].histogram
        self.assertEqual((4, 3, 100000003), (family.type, found.sample_count, found.sample_sum))
        buckets = [(each.upper_bound, each.cumulative_count) for each in found.bucket]
        self.assertEqual([(0.5, 0), (1, 1), (5, 2)], buckets[:3])
        self.assertEqual((19, (3600000, 2)), (len(buckets), buckets[-1]))

    def test_whole_numbers(self) -> None:
        """A whole number has seven bits in each byte, the lowest ones first."""
        for number, data in (
            *((0, "00"), (127, "7f"), (128, "8001"), (129, "8101"), (16383, "ff7f")),
            *((16384, "808001"), (2**64 - 1, "ff" * 9 + "01")),
        ):
            self.assertEqual(bytes.fromhex(data), varint(number), number)

    def test_native(self) -> None:
        """A native histogram has spans, and how each bucket differs from the one before."""
        for value in (0, 2, 2, 3, 5, 8, 13, 42, 90, 130, 150, 260, 700):
            self.store.histogram("h").record(value)
        (family,) = self.page(PrometheusProtobuf(is_native=True))
        found = family.metric[0].histogram
        self.assertEqual(
            (13, 3, 0.5, 1),
            (found.sample_count, found.schema, found.zero_threshold, found.zero_count),
        )
        self.assertEqual(
            [(8, 1), (4, 1), (5, 1), (4, 1), (5, 1), (13, 1), (7, 1), (4, 2), (6, 1), (10, 1)],
            [(each.offset, each.length) for each in found.positive_span],
        )
        self.assertEqual([2, -1, *[0] * 9], list(found.positive_delta))
        self.assertEqual([], list(found.bucket))

    def test_native_without_values(self) -> None:
        """One without values has a span of nothing, by which it is known as a native one."""
        self.store.histogram("h")
        (family,) = self.page(PrometheusProtobuf(is_native=True))
        found = family.metric[0].histogram
        self.assertEqual((3, 1, 0), (found.schema, len(found.positive_span), found.sample_count))
        self.assertEqual((0, 0), (found.positive_span[0].offset, found.positive_span[0].length))

    def test_summary(self) -> None:
        """A summary has quantiles of the last interval; of nothing they are no numbers."""
        self.store.histogram("a").record(3)
        self.store.histogram("b")
        one, other = (each.metric[0].summary for each in self.page(summaries=True))
        self.assertEqual((1, 3), (one.sample_count, one.sample_sum))
        self.assertEqual(10, len(one.quantile))
        self.assertEqual((0.5, 3.05), (one.quantile[2].quantile, one.quantile[2].value))
        self.assertTrue(math.isnan(other.quantile[0].value))

    def test_text_readouts(self) -> None:
        """A text is a label of a gauge of value 0."""
        self.store.text_readout("version").set("\u00fc\udcff")
        self.assertEqual([], self.page())
        (family,) = self.page(text_readouts=True)
        (metric,) = family.metric
        self.assertEqual(
            ("text_value", "\u00fc\\udcff", 0),
            (metric.label[0].name, metric.label[0].value, metric.gauge.value),
        )

    @given(st.lists(st.text(max_size=20), unique=True, max_size=6))
    def test_any_names(self, names: list[str]) -> None:
        """Names of any kind give a page that can be read, with a metric for each."""
        self.setUp()
        for name in names:
            self.store.counter(name).tally += 1
        self.assertEqual(len(names), sum(len(each.metric) for each in self.page()))
