"""Substitution formats, what access logs, set_filter_state and tunnels make of them, and filters of
logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tcpmesh.config.checks.extensions import check_typed_config
from tcpmesh.config.checks.sources import check_node
from tcpmesh.config.fields.cel import BadExpression, Expression
from tcpmesh.config.fields.files import check_writable, read_source
from tcpmesh.config.fields.formats import check_text, names_of, strings_of
from tcpmesh.config.fields.token_buckets import BadBucket, path_of, read_bucket
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import did_you_mean
from tcpmesh.config.messages.types import is_foreign, type_of_url
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

_REQUEST_IDS = "envoy.extensions.request_id."

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
        yield from strings_of(message.json_format, (field_path, kind))


def _check_format(message: Any, field_path: FieldPath, report: Report) -> None:
    for index, config in enumerate(message.formatters):
        _check_formatter(config, ((field_path, "formatters"), index), report)
    more = names_of(message.formatters)
    for place, text in _texts(message, field_path, report):
        check_text(text, place, report, more)


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
        check_text(text, place, report)


def _old_texts(log: Any, field_path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    """The texts of the formats of old times."""
    kind = log.WhichOneof("access_log_format")
    if kind == "format":
        yield (field_path, kind), log.format
    elif kind in ("json_format", "typed_json_format"):
        yield from strings_of(getattr(log, kind), (field_path, kind))


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


def _check_expression(message: Any, field_path: FieldPath, report: Report) -> None:
    try:
        Expression(message.expression, message.cel_config.enable_string_conversion)
    except BadExpression as error:
        report.error((field_path, "expression"), str(error))


def _check_rate(message: Any, field_path: FieldPath, report: Report) -> None:
    here: FieldPath = (field_path, "dynamic_config")
    if not message.HasField("dynamic_config"):
        report.absent(field_path, ["dynamic_config"], "the filter needs a dynamic_config")
    elif path_of(message.dynamic_config):
        check_node(here, report)
        try:
            read_bucket(message.dynamic_config)
        except BadBucket as error:
            report.error(here, str(error))


def _check_tunnelling(message: Any, field_path: FieldPath, report: Report) -> None:
    for index, config in enumerate(message.formatters):
        _check_formatter(config, ((field_path, "formatters"), index), report)
    more = names_of(message.formatters)
    check_text(message.hostname, (field_path, "hostname"), report, more)
    if message.post_path and not message.use_post:
        text = "there is a path only where use_post is true: a CONNECT has none"
        report.error((field_path, "post_path"), text)
    for index, option in enumerate(message.headers_to_add):
        here: FieldPath = (((field_path, "headers_to_add"), index), "header")
        name = option.header.key
        if name.startswith(":") or name.lower() == "host":
            text = f"{name!r} cannot be set here"
            report.error((here, "key"), text, "hostname says what the authority is")
        check_text(option.header.value, (here, "value"), report, more)
    kind = type_of_url(message.request_id_extension.typed_config.type_url)
    if kind and not kind.startswith(_REQUEST_IDS) and not is_foreign(kind):
        place = ((field_path, "request_id_extension"), "typed_config")
        report.error((place, "@type"), f"{kind} is no request_id_extension")


def _check_option(option: Any, field_path: FieldPath, report: Report) -> None:
    if option.HasField("append") and option.append_action:
        text = "append and append_action exclude each other"
        report.error((field_path, "append"), text)


_FILTERS = "envoy.extensions.access_loggers.filters"

CHECKS = {
    "envoy.config.core.v3.HeaderValueOption": _check_option,
    f"{_FILTERS}.cel.v3.ExpressionFilter": _check_expression,
    f"{_FILTERS}.process_ratelimit.v3.ProcessRateLimitFilter": _check_rate,
    "envoy.config.bootstrap.v3.Admin": _check_admin,
    "envoy.config.core.v3.SubstitutionFormatString": _check_format,
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": _check_file,
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue": _check_value,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_tcp_proxy,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig": _check_tunnelling,
}
