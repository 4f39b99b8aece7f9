"""The sink that exports to an OpenTelemetry collector
(`envoy.extensions.stat_sinks.open_telemetry.v3`).

What is left of Envoy's: resource detectors and `custom_metric_conversions`.  Beyond it: what waits
for a collector that is slow or down is bounded, a request has at most `MOST_METRICS` metrics, one
over gRPC waits ten seconds at most where `grpc_service` has no `timeout`, and what was not taken is
counted in `open_telemetry_stats.requests_dropped`, which is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import time
from typing import Any

from envoy.extensions.stat_sinks.open_telemetry.v3 import open_telemetry_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from zope.interface import implementer

from twisted.logger import Logger

from tcpmesh.accesslog.collectors.exports import Exports
from tcpmesh.accesslog.collectors.otlp_transport import GrpcTransport, HttpTransport, Transport
from tcpmesh.accesslog.collectors.outbox import Outbox
from tcpmesh.interfaces import IStatsSink, IStatsSnapshot
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import MainContext, extension
from tcpmesh.stats.exposition.formats import readable
from tcpmesh.stats.snapshot import (
    FlushedCounter,
    FlushedGauge,
    FlushedHistogram,
    FlushedNumbers,
)
from tcpmesh.version import __version__

log = Logger(namespace="stats")

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

MOST_METRICS = 5000
"""Metrics of one request: some milliseconds to make its bytes."""

_RESOURCE = {
    "telemetry.sdk.name": "tcpmesh",
    "telemetry.sdk.language": "python",
    "telemetry.sdk.version": __version__,
}

_CUMULATIVE = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
_DELTA = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA


class Metrics:
    """Makes requests of what a flush has found.

    :param message: the `SinkConfig`.
    :param began: when counting began, in seconds since 1970.
    """

    def __init__(self, message: Any, began: float) -> None:
        self._counters_as_deltas: bool = message.report_counters_as_deltas
        self._histograms_as_deltas: bool = message.report_histograms_as_deltas
        self._with_tags = _or_true(message, "emit_tags_as_attributes")
        self._extracted = _or_true(message, "use_tag_extracted_name")
        self._prefix = f"{message.prefix}." if message.prefix else ""
        self._most = min(message.max_data_points_per_request or MOST_METRICS, MOST_METRICS)
        self._began = self._last = _nanoseconds(began)

    def requests(self, snapshot: IStatsSnapshot) -> Iterator[Any]:
        """`ExportMetricsServiceRequest`s, and a `None` at each rest."""
        request, metrics = _request()
        for stat, fill in self._fills(snapshot):
            if stat is None:
                yield None
                continue
            fill(metrics.add(), stat, snapshot)
            if len(metrics) >= self._most:
                yield request
                request, metrics = _request()
        if metrics:
            yield request
        self._last = _nanoseconds(snapshot.wall)

    def _fills(self, snapshot: IStatsSnapshot) -> Iterator[Any]:
        for gauge in snapshot.gauges():
            yield gauge, self._fill_gauge
        for counter in snapshot.counters():
            yield counter, self._fill_counter
        for histogram in snapshot.histograms():
            yield histogram, self._fill_histogram

    def _fill_gauge(self, metric: Any, stat: FlushedGauge, snapshot: IStatsSnapshot) -> None:
        point = metric.gauge.data_points.add()
        self._name(metric, point, stat, snapshot)
        point.as_int = stat.value

    def _fill_counter(self, metric: Any, stat: FlushedCounter, snapshot: IStatsSnapshot) -> None:
        as_deltas = self._counters_as_deltas
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = _DELTA if as_deltas else _CUMULATIVE
        point = metric.sum.data_points.add()
        self._name(metric, point, stat, snapshot)
        point.start_time_unix_nano = self._last if as_deltas else self._began
        point.as_int = stat.delta if as_deltas else stat.total

    def _fill_histogram(
        self, metric: Any, stat: FlushedHistogram, snapshot: IStatsSnapshot
    ) -> None:
        as_deltas = self._histograms_as_deltas
        metric.histogram.aggregation_temporality = _DELTA if as_deltas else _CUMULATIVE
        point = metric.histogram.data_points.add()
        self._name(metric, point, stat, snapshot)
        point.start_time_unix_nano = self._last if as_deltas else self._began
        seen = stat.interval if as_deltas else stat.total
        point.count, point.sum = seen.count, seen.sum
        point.explicit_bounds.extend(stat.bounds)
        below = 0
        for count in seen.counts_up_to(stat.bounds):
            point.bucket_counts.append(count - below)
            below = count
        point.bucket_counts.append(seen.count - below)

    def _name(
        self, metric: Any, point: Any, stat: FlushedNumbers, snapshot: IStatsSnapshot
    ) -> None:
        """What all kinds have in common."""
        name, tags = snapshot.tags(stat.name)
        metric.name = self._prefix + readable(name if self._extracted else stat.name)
        point.time_unix_nano = _nanoseconds(snapshot.wall)
        if self._with_tags:
            for tag, value in tags:
                point.attributes.add(key=tag).value.string_value = readable(value)


def _request() -> tuple[Any, Any]:
    """A request, and its metrics, of which there are none yet; `otlp` tells of the names."""
    request = metrics_service_pb2.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for key, value in _RESOURCE.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    return request, resource.instrumentation_library_metrics.add().metrics


def _or_true(message: Any, name: str) -> bool:
    """A `BoolValue`, which is true where it is not set."""
    return bool(getattr(message, name).value) if message.HasField(name) else True


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e6) * 1000


@implementer(IStatsSink)
@extension(open_telemetry_pb2.SinkConfig)
class OpenTelemetrySink:
    """Sends to the collector that `grpc_service` or `http_service` names."""

    wants_values = False

    def __init__(self, message: Any, context: MainContext) -> None:
        self._metrics = Metrics(message, time())
        self._transport: Transport = (
            HttpTransport(message.http_service, context)
            if message.HasField("http_service")
            else GrpcTransport(
                message.grpc_service,
                context,
                METHOD,
                metrics_service_pb2.ExportMetricsServiceResponse,
            )
        )
        self._dropped = context.store.counter("open_telemetry_stats.requests_dropped")
        self._outbox = Outbox(self._send, self._drop)
        what = f"the OpenTelemetry collector of statistics of {self._transport.destination}"
        reachability = Reachability(log, what, context.network.clock.seconds)
        self._exports = Exports(
            self._transport, lambda requests: None, self._drop, reachability, self._outbox.go_on
        )

    def flush(self, snapshot: IStatsSnapshot) -> Iterator[None]:
        """Send all requests, as the collector answers them."""
        return self._outbox.flush(self._metrics.requests(snapshot))

    def close(self) -> None:
        """Let the collector have what was sent."""
        self._outbox.close()
        self._exports.when_idle(self._transport.close)

    def _send(self, request: Any) -> bool:
        is_ready = self._exports.is_ready
        if is_ready:
            self._exports.send(request, 1)
        return is_ready

    def _drop(self, requests: int) -> None:
        self._dropped.tally += requests
