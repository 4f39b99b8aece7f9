"""The last events of hosts: which were put out and came back, when, and why.

Main keeps them for whoever looks at a running proxy, whether event logs are configured or not.
They are Envoy's events (`HealthCheckEvent`, `OutlierDetectionEvent`), each cut down to a row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

KEPT = 500

_HEALTH = (
    "add_healthy_event",
    "eject_unhealthy_event",
    "degraded_healthy_host",
    "no_longer_degraded_host",
)
"""The events of health checks that tell of a change."""


class HostEvent(NamedTuple):
    """A host is other than it was."""

    when: str
    """As Envoy writes it: UTC, with milliseconds."""

    cluster: str
    host: str
    what: str
    """The field of `HealthCheckEvent`, such as `eject_unhealthy_event`; of outlier detection EJECT
    or UNEJECT.
    """

    why: str
    """The failure of a health check, or the type of an ejection."""


class RecentEvents:
    """The last events, where an event log would have all."""

    def __init__(self) -> None:
        self.events: deque[HostEvent] = deque(maxlen=KEPT)
        self.count = 0
        """How many there were."""

    def now(self) -> float:
        """The time of day."""
        return time()

    def write(self, event: Mapping[str, Any]) -> None:
        """Keep an event if it tells of a change: not that a host is still as it was, nor that one
        is well when it is first looked at, as most are.
        """
        row = _ejection(event) if "action" in event else _health(event)
        if row is not None:
            self.events.append(row)
            self.count += 1


def _ejection(event: Mapping[str, Any]) -> HostEvent | None:
    action = event["action"]
    if action == "EJECT" and not event["enforced"]:
        return None
    why = event["type"] if action == "EJECT" else ""
    return HostEvent(event["timestamp"], event["cluster_name"], event["upstream_url"], action, why)


def _health(event: Mapping[str, Any]) -> HostEvent | None:
    what = next((name for name in _HEALTH if name in event), None)
    if what is None or event[what].get("first_check"):
        return None
    why = event[what].get("failure_type", "")
    return HostEvent(event["timestamp"], event["cluster_name"], _address(event["host"]), what, why)


def _address(address: Mapping[str, Any]) -> str:
    if "pipe" in address:
        return str(address["pipe"]["path"])
    socket = address["socket_address"]
    host = f"[{socket['address']}]" if ":" in socket["address"] else socket["address"]
    return f"{host}:{socket['port_value']}"
