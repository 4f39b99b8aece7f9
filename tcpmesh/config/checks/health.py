"""Health checks: how many, of what kind, and with which files and header fields."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.core.v3 import base_pb2

from tcpmesh.config.fields.files import check_writable
from tcpmesh.config.fields.operators import FormatError, parse, unsupported_in_checks
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, unpack
from tcpmesh.config.text.problems import FieldPath

HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_KINDS = {HTTP_OPTIONS, "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"}
_RAW = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
_BUFFER = 1024
"""Bytes of a response that Envoy looks at, where the configuration says no number."""

_WITH_PAYLOAD = ("POST", "PUT", "PATCH", "OPTIONS")


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    _check_names(cluster.health_checks, (field_path, "health_checks"), report)
    for index, check in enumerate(cluster.health_checks):
        if check.HasField("grpc_health_check") and not has_http2(cluster):
            here = (((field_path, "health_checks"), index), "grpc_health_check")
            report.error(
                here,
                "gRPC health checks need a cluster with HTTP/2",
                f"set explicit_http_config of {HTTP_OPTIONS}",
            )
        if check.http_health_check.use_alpn_protocol and _is_plain(cluster):
            here = (((field_path, "health_checks"), index), "http_health_check")
            report.error(
                (here, "use_alpn_protocol"),
                "the cluster has no TLS, in which to agree on a protocol",
            )
    _check_options(cluster, (field_path, "typed_extension_protocol_options"), report)


def _check_names(checks: Any, field_path: FieldPath, report: Report) -> None:
    """Several checks are told apart by their names."""
    if len(checks) < 2:
        return
    seen: set[str] = set()
    for index, check in enumerate(checks):
        if not check.name:
            report.error(
                (field_path, index),
                "a health check has no name, which each needs where there are several",
            )
        elif check.name in seen:
            report.error(
                ((field_path, index), "name"),
                f"another health check has the name {check.name!r} too",
            )
        seen.add(check.name)


def _is_plain(cluster: Any) -> bool:
    """Whether the transport socket of a cluster leaves bytes as they are."""
    return extension_type(cluster.transport_socket.typed_config) in ("", _RAW)


def has_http2(cluster: Any) -> bool:
    """Whether a cluster says that it is of HTTP/2; its typed options count before its own."""
    if HTTP_OPTIONS not in cluster.typed_extension_protocol_options:
        return bool(cluster.HasField("http2_protocol_options"))
    options: Any = unpack(cluster.typed_extension_protocol_options[HTTP_OPTIONS])
    return options is not None and options.explicit_http_config.HasField("http2_protocol_options")


def _check_options(cluster: Any, field_path: FieldPath, report: Report) -> None:
    for name, options in cluster.typed_extension_protocol_options.items():
        kind = extension_type(options)
        if name != kind and {name, kind} & _KINDS:
            report.error(
                (field_path, name),
                f"options stand under the name of their type, {kind}, and nothing else does",
            )


def _check_health_check(check: Any, field_path: FieldPath, report: Report) -> None:
    check_writable(check.event_log_path, (field_path, "event_log_path"), report)


def _check_http(check: Any, field_path: FieldPath, report: Report) -> None:
    _check_fields(check.request_headers_to_add, (field_path, "request_headers_to_add"), report)
    method = base_pb2.RequestMethod.Name(check.method) if check.method else "GET"
    if check.HasField("send") and method not in _WITH_PAYLOAD:
        report.error(
            (field_path, "send"),
            f"{method} has no payload",
            f"{', '.join(_WITH_PAYLOAD)} can have one",
        )
    size = check.response_buffer_size.value if check.HasField("response_buffer_size") else _BUFFER
    expected = sum(len(payload.text) // 2 for payload in check.receive)
    if 0 < size < expected:
        report.error(
            (field_path, "receive"),
            f"{expected} bytes are expected, of which response_buffer_size lets {size} be seen",
        )
    for name in ("expected_statuses", "retriable_statuses"):
        _check_statuses(getattr(check, name), (field_path, name), report)


def _check_statuses(ranges: Iterable[Any], field_path: FieldPath, report: Report) -> None:
    for index, each in enumerate(ranges):
        if not each.start < each.end:
            report.error(
                (field_path, index),
                f"a range's start must be below its end, which is not in it: {each.start}, "
                f"{each.end}",
            )
        elif each.start < 100 or each.end > 600:
            report.error(
                (field_path, index), f"statuses are from 100 to 600: {each.start}, {each.end}"
            )


def _check_grpc(check: Any, field_path: FieldPath, report: Report) -> None:
    _check_fields(check.initial_metadata, (field_path, "initial_metadata"), report)


def _check_fields(options: Iterable[Any], field_path: FieldPath, report: Report) -> None:
    for index, option in enumerate(options):
        here = ((field_path, index), "header")
        name, value = option.header.key, option.header.value
        if name.startswith(":") or name.lower() == "host":
            report.error(
                (here, "key"),
                f"{name!r} cannot be set here",
                "authority and host are fields of the check",
            )
        try:
            parts = parse(value)
        except FormatError as error:
            report.error((here, "value"), str(error))
            continue
        for operator in unsupported_in_checks(parts):
            text = (
                f"Envoy knows the operator {operator}, tcpmesh does not support it in the "
                f"header fields of health checks yet"
            )
            report.error((here, "value"), text)


def _check_sink(sink: Any, field_path: FieldPath, report: Report) -> None:
    check_writable(sink.event_log_path, (field_path, "event_log_path"), report)


CHECKS = {
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.core.v3.HealthCheck": _check_health_check,
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck": _check_http,
    "envoy.config.core.v3.HealthCheck.GrpcHealthCheck": _check_grpc,
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": _check_sink,
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": _check_sink,
}
