"""The last events of hosts, as rows."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.event_log import ejection_event, host_event, return_event
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.live.host_events import KEPT, RecentEvents

HOST = Address("10.0.0.3", 5432)


def told(event: str, host: Address = HOST, **details: Any) -> dict[str, Any]:
    """An event of a health check."""
    return host_event("TCP", "db", HostSpec(host), 1.5, event, details)


class RecentEventsTests(SynchronousTestCase):
    """What is kept of Envoy's events."""

    def setUp(self) -> None:
        """Nothing has happened."""
        self.recent = RecentEvents()

    def rows(self) -> list[tuple[str, str, str]]:
        """Host, what and why of each row."""
        return [(row.host, row.what, row.why) for row in self.recent.events]

    def test_health(self) -> None:
        """A host that fails its checks and one that passes them again are kept, with the reason."""
        self.recent.write(told("eject_unhealthy_event", failure_type="NETWORK"))
        self.recent.write(told("add_healthy_event", first_check=False))
        self.assertEqual(
            [
                ("10.0.0.3:5432", "eject_unhealthy_event", "NETWORK"),
                ("10.0.0.3:5432", "add_healthy_event", ""),
            ],
            self.rows(),
        )
        self.assertEqual("1970-01-01T00:00:01.500Z", self.recent.events[0].when)

    def test_addresses(self) -> None:
        """Hosts are named as everywhere, be they at IPv6 addresses or paths."""
        for host in (Address("::1", 80), Address("/run/x.sock", 0)):
            self.recent.write(told("degraded_healthy_host", host))
        self.assertEqual(["[::1]:80", "/run/x.sock"], [row.host for row in self.recent.events])

    def test_no_change(self) -> None:
        """What tells of no change is not kept: checks as such, and hosts that begin as well."""
        self.recent.write(told("successful_health_check_event"))
        self.recent.write(told("health_check_failure_event", failure_type="NETWORK"))
        self.recent.write(told("add_healthy_event", first_check=True))
        self.recent.write(
            ejection_event("db", HOST, 1.0, None, 0) | {"type": "SUCCESS_RATE", "enforced": False}
        )
        self.assertEqual([], self.rows())

    def test_ejections(self) -> None:
        """A host that outlier detection puts out is kept with its type, and so is its return."""
        self.recent.write(
            ejection_event("db", HOST, 1.0, None, 1) | {"type": "CONSECUTIVE_5XX", "enforced": True}
        )
        self.recent.write(return_event("db", HOST, 2.0, 1, 1))
        self.assertEqual(
            [("10.0.0.3:5432", "EJECT", "CONSECUTIVE_5XX"), ("10.0.0.3:5432", "UNEJECT", "")],
            self.rows(),
        )

    def test_bounded(self) -> None:
        """The oldest ones go; how many there were is known."""
        for _ in range(KEPT + 1):
            self.recent.write(told("no_longer_degraded_host"))
        self.assertEqual((KEPT, KEPT + 1), (len(self.recent.events), self.recent.count))
