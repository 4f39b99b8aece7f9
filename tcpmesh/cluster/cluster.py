"""A cluster as a worker knows it: hosts that main tells of, a policy that picks among them, limits
and counters.

Which hosts there are and how they are is main's (`tcpmesh.cluster.membership`): what passes between
the two are the messages of `tcpmesh.values.link`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted.internet.defer import Deferred

from tcpmesh.cluster.balancing.lookahead import Lookahead
from tcpmesh.cluster.balancing.no_hosts import NoHosts
from tcpmesh.cluster.balancing.policy import PolicyContext, balancer, panic_threshold
from tcpmesh.cluster.hosts.endpoint_stats import EndpointStats
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets, host_sets
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.cluster.upstream.circuit_breakers import Breakers
from tcpmesh.cluster.upstream.dialer import dialer_of
from tcpmesh.cluster.upstream.http1_pools import Http1Pools
from tcpmesh.cluster.upstream.http_options import tunnel_options
from tcpmesh.cluster.upstream.outcomes import Outcomes
from tcpmesh.cluster.upstream.own_connection import ConnectionUser, OwnConnection, pick
from tcpmesh.cluster.upstream.pause import Pause
from tcpmesh.cluster.upstream.pool import Pools, pools_of
from tcpmesh.config.checks.health import has_http2
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import (
    IBringsBalancer,
    ICluster,
    IHttp1Upstream,
    IHttp2Upstream,
    ILoadBalancer,
    INamedHostsBalancer,
)
from tcpmesh.net.cooperator import do_all
from tcpmesh.registry import UnknownExtension, WorkerContext, cluster_type
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import FROM_EDS, Assignment, HealthFlag, HostSpec
from tcpmesh.values.link import (
    HOST_COUNTERS,
    HOST_GAUGES,
    ClusterUsed,
    Hosts,
    HostSeen,
    HostsUnused,
    ToMain,
)
from tcpmesh.values.overload import CONNECTION_POOL_NEW_CONNECTION
from tcpmesh.values.stream.stream_info import ClusterInfo

if TYPE_CHECKING:
    from tcpmesh.cluster.upstream.http2_pools import Http2Pools

CONNECT_TIMEOUT = 5.0
BUFFER_LIMIT = 1 << 20
REPICKS = 8
"""How often a policy is asked again where it names a host that was tried already."""

_FAILED_CHECK = int(HealthFlag.failed_active_hc)
_FAILED = _FAILED_CHECK | int(HealthFlag.failed_outlier_check)
_FROM_EDS = int(FROM_EDS)
_DRAINED = int(HealthFlag.drained_by_operator)
_NUMBERS = attrgetter(*HOST_COUNTERS, *HOST_GAUGES)


def _nobody(message: ToMain) -> None:
    """For a cluster that stands alone: nobody is told."""


_SHARED = tuple(each.name for each in fields(WorkerContext))
"""What all clusters have in common, by name."""


@implementer(ICluster)
class Cluster:
    """Built from an `envoy.config.cluster.v3.Cluster`."""

    def __init__(
        self,
        message: Any,
        context: WorkerContext,
        number: int = 0,
        send: Callable[[ToMain], object] = _nobody,
    ) -> None:
        """
        :param number: by which main knows it.
        :param send: tells main.
        :raise tcpmesh.registry.UnknownExtension: where its policy is not known.
        """
        self.message = message
        self.name: str = message.name
        self.info = ClusterInfo(
            message.name,
            message.alt_stat_name or message.name,
            message.metadata if message.HasField("metadata") else None,
        )
        self.number = number
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
        self.paused: Pause | None = None
        """Where new connections of clients wait, as long as they do."""
        self.is_used = False
        """Whether a connection was ever made for a client."""
        self.hosts: tuple[Host, ...] = ()
        self._by_key: dict[int, Host] = {}
        self._named: dict[tuple[Address, str], Host] = {}
        self._by_address: dict[Address, Host] | None = None
        """What `host_at` looks in; `None` where hosts have changed since it was last made."""
        """Hosts that connections have named."""
        self._sets = HostSets()
        self._assignment = Assignment()
        self._send = send
        self._clock = context.network.clock
        self._cooperator = context.network.cooperator
        self._context = context
        self._detects_outliers: bool = message.HasField("outlier_detection")
        with all_or_nothing() as undo:
            self._build(message, context, undo)

    def _build(self, message: Any, context: WorkerContext, undo: all_or_nothing) -> None:
        """What can fail, or has to be given back."""
        self.stats = ClusterStats(context.store, message.alt_stat_name or message.name)
        undo.callback(self.stats.scope.close)
        _track(message, self.stats)
        per_endpoint: bool = message.track_cluster_stats.per_endpoint_stats
        self._endpoint_stats = EndpointStats(self.stats.scope) if per_endpoint else None
        self._counts = context.shared.block(f"cluster.{self.name}")
        undo.callback(self._counts.close)
        self.breakers = Breakers(
            message.circuit_breakers, self.stats, self._counts, self.name, context.runtime
        )
        counting = context
        if message.HasField("transport_socket") or message.transport_socket_matches:
            counting = replace(context, scope=self.stats.scope)
        self.dialer = dialer_of(message, counting)
        undo.callback(self.dialer.close)
        policy_context = self._policy_context(context)
        self._first_tables = policy_context.first_tables
        self._balancer = balancer(message, policy_context)
        self._named_hosts: INamedHostsBalancer | None = INamedHostsBalancer(self._balancer, None)
        self._point = context.overload.point(CONNECTION_POOL_NEW_CONNECTION)
        self.pools = pools_of(message, self, context.network, self._point)
        """Where its connections come from, or `None` where each client makes its own."""
        if self.pools is not None and self.pools.looks_ahead:
            self._balancer = Lookahead(self._balancer)
        self.speaks_http2 = has_http2(message)
        """Whether its hosts are asked in HTTP/2, where they could be asked in HTTP/1.1."""
        self.tunnel_options = tunnel_options(message)
        if self.speaks_http2:
            _import_http2()  # which would hold up the first request, and all others with it
        self._http2: IHttp2Upstream | None = None
        self._http1: IHttp1Upstream | None = None
        self._is_balanced = False
        self._drains_all: bool = message.common_lb_config.close_connections_on_host_set_change

    # What main tells

    def update_hosts(self, told: Hosts) -> None:
        """These are the hosts from now on.  A host that stays keeps its counters; connections to
        one that leaves stay open.
        """
        before, self._by_address = self.hosts, None
        places = {(host, host.spec.priority) for host in before}
        self._assignment = told.assignment
        self.hosts = hosts = tuple(
            self._host(key, spec)
            for key, spec in zip(told.keys, told.assignment.hosts, strict=True)
        )
        self._by_key = dict(zip(told.keys, hosts, strict=True))
        for host, flags in zip(hosts, told.flags, strict=True):
            self._set_flags(host, flags)
        if self._named_hosts is not None:
            waiting = {key: host for key, host in self._named.items() if host.key is None}
            self._named = waiting | {_named(host.spec): host for host in hosts}
        moved = places.symmetric_difference((host, host.spec.priority) for host in hosts)
        if not moved:
            return
        leaving = before if self._drains_all else set(before).difference(hosts)
        for pools in (self.pools, self._http2, self._http1):
            if pools is not None:
                pools.drain(leaving)

    def _host(self, key: int, spec: HostSpec) -> Host:
        host = self._by_key.get(key)
        if host is None:
            host = self._named.get(_named(spec)) if self._named else None
            if host is None or host.key is not None:
                host = Host(spec, self._clock.seconds(), self)
            host.key = key
            if self._detects_outliers:
                host.outlier = Outcomes(self.number, key, self._send)
        host.learn(spec)
        return host

    def set_flags(self, key: int, flags: int) -> None:
        """How a host is."""
        host = self._by_key.get(key)
        if host is None or not self._set_flags(host, flags):
            return
        do_all(self._cooperator, host.fail_sessions())
        if self.pools is not None:
            self.pools.hosts_failed((host,))
        for own in (self._http2, self._http1):
            if own is not None:
                own.drain((host,))

    def _set_flags(self, host: Host, flags: int) -> bool:
        """Whether it is out, and was not before."""
        before = int(host.flags)
        now = flags | (before & _FROM_EDS)
        if now == before:
            return False
        host.flags = HealthFlag(now)
        if before & ~now & _FAILED_CHECK:
            host.created = self._clock.seconds()
        return bool(now & ~before & _FAILED)

    def pause(self, seconds: float) -> None:
        """Hold new connections of clients for so long, or no more."""
        if self.paused is not None:
            if seconds:
                self.paused.last(seconds)
            else:
                self.paused.end()
        elif seconds:
            self.paused = Pause(self._context.network, seconds, ended=self._go_on)

    def _go_on(self) -> None:
        self.paused = None

    def unbalance(self) -> None:
        """The load balancer is to learn of what has changed, before it is next asked."""
        self._is_balanced = False

    def rates(self) -> tuple[tuple[int, int, int], ...]:
        """(host, connections tried, connections made) of each host that had any since this was
        last asked.
        """
        taken = [
            (key, *host.outlier.take())
            for key, host in self._by_key.items()
            if host.outlier is not None
        ]
        return tuple(each for each in taken if each[1])

    def host_numbers(self) -> tuple[tuple[int, ...], ...]:
        """The key and the numbers of each host that was ever picked."""
        return tuple(
            (key, *numbers)
            for key, host in self._by_key.items()
            for numbers in (_NUMBERS(host),)
            if any(numbers)
        )

    def forget_unused(self, is_alone: bool = True) -> None:
        """Tell main which hosts connections name no more, and forget them.

        :param is_alone: whether no other worker may use them: else they are forgotten when main
            says so, and it is told also where there are none.
        """
        if self._named_hosts is None:
            return
        if not is_alone and not self._is_balanced:
            self._rebalance()  # so that it knows those that only others have used
        unused = self._named_hosts.forget_unused(is_alone)
        keys = tuple(host.key for host in unused if host.key is not None)
        if keys or not is_alone:
            self._send(HostsUnused(self.number, keys))

    def host_fails(self, key: int) -> None:
        """A connection to a host has failed in another worker."""
        host = self._by_key.get(key)
        if host is not None and host.outlier is not None:
            host.outlier.fails_elsewhere()

    # What connections tell

    def first_used(self) -> None:
        """The first connection is made for a client."""
        self.is_used = True
        self._send(ClusterUsed(self.number))

    def host_at(self, address: Address) -> Host | None:
        """The host of an address, if it has one."""
        if self._by_address is None:
            self._by_address = {host.address: host for host in self.hosts}
        return self._by_address.get(address)

    def host_for(self, spec: HostSpec) -> Host:
        """The host for a spec that a connection has named, and of which main is to tell soon: known
        already, or new.
        """
        host = self._named.get(_named(spec))
        if host is None:
            host = self._named[_named(spec)] = Host(spec, self._clock.seconds(), self)
        self._send(HostSeen(self.number, spec))
        return host

    # Picks

    def _rebalance(self) -> None:
        self._is_balanced = True
        # Not even in panic does anybody get a host that is drained.
        hosts = (host for host in self.hosts if not int(host.flags) & _DRAINED)
        self._sets = host_sets(hosts, self._assignment)
        self._balancer.update(self._sets)

    def prepare(self) -> Deferred[Any]:
        """Have all ready that picks need; fires when it is."""
        if not self._is_balanced:
            self._rebalance()
        return self._first_tables.built()

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

    def why_no_host(self) -> str:
        """Why a pick has just chosen none, in words."""
        sets = self.sets.sets
        hosts = sum(len(each.hosts) for each in sets)
        if not hosts:
            drained = f"all {len(self.hosts)} of cluster {self.name} are drained by an operator"
            return drained if self.hosts else f"cluster {self.name} has no hosts"
        if any(each.healthy or each.degraded for each in sets):
            return f"none of the {hosts} of cluster {self.name} fits"
        panic = "off" if not panic_threshold(self.message) else "fails traffic"
        return f"all {hosts} of cluster {self.name} are unhealthy (panic {panic})"

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
            self.pools = Pools(self.message, self, self._context.network, self._point)

    @property
    def http2(self) -> IHttp2Upstream:
        """Its hosts as gRPC calls reach them, made with the first one."""
        if self._http2 is None:
            self._http2 = _http2_pools(self.message, self, self._context)
        return self._http2

    @property
    def http1(self) -> IHttp1Upstream:
        """Its hosts as requests of the proxy's own reach them, made with the first one."""
        if self._http1 is None:
            self._http1 = Http1Pools(self, self._clock)
        return self._http1

    def connect(self, user: ConnectionUser) -> OwnConnection | None:
        """Connect to one of the hosts, for the proxy itself: see `ICluster.connect`."""
        host = pick(self)
        if host is None:
            return None
        connection = OwnConnection(host, user, self._clock)
        connection.connect()
        return connection

    def collect(self) -> None:
        """Bring the gauges up to date that nobody moves while traffic flows; what filters hold,
        they add afterwards.
        """
        if not self._is_balanced:
            self._rebalance()
        if self._endpoint_stats is not None:
            self._endpoint_stats.collect(self.hosts)
        self.breakers.collect(self.is_used)
        if not self.stats.are_made:
            return  # nobody has moved one
        received = self.stats.cx_rx_bytes_buffered
        (received.set if self.is_used else received.follow)(0)
        self.stats.cx_tx_bytes_buffered.follow(0)

    # Its end

    def close(self) -> None:
        """The cluster serves nobody any more; connections in use go on, and their statistics with
        them until `release`.
        """
        if self.paused is not None:
            self.paused.end()
        if self.pools is not None:
            self.pools.close()
        for own in (self._http2, self._http1):
            if own is not None:
                own.close()
        self.dialer.close()

    def release(self) -> None:
        """Nothing is left of it, or a successor goes on with its statistics.  Connections that go
        on know their hosts, which know the cluster: it lets go of them, or all would be a cycle.
        """
        self._counts.close()
        if self._endpoint_stats is not None:
            self._endpoint_stats.collect(())
        self.stats.scope.close()
        self.hosts, self._by_key, self._named, self._by_address = (), {}, {}, None
        self._assignment, self._sets = Assignment(), HostSets()
        self._balancer.update(self._sets)  # its tables know it
        self._balancer, self._named_hosts = NoHosts(), None
        self._http2 = self._http1 = None

    def _policy_context(self, context: WorkerContext) -> PolicyContext:
        shared = {name: getattr(context, name) for name in _SHARED}
        shared["shared"] = self._counts
        if context.local_cluster == self.name:
            shared["local_cluster"] = (
                ""  # a proxy that sends to its own kind has no use for routing by zone
            )
        return PolicyContext(
            **shared,
            stats=self.stats,
            requests=self.breakers.requests,
            configured_panic_threshold=panic_threshold(self.message),
            provided=partial(provided_balancer, self.message),
            host_for=self.host_for,
        )


def _named(spec: HostSpec) -> tuple[Address, str]:
    """What connections tell of a host: two names may have one address."""
    return spec.address, spec.hostname


def _import_http2() -> type[Http2Pools]:
    # Here, as only what speaks HTTP/2 needs h2.
    from tcpmesh.cluster.upstream.http2_pools import Http2Pools

    return Http2Pools


def _http2_pools(message: Any, cluster: Cluster, context: WorkerContext) -> IHttp2Upstream:
    return _import_http2()(message, cluster, context.network, context.random)


def _track(message: Any, stats: ClusterStats) -> None:
    tracked = message.track_cluster_stats
    stats.track(
        tracked.timeout_budgets or message.track_timeout_budgets, tracked.request_response_sizes
    )


def provided_balancer(message: Any, context: PolicyContext) -> ILoadBalancer:
    """The load balancer that the type of a `cluster.v3.Cluster` brings along.

    :raise UnknownExtension: where it brings none.
    """
    cls, config = cluster_type(message)
    if not IBringsBalancer.providedBy(cls):
        raise UnknownExtension("the cluster provides no load balancer")
    made: ILoadBalancer = cls.balancer(message, config, context)
    return made
