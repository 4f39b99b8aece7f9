"""The numbers of each host as statistics, which `/clusters` has in any case:
`track_cluster_stats.per_endpoint_stats`.

They are copied when statistics are read, so that a connection counts once.
"""

from __future__ import annotations

from collections.abc import Iterable

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.stats.metrics import Counter, Gauge, Merge
from tcpmesh.stats.store import Scope, sanitize
from tcpmesh.values.hosts import Health

COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
GAUGES = ("cx_active", "rq_active", "rq_pending_active")


class EndpointStats:
    """Those of the hosts of one cluster, below its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._of: dict[Host, _Copy] = {}

    def collect(self, hosts: Iterable[Host]) -> None:
        """The cluster has these hosts, and their numbers are to be shown."""
        before, self._of = self._of, {}
        for host in hosts:
            copy = before.pop(host) if host in before else _Copy(host, self._scope)
            copy.take()
            self._of[host] = copy
        for copy in before.values():
            copy.scope.close()


class _Copy:
    """Those of one host."""

    def __init__(self, host: Host, scope: Scope) -> None:
        self._host = host
        self.scope = scope.scope(f"endpoint.{sanitize(str(host.address))}")
        self._counters: list[tuple[str, Counter]] = [
            (name, self.scope.counter(name)) for name in COUNTERS
        ]
        for _, counter in self._counters:
            counter.touch()  # as in Envoy, where those of hosts are of another kind
        self._taken = dict.fromkeys(COUNTERS, 0)
        self._gauges: list[tuple[str, Gauge]] = [
            (name, self.scope.gauge(name, Merge.SUM)) for name in GAUGES
        ]
        self._healthy = self.scope.gauge("healthy", Merge.MAX)

    def take(self) -> None:
        """Copy what the host has counted."""
        for name, counter in self._counters:
            counted = getattr(self._host, name)
            counter.tally += counted - self._taken[name]
            self._taken[name] = counted
        for name, gauge in self._gauges:
            gauge.set(getattr(self._host, name))
        self._healthy.set(int(self._host.health is Health.HEALTHY))
