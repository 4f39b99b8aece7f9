"""How upstream connections are made: source addresses, further addresses of an endpoint, circuit breakers of each host."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.checks.addresses import check_bind_socket, check_pipe, is_ip
from tcpmesh.config.problems import Trail
from tcpmesh.config.report import Report

_PER_HOST = {"priority", "max_connections", "track_remaining"}


def _check_bind_config(config: Any, trail: Trail, report: Report) -> None:
    extras = [
        (extra.address, (((trail, "extra_source_addresses"), i), "address"))
        for i, extra in enumerate(config.extra_source_addresses)
    ]
    for address, here in [(config.source_address, (trail, "source_address")), *extras]:
        check_bind_socket(address, here, report)
    if not extras:
        return
    here = (trail, "extra_source_addresses")
    if not config.HasField("source_address"):
        report.error(here, "extra_source_addresses without a source_address")
    elif len(extras) > 1:
        report.error(here, "there may be one extra source address, of the other family")
    elif (":" in extras[0][0].address) == (":" in config.source_address.address):
        report.error(here, "the extra source address must be of another family than the source_address")


def _check_additional_address(entry: Any, trail: Trail, report: Report) -> None:
    here: Trail = (trail, "address")
    if entry.address.HasField("pipe"):
        check_pipe(entry.address.pipe, (here, "pipe"), report)
    elif not entry.address.HasField("socket_address"):
        report.absent(trail, ["address"], "an additional address needs an address")
    elif not is_ip(entry.address.socket_address.address):
        text = f"malformed IP address: {entry.address.socket_address.address!r}; names of further addresses are not resolved"
        report.error(((here, "socket_address"), "address"), text)


def _check_breakers(breakers: Any, trail: Trail, report: Report) -> None:
    for index, entry in enumerate(breakers.per_host_thresholds):
        for field, _ in entry.ListFields():
            if field.name not in _PER_HOST:
                here = (((trail, "per_host_thresholds"), index), field.name)
                report.error(here, f"{field.name} cannot be limited for each host, only max_connections")


CHECKS = {
    "envoy.config.core.v3.BindConfig": _check_bind_config,
    "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": _check_additional_address,
    "envoy.config.cluster.v3.CircuitBreakers": _check_breakers,
}
