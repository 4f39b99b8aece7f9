"""The sink that streams to a metrics service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.config.metrics.v3 import metrics_service_pb2
from envoy.service.metrics.v3 import metrics_service_pb2 as service_pb2
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.stat_sinks.metrics_service import METHOD, Families, MetricsServiceSink
from tcpmesh.interfaces import IStatsSink
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.wire.grpc import MessageReader
from tests.mesh import parse
from tests.rpc.called import Call, RpcTestCase
from tests.stats.test_snapshot import snapshot_of
from tests.told import told_in

LABELS = "emit_tags_as_labels: true"


class FamiliesTests(SynchronousTestCase):
    """What a flush becomes, as Envoy 1.40 has it."""

    def setUp(self) -> None:
        """A counter, a gauge and a histogram of a cluster."""
        self.store = Store()
        self.counter = self.store.counter("cluster.c.upstream_cx_total")
        self.gauge = self.store.gauge("cluster.c.upstream_cx_active", Merge.SUM)
        self.histogram = self.store.histogram("cluster.c.upstream_cx_length_ms")
        self.store.counter("never.counted")

    def flush(self, fields: str = "{}", growth: int = 5) -> list[Any]:
        """The messages of a flush."""
        self.counter.tally += growth
        self.gauge.add(1)
        self.histogram.record(7)
        families = Families(parse(metrics_service_pb2.MetricsServiceConfig, fields))
        return [each for each in families.messages(snapshot_of(self.store)) if each is not None]

    def test_kinds(self) -> None:
        """Counters and gauges have their value, histograms are told as a summary and as buckets;
        all by their full names, and what was never moved is left out.
        """
        (message,) = self.flush()
        counter, gauge, summary, histogram = message.envoy_metrics
        self.assertEqual((counter.name, counter.type), ("cluster.c.upstream_cx_total", 0))
        self.assertEqual(counter.metric[0].counter.value, 5)
        self.assertEqual((gauge.name, gauge.type), ("cluster.c.upstream_cx_active", 1))
        self.assertEqual(gauge.metric[0].gauge.value, 1)
        self.assertEqual((summary.name, summary.type), ("cluster.c.upstream_cx_length_ms", 2))
        quantiles = {each.quantile: each.value for each in summary.metric[0].summary.quantile}
        self.assertEqual(len(quantiles), 10)
        self.assertAlmostEqual(quantiles[0.5], 7.05)
        self.assertEqual(summary.metric[0].summary.sample_count, 1)
        self.assertEqual(histogram.type, 4)
        found = histogram.metric[0].histogram
        self.assertEqual((found.sample_count, found.sample_sum), (1, 7))
        buckets = {each.upper_bound: each.cumulative_count for each in found.bucket}
        self.assertEqual((buckets[5], buckets[10], buckets[3600000]), (0, 1, 1))
        self.assertEqual(counter.metric[0].timestamp_ms, 12500)

    def test_deltas(self) -> None:
        """A counter may be told by what it has grown since the last flush, also by nothing."""
        fields = "report_counters_as_deltas: true"
        for growth in (5, 3, 0):
            (message,) = self.flush(fields, growth)
            self.assertEqual(message.envoy_metrics[0].metric[0].counter.value, growth)

    def test_labels(self) -> None:
        """Tags may be labels, and the name what is left."""
        (message,) = self.flush(LABELS)
        counter = message.envoy_metrics[0]
        (label,) = counter.metric[0].label
        self.assertEqual(counter.name, "cluster.upstream_cx_total")
        self.assertEqual((label.name, label.value), ("envoy.cluster_name", "c"))

    def test_no_utf8(self) -> None:
        """Bytes in a name or a tag that are no UTF-8, which a client may have sent, are shown by
        their numbers.
        """
        self.store.counter("cluster.\udcff.upstream_cx_total").tally += 1
        for fields, names in (("{}", ["cluster.\\udcff.upstream_cx_total"]), (LABELS, [])):
            (message,) = self.flush(fields)
            sent = service_pb2.StreamMetricsMessage.FromString(message.SerializeToString())
            families = sent.envoy_metrics
            self.assertEqual([each.name for each in families if "udcff" in each.name], names)
            labels = [pair.value for each in families for pair in each.metric[0].label]
            self.assertEqual("\\udcff" in labels, not names)

    def test_one_kind_of_histograms(self) -> None:
        """Histograms may be told only as one of the two."""
        for mode, kind in (("SUMMARY", 2), ("HISTOGRAM", 4)):
            (message,) = self.flush(f"histogram_emit_mode: {mode}")
            self.assertEqual([each.type for each in message.envoy_metrics], [0, 1, kind])

    def test_batches(self) -> None:
        """A message has no more metrics than are allowed."""
        sizes = [len(each.envoy_metrics) for each in self.flush("batch_size: 3")]
        self.assertEqual(sizes, [3, 1])
        sizes = [len(each.envoy_metrics) for each in self.flush("batch_size: 2")]
        self.assertEqual(sizes, [2, 2])


class MetricsServiceSinkTests(RpcTestCase):
    """With a service that does as it is told."""

    def setUp(self) -> None:
        """A service that takes all, and a sink of main's."""
        super().setUp()
        self.server.reply = lambda call: None
        message = parse(
            metrics_service_pb2.MetricsServiceConfig,
            "grpc_service: {envoy_grpc: {cluster_name: c}}",
        )
        self.sink = MetricsServiceSink(message, self.mesh.main.context)
        verifyObject(IStatsSink, self.sink)

    def flush(self) -> None:
        """Flush the statistics of the proxy."""
        steps: Iterator[None] = self.sink.flush(snapshot_of(self.mesh.store))
        for _ in steps:
            pass
        self.pump()

    def messages(self, call: Call) -> list[Any]:
        """What a service was sent."""
        raw = MessageReader(1 << 26).feed(bytes(call.body))
        return [service_pb2.StreamMetricsMessage.FromString(data) for _, data in raw]

    def dropped(self) -> int:
        """Messages that were not taken."""
        return self.mesh.stat("metrics_service.messages_dropped")

    def test_a_stream_of_flushes(self) -> None:
        """All flushes go over one stream, and the first message says who sends."""
        self.flush()
        self.flush()
        (call,) = self.server.calls
        self.assertEqual(call.fields[":path"], METHOD)
        first, second = self.messages(call)
        self.assertTrue(first.HasField("identifier"))
        self.assertFalse(second.HasField("identifier"))
        self.assertGreater(len(second.envoy_metrics), 0)

    def test_node(self) -> None:
        """Where this proxy is a node, the first message has it."""
        context = replace(self.mesh.main.context, node=base_pb2.Node(id="n", cluster="web"))
        message = parse(
            metrics_service_pb2.MetricsServiceConfig,
            "grpc_service: {envoy_grpc: {cluster_name: c}}",
        )
        self.sink = MetricsServiceSink(message, context)
        self.flush()
        (sent,) = self.messages(self.server.calls[-1])
        self.assertEqual(sent.identifier.node, context.node)

    def test_a_service_that_is_down(self) -> None:
        """Flushes are lost and counted, and come through again once it is back; the log says that
        it is lost.
        """
        told = told_in(self, "stats")
        self.add(hosts=("127.0.0.9:9",))
        self.flush()
        self.flush()
        self.assertEqual(self.dropped(), 2)
        (lost,) = told.lines
        self.assertIn("the metrics service of cluster 'c' is lost: UNAVAILABLE: ", lost)
        self.add()
        self.flush()
        self.assertEqual(len(self.server.calls), 1)

    def test_a_service_that_does_not_read(self) -> None:
        """What waits for it is bounded; further flushes are left out, and counted."""
        self.server.takes = False
        for _ in range(3000):
            self.flush()
            if self.dropped() > 3:
                break
        self.assertGreater(self.dropped(), 3)

    def test_what_waits_at_the_end(self) -> None:
        """Messages that no service has taken at the end are counted."""
        self.server.takes = False
        while not self.dropped():
            self.flush()
        self.sink.close()
        self.assertEqual(self.dropped(), 2)

    def test_close(self) -> None:
        """The stream is ended, and the service may take what was sent."""
        self.flush()
        self.sink.close()
        self.pump()
        self.assertTrue(self.server.calls[0].is_ended)
