"""How upstream connections are made: source addresses, further addresses of an endpoint, circuit
breakers of each host.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.config.fields.addresses import check_bind_socket, check_pipe, is_ip
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

_PER_HOST = {"priority", "max_connections", "track_remaining"}


def _check_bind_config(config: Any, field_path: FieldPath, report: Report) -> None:
    extras = [
        (extra.address, (((field_path, "extra_source_addresses"), i), "address"))
        for i, extra in enumerate(config.extra_source_addresses)
    ]
    for address, here in [(config.source_address, (field_path, "source_address")), *extras]:
        check_bind_socket(address, here, report)
    if not extras:
        return
    here = (field_path, "extra_source_addresses")
    if not config.HasField("source_address"):
        report.error(here, "extra_source_addresses without a source_address")
    elif len(extras) > 1:
        report.error(here, "there may be one extra source address, of the other family")
    elif (":" in extras[0][0].address) == (":" in config.source_address.address):
        report.error(
            here, "the extra source address must be of another family than the source_address"
        )


def _check_additional_address(entry: Any, field_path: FieldPath, report: Report) -> None:
    here: FieldPath = (field_path, "address")
    if entry.address.HasField("pipe"):
        check_pipe(entry.address.pipe, (here, "pipe"), report)
    elif entry.address.HasField("envoy_internal_address"):
        return
    elif not entry.address.HasField("socket_address"):
        report.absent(field_path, ["address"], "an additional address needs an address")
    elif not is_ip(entry.address.socket_address.address):
        text = (
            f"malformed IP address: {entry.address.socket_address.address!r}; names of "
            f"further addresses are not resolved"
        )
        report.error(((here, "socket_address"), "address"), text)


def _check_breakers(breakers: Any, field_path: FieldPath, report: Report) -> None:
    for index, entry in enumerate(breakers.per_host_thresholds):
        for field, _ in entry.ListFields():
            if field.name not in _PER_HOST:
                here = (((field_path, "per_host_thresholds"), index), field.name)
                report.error(
                    here, f"{field.name} cannot be limited for each host, only max_connections"
                )


CHECKS = {
    "envoy.config.core.v3.BindConfig": _check_bind_config,
    "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": _check_additional_address,
    "envoy.config.cluster.v3.CircuitBreakers": _check_breakers,
}
