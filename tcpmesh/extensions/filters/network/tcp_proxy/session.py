"""One client on its way to a host of a cluster, from accept to close: what tcp_proxy does for each
connection.

A `Session` looks up the cluster, asks the circuit breakers, lets the cluster pick a host and
connects, in this order for every attempt, as Envoy does; then a `Relay` takes over.  The load
balancer gets the session as the context of its pick: `hash`, `attempted` and `metadata_match` are
for it.

Usually the client is not read until the upstream is connected.  Where early data is allowed it is
read from the start, and where the client has to speak first nothing is looked up before it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.counting import closed, count_pauses, failed, opened
from tcpmesh.cluster.upstream.pool import Pool
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.extensions.filters.network.tcp_proxy.proxy import Proxy
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.response_flags import ResponseFlag


class Session(OneShotFactory):
    """One client; also the client factory of its upstream connection."""

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_connector",
        "_counted",
        "_dialled",
        "_expiry",
        "_flushing",
        "_heard",
        "_host",
        "_pool",
        "_proxy",
        "_retry",
        "_unheard",
        "attempted",
        "cluster",
        "connection",
        "metadata_match",
        "relay",
    )

    def __init__(self, proxy: Proxy, connection: Connection) -> None:
        self._proxy = proxy
        self.connection = connection
        self.cluster: Any = None
        self.attempted: tuple[Any, ...] = ()
        """The hosts that could not be connected to."""
        self.metadata_match: Mapping[str, Any] | None = None
        self._host: Any = None
        self._attempts = 0
        self._dialled = 0.0
        self._connector: Any = None
        self._pool: Pool | None = None
        self._retry: IDelayedCall | None = None
        self._expiry: IDelayedCall | TimeoutQueue[Session] | None = None
        self._flushing = False
        self._unheard = proxy.waits_for_data
        self._heard: IDelayedCall | None = None
        self._counted = (0, 0, 0, 0)
        self.relay = Relay(connection.transport, proxy.context.network.timers, self)
        self.relay.read_source = connection.read_source

    @property
    def hash(self) -> int | None:
        """The 64-bit number that consistent hashing goes by, or `None`."""
        hash_of = self._proxy.hash_of
        return hash_of(self.connection) if hash_of is not None else None

    def start(self) -> None:
        """Hold the client and connect, or let it speak first."""
        proxy = self._proxy
        if proxy.early_limit is None:
            self.connection.transport.pauseProducing()
        else:
            self.relay.read_early(proxy.early_limit, self)
        idle = proxy.idle_for(self.connection)
        if idle is not None:
            self.relay.flush_timeout = idle
            self.relay.watch_idle(idle)
        if proxy.max_duration is not None:
            self._limit_duration(proxy.max_duration)
        if not self._unheard:
            self._connect()

    # Early data

    def early_received(self) -> None:
        """The client has sent something before its upstream is connected."""
        self._count_early()
        if self._unheard:
            self._unheard = False
            self._connect()

    def early_ended(self) -> None:
        """The client has sent all it will.  Where it had to speak first and said nothing, there is
        nothing to connect for.
        """
        if self._heard is None:
            self._count_early()
        if self._unheard:
            self._leave()

    def _count_early(self) -> None:
        """Count a read; an end that comes in the same turn of the event loop belongs to it."""
        self._proxy.stats.early_data_received.tally += 1
        if self._heard is None:
            self._heard = self._proxy.context.network.clock.callLater(0, self._turn_over)

    def _turn_over(self) -> None:
        self._heard = None

    def early_lost(self, reason: Failure) -> None:
        """The client is gone before its upstream was connected."""
        self._give_up()
        self.fold()
        self._end()
        self.relay.discard()
        self.connection.connectionLost(reason)

    # Connecting

    def _connect(self) -> None:
        self._retry = None
        proxy = self._proxy
        name, self.metadata_match = proxy.route(self.connection)
        cluster = proxy.context.cluster(name)
        if cluster is None:
            proxy.stats.cx_no_route.tally += 1
            self._refuse(ResponseFlag.NC)
            return
        if self._attempts >= proxy.max_attempts:
            cluster.stats.cx_connect_attempts_exceeded.tally += 1
            self._refuse(ResponseFlag.URX)
            return
        breakers = cluster.breakers
        if breakers.full:
            cluster.stats.cx_overflow.tally += 1
            self._refuse(ResponseFlag.UO)
            return
        host = cluster.pick(self)
        if host is None:
            cluster.stats.cx_none_healthy.tally += 1
            self._refuse(ResponseFlag.UH)
            return
        if (
            host.cluster is not cluster
        ):  # picked by an aggregate cluster: the one it belongs to serves
            cluster, breakers = host.cluster, host.cluster.breakers
            if breakers.full:
                cluster.make_wait()
        self._attempts += 1
        self.cluster, self._host = cluster, host
        if cluster.pools is not None:
            self._pool = cluster.pools.pool(host, self)
            self._pool.serve(self)
        elif breakers.pending_full:
            cluster.stats.rq_pending_overflow.tally += 1
            self._try_again()
        else:
            self._dial(cluster, host)

    def _dial(self, cluster: Any, host: Host) -> None:
        """Make a connection of our own."""
        cluster.breakers.pending.own += 1
        cluster.stats.rq_pending_total.tally += 1
        cluster.stats.rq_pending_active.add(1)
        host.rq_pending_active += 1
        self._dialled = self._proxy.context.network.clock.seconds()
        opened(host)
        if cluster.close_on_failure:
            host.sessions.add(self)
        self._connector = cluster.dialer.connect(host, self, cluster.connect_timeout, self._another)

    def _another(self) -> None:
        """A further one of the host's addresses is tried, in the same attempt."""
        self._host.cx_total += 1
        self.cluster.stats.cx_total.tally += 1

    def buildProtocol(self, addr: Any) -> Direction:
        """The upstream is connected."""
        return self.relay.from_upstream

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """An attempt failed: try again if another is allowed, else close the client."""
        if connector is not self._connector:
            return  # given up by us, and counted then; there may be another attempt by now
        flags, remote = failed(self._host, reason)
        self.connection.flags |= flags
        self._failed(remote)

    def _failed(self, remote: bool) -> None:
        """No connection came of this attempt."""
        self.attempted += (self._host,)
        self._undial(remote)
        self.cluster.stats.rq_pending_failure_eject.tally += 1
        self._try_again()

    def _try_again(self) -> None:
        """See whether there is another attempt: in the next turn of the event loop, or after a
        pause.
        """
        backoff = self._proxy.backoff
        pause = (
            backoff.pause(self._attempts)
            if backoff is not None and self._attempts < self._proxy.max_attempts
            else 0
        )
        self._retry = self._proxy.context.network.clock.callLater(pause, self._connect)

    def _undial(self, remote: bool) -> None:
        """An attempt is over without a connection."""
        self._connector = None
        self.cluster.breakers.pending.own -= 1
        self.cluster.stats.rq_pending_active.add(-1)
        self._host.rq_pending_active -= 1
        self._destroyed(remote, active=False)

    def _destroyed(self, remote: bool, active: bool) -> None:
        """The upstream connection is over, whether it was made (active) or only tried."""
        host = self._host
        closed(host, self._proxy.context.network.clock.seconds() - self._dialled, remote, active)
        if self.cluster.close_on_failure:
            host.sessions.discard(self)
        pools = self.cluster.pools
        if pools is not None:
            pools.left(host, self._pool)

    # What a pool tells

    def pool_ready(self, dialled: float) -> None:
        """There is a connection, begun at this time; the relay starts next."""
        self._dialled = dialled
        if self.cluster.close_on_failure:
            self._host.sessions.add(self)

    def pool_failed(self, flags: ResponseFlag) -> None:
        """There is none to be had of the host."""
        self._pool = None
        self.connection.flags |= flags
        self.attempted += (self._host,)
        self.cluster.stats.rq_pending_failure_eject.tally += 1
        self._try_again()

    def pool_full(self) -> None:
        """Too many wait already."""
        self._pool = None
        self._try_again()

    def _refuse(self, flag: ResponseFlag) -> None:
        """There is no upstream for this client."""
        self.connection.flags |= flag
        self._leave()

    def _leave(self) -> None:
        """Close a client that is connected to nothing."""
        connection = self.connection
        if self.relay.early is not None:
            self.fold()
            connection.read_source.protocol = connection
        self._end()
        self.relay.discard()
        connection.transport.loseConnection()

    # What the relay tells

    def relay_started(self, relay: Relay) -> None:
        """Connected: from now on this is one active request, in Envoy's terms."""
        host, stats, breakers = self._host, self.cluster.stats, self.cluster.breakers
        if self._pool is None:
            self._connector = None
            stats.cx_connect_ms.record(
                int((self._proxy.context.network.clock.seconds() - self._dialled) * 1000)
            )
            breakers.pending.own -= 1
            stats.rq_pending_active.add(-1)
            host.rq_pending_active -= 1
            if host.outlier is not None:
                host.outlier.connect_succeeded()
        stats.rq_total.tally += 1
        breakers.requests.own += 1
        stats.rq_active.add(1)
        host.rq_total += 1
        host.rq_active += 1
        relay.from_upstream.source.high_watermark = self.cluster.buffer_limit

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        """One of the two connections is closed."""
        if direction is relay.from_upstream:
            self._upstream_lost(relay)
            return
        self._stop_expiry()
        if relay.reset is None and not relay.from_upstream.lost and relay.from_downstream.buffered:
            self._flushing = True
            self._proxy.stats.upstream_flush_total.tally += 1
            self._proxy.stats.upstream_flush_active.add(1)
        self.connection.connectionLost(None)

    def _upstream_lost(self, relay: Relay) -> None:
        if relay.reset is relay.from_upstream:
            self.connection.flags |= ResponseFlag.UR
        if self._flushing:
            self._proxy.stats.upstream_flush_active.add(-1)
        self._host.rq_active -= 1
        self.cluster.breakers.requests.own -= 1
        self.cluster.stats.rq_active.add(-1)
        self._destroyed(remote=relay.last is relay.from_upstream, active=True)

    def relay_finished(self, relay: Relay) -> None:
        """Both are closed."""
        self.fold()
        self._end()

    def relay_idle(self, relay: Relay) -> None:
        """No byte moved for the idle timeout."""
        self._proxy.stats.idle_timeout.tally += 1
        self._close()

    # Ends of our own making

    def host_failed(self) -> None:
        """The host is unhealthy, and its connections are to be closed
        (`close_connections_on_host_health_failure`).
        """
        connector = self._connector
        if connector is None:
            self._close()
            return
        self.cluster.stats.cx_connect_fail.tally += 1
        self._host.cx_connect_fail += 1
        self._failed(remote=False)
        connector.stopConnecting()

    def _limit_duration(self, duration: float) -> None:
        jitter = self._proxy.duration_jitter
        if jitter:
            duration *= 1 + self._proxy.context.random.uniform(0, jitter)
            self._expiry = self._proxy.context.network.clock.callLater(duration, self.expired)
        else:
            queue = self._expiry = self._proxy.context.network.timers.queue(
                duration, Session.expired
            )
            queue.add(self)

    def expired(self) -> None:
        """The connection has lived for its maximum duration."""
        self._expiry = None
        self._proxy.stats.max_duration.tally += 1
        self.connection.flags |= ResponseFlag.DT
        self._close()

    def stop(self) -> None:
        """The proxy ends."""
        self._close()

    def _close(self) -> None:
        if self.relay.from_upstream.source is not None:
            self.relay.close()
        else:
            self._give_up()
            self._leave()

    def _give_up(self) -> None:
        """Leave the attempt that is under way, or the queue for one; between attempts there is
        neither.
        """
        connector = self._connector
        if connector is not None:
            self.cluster.stats.rq_cancelled.tally += 1
            self._undial(remote=False)
            connector.stopConnecting()
        elif self._pool is not None:
            self._pool.leave(self)

    def _end(self) -> None:
        self._stop_expiry()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._heard is not None:
            self._heard.cancel()
            self._heard = None
        self._proxy.forget(self)

    def _stop_expiry(self) -> None:
        expiry, self._expiry = self._expiry, None
        if isinstance(expiry, TimeoutQueue):
            expiry.discard(self)
        elif expiry is not None:
            expiry.cancel()

    # Counting

    def fold(self) -> None:
        """Add to the counters what was relayed since the last call."""
        down, up = self.relay.from_downstream, self.relay.from_upstream
        tcp = self._proxy.stats
        received, sent, answered, returned = self._counted
        self._counted = now = (down.bytes, down.written, up.bytes, up.written)
        tcp.cx_rx_bytes_total.tally += now[0] - received
        tcp.cx_tx_bytes_total.tally += now[3] - returned
        if self.cluster is None:
            return
        stats = self.cluster.stats
        stats.cx_tx_bytes_total.tally += now[1] - sent
        stats.cx_rx_bytes_total.tally += now[2] - answered
        count_pauses(down, tcp)
        count_pauses(up, stats)
