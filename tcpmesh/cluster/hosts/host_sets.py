"""The hosts of a cluster as a load balancer sees them: by priority, by health and by locality.

A `HostSets` is built anew whenever hosts come, go or change their health, and never changed
afterwards, so a policy may keep what it has worked out from one until it is given the next.
"""

from __future__ import annotations

from collections.abc import Iterable

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.facts import dataclass
from tcpmesh.values.hosts import Assignment, Health, HealthFlag, Locality

EXCLUDED = (
    HealthFlag.pending_active_hc
    | HealthFlag.excluded_via_immediate_hc_fail
    | HealthFlag.eds_status_draining
)


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
    """The hosts of one priority.  `excluded` ones do not count when it is asked which share is
    healthy.
    """

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
    has_locality_weights: bool = True
    """Whether localities are to be weighed at all, by who asks for that: in subsets they may not
    be.
    """

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts of all priorities."""
        return tuple(host for each in self.sets for host in each.hosts)


def host_sets(hosts: Iterable[Host], assignment: Assignment) -> HostSets:
    """Sort hosts into sets."""
    by_priority: dict[int, list[Host]] = {}
    for host in hosts:
        by_priority.setdefault(host.spec.priority, []).append(host)
    weights = locality_weights(assignment)
    last = max(by_priority, default=0)
    return HostSets(
        tuple(
            _host_set(priority, by_priority.get(priority, []), weights)
            for priority in range(last + 1)
        ),
        assignment.overprovisioning_factor,
        assignment.weighted_priority_health,
    )


def locality_weights(assignment: Assignment) -> dict[tuple[int, Locality], int]:
    """The weight of each locality that has one, by priority; of those given twice the last one
    counts.
    """
    return {
        (priority, locality): weight for priority, locality, weight in assignment.locality_weights
    }


def _host_set(
    priority: int, hosts: list[Host], weights: dict[tuple[int, Locality], int]
) -> HostSet:
    by_locality: dict[Locality, list[tuple[Host, Health]]] = {}
    everyone = []
    for host in hosts:
        entry = (host, host.health)
        everyone.append(entry)
        by_locality.setdefault(host.spec.locality, []).append(entry)
    return HostSet(
        priority,
        tuple(hosts),
        _having(everyone, Health.HEALTHY),
        _having(everyone, Health.DEGRADED),
        tuple(
            host
            for host, health in everyone
            if health is not Health.HEALTHY and host.flags & EXCLUDED
        ),
        tuple(
            LocalityHosts(
                locality,
                weights.get((priority, locality)),
                tuple(host for host, _ in members),
                _having(members, Health.HEALTHY),
                _having(members, Health.DEGRADED),
            )
            for locality, members in by_locality.items()
        ),
    )


def _having(hosts: list[tuple[Host, Health]], wanted: Health) -> tuple[Host, ...]:
    return tuple(host for host, health in hosts if health is wanted)
