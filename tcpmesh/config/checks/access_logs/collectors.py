"""What sends to collectors: access logs to services, OpenTelemetry and fluentd, and what they have
in common with stats sinks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from envoy.config.core.v3.config_source_pb2 import ApiVersion

from tcpmesh.config.fields.formats import check_text, names_of, strings_of
from tcpmesh.config.fields.values import nanoseconds
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

_BACKOFF = 500_000_000
"""Nanoseconds before fluentd's second connection, where nothing is said; the longest pause is ten
times the first."""


def _check_version(message: Any, field_path: FieldPath, report: Report) -> None:
    if message.transport_api_version == ApiVersion.V2:
        text = "transport_api_version V2 is gone, it must be V3"
        report.error((field_path, "transport_api_version"), text)


def _check_tag(tag: Any, field_path: FieldPath, report: Report) -> None:
    if tag.WhichOneof("type") == "value":
        check_text(tag.value, (field_path, "value"), report)


def _check_http(service: Any, field_path: FieldPath, report: Report) -> None:
    more = names_of(service.formatters)
    for index, each in enumerate(service.request_headers_to_add):
        here: FieldPath = ((field_path, "request_headers_to_add"), index)
        check_text(each.header.value, ((here, "header"), "value"), report, more)
    name = service.http_uri.cluster
    if name not in report.cluster_names and not report.has_cluster_discovery:
        here = ((field_path, "http_uri"), "cluster")
        text = f"there is no cluster {name!r}: every request will fail"
        report.warning(here, text, report.near_cluster(name))


# OpenTelemetry

_TRANSPORTS = ("grpc_service", "http_service")


def _check_open_telemetry(log: Any, field_path: FieldPath, report: Report) -> None:
    given = [name for name in _TRANSPORTS if log.HasField(name)]
    if log.common_config.HasField("grpc_service"):
        given.append("common_config")
    if not given:
        report.absent(field_path, list(_TRANSPORTS), "the collector needs a service")
    elif len(given) > 1:
        text = f"one service is allowed, here are several: {', '.join(given)}"
        report.error((field_path, given[1]), text)
    more = names_of(log.formatters)
    values = list(_of_pairs(log.attributes.values, ((field_path, "attributes"), "values")))
    if log.body.WhichOneof("value") is not None:
        values.insert(0, ((field_path, "body"), log.body))
    for place, text in _texts_in(values, report):
        check_text(text, place, report, more)


def _of_pairs(pairs: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, Any]]:
    for index, pair in enumerate(pairs):
        yield ((field_path, index), "value"), pair.value


def _of_array(array: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, Any]]:
    for index, each in enumerate(array.values):
        yield (field_path, index), each


def _texts_in(
    values: Iterable[tuple[FieldPath, Any]], report: Report
) -> Iterator[tuple[FieldPath, str]]:
    """The texts in OpenTelemetry's values, each with its place."""
    for place, value in values:
        kind = value.WhichOneof("value")
        if kind == "string_value":
            yield (place, kind), value.string_value
        elif kind == "kvlist_value":
            inner = _of_pairs(value.kvlist_value.values, ((place, kind), "values"))
            yield from _texts_in(inner, report)
        elif kind == "array_value":
            yield from _texts_in(_of_array(value.array_value, ((place, kind), "values")), report)
        else:
            text = "what is formatted is a string_value, a kvlist_value or an array_value"
            report.error(place, text)


# fluentd


def _check_fluentd(log: Any, field_path: FieldPath, report: Report) -> None:
    if log.cluster and log.cluster not in report.cluster_names:
        text = f"there is no cluster {log.cluster!r} in the bootstrap"
        report.error((field_path, "cluster"), text, report.near_cluster(log.cluster))
    more = names_of(log.formatters)
    for place, text in strings_of(log.record, (field_path, "record")):
        check_text(text, place, report, more)
    backoff = log.retry_options.backoff_options
    base = nanoseconds(backoff.base_interval) or _BACKOFF
    if backoff.HasField("max_interval") and nanoseconds(backoff.max_interval) < base:
        here = ((field_path, "retry_options"), "backoff_options")
        report.error((here, "max_interval"), "max_interval is shorter than base_interval")


_LOGGERS = "envoy.extensions.access_loggers"

CHECKS: dict[str, Callable[[Any, FieldPath, Report], None]] = {
    f"{_LOGGERS}.grpc.v3.CommonGrpcAccessLogConfig": _check_version,
    f"{_LOGGERS}.open_telemetry.v3.OpenTelemetryAccessLogConfig": _check_open_telemetry,
    f"{_LOGGERS}.fluentd.v3.FluentdAccessLogConfig": _check_fluentd,
    "envoy.config.core.v3.HttpService": _check_http,
    "envoy.type.tracing.v3.CustomTag": _check_tag,
}
