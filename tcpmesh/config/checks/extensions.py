"""Where an extension is asked for: there must be an `@type`, and it must be of the kind that the
place takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, is_foreign, main_type
from tcpmesh.config.text.problems import FieldPath

_UDP = "envoy.extensions.filters.udp."
_Check = Callable[[Any, FieldPath, Report], None]


def check_typed_config(kind: str, *packages: str) -> _Check:
    """A check that `typed_config` is there and its type in one of these packages of Envoy's
    extensions of this kind.

    Types that another package brings may be of any name.
    """

    def check(message: Any, field_path: FieldPath, report: Report) -> None:
        if "config_discovery" in message.DESCRIPTOR.fields_by_name and message.HasField(
            "config_discovery"
        ):
            return
        type_name = extension_type(message.typed_config)
        if not type_name:
            text = (
                f"{kind} {message.name!r} has no typed_config with an '@type'; the name "
                f"alone chooses nothing"
            )
            report.absent(field_path, ["typed_config"], text, _hint_of(message.name, packages[-1]))
        elif not type_name.startswith(packages) and not is_foreign(type_name):
            here: FieldPath = ((field_path, "typed_config"), "@type")
            if type_name.startswith(_UDP):
                report.error(here, f"{type_name} is a filter of UDP, which {kind}s know nothing of")
            else:
                report.error(here, f"{type_name} is no {kind}")

    return check


def _hint_of(name: str, package: str) -> str:
    """The `@type` that goes with the well-known name of an extension, such as
    `envoy.filters.network.tcp_proxy`, or with the one that it had in former times.
    """
    last = name.rpartition(".")[2]
    versions = ("v3", "v3alpha") if name.startswith("envoy.") else ()
    types = (main_type(f"{package}{last}.{version}", last) for version in versions)
    found = next(filter(None, types), "")
    return f"add typed_config: {{'@type': type.googleapis.com/{found}}}" if found else ""


CHECKS: dict[str, _Check] = {
    "envoy.config.listener.v3.Filter": check_typed_config(
        "network filter",
        "tcpmesh.extensions.filters.network.",
        "envoy.extensions.filters.network.",
    ),
    "envoy.config.listener.v3.ListenerFilter": check_typed_config(
        "listener filter", "envoy.extensions.filters.listener."
    ),
    "envoy.config.core.v3.TransportSocket": check_typed_config(
        "transport socket", "envoy.extensions.transport_sockets."
    ),
    "envoy.config.accesslog.v3.AccessLog": check_typed_config(
        "access logger", "envoy.extensions.access_loggers."
    ),
    "envoy.config.accesslog.v3.ExtensionFilter": check_typed_config(
        "access log filter", "envoy.extensions.access_loggers.filters."
    ),
    "envoy.config.metrics.v3.StatsSink": check_typed_config(
        "stats sink", "envoy.config.metrics.", "envoy.extensions.stat_sinks."
    ),
}
