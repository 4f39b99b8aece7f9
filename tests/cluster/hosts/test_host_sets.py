"""Hosts sorted by priority, health and locality."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets, host_sets
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HealthFlag, HostSpec, Locality


def host(number: int, priority: int = 0, status: str = "HEALTHY", zone: str = "") -> Host:
    """A host 127.0.0.<number>:80."""
    return Host(
        HostSpec(
            Address(f"127.0.0.{number}", 80),
            priority=priority,
            health_status=status,
            locality=Locality(zone=zone),
        )
    )


class HostSetsTests(SynchronousTestCase):
    """What a load balancer is given."""

    def test_health(self) -> None:
        """Each host is in the set of its health; one that drains is unhealthy and excluded."""
        hosts = [
            host(1),
            host(2, status="DEGRADED"),
            host(3, status="UNHEALTHY"),
            host(4, status="DRAINING"),
        ]
        (only,) = host_sets(hosts, Assignment()).sets
        self.assertEqual(tuple(hosts), only.hosts)
        self.assertEqual(
            ((hosts[0],), (hosts[1],), (hosts[3],)), (only.healthy, only.degraded, only.excluded)
        )

    def test_excluded(self) -> None:
        """Hosts that wait for their first check, and those that asked to be left out, are excluded
        too.
        """
        hosts = [host(1), host(2), host(3)]
        hosts[0].flags = HealthFlag.failed_active_hc | HealthFlag.pending_active_hc
        hosts[1].flags = HealthFlag.failed_active_hc | HealthFlag.excluded_via_immediate_hc_fail
        self.assertEqual(tuple(hosts[:2]), host_sets(hosts, Assignment()).sets[0].excluded)

    def test_priorities(self) -> None:
        """Priorities that are skipped are there without hosts; without any host there is the
        first.
        """
        found = host_sets([host(1, priority=2), host(2)], Assignment())
        self.assertEqual(
            [(0, 1), (1, 0), (2, 1)], [(each.priority, len(each.hosts)) for each in found.sets]
        )
        self.assertEqual(
            [(0, 0)],
            [(each.priority, len(each.hosts)) for each in host_sets([], Assignment()).sets],
        )

    def test_localities(self) -> None:
        """Each priority has its localities, with their hosts and the weights that were given."""
        hosts = [
            host(1, zone="a"),
            host(2, zone="b", status="DEGRADED"),
            host(3, zone="a", status="UNHEALTHY"),
            host(4, 1, zone="a"),
        ]
        weights = ((0, Locality(zone="a"), 3), (1, Locality(zone="b"), 5))
        first, second = host_sets(hosts, Assignment(locality_weights=weights)).sets
        told = [
            (each.locality.zone, each.weight, len(each.hosts), each.healthy, each.degraded)
            for each in first.localities
        ]
        self.assertEqual([("a", 3, 2, (hosts[0],), ()), ("b", None, 1, (), (hosts[1],))], told)
        self.assertEqual(
            [("a", None)], [(each.locality.zone, each.weight) for each in second.localities]
        )

    def test_policy(self) -> None:
        """What the assignment says of priorities is passed on."""
        found = host_sets(
            [], Assignment(overprovisioning_factor=200, weighted_priority_health=True)
        )
        self.assertEqual(
            (200, True), (found.overprovisioning_factor, found.weighted_priority_health)
        )
        self.assertEqual(((), 140), (HostSets().hosts, HostSets().overprovisioning_factor))
