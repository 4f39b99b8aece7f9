"""Several health checks of one cluster, and what they say of a host together.

Each check judges on its own, with its own statistics and events.  A host is out while one of them
says so, it is degraded or shown as silent while one of them says so, and it waits for its first
check until all have a result.  That a host asks not to be counted
(`x-envoy-immediate-health-check-fail`) has no effect with several checks, as in Envoy 1.40.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

from tcpmesh.cluster.health.checker import DEGRADED, EXCLUDED, FAILED, ICheckedCluster
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Scope
from tcpmesh.values.hosts import NO_FLAGS, HealthFlag


class CombinedHealth:
    """The flags that each of several checks gives to each host; the cluster is told of those that
    hold.
    """

    def __init__(self, cluster: ICheckedCluster, count: int, scope: Scope) -> None:
        """`scope`: the one of `cluster.<name>.health_check.`"""
        self.cluster = cluster
        self._count = count
        self._said: dict[int, list[int]] = {}
        self._healthy = scope.gauge("healthy", Merge.MAIN)
        self._degraded = scope.gauge("degraded", Merge.MAIN)

    def say(self, number: int, key: int, add: HealthFlag, remove: HealthFlag) -> None:
        """One of the checks says this of a host."""
        said = self._said.get(key)
        if said is None:
            said = self._said[key] = [FAILED] * self._count
        before = _together(said)
        said[number] = (said[number] & ~int(remove)) | int(add)
        self._changed(key, before, _together(said))

    def keep(self, keys: Iterable[int]) -> None:
        """There are no other hosts any more."""
        for key in self._said.keys() - set(keys):
            self._count_changes(_together(self._said.pop(key)), FAILED)

    def _changed(self, key: int, before: int, now: int) -> None:
        if before != now:
            self._count_changes(before, now)
            self.cluster.set_flags(key, HealthFlag(now & ~before), HealthFlag(before & ~now))

    def _count_changes(self, before: int, now: int) -> None:
        self._healthy.add((not now & FAILED) - (not before & FAILED))
        self._degraded.add(bool(now & DEGRADED) - bool(before & DEGRADED))


class CheckView:
    """One of the checks: what it takes for the cluster."""

    def __init__(self, verdicts: CombinedHealth, number: int) -> None:
        self._combined = verdicts
        self._number = number
        self.name = verdicts.cluster.name

    def set_flags(
        self, key: int, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """The check gives these flags, or takes them back."""
        self._combined.say(self._number, key, add, remove)

    def has_traffic(self) -> bool:
        """Whether a connection has ever been tried for a client."""
        return self._combined.cluster.has_traffic()


def _together(said: list[int]) -> int:
    return reduce(or_, said) & ~EXCLUDED
