"""A cluster as a worker knows it: hosts that discovery tells of, a policy that picks among them, limits and counters.

Discovery belongs to main and a cluster to a worker: what passes between them is an `Assignment`, a value.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.host import Assignment, Host, HostSpec
from tcpmesh.cluster.priority import HostSets, host_sets
from tcpmesh.cluster.stats import ClusterStats
from tcpmesh.cluster.status import BreakerThresholds, ClusterStatus
from tcpmesh.config.values import seconds
from tcpmesh.interfaces import ICluster, ILoadBalancer
from tcpmesh.net.address import Address
from tcpmesh.registry import Context, find_value
from tcpmesh.stats.store import sanitize

CONNECT_TIMEOUT = 5.0
BUFFER_LIMIT = 1 << 20


@implementer(ICluster)
class Cluster:
    """Built from an `envoy.config.cluster.v3.Cluster`."""

    def __init__(self, message: Any, context: Context) -> None:
        self.message = message
        self.name: str = message.name
        self.connect_timeout = seconds(message.connect_timeout) if message.HasField("connect_timeout") else CONNECT_TIMEOUT
        limit = message.per_connection_buffer_limit_bytes
        self.buffer_limit: int = limit.value if message.HasField("per_connection_buffer_limit_bytes") else BUFFER_LIMIT
        self.default_priority, self.high_priority = _thresholds(message.circuit_breakers)
        self.max_connections = self.default_priority.max_connections
        self.hosts: tuple[Host, ...] = ()
        self.sets = HostSets()
        self._assignment: Assignment | None = None
        self._clock = context.network.clock
        policy = message.LbPolicy.Name(message.lb_policy)
        self._balancer: ILoadBalancer = find_value("load_balancing_policies", policy).from_cluster(message, context)
        self.stats = ClusterStats(context.store, message.alt_stat_name or message.name)

    def update_hosts(self, assignment: Assignment) -> None:
        """These are the hosts from now on.  A host that stays keeps its counters; connections to one that leaves stay open."""
        before = self.hosts
        if assignment == self._assignment:
            return
        self._assignment = assignment
        self.hosts = hosts = _matched(before, assignment.hosts, self._clock.seconds())
        new, gone = set(hosts).difference(before), set(before).difference(hosts)
        if new or gone:
            self.stats.membership_change.value += 1
        self.stats.total_match_count.value += len(new)
        self.rebalance()

    def rebalance(self) -> None:
        """Hosts or their health have changed: let the load balancer know."""
        self.sets = host_sets(self.hosts, self._assignment or Assignment())
        self._balancer.update(self.sets)
        stats = self.stats
        stats.membership_total.set(len(self.hosts))
        stats.membership_healthy.set(sum(len(each.healthy) for each in self.sets.sets))
        stats.membership_degraded.set(sum(len(each.degraded) for each in self.sets.sets))
        stats.membership_excluded.set(sum(len(each.excluded) for each in self.sets.sets))

    def pick(self, context: Any) -> Host | None:
        """Choose a host for a connection; `None` where there is none."""
        host: Host | None = self._balancer.pick(context)
        return host

    @property
    def full(self) -> bool:
        """Whether the circuit breaker on connections is open (`max_connections`)."""
        return self.stats.cx_active.value >= self.max_connections

    def collect(self) -> None:
        """Bring the gauges up to date that nobody moves while traffic flows; what filters hold, they add afterwards."""
        self.stats.breaker_cx_open.set(int(self.full))
        self.stats.cx_rx_bytes_buffered.set(0)
        self.stats.cx_tx_bytes_buffered.set(0)

    def status(self) -> ClusterStatus:
        """The cluster as the admin interface shows it."""
        return ClusterStatus(
            name=self.name,
            observability_name=sanitize(self.message.alt_stat_name or self.name),
            default_priority=self.default_priority,
            high_priority=self.high_priority,
            hosts=tuple(host.status() for host in self.hosts),
        )

    def close(self) -> None:
        """The cluster was removed: its statistics go; connections that use its hosts go on."""
        self.stats.scope.close()


def _matched(known: tuple[Host, ...], specs: tuple[HostSpec, ...], now: float) -> tuple[Host, ...]:
    """A host for each spec: one already known at that address, which learns what is new of it, or else a new one."""
    by_address: dict[Address, list[Host]] = {}
    for host in reversed(known):
        by_address.setdefault(host.address, []).append(host)
    hosts = []
    for spec in specs:
        same = by_address.get(spec.address)
        host = same.pop() if same else Host(spec, now)
        host.spec = spec
        hosts.append(host)
    return tuple(hosts)


def _thresholds(message: Any) -> tuple[BreakerThresholds, BreakerThresholds]:
    """The limits of the DEFAULT and the HIGH priority; the first entry for a priority counts, as in Envoy."""
    found: dict[int, BreakerThresholds] = {}
    for entry in message.thresholds:
        names = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
        given = {name: getattr(entry, name).value for name in names if entry.HasField(name)}
        found.setdefault(entry.priority, BreakerThresholds(**given))
    return found.get(0, BreakerThresholds()), found.get(1, BreakerThresholds())
