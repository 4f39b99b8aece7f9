"""The sink that exports to an OpenTelemetry collector."""

from __future__ import annotations

from typing import Any

from envoy.extensions.stat_sinks.open_telemetry.v3 import open_telemetry_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.stat_sinks.open_telemetry import METHOD, Metrics, OpenTelemetrySink
from tcpmesh.interfaces import IStatsSink
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.wire.grpc import MessageReader
from tests.mesh import parse
from tests.rpc.called import RpcTestCase
from tests.stats.test_snapshot import snapshot_of
from tests.told import told_in

DELTA, CUMULATIVE = 1, 2
WEB = "127.0.0.4:4318"


def config(fields: str) -> Any:
    """A configuration."""
    return parse(open_telemetry_pb2.SinkConfig, fields)


class MetricsTests(SynchronousTestCase):
    """What a flush becomes, as Envoy 1.40 has it."""

    def setUp(self) -> None:
        """A counter, a gauge and a histogram of a cluster."""
        self.store = Store()
        self.counter = self.store.counter("cluster.c.upstream_cx_total")
        self.gauge = self.store.gauge("cluster.c.upstream_cx_active", Merge.SUM)
        self.histogram = self.store.histogram("cluster.c.upstream_cx_length_ms")
        self.store.counter("never.counted")

    def flush(self, metrics: Metrics, growth: int = 5) -> list[Any]:
        """The requests of a flush."""
        self.counter.tally += growth
        self.gauge.add(1)
        self.histogram.record(7)
        return [each for each in metrics.requests(snapshot_of(self.store)) if each is not None]

    def metrics(self, request: Any) -> list[Any]:
        """Those of a request."""
        (resource,) = request.resource_metrics
        return list(resource.instrumentation_library_metrics[0].metrics)

    def test_no_utf8(self) -> None:
        """Bytes in a name or a tag that are no UTF-8, which a client may have sent, are shown by
        their numbers.
        """
        self.store.counter("cluster.\udcff.upstream_cx_total").tally += 1
        for fields, name in (
            ("use_tag_extracted_name: false", "cluster.\\udcff.upstream_cx_total"),
            ("{}", "cluster.upstream_cx_total"),
        ):
            (request,) = self.flush(Metrics(config(fields), 5.0))
            sent = type(request).FromString(request.SerializeToString())
            tags = {
                metric.sum.data_points[0].attributes[0].value.string_value: metric.name
                for metric in self.metrics(sent)
                if metric.HasField("sum")
            }
            self.assertEqual(tags["\\udcff"], name)

    def test_kinds(self) -> None:
        """Gauges, sums and histograms, with what was counted since the beginning, their tags as
        attributes, and the name without these.
        """
        metrics = Metrics(config("{}"), 5.0)
        self.flush(metrics)
        (request,) = self.flush(metrics)
        gauge, counter, histogram = self.metrics(request)
        self.assertEqual(gauge.name, "cluster.upstream_cx_active")
        self.assertEqual(gauge.gauge.data_points[0].as_int, 2)
        self.assertEqual(counter.name, "cluster.upstream_cx_total")
        self.assertTrue(counter.sum.is_monotonic)
        self.assertEqual(counter.sum.aggregation_temporality, CUMULATIVE)
        (point,) = counter.sum.data_points
        self.assertEqual((point.as_int, point.start_time_unix_nano), (10, 5_000_000_000))
        self.assertEqual(point.time_unix_nano, 12_500_000_000)
        (tag,) = point.attributes
        self.assertEqual((tag.key, tag.value.string_value), ("envoy.cluster_name", "c"))
        self.assertEqual(histogram.name, "cluster.upstream_cx_length_ms")
        (point,) = histogram.histogram.data_points
        (tag,) = point.attributes
        self.assertEqual((tag.key, tag.value.string_value), ("envoy.cluster_name", "c"))
        self.assertEqual(point.time_unix_nano, 12_500_000_000)
        self.assertEqual((point.count, point.sum), (2, 14))
        self.assertEqual(len(point.bucket_counts), len(point.explicit_bounds) + 1)
        at = list(point.explicit_bounds).index(10)
        self.assertEqual((point.bucket_counts[at], sum(point.bucket_counts)), (2, 2))
        resource = request.resource_metrics[0].resource
        self.assertEqual(resource.attributes[0].key, "telemetry.sdk.name")

    def test_deltas(self) -> None:
        """Counters and histograms may be told by what has happened since the last flush."""
        fields = "{report_counters_as_deltas: true, report_histograms_as_deltas: true}"
        metrics = Metrics(config(fields), 5.0)
        self.flush(metrics)
        (request,) = self.flush(metrics, 3)
        _, counter, histogram = self.metrics(request)
        self.assertEqual(counter.sum.aggregation_temporality, DELTA)
        self.assertEqual(counter.sum.data_points[0].as_int, 3)
        self.assertEqual(histogram.histogram.aggregation_temporality, DELTA)
        self.assertEqual(histogram.histogram.data_points[0].count, 1)
        self.assertGreater(counter.sum.data_points[0].start_time_unix_nano, 5_000_000_000)

    def test_names(self) -> None:
        """The full name and a prefix may be asked for, and no attributes."""
        fields = (
            "{prefix: p, use_tag_extracted_name: false, emit_tags_as_attributes: false,"
            "report_counters_as_deltas: false}"
        )
        (request,) = self.flush(Metrics(config(fields), 5.0))
        gauge = self.metrics(request)[0]
        self.assertEqual(gauge.name, "p.cluster.c.upstream_cx_active")
        self.assertEqual(len(gauge.gauge.data_points[0].attributes), 0)

    def test_values_beyond_all_bounds(self) -> None:
        """They are in the last bucket."""
        metrics = Metrics(config("{}"), 5.0)
        self.histogram.record(1e9)
        (request,) = self.flush(metrics)
        (point,) = self.metrics(request)[2].histogram.data_points
        self.assertEqual(point.bucket_counts[-1], 1)

    def test_a_limit_of_points(self) -> None:
        """A request has no more points than are allowed."""
        requests = self.flush(Metrics(config("max_data_points_per_request: 2"), 5.0))
        self.assertEqual([len(self.metrics(each)) for each in requests], [2, 1])


