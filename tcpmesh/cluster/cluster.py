"""A cluster as a worker knows it: hosts that discovery tells of, a policy that picks among them,
limits and counters.

Discovery belongs to main and a cluster to a worker: what passes between them is an `Assignment`, a
value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any

from zope.interface import implementer

from tcpmesh.cluster.balancing.lookahead import Lookahead
from tcpmesh.cluster.balancing.policy import PolicyContext, balancer, panic_threshold
from tcpmesh.cluster.hosts.endpoint_stats import EndpointStats
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import EXCLUDED, HostSets, host_sets, locality_weights
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.cluster.merge_window import MergeWindow
from tcpmesh.cluster.upstream.circuit_breakers import Breakers
from tcpmesh.cluster.upstream.dialer import Dialer
from tcpmesh.cluster.upstream.pool import Pools, pools_of
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import ICluster, ILoadBalancer
from tcpmesh.registry import Context, UnknownExtension
from tcpmesh.stats.store import sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import BALANCED_FLAGS, NO_FLAGS, Assignment, Health, HealthFlag, HostSpec
from tcpmesh.values.statuses import ClusterStatus

CONNECT_TIMEOUT = 5.0
BUFFER_LIMIT = 1 << 20
MERGE_WINDOW = 1.0
REPICKS = 8
"""How often a policy is asked again where it names a host that was tried already."""

FAILED = HealthFlag.failed_active_hc | HealthFlag.failed_outlier_check


@implementer(ICluster)
class Cluster:
    """Built from an `envoy.config.cluster.v3.Cluster`."""

    def __init__(
        self,
        message: Any,
        context: Context,
        provided: Callable[[PolicyContext], ILoadBalancer] | None = None,
    ) -> None:
        """`provided` makes the balancer of a discovery that brings its own (CLUSTER_PROVIDED).

        :raise tcpmesh.registry.UnknownExtension: where its policy is not known.
        """
        self.message = message
        self.name: str = message.name
        self.connect_timeout = (
            seconds(message.connect_timeout)
            if message.HasField("connect_timeout")
            else CONNECT_TIMEOUT
        )
        limit = message.per_connection_buffer_limit_bytes
        self.buffer_limit: int = (
            limit.value if message.HasField("per_connection_buffer_limit_bytes") else BUFFER_LIMIT
        )
        self.close_on_failure: bool = message.close_connections_on_host_health_failure
        """Whether those who connect are to enter themselves in `Host.sessions`."""
        self._unchecked = unchecked_flags(message)
        self._by_address: dict[Address, list[Host]] = {}
        self.hosts: tuple[Host, ...] = ()
        self._sets = HostSets()
        self._assignment: Assignment | None = None
        self._clock = context.network.clock
        self.stats = ClusterStats(context.store, message.alt_stat_name or message.name)
        tracked = message.track_cluster_stats
        self.stats.track(
            tracked.timeout_budgets or message.track_timeout_budgets, tracked.request_response_sizes
        )
        self._endpoint_stats = (
            EndpointStats(self.stats.scope) if tracked.per_endpoint_stats else None
        )
        self.was_tried = False
        """Whether a connection to a host was ever tried."""
        self._counts = context.shared.block(f"cluster.{self.name}")
        self.breakers = Breakers(message.circuit_breakers, self.stats, self._counts)
        self.dialer = Dialer(message, context.network, context.bind_config)
        try:
            self._balancer = balancer(message, self._policy_context(context, provided))
        except UnknownExtension:
            self._counts.close()
            self.stats.scope.close()
            raise
        self.pools = pools_of(message, self, context.network)
        """Where its connections come from, or `None` where each client makes its own."""
        self._new_pools = partial(Pools, message, self, context.network)
        if self.pools is not None and self.pools.looks_ahead:
            self._balancer = Lookahead(self._balancer)
        self._is_balanced = False
        self._is_counted = True
        common = message.common_lb_config
        self._drains_all: bool = common.close_connections_on_host_set_change
        window = (
            seconds(common.update_merge_window)
            if common.HasField("update_merge_window")
            else MERGE_WINDOW
        )
        self._merging = MergeWindow(self._clock, window, context.store, self._unbalance)
        self._is_warm = False

    def update_hosts(self, assignment: Assignment) -> None:
        """These are the hosts from now on.  A host that stays keeps its counters; connections to
        one that leaves stay open.
        """
        before = self.hosts
        if assignment == self._assignment:
            return
        places = {(host, host.spec.priority) for host in before}
        self._assignment = assignment
        self.hosts = hosts = self._matched(assignment.hosts)
        self._by_address = _by_address(hosts)
        new, gone = set(hosts).difference(before), set(before).difference(hosts)
        moved = places.symmetric_difference((host, host.spec.priority) for host in hosts)
        if moved:
            self.stats.membership_change.tally += len({priority for _, priority in moved})
            if self.pools is not None:
                self.pools.drain(before if self._drains_all else gone)
        self.stats.total_match_count.tally += len(new)
        if not self._is_warm:
            self._unbalance()
        elif moved:
            self._merging.hosts_changed()
        else:
            self._merging.health_changed()
        self._count()

    def _matched(self, specs: tuple[HostSpec, ...]) -> tuple[Host, ...]:
        """A host for each spec: one already known at its addresses, which learns what is new of it,
        or else a new one.
        """
        left = {address: hosts[::-1] for address, hosts in self._by_address.items()}
        now = self._clock.seconds()
        hosts = []
        for spec in specs:
            same = left.get(spec.address)
            if same and same[-1].spec.additional_addresses == spec.additional_addresses:
                host = same.pop()
                host.spec = spec
            else:
                host = Host(spec, now, self)
                if spec.is_checked:
                    host.flags |= self._unchecked
            hosts.append(host)
        return tuple(hosts)

    def host_for(self, spec: HostSpec) -> Host:
        """The host for a spec that a connection has named, and of which discovery is to tell soon:
        known already, or new.
        """
        known = self._by_address.get(spec.address)
        if known:
            return known[0]
        host = Host(spec, self._clock.seconds(), self)
        self._by_address[spec.address] = [host]
        return host

    def warmed(self) -> None:
        """The cluster has its first hosts, with their first health: from now on changes of health
        are merged.
        """
        self._is_warm = True

    def _unbalance(self) -> None:
        """The load balancer is to learn of what has changed, before it is next asked."""
        self._is_balanced = False

    def _rebalance(self) -> None:
        self._is_balanced = True
        self._sets = host_sets(self.hosts, self._assignment or Assignment())
        self._balancer.update(self._sets)

    def set_flags(
        self, address: Address, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """What health checks or outlier detection have found of the host at this address."""
        changed = False
        hosts = self._by_address.get(address, ())
        for host in hosts:
            before = host.flags
            host.flags = (before & ~remove) | add
            if before & ~host.flags & HealthFlag.failed_active_hc:
                host.created = self._clock.seconds()
            changed = changed or bool((before ^ host.flags) & BALANCED_FLAGS)
        if changed:
            self.health_changed()
            if add & FAILED:
                for session in [session for host in hosts for session in host.sessions]:
                    session.host_failed()
                if self.pools is not None:
                    self.pools.hosts_failed(hosts)

    def has_traffic(self) -> bool:
        """Whether a connection to a host was ever tried."""
        return self.was_tried

    def health_changed(self) -> None:
        """A host is in another state than the load balancer knows."""
        self._is_counted = False
        if self._is_warm:
            self._merging.health_changed()
        else:
            self._unbalance()

    @property
    def sets(self) -> HostSets:
        """The hosts as the load balancer knows them."""
        if not self._is_balanced:
            self._rebalance()
        return self._sets

    def pick(self, context: Any) -> Host | None:
        """Choose a host for a connection; `None` where there is none.  One in `context.attempted`
        only where none else is left.
        """
        if not self._is_balanced:
            self._rebalance()
        host: Host | None = self._balancer.pick(context)
        if host is None or context is None or host not in context.attempted:
            return host
        return self._pick_another(context) or host

    def peek(self, context: Any) -> Host | None:
        """The host that a pick will choose after those that were peeked before; `None` where the
        policy cannot tell.

        Only for clusters with a `predictive_preconnect_ratio`.
        """
        if not self._is_balanced:
            self._rebalance()
        balancer = self._balancer
        return balancer.peek(context) if isinstance(balancer, Lookahead) else None

    def _pick_another(self, context: Any) -> Host | None:
        """A host that was not tried, if there is one: by the policy if it can be had so, else any
        that the policy may choose.
        """
        attempted = context.attempted
        for _ in range(REPICKS):
            host: Host | None = self._balancer.pick(context)
            if host is not None and host not in attempted:
                return host
        return next((host for host in self.candidates(context) if host not in attempted), None)

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose, the better ones first."""
        hosts: Iterator[Host] = self._balancer.candidates(context)
        return hosts

    def make_wait(self) -> None:
        """From now on clients wait for a connection where they may not make one: those of an
        aggregate are not closed for that.
        """
        if self.pools is None:
            self.pools = self._new_pools()

    def collect(self) -> None:
        """Bring the gauges up to date that nobody moves while traffic flows; what filters hold,
        they add afterwards.
        """
        if not self._is_balanced:
            self._rebalance()
        if not self._is_counted:
            self._count()
        if self._endpoint_stats is not None:
            self._endpoint_stats.collect(self.hosts)
        self.breakers.collect()
        self.stats.cx_rx_bytes_buffered.set(0)
        self.stats.cx_tx_bytes_buffered.set(0)

    def _count(self) -> None:
        """Membership is shown as it is, also while the load balancer does not know yet."""
        self._is_counted = True
        health = [host.health for host in self.hosts]
        self.stats.membership_total.set(len(health))
        self.stats.membership_healthy.set(health.count(Health.HEALTHY))
        self.stats.membership_degraded.set(health.count(Health.DEGRADED))
        self.stats.membership_excluded.set(sum(bool(host.flags & EXCLUDED) for host in self.hosts))

    def status(self) -> ClusterStatus:
        """The cluster as the admin interface shows it."""
        weights = locality_weights(self._assignment or Assignment())
        return ClusterStatus(
            name=self.name,
            observability_name=sanitize(self.message.alt_stat_name or self.name),
            default_priority=self.breakers.default,
            high_priority=self.breakers.high,
            hosts=tuple(
                host.status(weights.get((host.spec.priority, host.spec.locality), 0))
                for host in self.hosts
            ),
        )

    def close(self) -> None:
        """The cluster serves nobody any more; connections in use go on, and their statistics with
        them until `forget`.
        """
        self._merging.stop()
        if self.pools is not None:
            self.pools.close()

    def forget(self) -> None:
        """Nothing is left of it, or a successor goes on with its statistics."""
        self._counts.close()
        self.stats.scope.close()

    def _policy_context(
        self, context: Context, provided: Callable[[PolicyContext], ILoadBalancer] | None
    ) -> PolicyContext:
        shared = {each.name: getattr(context, each.name) for each in fields(Context)}
        if context.local_cluster == self.name:
            shared["local_cluster"] = (
                ""  # a proxy that sends to its own kind has no use for routing by zone
            )
        return PolicyContext(
            **shared,
            stats=self.stats,
            requests=self.breakers.requests,
            panic_threshold=panic_threshold(self.message),
            provided=provided,
            host_for=self.host_for,
        )


def unchecked_flags(message: Any) -> HealthFlag:
    """What a host is until its first health check: out, and not even counted with
    `ignore_new_hosts_until_first_hc`.

    The hosts of STATIC clusters are counted: in Envoy only what discovery brings later is ignored.
    """
    if not message.health_checks:
        return NO_FLAGS
    ignored = (
        message.common_lb_config.ignore_new_hosts_until_first_hc and message.type != message.STATIC
    )
    return HealthFlag.failed_active_hc | (HealthFlag.pending_active_hc if ignored else NO_FLAGS)


def _by_address(hosts: tuple[Host, ...]) -> dict[Address, list[Host]]:
    found: dict[Address, list[Host]] = {}
    for host in hosts:
        found.setdefault(host.address, []).append(host)
    return found
