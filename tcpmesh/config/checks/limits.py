"""Limits that limit nothing: what the system, or what lies between, cuts off before."""

from __future__ import annotations

import resource
from typing import Any

from envoy.config.core.v3.base_pb2 import RoutingPriority

from tcpmesh.config.fields.runtime_values import runtime_values
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

#: Seconds for which RFC 5382 (REQ-5) has a NAT remember a connection that is silent: 2 hours and 4
#: minutes.
NAT_TIMEOUT = 7440

#: Whoever writes a limit from here on means that there should be none.
UNLIMITED = 1_000_000_000


#: Descriptors that clients may not take, and about as many that a process has anyway: listening
#: sockets, logs, what the program itself opens.
KEPT = 128


def open_files(is_raised: bool = False) -> int | None:
    """How many files this process may have open; `None` where that is not limited.

    :param is_raised: whether the limit is yet to be raised as far as the system allows.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[int(is_raised)]
    return limit if limit != resource.RLIM_INFINITY else None


#: `max_connections` of circuit breakers, where nothing is said.
MAX_CONNECTIONS = 1024

GLOBAL_KEY = "overload.global_downstream_max_connections"
LISTENER = "envoy.resource_limits.listener."
LIMIT = ".connection_limit"
"""The runtime keys that limit connections."""


def _check_idle_timeout(message: Any, field_path: FieldPath, report: Report) -> None:
    if message.idle_timeout.seconds > NAT_TIMEOUT:
        text = (
            "longer than NATs and load balancers remember a silent connection: they drop it "
            "without a word, at the latest after"
            " 2 h 4 min (RFC 5382), those of cloud providers after 4 to 10 minutes"
        )
        report.warning((field_path, "idle_timeout"), text, "0s for no limit of one's own")


def _check_thresholds(thresholds: Any, field_path: FieldPath, report: Report) -> None:
    if thresholds.HasField("max_connections"):
        check_connections(thresholds.max_connections.value, (field_path, "max_connections"), report)


def _check_connection_limit(limit: Any, field_path: FieldPath, report: Report) -> None:
    check_connections(limit.max_connections.value, (field_path, "max_connections"), report)


def check_connections(limit: int, field_path: FieldPath, report: Report) -> None:
    """Warn of a limit of proxied connections, each of two descriptors, that the process cannot
    reach with what it may open, less what is kept for all else.
    """
    needed = 2 * limit + KEPT
    if report.open_files is not None and report.open_files < needed and limit < UNLIMITED:
        text = (
            f"{limit} connections need {needed} open files, two for each and {KEPT} for the rest, "
            f"and this process may have {report.open_files}: it will not get there"
        )
        report.warning(
            field_path, text, f"ulimit -n {needed}, or LimitNOFILE= in a unit of systemd"
        )


def _check_defaults(resources: Any, field_path: FieldPath, report: Report) -> None:
    """What circuit breakers allow where nothing is said, told of the first cluster alone."""
    for index, cluster in enumerate(resources.clusters):
        given = (
            each.HasField("max_connections")
            for each in cluster.circuit_breakers.thresholds
            if each.priority == RoutingPriority.DEFAULT
        )
        if not any(given):
            here: FieldPath = (((field_path, "clusters"), index), "circuit_breakers")
            check_connections(MAX_CONNECTIONS, here, report)
            return


def _check_all_connections(config: Any, field_path: FieldPath, report: Report) -> None:
    here: FieldPath = (field_path, "max_active_downstream_connections")
    check_connections(config.max_active_downstream_connections, here, report)


def _check_layer(layer: Any, field_path: FieldPath, report: Report) -> None:
    """The limits that runtime values may set, in what of them is written here."""
    for names, value in runtime_values(layer.static_layer):
        key = ".".join(names)
        is_limit = key == GLOBAL_KEY or (key.startswith(LISTENER) and key.endswith(LIMIT))
        if is_limit and value.WhichOneof("kind") == "number_value":
            here: FieldPath = (field_path, "static_layer")
            for name in names:
                here = (here, name)
            check_connections(int(value.number_value), here, report)


CHECKS = {
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": _check_thresholds,
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": _check_defaults,
    "envoy.config.bootstrap.v3.RuntimeLayer": _check_layer,
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig": (
        _check_all_connections
    ),
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": _check_connection_limit,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_idle_timeout,
}
