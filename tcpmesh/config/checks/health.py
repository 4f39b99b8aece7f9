"""Health checks: how many, of what kind, and with which files and header fields."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from tcpmesh.config.problems import Trail
from tcpmesh.config.report import Report
from tcpmesh.config.types import type_of_url, unpack

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_OPERATOR = re.compile("%%|(%[^%]*%?)")


def _check_cluster(cluster: Any, trail: Trail, report: Report) -> None:
    if len(cluster.health_checks) > 1:
        text = "several health checks each need a name, which the installed xds-protos has no field for"
        report.error(((trail, "health_checks"), 1), text)
    for index, check in enumerate(cluster.health_checks):
        if check.HasField("grpc_health_check") and not _has_http2(cluster):
            here = (((trail, "health_checks"), index), "grpc_health_check")
            report.error(here, "gRPC health checks need a cluster with HTTP/2", f"set explicit_http_config of {_OPTIONS}")
    _check_options(cluster, (trail, "typed_extension_protocol_options"), report)


def _has_http2(cluster: Any) -> bool:
    """Whether a cluster says that it is of HTTP/2; its typed options count before its own."""
    if _OPTIONS not in cluster.typed_extension_protocol_options:
        return bool(cluster.HasField("http2_protocol_options"))
    options: Any = unpack(cluster.typed_extension_protocol_options[_OPTIONS])
    return options is not None and options.explicit_http_config.HasField("http2_protocol_options")


def _check_options(cluster: Any, trail: Trail, report: Report) -> None:
    for name, options in cluster.typed_extension_protocol_options.items():
        if (name == _OPTIONS) != (type_of_url(options.type_url) == _OPTIONS):
            report.error((trail, name), f"{_OPTIONS} stands under its own name, and nothing else does")


def _check_health_check(check: Any, trail: Trail, report: Report) -> None:
    _check_log(check.event_log_path, (trail, "event_log_path"), report)


def _check_http(check: Any, trail: Trail, report: Report) -> None:
    _check_fields(check.request_headers_to_add, (trail, "request_headers_to_add"), report)


def _check_grpc(check: Any, trail: Trail, report: Report) -> None:
    here = (trail, "initial_metadata")
    _check_fields(check.initial_metadata, here, report)
    for index, option in enumerate(check.initial_metadata):
        if option.header.key.startswith(":") or option.header.key.lower() == "host":
            report.error((((here, index), "header"), "key"), f"{option.header.key!r} cannot be set here", "authority is a field")


def _check_fields(options: Iterable[Any], trail: Trail, report: Report) -> None:
    for index, option in enumerate(options):
        operator = next((found for found in _OPERATOR.findall(option.header.value) if found), None)
        if operator is not None:
            here = (((trail, index), "header"), "value")
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
    "envoy.config.core.v3.HealthCheck.GrpcHealthCheck": _check_grpc,
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": _check_sink,
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": _check_sink,
}
