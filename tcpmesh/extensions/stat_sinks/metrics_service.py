"""The sink that streams to a metrics service (`envoy.config.metrics.v3.MetricsServiceConfig`).

All of Envoy's.  Beyond it: what waits for a service that is slow or down is bounded, a message has
at most `MOST_METRICS` metrics, whatever `batch_size` is, and what was not taken is counted in
`metrics_service.messages_dropped`, which is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.metrics.v3 import metrics_service_pb2
from envoy.service.metrics.v3 import metrics_service_pb2 as service_pb2
from zope.interface import implementer

from twisted.logger import Logger

from tcpmesh.accesslog.collectors.log_stream import LogStream, Stream
from tcpmesh.accesslog.collectors.outbox import Outbox
from tcpmesh.config.fields.grpc_target import destination
from tcpmesh.interfaces import IStatsSink, IStatsSnapshot
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import MainContext, extension
from tcpmesh.rpc.client import grpc_client
from tcpmesh.stats.exposition.formats import readable
from tcpmesh.stats.snapshot import (
    FlushedCounter,
    FlushedGauge,
    FlushedHistogram,
    FlushedNumbers,
)
from tcpmesh.stats.text import QUANTILES

log = Logger(namespace="stats")

METHOD = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"

MOST_METRICS = 5000
"""Metrics of one message: some milliseconds to make its bytes."""

_COUNTER, _GAUGE, _SUMMARY, _, _HISTOGRAM = range(5)
"""Types of `io.prometheus.client.MetricFamily`; the fourth one is for what has no type."""


class Families:
    """Makes messages of what a flush has found.

    :param message: the `MetricsServiceConfig`.
    """

    def __init__(self, message: Any) -> None:
        self._as_deltas: bool = message.report_counters_as_deltas.value
        self._with_labels: bool = message.emit_tags_as_labels
        modes = metrics_service_pb2.HistogramEmitMode
        mode = modes.Name(message.histogram_emit_mode)
        self._summaries = mode != "HISTOGRAM"
        self._histograms = mode != "SUMMARY"
        self._most = min(message.batch_size or MOST_METRICS, MOST_METRICS)

    def messages(self, snapshot: IStatsSnapshot) -> Iterator[Any]:
        """`StreamMetricsMessage`s, and a `None` at each rest."""
        message = service_pb2.StreamMetricsMessage()
        for stat, fill in self._fills(snapshot):
            if stat is None:
                yield None
                continue
            fill(message.envoy_metrics.add(), stat, snapshot)
            if len(message.envoy_metrics) >= self._most:
                yield message
                message = service_pb2.StreamMetricsMessage()
        if message.envoy_metrics:
            yield message

    def _fills(self, snapshot: IStatsSnapshot) -> Iterator[Any]:
        for counter in snapshot.counters():
            yield counter, self._fill_counter
        for gauge in snapshot.gauges():
            yield gauge, self._fill_gauge
        for histogram in snapshot.histograms():
            if self._summaries:
                yield histogram, self._fill_summary
            if self._histograms:
                yield histogram, self._fill_histogram

    def _metric(
        self, family: Any, kind: int, stat: FlushedNumbers, snapshot: IStatsSnapshot
    ) -> Any:
        family.type = kind
        metric = family.metric.add()
        metric.timestamp_ms = int(snapshot.wall * 1000)
        if not self._with_labels:
            family.name = readable(stat.name)
            return metric
        name, tags = snapshot.tags(stat.name)
        family.name = readable(name)
        for tag, value in tags:
            metric.label.add(name=tag, value=readable(value))
        return metric

    def _fill_counter(self, family: Any, stat: FlushedCounter, snapshot: IStatsSnapshot) -> None:
        metric = self._metric(family, _COUNTER, stat, snapshot)
        metric.counter.value = stat.delta if self._as_deltas else stat.total

    def _fill_gauge(self, family: Any, stat: FlushedGauge, snapshot: IStatsSnapshot) -> None:
        self._metric(family, _GAUGE, stat, snapshot).gauge.value = stat.value

    def _fill_summary(self, family: Any, stat: FlushedHistogram, snapshot: IStatsSnapshot) -> None:
        summary = self._metric(family, _SUMMARY, stat, snapshot).summary
        summary.sample_count = stat.interval.count
        summary.sample_sum = stat.interval.sum
        values = stat.interval.quantiles(QUANTILES)
        for quantile, value in zip(QUANTILES, values, strict=True):
            summary.quantile.add(quantile=quantile, value=value)

    def _fill_histogram(
        self, family: Any, stat: FlushedHistogram, snapshot: IStatsSnapshot
    ) -> None:
        histogram = self._metric(family, _HISTOGRAM, stat, snapshot).histogram
        histogram.sample_count = stat.interval.count
        histogram.sample_sum = stat.interval.sum
        counts = stat.interval.counts_up_to(stat.bounds)
        for bound, count in zip(stat.bounds, counts, strict=True):
            histogram.bucket.add(upper_bound=bound, cumulative_count=count)


@implementer(IStatsSink)
@extension(metrics_service_pb2.MetricsServiceConfig)
class MetricsServiceSink:
    """Sends to the service that `grpc_service` names."""

    wants_values = False

    def __init__(self, message: Any, context: MainContext) -> None:
        self._families = Families(message)
        self._node = context.node
        self._client = grpc_client(message.grpc_service, context)
        self._dropped = context.store.counter("metrics_service.messages_dropped")
        clock = context.network.clock
        self._outbox = Outbox(lambda message: self._stream.send(message, 1), self._drop)
        self._stream = LogStream(
            self._open,
            self._identify,
            self._drop,
            clock,
            Reachability(
                log, f"the metrics service of {destination(message.grpc_service)}", clock.seconds
            ),
            0.0,
            drained=self._outbox.go_on,
        )

    def flush(self, snapshot: IStatsSnapshot) -> Iterator[None]:
        """Send all messages, as the service takes them."""
        return self._outbox.flush(self._families.messages(snapshot))

    def close(self) -> None:
        """Let the service have what was sent."""
        self._outbox.close()
        self._stream.close(self._client.close)

    def _open(self, observer: LogStream) -> Stream:
        return self._client.stream(METHOD, service_pb2.StreamMetricsResponse, observer)

    def _identify(self, message: Any) -> None:
        message.identifier.SetInParent()
        if self._node is not None:
            message.identifier.node.CopyFrom(self._node)

    def _drop(self, messages: int) -> None:
        self._dropped.tally += messages
