"""Statistics: when they are flushed, and where to."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.fields.addresses import check_bind_address
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

FLUSH_INTERVAL_MS = 5000
"""Envoy's default."""


def _check_flushes(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    on_admin = bootstrap.WhichOneof("stats_flush") is not None
    if on_admin and bootstrap.HasField("stats_flush_interval"):
        report.error(
            (field_path, "stats_flush_on_admin"),
            "only one of stats_flush_interval and stats_flush_on_admin can be set",
        )
    if bootstrap.HasField("stats_eviction_interval"):
        given = bootstrap.HasField("stats_flush_interval")
        flush = _milliseconds(bootstrap.stats_flush_interval) if given else FLUSH_INTERVAL_MS
        if flush and _milliseconds(bootstrap.stats_eviction_interval) % flush:
            text = "it must be a multiple of stats_flush_interval"
            report.error((field_path, "stats_eviction_interval"), f"{text}, {flush / 1000:g} s")


def _milliseconds(duration: Any) -> int:
    return int(duration.ToMilliseconds())


def _check_datagrams(sink: Any, field_path: FieldPath, report: Report) -> None:
    check_bind_address(sink.address, (field_path, "address"), report)


def _check_statsd(sink: Any, field_path: FieldPath, report: Report) -> None:
    check_bind_address(sink.address, (field_path, "address"), report)
    if sink.WhichOneof("statsd_specifier") != "tcp_cluster_name":
        return
    place: FieldPath = (field_path, "tcp_cluster_name")
    name = sink.tcp_cluster_name
    report.used_clusters.add(name)
    if name not in report.cluster_names:
        hint = report.near_cluster(name)
        report.error(place, f"no static cluster is named {name!r}", hint)
    node, given = report.bootstrap.node, report.node_arguments
    if not (node.id or given.get("service-node")) or not (
        node.cluster or given.get("service-cluster")
    ):
        text = "statsd over TCP demands that the node has an id and a cluster, as Envoy's does"
        hint = "set node.id and node.cluster, or --service-node and --service-cluster"
        report.error(place, text, hint)


CHECKS = {
    "envoy.config.bootstrap.v3.Bootstrap": _check_flushes,
    "envoy.config.metrics.v3.DogStatsdSink": _check_datagrams,
    "envoy.config.metrics.v3.StatsdSink": _check_statsd,
    "envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink": _check_datagrams,
}
