"""Clusters and their hosts: what operators read to see who gets traffic, and why somebody does
not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.address import address_json
from tcpmesh.admin.answers.endpoint import (
    Answer,
    Call,
    Endpoint,
    Parameter,
    json_list_answer,
    waited,
)
from tcpmesh.stats.text import number_text
from tcpmesh.values.statuses import (
    BreakerThresholds,
    ClusterStatus,
    HostStatus,
    OutlierStatus,
    RateStatus,
)

_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")

_HEALTH_FIELDS = {
    "failed_active_hc": "failed_active_health_check",
    "failed_outlier_check": "failed_outlier_check",
    "degraded_active_hc": "failed_active_degraded_check",
    "pending_dynamic_removal": "pending_dynamic_removal",
    "pending_active_hc": "pending_active_hc",
    "excluded_via_immediate_hc_fail": "excluded_via_immediate_hc_fail",
    "active_hc_timeout": "active_hc_timeout",
}
"""Health flags that have a field of their own in `envoy.admin.v3.HostHealthStatus`; the others
follow from EDS health.
"""


def _clusters(call: Call) -> Answer:
    pattern = call.regex("filter", "Invalid re2 regex")
    statuses = (
        each if pattern is None or pattern.search(each.name) else None
        for each in call.server.cluster_statuses()
    )
    asked = waited(call.server.host_numbers())
    if call.parameters.get("format") == "json":
        return json_list_answer(
            "cluster_statuses",
            (_cluster_json(each) if each is not None else None for each in statuses),
            asked=asked,
        )

    def lines() -> Iterator[str | Deferred[Any]]:
        yield from asked
        for each in statuses:
            yield from _cluster_lines(each) if each is not None else ("",)

    return Answer(lines())


def _cluster_lines(cluster: ClusterStatus) -> Iterator[str]:
    name = cluster.name
    yield f"{name}::observability_name::{cluster.observability_name}\n"
    if cluster.outliers is not None:
        for origin, rates in (
            ("", cluster.outliers.external),
            ("local_origin_", cluster.outliers.local_origin),
        ):
            yield f"{name}::outlier::{origin}success_rate_average::{number_text(rates.average)}\n"
            threshold = number_text(rates.threshold)
            yield f"{name}::outlier::{origin}success_rate_ejection_threshold::{threshold}\n"
    for priority, limits in (
        ("default", cluster.default_priority),
        ("high", cluster.high_priority),
    ):
        for limit in _LIMITS:
            yield f"{name}::{priority}_priority::{limit}::{getattr(limits, limit)}\n"
    if cluster.paused_for:
        yield f"{name}::paused_for::{cluster.paused_for:.1f}s\n"
    yield f"{name}::added_via_api::{_lower(cluster.added_via_api)}\n"
    for host in cluster.hosts:
        for key, value in _host_values(host):
            yield f"{name}::{host.address}::{key}::{value}\n"


def _host_values(host: HostStatus) -> Iterator[tuple[str, object]]:
    yield from sorted({**host.counters, **host.gauges}.items())
    yield "hostname", host.hostname
    yield "health_flags", "".join(f"/{flag}" for flag in host.health_flags) or "healthy"
    yield "weight", host.weight
    yield "region", host.region
    yield "zone", host.zone
    yield "sub_zone", host.sub_zone
    yield "canary", _lower(host.canary)
    yield "priority", host.priority
    yield "success_rate", number_text(host.success_rate)
    yield "local_origin_success_rate", number_text(host.local_origin_success_rate)


def _cluster_json(cluster: ClusterStatus) -> dict[str, Any]:
    """The cluster as an `envoy.admin.v3.ClusterStatus`, in which what is false, 0 or empty is left
    out.
    """
    outliers = cluster.outliers or OutlierStatus()
    return {
        "name": cluster.name,
        **({"added_via_api": True} if cluster.added_via_api else {}),
        **_threshold("success_rate_ejection_threshold", outliers.external),
        **_filled({"host_statuses": [_host_json(host) for host in cluster.hosts]}),
        **_threshold("local_origin_success_rate_ejection_threshold", outliers.local_origin),
        "circuit_breakers": {
            "thresholds": [
                _limits_json(cluster.default_priority),
                {"priority": "HIGH", **_limits_json(cluster.high_priority)},
            ]
        },
        "observability_name": cluster.observability_name,
    }


def _threshold(name: str, rates: RateStatus) -> dict[str, dict[str, float]]:
    return {name: {"value": rates.threshold}} if rates.threshold >= 0 else {}


def _limits_json(limits: BreakerThresholds) -> dict[str, int]:
    return {limit: getattr(limits, limit) for limit in _LIMITS}


def _host_json(host: HostStatus) -> dict[str, Any]:
    """The host as an `envoy.admin.v3.HostStatus`."""
    health = {_HEALTH_FIELDS[flag]: True for flag in host.health_flags if flag in _HEALTH_FIELDS}
    optional = {"hostname": host.hostname, "priority": host.priority}
    rates = {
        "success_rate": host.success_rate,
        "local_origin_success_rate": host.local_origin_success_rate,
    }
    locality = {"region": host.region, "zone": host.zone, "sub_zone": host.sub_zone}
    return {
        "address": address_json(host.address),
        "stats": [_stat_json(name, value) for name, value in sorted(host.counters.items())]
        + [
            {"type": "GAUGE", **_stat_json(name, value)}
            for name, value in sorted(host.gauges.items())
        ],
        "health_status": {**health, "eds_health_status": host.eds_health_status},
        **{name: {"value": rate} for name, rate in rates.items() if rate >= 0},
        "weight": host.weight,
        **_filled(optional),
        "locality": _filled(locality),
    }


def _stat_json(name: str, value: int) -> dict[str, str]:
    return {"value": str(value), "name": name} if value else {"name": name}


def _filled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _lower(value: bool) -> str:
    return "true" if value else "false"


ENDPOINTS = (
    Endpoint(
        "/clusters",
        "upstream cluster status",
        _clusters,
        (
            Parameter("filter", "Regular expression to be found in names of clusters"),
            Parameter("format", "Format to use", choices=("text", "json")),
        ),
    ),
)
