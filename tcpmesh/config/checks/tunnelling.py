"""The `tunneling_config` of a tcp_proxy, and header fields that requests of the proxy's own get."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.checks.extensions import check_typed_config
from tcpmesh.config.fields.formats import check_text, names_of
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import is_foreign, type_of_url
from tcpmesh.config.text.problems import FieldPath

_check_formatter = check_typed_config("formatter", "envoy.extensions.formatter.")
_IDS = "envoy.extensions.request_id."


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
    if kind and not kind.startswith(_IDS) and not is_foreign(kind):
        place = ((field_path, "request_id_extension"), "typed_config")
        report.error((place, "@type"), f"{kind} is no request_id_extension")


def _check_option(option: Any, field_path: FieldPath, report: Report) -> None:
    if option.HasField("append") and option.append_action:
        text = "append and append_action exclude each other"
        report.error((field_path, "append"), text)


CHECKS = {
    "envoy.config.core.v3.HeaderValueOption": _check_option,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig": _check_tunnelling,
}
