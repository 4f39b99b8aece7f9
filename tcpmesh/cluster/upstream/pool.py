"""Pools of upstream connections: for clusters that connect ahead of their clients, or that make
clients wait for a host.

Most clusters need neither.  A TCP connection serves one client and ends with it, so each client may
as well make its own, and the cluster has no pools at all.  Pools are for two things:
`preconnect_policy`, by which connections are made before there are clients for them, and
`per_host_thresholds`, under which a client waits until its host may have a connection more.  (They
also count what `max_requests_per_connection: 1` makes Envoy count.)  A cluster without pools gets
them when it is full and an aggregate cluster has chosen it: such a client waits, while one that is
sent to the cluster itself is closed.

Theory of operation, which is Envoy's.  A pool belongs to one host.  A client takes a connection
that is ready, the youngest first; where none is, it waits, and whichever connection is ready first
goes to the client that has waited longest.  After each change the pool asks whether it is provided
for: clients, times the ratio, against connections, those that are being made included.  It then
makes up to three more, unless the host is not healthy or a circuit breaker is open.  A host that
has no connection at all gets one even so, where a client waits for it: else nothing would ever wake
the client up.  When an attempt fails, all clients that wait for the host have failed.

What a host says before it has a client, as a MySQL server does, is kept, and the client gets it
first.  A connection that the host ends meanwhile is dropped, at once, and one without a client for
the idle timeout is closed.  When the host is removed or becomes unhealthy, or the cluster goes,
those without a client go too, and those with one stay.

In three things Envoy is not followed.  It makes a new connection as soon as one has failed that was
made ahead, and so goes round as fast as it can where a host refuses; here the next client is waited
for.  And it does not notice the reset of a connection that has no client, but hands it to the next
one.  And its `predictive_preconnect_ratio` counts the clients of all clusters, against what its
documentation says; here each cluster counts its own.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Any

from envoy.extensions.upstreams.tcp.v3.tcp_protocol_options_pb2 import TcpProtocolOptions

from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.pooled_connection import PendingClient, PooledConnection
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import INetwork
from tcpmesh.values.hosts import Health
from tcpmesh.values.overload import LoadShedPoint
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions

IDLE_TIMEOUT = 600.0
"""Seconds a connection stays open without a client, where nothing is said."""

AT_ONCE = 3
"""The most connections that one event makes."""

_TCP_OPTIONS: str = TcpProtocolOptions.DESCRIPTOR.full_name

_SINGLE = struct.Struct("f")


class Pools:
    """The pools of one cluster."""

    def __init__(
        self, message: Any, cluster: Any, network: INetwork, point: LoadShedPoint | None = None
    ) -> None:
        """`point` is asked before each connection, where there is one."""
        self._point = point
        policy = message.preconnect_policy
        self._cluster = cluster
        self.clock = network.clock
        self.ratio = ratio_of(policy, "per_upstream_preconnect_ratio")
        self._foresight = ratio_of(policy, "predictive_preconnect_ratio")
        self.once: bool = message.max_requests_per_connection.value == 1
        """Whether one client is all that a connection is for, which a TCP connection keeps to
        anyway: it is only counted.
        """
        self._by_client: bool = message.connection_pool_per_downstream_connection
        idle = _idle_timeout(message)
        self.idle = network.timers.queue(idle, PooledConnection.expired) if idle else None
        self._pools: dict[Host, dict[Hashable, Pool]] = {}
        """Those of each host that has any: one, or one for each client; and one for whatever the
        transport socket is told.
        """
        self.waiting = self.active = self.provided = 0
        """Clients that wait, and that are served; connections for further ones, ready or being
        made: of all hosts.
        """
        self._before: dict[Host, int] = {
            host: host.cx_active for host in cluster.hosts if host.cx_active and not self._by_client
        }
        """Connections of each host that clients made for themselves before there were pools: its
        pool's, once it has one.
        """
        self._heirs: dict[Host, Pool] = {}
        self.active = sum(self._before.values())

    def sheds(self) -> bool:
        """Whether a connection that is wanted is not made, for want of resources."""
        point = self._point
        return point is not None and point.level > 0 and point.sheds()

    def pool(self, host: Host, client: PendingClient) -> Pool:
        """The pool that is to serve a client for whom this host was picked."""
        if self.looks_ahead:
            self._look_ahead(client)
        return self._pool(host, client)

    @property
    def looks_ahead(self) -> bool:
        """Whether connections are made for clients who have yet to come."""
        return self._foresight > 1

    def _look_ahead(self, client: PendingClient) -> None:
        """Connect to the hosts that the load balancer will pick next, for as many clients as the
        ratio says.
        """
        for _ in range(AT_ONCE):
            if not wants(
                self.waiting + self.active + 1, self._foresight, self.provided + self.active
            ):
                return
            host = self._cluster.peek(client)
            if host is None or not self._pool(host, client).look_ahead(self._foresight):
                return

    def _pool(self, host: Host, client: PendingClient) -> Pool:
        dialer = self._cluster.dialer
        told = client.told
        number = client.stream_info.id if self._by_client else None
        key = (number, dialer.pool_key(host.spec, told))
        pools = self._pools.setdefault(host, {})
        pool = pools.get(key)
        if pool is None:
            pool = pools[key] = Pool(self, host, key, told, self._before.get(host, 0))
            if self._before.pop(host, 0):
                self._heirs[host] = pool
        return pool

    def left(self, host: Host, pool: Pool | None) -> None:
        """A client that had a connection is gone, and its connection with it; without a pool it had
        made it for itself.
        """
        pool = pool or self._heirs.get(host)
        if pool is not None:
            pool.left()
        elif host in self._before:
            self._before[host] -= 1
            self.active -= 1

    def forget(self, pool: Pool) -> None:
        """The pool has nothing any more."""
        pools = self._pools.get(pool.host, {})
        if pools.get(pool.key) is pool:
            del pools[pool.key]
            if not pools:
                del self._pools[pool.host]

    def drain(self, hosts: Iterable[Host]) -> None:
        """These hosts are gone, or are to be begun with anew: nobody is served from their pools any
        more.
        """
        for host in hosts:
            for pool in self._pools.pop(host, {}).values():
                pool.drain()

    def hosts_failed(self, hosts: Iterable[Host]) -> None:
        """These hosts have become unhealthy."""
        for pool in [pool for host in hosts for pool in self._pools.get(host, {}).values()]:
            if self._cluster.close_on_failure:
                pool.fail()
            else:
                pool.clear()

    def close(self) -> None:
        """The cluster is gone: connections that go on know its pools, which know it no more."""
        self.drain(tuple(self._pools))
        self._heirs.clear()
        self._before.clear()
        self._cluster = None


class Pool:
    """The connections to one host."""

    __slots__ = (
        "_active",
        "_connecting",
        "_draining",
        "_ready",
        "_waiting",
        "clock",
        "host",
        "idle",
        "key",
        "pools",
        "told",
    )

    def __init__(
        self,
        pools: Pools,
        host: Host,
        key: Hashable,
        told: TransportSocketOptions,
        active: int = 0,
    ) -> None:
        self.pools = pools
        self.host = host
        self.key = key
        self.told = told
        self.clock = pools.clock
        self.idle = pools.idle
        self._waiting: deque[PendingClient] = deque()
        self._connecting: dict[PooledConnection, None] = {}
        self._ready: dict[PooledConnection, None] = {}
        self._active = active
        self._draining = False

    # Clients

    def serve(self, client: PendingClient) -> None:
        """Give a client a connection, now or when there is one."""
        breakers, stats = self.host.cluster.breakers, self.host.cluster.stats
        if self._ready:
            self._ready.popitem()[0].give(client)
        elif breakers.pending_full:
            stats.rq_pending_overflow.tally += 1
            client.pool_full()
            self._tidy()
            return
        else:
            stats.rq_pending_total.tally += 1
            self._waiting.append(client)
            self._count_waiting(1)
        if self._provide() and len(self._waiting) > len(self._connecting):
            self._turn_away(1)

    def leave(self, client: PendingClient) -> None:
        """The client does not wait any more; the youngest connection in the making goes with it, if
        it is one too many.
        """
        self._waiting.remove(client)
        self._count_waiting(-1)
        self.host.cluster.stats.rq_cancelled.tally += 1
        if self._connecting and not wants(self._clients, self.pools.ratio, self._provided - 1):
            connection, _ = self._connecting.popitem()
            self.pools.provided -= 1
            connection.give_up()
        self._settle()

    def left(self) -> None:
        """A client that had a connection is gone, and its connection with it."""
        self._active -= 1
        self.pools.active -= 1
        self._settle()

    def attached(self, client: PendingClient, dialled: float) -> None:
        """The client gets a connection that is taken out of the pool."""
        self._active += 1
        self.pools.active += 1
        self.pools.provided -= 1
        if self.pools.once:
            self.host.cluster.stats.cx_max_requests.tally += 1
        client.pool_ready(dialled)
        self.settled()

    # Connections

    @property
    def _clients(self) -> int:
        return len(self._waiting) + self._active

    @property
    def _provided(self) -> int:
        return len(self._connecting) + len(self._ready) + self._active

    def look_ahead(self, ratio: float) -> bool:
        """A client may come: make a connection for it, if there is none yet; whether one is
        made.
        """
        made = (
            self._may_foresee
            and wants(self._clients + 1, ratio, self._provided)
            and not self.pools.sheds()
            and self._connect()
        )
        self._tidy()
        return made

    @property
    def _may_foresee(self) -> bool:
        return not self._draining and self.host.health is Health.HEALTHY

    def _provide(self) -> bool:
        """Make the connections that are wanted, as far as that is allowed; whether one is not made
        for want of resources.
        """
        for _ in range(AT_ONCE):
            if self._may_foresee:
                wanted = wants(self._clients, self.pools.ratio, self._provided)
            else:
                wanted = len(self._waiting) > len(self._connecting)
            if wanted and self.pools.sheds():
                return True
            if not wanted or not self._connect():
                return False
        return False

    def _turn_away(self, count: int) -> None:
        """So many of those that wait get no connection, those that came last."""
        clients = [self._waiting.pop() for _ in range(count)]
        self._count_waiting(-count)
        for client in clients:
            client.pool_shed()
        self._tidy()

    def _connect(self) -> bool:
        """Make a connection, if the circuit breakers allow it, or at least the first one; whether
        they allow it.
        """
        allowed: bool = self.host.cluster.breakers.allows(self.host)
        if not allowed:
            self.host.cluster.stats.cx_overflow.tally += 1
        if allowed or not self._provided:
            connection = PooledConnection(self)
            self._connecting[connection] = None
            self.pools.provided += 1
            connection.connect()
        return allowed

    def connected(self, connection: PooledConnection) -> PendingClient | None:
        """A connection is there; the client that gets it, if one waits."""
        del self._connecting[connection]
        if self._waiting:
            client = self._waiting.popleft()
            self._count_waiting(-1)
            return client
        self._ready[connection] = None
        return None

    def settled(self) -> None:
        """Somebody got a connection, or nobody waits for one that is ready."""
        if self._draining and not self._waiting:
            self.clear()

    def failed(
        self, connection: PooledConnection, flags: ResponseFlag, reason: Failure | None
    ) -> None:
        """An attempt failed: so have all that wait.  Without a reason the host is unhealthy."""
        del self._connecting[connection]
        self.pools.provided -= 1
        waiting = tuple(self._waiting)
        self._waiting.clear()
        self._count_waiting(-len(waiting))
        for client in waiting:
            client.pool_failed(flags, reason)
        self._settle()

    def lost(self, connection: PooledConnection) -> None:
        """A connection without a client is gone."""
        del self._ready[connection]
        self.pools.provided -= 1
        self._settle()

    # Ends

    def drain(self) -> None:
        """Serve those that have come to their end; nobody comes any more."""
        self._draining = True
        self.clear()

    def clear(self) -> None:
        """Close all connections that have no client, and nobody to wait for them."""
        self._close_ready()
        if not self._waiting:
            connecting, self._connecting = self._connecting, {}
            self.pools.provided -= len(connecting)
            for connection in connecting:
                connection.count_failure()
                connection.give_up()
        self._tidy()

    def fail(self) -> None:
        """Close all connections that have no client, and take the attempts under way for failed,
        whoever waits for them.
        """
        self._close_ready()
        for connection in tuple(self._connecting):
            connection.count_failure()
            connection.give_up()
            self.failed(connection, NO_FLAGS, None)
        self._tidy()

    def _close_ready(self) -> None:
        ready, self._ready = self._ready, {}
        self.pools.provided -= len(ready)
        for connection in ready:
            connection.close()

    def _settle(self) -> None:
        """Something has ended: those who wait may go on now."""
        if self._waiting:
            if self._provide() and not self._provided:
                self._turn_away(len(self._waiting))  # Nothing would ever wake them up.
        elif self._draining:
            self.clear()
        self._tidy()

    def _tidy(self) -> None:
        if not self._waiting and not self._provided:
            self.pools.forget(self)

    def _count_waiting(self, change: int) -> None:
        self.pools.waiting += change
        self.host.rq_pending_active += change
        self.host.cluster.breakers.pending.own += change
        self.host.cluster.stats.rq_pending_active.add(change)


def pools_of(
    message: Any, cluster: Any, network: INetwork, point: LoadShedPoint | None = None
) -> Pools | None:
    """The pools of a `cluster.v3.Cluster`, if it needs any."""
    policy = message.preconnect_policy
    ahead = any(ratio_of(policy, field.name) > 1 for field, _ in policy.ListFields())
    once = message.max_requests_per_connection.value == 1
    return (
        Pools(message, cluster, network, point)
        if ahead or once or cluster.breakers.per_host is not None
        else None
    )


def ratio_of(policy: Any, name: str) -> float:
    """A ratio of a `Cluster.PreconnectPolicy`, in the single precision in which Envoy reckons."""
    return _single(getattr(policy, name).value) if policy.HasField(name) else 1.0


def wants(clients: int, ratio: float, connections: int) -> bool:
    """Whether so many clients, times the ratio, need more than these connections."""
    return _single(clients * ratio) > connections


def _single(number: float) -> float:
    rounded: float = _SINGLE.unpack(_SINGLE.pack(number))[0]
    return rounded


def _idle_timeout(message: Any) -> float:
    """Seconds; 0 for none."""
    if _TCP_OPTIONS not in message.typed_extension_protocol_options:
        return IDLE_TIMEOUT
    options = TcpProtocolOptions.FromString(
        message.typed_extension_protocol_options[_TCP_OPTIONS].value
    )
    return seconds(options.idle_timeout) if options.HasField("idle_timeout") else IDLE_TIMEOUT
