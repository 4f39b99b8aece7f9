"""Substitution formats, and what access logs and set_filter_state make of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpmesh.config.checks.extensions import check_typed_config
from tcpmesh.config.fields.files import check_writable, read_source
from tcpmesh.config.fields.operators import (
    OF_FORMATTERS,
    FormatError,
    names_of_formatters,
    parse,
)
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import did_you_mean
from tcpmesh.config.text.problems import FieldPath

#: Kinds of filter state that Envoy can make of a text, and tcpmesh too.
FACTORIES = frozenset(
    "envoy." + name
    for name in (
        "bool",
        "filters.listener.original_dst.local_ip",
        "filters.listener.original_dst.remote_ip",
        "hashable_string",
        "network.application_protocols",
        "network.ip",
        "network.network_namespace",
        "network.transport_socket.original_dst_address",
        "network.upstream_server_name",
        "network.upstream_subject_alt_names",
        "ratelimit.hits_addend",
        "string",
        "tcp_proxy.cluster",
        "tcp_proxy.disable_tunneling",
        "tcp_proxy.per_connection_idle_timeout_ms",
        "upstream.dynamic_host",
        "upstream.dynamic_port",
    )
)

#: Kinds that only Envoy can make: all of them are HTTP's.
_FACTORIES_OF_HTTP = {
    "envoy.ai.llm_protocol.request",
    "envoy.ai.model.request",
    "envoy.network.transport_socket.http_11_proxy.info",
    "envoy.router.debug_config",
}


def _texts(message: Any, field_path: FieldPath, report: Report) -> Iterator[tuple[FieldPath, str]]:
    """The texts with operators of a SubstitutionFormatString, each with its place."""
    kind = message.WhichOneof("format")
    if kind == "text_format":
        yield (field_path, kind), message.text_format
    elif kind == "text_format_source":
        text = read_source(message.text_format_source, report)
        if text is not None:
            inner = message.text_format_source.WhichOneof("specifier")
            yield ((field_path, kind), inner), text.decode("utf-8", "surrogateescape")
    elif kind == "json_format":
        yield from _strings(message.json_format, (field_path, kind))


def _strings(struct: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    for key, value in struct.fields.items():
        yield from _strings_of(value, (field_path, key))


def _strings_of(value: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        yield field_path, value.string_value
    elif kind == "struct_value":
        yield from _strings(value.struct_value, field_path)
    elif kind == "list_value":
        for index, item in enumerate(value.list_value.values):
            yield from _strings_of(item, (field_path, index))


def _check_format(message: Any, field_path: FieldPath, report: Report) -> None:
    for index, config in enumerate(message.formatters):
        _check_formatter(config, ((field_path, "formatters"), index), report)
    if any(config.typed_config.TypeName() not in OF_FORMATTERS for config in message.formatters):
        return  # it may have any operators
    more = names_of_formatters(message.formatters)
    for place, text in _texts(message, field_path, report):
        try:
            parse(text, more)
        except FormatError as error:
            report.error(place, str(error))


_check_formatter = check_typed_config("formatter", "envoy.extensions.formatter.")


def _check_value(value: Any, field_path: FieldPath, report: Report) -> None:
    name = value.factory_key or value.object_key
    place = (field_path, "factory_key" if value.factory_key else "object_key")
    if name in _FACTORIES_OF_HTTP:
        report.error(
            place, f"Envoy makes filter state of the kind {name!r}, tcpmesh does not support it yet"
        )
    elif name and name not in FACTORIES:
        text = (
            f"nothing makes filter state of the kind {name!r}; factory_key names the kind, "
            f"by default it is object_key"
        )
        report.error(place, text, did_you_mean(name, FACTORIES))


def _check_file(log: Any, field_path: FieldPath, report: Report) -> None:
    check_writable(log.path, (field_path, "path"), report)
    for place, text in _old_texts(log, field_path):
        try:
            parse(text)
        except FormatError as error:
            report.error(place, str(error))


def _old_texts(log: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    """The texts of the formats of old times."""
    kind = log.WhichOneof("access_log_format")
    if kind == "format":
        yield (field_path, kind), log.format
    elif kind in ("json_format", "typed_json_format"):
        yield from _strings(getattr(log, kind), (field_path, kind))


def _check_admin(admin: Any, field_path: FieldPath, report: Report) -> None:
    check_writable(admin.access_log_path, (field_path, "access_log_path"), report)


def _check_tcp_proxy(message: Any, field_path: FieldPath, report: Report) -> None:
    if not message.HasField("access_log_options"):
        return
    for name, is_there in (
        ("access_log_flush_interval", message.HasField("access_log_flush_interval")),
        ("flush_access_log_on_connected", message.flush_access_log_on_connected),
    ):
        if is_there:
            report.error((field_path, name), f"{name} and access_log_options exclude each other")


CHECKS = {
    "envoy.config.bootstrap.v3.Admin": _check_admin,
    "envoy.config.core.v3.SubstitutionFormatString": _check_format,
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": _check_file,
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue": _check_value,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_tcp_proxy,
}
