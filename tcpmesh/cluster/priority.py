"""The hosts of a cluster as a load balancer sees them: by priority, by health and by locality.

A `HostSets` is built anew whenever hosts come, go or change their health, and never changed afterwards, so a policy may keep
what it has worked out from one until it is given the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tcpmesh.cluster.host import Assignment, Health, HealthFlag, Host, Locality

EXCLUDED = HealthFlag.excluded_via_immediate_hc_fail | HealthFlag.eds_status_draining


@dataclass(frozen=True, eq=False)
class LocalityHosts:
    """The hosts of one locality in one priority; `weight` is `None` where discovery gave none."""

    locality: Locality
    weight: int | None
    hosts: tuple[Host, ...]
    healthy: tuple[Host, ...]
    degraded: tuple[Host, ...]


@dataclass(frozen=True, eq=False)
class HostSet:
    """The hosts of one priority.  `excluded` ones do not count when it is asked which share is healthy."""

    priority: int
    hosts: tuple[Host, ...]
    healthy: tuple[Host, ...]
    degraded: tuple[Host, ...]
    excluded: tuple[Host, ...]
    localities: tuple[LocalityHosts, ...]


@dataclass(frozen=True, eq=False)
class HostSets:
    """All priorities, the first one first; a priority without hosts has an empty set."""

    sets: tuple[HostSet, ...] = ()
    overprovisioning_factor: int = 140
    weighted_priority_health: bool = False

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts of all priorities."""
        return tuple(host for each in self.sets for host in each.hosts)


def host_sets(hosts: Iterable[Host], assignment: Assignment, pending_excluded: bool = False) -> HostSets:
    """Sort hosts into sets.

    @param pending_excluded: whether hosts that wait for their first health check are excluded
        (`ignore_new_hosts_until_first_hc`).
    """
    by_priority: dict[int, list[Host]] = {}
    for host in hosts:
        by_priority.setdefault(host.spec.priority, []).append(host)
    weights = {(priority, locality): weight for priority, locality, weight in assignment.locality_weights}
    excluded = EXCLUDED | HealthFlag.pending_active_hc if pending_excluded else EXCLUDED
    last = max(by_priority, default=0)
    return HostSets(
        tuple(_host_set(priority, by_priority.get(priority, []), weights, excluded) for priority in range(last + 1)),
        assignment.overprovisioning_factor,
        assignment.weighted_priority_health,
    )


def _host_set(priority: int, hosts: list[Host], weights: dict[tuple[int, Locality], int], excluded: HealthFlag) -> HostSet:
    by_locality: dict[Locality, list[Host]] = {}
    for host in hosts:
        by_locality.setdefault(host.spec.locality, []).append(host)
    return HostSet(
        priority,
        tuple(hosts),
        _having(hosts, Health.HEALTHY),
        _having(hosts, Health.DEGRADED),
        tuple(host for host in hosts if host.flags & excluded),
        tuple(
            LocalityHosts(
                locality,
                weights.get((priority, locality)),
                tuple(members),
                _having(members, Health.HEALTHY),
                _having(members, Health.DEGRADED),
            )
            for locality, members in by_locality.items()
        ),
    )


def _having(hosts: list[Host], health: Health) -> tuple[Host, ...]:
    return tuple(host for host in hosts if host.health is health)
