"""Health checks: how many, of what kind, and with which files and header fields."""

from __future__ import annotations

import os
import re
from typing import Any

from tcpmesh.config.problems import Trail
from tcpmesh.config.report import Report

_OPERATOR = re.compile("%%|(%[^%]*%?)")


def _check_cluster(cluster: Any, trail: Trail, report: Report) -> None:
    if len(cluster.health_checks) > 1:
        text = "several health checks each need a name, which the installed xds-protos has no field for"
        report.error(((trail, "health_checks"), 1), text)


def _check_health_check(check: Any, trail: Trail, report: Report) -> None:
    _check_log(check.event_log_path, (trail, "event_log_path"), report)


def _check_http(check: Any, trail: Trail, report: Report) -> None:
    for index, option in enumerate(check.request_headers_to_add):
        operator = next((found for found in _OPERATOR.findall(option.header.value) if found), None)
        if operator is not None:
            here = ((((trail, "request_headers_to_add"), index), "header"), "value")
            text = f"tcpmesh does not support {operator!r} in the header fields of health checks yet"
            report.error(here, text, "write %% for a percent sign")


def _check_sink(sink: Any, trail: Trail, report: Report) -> None:
    _check_log(sink.event_log_path, (trail, "event_log_path"), report)


def _check_log(path: str, trail: Trail, report: Report) -> None:
    folder = os.path.dirname(path) or "."
    if path and not os.path.isdir(folder):
        report.error(trail, f"cannot write {path!r}: there is no directory {folder!r}")


CHECKS = {
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.core.v3.HealthCheck": _check_health_check,
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck": _check_http,
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": _check_sink,
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": _check_sink,
}
