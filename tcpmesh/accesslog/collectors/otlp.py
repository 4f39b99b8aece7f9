"""Records as OpenTelemetry has them: a body and attributes, made of a connection by formats.

The messages of `xds-protos` are of an early version of OTLP, in which some fields have other names
than today (`instrumentation_library_logs` is what `scope_logs` was, `logs` is `log_records`); their
numbers, and so the bytes, are the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.logs.v1 import logs_pb2

from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.texts import valid
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.operators import FormatError
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_Fill = Callable[[Any, StreamInfo, Moment], object]
"""Fills an `AnyValue` for a connection."""


class LogRecords:
    """Makes the records of one log.

    :param message: the `OpenTelemetryAccessLogConfig`.
    :raise FormatError: where Envoy refuses one of its formats.
    """

    def __init__(self, message: Any, tags: CustomTags) -> None:
        has_body = message.body.WhichOneof("value") is not None
        self._body = _fill_of(message.body) if has_body else None
        self._attributes = _pairs(message.attributes.values)
        self._states = tuple(message.filter_state_objects_to_log)
        self._tags = tags

    def of(self, info: StreamInfo, at: Moment) -> Any:
        """The `LogRecord` of a connection at a moment."""
        record = logs_pb2.LogRecord()
        record.time_unix_nano = round(at.wall_of(info.started) * 1e6) * 1000
        if self._body is not None:
            self._body(record.body, info, at)
        for key, fill in self._attributes:
            fill(_added(record.attributes, key), info, at)
        for key in self._states:
            found = info.filter_state.get(key)
            if found is not None and found.typed is not None:
                _added(record.attributes, key).string_value = valid(_json(found.typed))
        for key, value in self._tags.of(info, at):
            _added(record.attributes, key).string_value = value
        return record


def _fill_of(message: Any) -> _Fill:
    kind = message.WhichOneof("value")
    if kind == "string_value":
        return _text(message.string_value)
    if kind == "kvlist_value":
        return _mapping(message.kvlist_value)
    if kind == "array_value":
        return _sequence(message.array_value)
    raise FormatError("a value of an OpenTelemetry log is a text, a list or a mapping of such")


def _text(text: str) -> _Fill:
    words = TextFormat(text).format

    def fill(target: Any, info: StreamInfo, at: Moment) -> None:
        target.string_value = valid(words(info, at))

    return fill


def _mapping(message: Any) -> _Fill:
    pairs = _pairs(message.values)

    def fill(target: Any, info: StreamInfo, at: Moment) -> None:
        target.kvlist_value.SetInParent()
        for key, value in pairs:
            value(_added(target.kvlist_value.values, key), info, at)

    return fill


def _sequence(message: Any) -> _Fill:
    values = [_fill_of(each) for each in message.values]

    def fill(target: Any, info: StreamInfo, at: Moment) -> None:
        target.array_value.SetInParent()
        for value in values:
            value(target.array_value.values.add(), info, at)

    return fill


def _pairs(messages: Iterable[Any]) -> list[tuple[str, _Fill]]:
    return [(each.key, _fill_of(each.value)) for each in messages]


def _added(pairs: Any, key: str) -> Any:
    """The value of a pair more."""
    pair = pairs.add()
    pair.key = key
    return pair.value


def request_of(message: Any, node: Any) -> Any:
    """A request with no records yet: what an `OpenTelemetryAccessLogConfig` says of the resource.

    :param node: the `core.v3.Node` that this proxy is.
    """
    request = logs_service_pb2.ExportLogsServiceRequest()
    resource = request.resource_logs.add().resource
    resource.SetInParent()
    if not message.disable_builtin_labels:
        labels = {
            "log_name": message.log_name or message.common_config.log_name,
            "zone_name": node.locality.zone,
            "cluster_name": node.cluster,
            "node_name": node.id,
        }
        for key, value in labels.items():
            _added(resource.attributes, key).string_value = value
    resource.attributes.extend(message.resource_attributes.values)
    request.resource_logs[0].instrumentation_library_logs.add()
    return request


def records_of(request: Any) -> Any:
    """Where the records of a request are."""
    return request.resource_logs[0].instrumentation_library_logs[0].logs