class OpenTelemetrySinkTests(RpcTestCase):
    """With a collector that does as it is told."""

    def sink(self, fields: str) -> OpenTelemetrySink:
        """A sink of main's."""
        made = OpenTelemetrySink(config(fields), self.mesh.main.context)
        verifyObject(IStatsSink, made)
        return made

    def flush(self, sink: OpenTelemetrySink) -> None:
        """Flush the statistics of the proxy."""
        for _ in sink.flush(snapshot_of(self.mesh.store)):
            pass
        self.pump()

    def dropped(self) -> int:
        """Requests that were not taken."""
        return self.mesh.stat("open_telemetry_stats.requests_dropped")

    def test_over_grpc(self) -> None:
        """Each flush is a call, and a failed one is counted, and told."""
        told = told_in(self, "stats")
        sink = self.sink("grpc_service: {envoy_grpc: {cluster_name: c}}")
        self.server.reply = lambda call: None
        self.flush(sink)
        (call,) = self.server.calls
        self.assertEqual(call.fields[":path"], METHOD)
        ((_, data),) = MessageReader(1 << 26).feed(bytes(call.body))
        request = metrics_service_pb2.ExportMetricsServiceRequest.FromString(data)
        metrics = request.resource_metrics[0].instrumentation_library_metrics[0].metrics
        self.assertGreater(len(metrics), 0)
        call.head((*((":status", "200"),), ("content-type", "application/grpc")))
        call.end((("grpc-status", "13"),))
        self.pump()
        self.assertEqual(self.dropped(), 1)
        (lost,) = told.lines
        self.assertIn("collector of statistics of cluster 'c' is lost: INTERNAL;", lost)
        sink.close()

    def test_what_waits_at_the_end(self) -> None:
        """Requests that had to wait for answers are counted at the end."""
        sink = self.sink(
            "{grpc_service: {envoy_grpc: {cluster_name: c}}, max_data_points_per_request: 1}"
        )
        self.server.reply = lambda call: None
        self.flush(sink)
        self.assertEqual((len(self.server.calls), self.dropped()), (8, 0))
        sink.close()
        self.assertGreater(self.dropped(), 0)

    def test_over_http(self) -> None:
        """Each flush is a request, or several where a limit says so: each but the first eight waits
        for an answer.
        """
        served: list[RecordingProtocol] = []

        def serve() -> RecordingProtocol:
            made = RecordingProtocol()
            served.append(made)
            made.on_data = lambda: made.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            )
            return made

        self.mesh.upstream(WEB).make = serve
        self.mesh.add_cluster("h", WEB)
        sink = self.sink(
            "{http_service: {http_uri: {uri: 'http://a/v1/metrics', cluster: h, timeout: 2s}},"
            "max_data_points_per_request: 1}"
        )
        self.flush(sink)
        posted = sum(bytes(each.received).count(b"POST /v1/metrics ") for each in served)
        self.assertGreater(posted, 8)
        self.assertEqual(self.dropped(), 0)
        sink.close()
