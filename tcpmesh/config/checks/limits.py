"""Limits that limit nothing: what the system, or what lies between, cuts off before."""

from __future__ import annotations

import resource
from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

#: Seconds for which RFC 5382 (REQ-5) has a NAT remember a connection that is silent: 2 hours and 4
#: minutes.
NAT_TIMEOUT = 7440

#: Whoever writes a limit from here on means that there should be none.
UNLIMITED = 1_000_000_000


def open_files() -> int | None:
    """How many files this process may have open; `None` where that is not limited."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if limit != resource.RLIM_INFINITY else None


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
    reach.
    """
    if report.open_files is not None and report.open_files // 2 < limit < UNLIMITED:
        text = (
            f"{limit} connections need {2 * limit} open files, and this process may have "
            f"{report.open_files}: it will not get there"
        )
        report.warning(
            field_path, text, f"ulimit -n {2 * limit + 1000}, or LimitNOFILE= in a unit of systemd"
        )


CHECKS = {
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": _check_thresholds,
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": _check_connection_limit,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_idle_timeout,
}
