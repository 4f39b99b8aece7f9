"""tcp_proxy: gives a client to a host of a cluster, and relays.

The terminal filter of nearly every chain.  A `Session` is made for each client.  It looks up the cluster, asks the circuit
breaker, lets the cluster pick a host and connects, in this order for every attempt, as Envoy does; then a `Relay` takes
over.  The client is not read until the upstream is connected.

Of Envoy's tcp_proxy this leaves out, and refuses in a configuration: access logs, hash policies, tunnelling, on-demand
clusters, metadata matches, early data (`upstream_connect_mode`) and what a drain would close.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from zope.interface import implementer

from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.values import seconds
from tcpmesh.interfaces import INetworkFilter
from tcpmesh.net.connection import Connection, ResponseFlag
from tcpmesh.net.relay import Direction, Relay
from tcpmesh.net.timers import TimerQueue
from tcpmesh.registry import Context, extension
from tcpmesh.stats.store import Declaration, Store, sanitize

log = Logger(namespace="filter")

IDLE_TIMEOUT = 3600.0

DECLARED = Declaration(
    counters=("downstream_cx_drain_close", "downstream_cx_overload_close", "early_data_received_count_total", "route_delayed_total")
)


class TcpProxyStats:
    """The statistics under `tcp.<stat_prefix>.`."""

    def __init__(self, store: Store, prefix: str) -> None:
        scope = self.scope = store.scope(f"tcp.{sanitize(prefix)}")
        self.cx_total = scope.counter("downstream_cx_total")
        self.cx_no_route = scope.counter("downstream_cx_no_route")
        self.cx_rx_bytes_total = scope.counter("downstream_cx_rx_bytes_total")
        self.cx_tx_bytes_total = scope.counter("downstream_cx_tx_bytes_total")
        self.cx_rx_bytes_buffered = scope.gauge("downstream_cx_rx_bytes_buffered")
        self.cx_tx_bytes_buffered = scope.gauge("downstream_cx_tx_bytes_buffered")
        self.flow_control_paused = scope.counter("downstream_flow_control_paused_reading_total")
        self.flow_control_resumed = scope.counter("downstream_flow_control_resumed_reading_total")
        self.idle_timeout = scope.counter("idle_timeout")
        self.max_duration = scope.counter("max_downstream_connection_duration")
        self.upstream_flush_total = scope.counter("upstream_flush_total")
        self.upstream_flush_active = scope.gauge("upstream_flush_active")
        scope.declare(DECLARED)


class Backoff:
    """The pause before a further attempt (`backoff_options`): random, from a range that doubles up to a maximum."""

    def __init__(self, options: Any, context: Context) -> None:
        self._base = seconds(options.base_interval)
        self._most = seconds(options.max_interval) if options.HasField("max_interval") else 10 * self._base
        self._random = context.random

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures, 1 or more."""
        return self._random.uniform(0, min(self._base * 2 ** min(failures - 1, 62), self._most))


@extension(tcp_proxy_pb2.TcpProxy)
@implementer(INetworkFilter)
class TcpProxy:
    """What a filter chain's `TcpProxy` message says, and the sessions it has."""

    terminal = True

    def __init__(self, message: Any, context: Context) -> None:
        self.context = context
        self.stats = TcpProxyStats(context.store, message.stat_prefix)
        self.route = _route(message, context)
        self.max_attempts: int = message.max_connect_attempts.value if message.HasField("max_connect_attempts") else 1
        self.backoff = Backoff(message.backoff_options, context) if message.HasField("backoff_options") else None
        idle = seconds(message.idle_timeout) if message.HasField("idle_timeout") else IDLE_TIMEOUT
        self.idle_timeout = idle or None
        has_duration = message.HasField("max_downstream_connection_duration")
        self.max_duration = seconds(message.max_downstream_connection_duration) if has_duration else None
        self.duration_jitter: float = message.max_downstream_connection_duration_jitter_percentage.value / 100
        self._sessions: set[Session] = set()
        self._buffered = (0, 0)
        self._closed = False

    def attach(self, connection: Connection) -> None:
        """Serve a client."""
        self.stats.cx_total.value += 1
        session = Session(self, connection)
        if not self._sessions:
            self.context.store.add_collector(self._collect)
        self._sessions.add(session)
        session.start()

    def close(self) -> None:
        """The chain takes no more clients; those it has are served to their end."""
        self._closed = True
        if not self._sessions:
            self.stats.scope.close()

    def forget(self, session: Session) -> None:
        """The session is over."""
        self._sessions.discard(session)
        if not self._sessions:
            self.context.store.remove_collector(self._collect)
            self._collect()
            if self._closed:
                self.stats.scope.close()

    def _collect(self) -> None:
        """Count what open sessions have moved since they were last counted, and what they hold at this moment."""
        from_downstream = from_upstream = 0
        for session in self._sessions:
            down, up = session.fold()
            if session.cluster is not None:
                from_downstream, from_upstream = from_downstream + down, from_upstream + up
                session.cluster.stats.cx_tx_bytes_buffered.add(down)
                session.cluster.stats.cx_rx_bytes_buffered.add(up)
        before, self._buffered = self._buffered, (from_downstream, from_upstream)
        # Added, not set: other filters of the same stat_prefix have a share in these gauges.
        self.stats.cx_rx_bytes_buffered.add(from_downstream - before[0])
        self.stats.cx_tx_bytes_buffered.add(from_upstream - before[1])


class Session:
    """One client, from accept to close; also the client factory of its upstream connection."""

    __slots__ = (
        "__weakref__",
        "_attempts",
        "_connector",
        "_counted",
        "_dialled",
        "_expiry",
        "_flushing",
        "_host",
        "_proxy",
        "_retry",
        "cluster",
        "connection",
        "relay",
    )

    def __init__(self, proxy: TcpProxy, connection: Connection) -> None:
        self._proxy = proxy
        self.connection = connection
        self.cluster: Any = None
        self._host: Any = None
        self._attempts = 0
        self._dialled = 0.0
        self._connector: Any = None
        self._retry: IDelayedCall | None = None
        self._expiry: IDelayedCall | TimerQueue[Session] | None = None
        self._flushing = False
        self._counted = (0, 0, 0, 0)
        self.relay = Relay(connection.transport, proxy.context.network.timers, self, proxy.idle_timeout or IDLE_TIMEOUT)

    def start(self) -> None:
        """Hold the client and connect."""
        proxy = self._proxy
        self.connection.transport.pauseProducing()
        if proxy.idle_timeout is not None:
            self.relay.watch_idle(proxy.idle_timeout)
        if proxy.max_duration is not None:
            self._limit_duration(proxy.max_duration)
        self._connect()

    # Connecting

    def _connect(self) -> None:
        self._retry = None
        proxy = self._proxy
        name = proxy.route()
        cluster = proxy.context.cluster(name)
        if cluster is None:
            proxy.stats.cx_no_route.value += 1
            self._refuse(ResponseFlag.NC)
            return
        if self._attempts >= proxy.max_attempts:
            cluster.stats.cx_connect_attempts_exceeded.value += 1
            self._refuse(ResponseFlag.URX)
            return
        if cluster.full:
            cluster.stats.cx_overflow.value += 1
            self._refuse(ResponseFlag.UO)
            return
        host = cluster.pick(self)
        if host is None:
            cluster.stats.cx_none_healthy.value += 1
            self._refuse(ResponseFlag.UH)
            return
        self.cluster, self._host = cluster, host
        self._dial()

    def _dial(self) -> None:
        cluster, host, network = self.cluster, self._host, self._proxy.context.network
        self._attempts += 1
        self._dialled = network.clock.seconds()
        host.cx_total += 1
        host.cx_active += 1
        stats = cluster.stats
        stats.cx_total.value += 1
        stats.cx_active.add(1)
        stats.rq_pending_total.value += 1
        stats.rq_pending_active.add(1)
        self._connector = network.connect(host.address, self, cluster.connect_timeout)

    def doStart(self) -> None:
        """Twisted: a connector will use this factory."""

    def doStop(self) -> None:
        """Twisted: no connector uses this factory any more."""

    def startedConnecting(self, connector: Any) -> None:
        """Twisted: connecting has begun."""

    def buildProtocol(self, addr: Any) -> Direction:
        """The upstream is connected."""
        return self.relay.from_upstream

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """Twisted: the connection was closed, as the relay knows."""

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """An attempt failed: try again if another is allowed, else close the client."""
        if self._connector is None:
            return  # given up by us, and counted then
        timed_out = reason.check(ConnectTimeout) is not None
        stats = self.cluster.stats
        stats.cx_connect_fail.value += 1
        if timed_out:
            stats.cx_connect_timeout.value += 1
        self._host.cx_connect_fail += 1
        self._undial(remote=not timed_out)
        stats.rq_pending_failure_eject.value += 1
        self.connection.flags |= ResponseFlag.UF
        backoff = self._proxy.backoff
        if backoff is not None and self._attempts < self._proxy.max_attempts:
            self._retry = self._proxy.context.network.clock.callLater(backoff.pause(self._attempts), self._connect)
        else:
            self._connect()

    def _undial(self, remote: bool) -> None:
        """An attempt is over without a connection."""
        self._connector = None
        self.cluster.stats.rq_pending_active.add(-1)
        self._destroyed(remote, active=False)

    def _destroyed(self, remote: bool, active: bool) -> None:
        """The upstream connection is over, whether it was made (active) or only tried."""
        self._host.cx_active -= 1
        stats = self.cluster.stats
        stats.cx_active.add(-1)
        stats.destroyed(remote, active)
        stats.cx_length_ms.record(int((self._proxy.context.network.clock.seconds() - self._dialled) * 1000))

    def _refuse(self, flag: ResponseFlag) -> None:
        """There is no upstream for this client."""
        self.connection.flags |= flag
        self._leave()

    def _leave(self) -> None:
        """Close a client that is connected to nothing."""
        connection = self.connection
        self._end()
        self.relay.discard()
        connection.transport.loseConnection()

    # What the relay tells

    def relay_started(self, relay: Relay) -> None:
        """Connected: from now on this is one active request, in Envoy's terms."""
        self._connector = None
        host, stats = self._host, self.cluster.stats
        stats.cx_connect_ms.record(int((self._proxy.context.network.clock.seconds() - self._dialled) * 1000))
        stats.rq_pending_active.add(-1)
        stats.rq_total.value += 1
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
        if not relay.from_upstream.lost and relay.from_downstream.buffered:
            self._flushing = True
            self._proxy.stats.upstream_flush_total.value += 1
            self._proxy.stats.upstream_flush_active.add(1)
        self.connection.connectionLost(None)

    def _upstream_lost(self, relay: Relay) -> None:
        if relay.reset is relay.from_upstream:
            self.connection.flags |= ResponseFlag.UR
        if self._flushing:
            self._proxy.stats.upstream_flush_active.add(-1)
        self._host.rq_active -= 1
        self.cluster.stats.rq_active.add(-1)
        self._destroyed(remote=relay.last is relay.from_upstream, active=True)

    def relay_finished(self, relay: Relay) -> None:
        """Both are closed."""
        self.fold()
        self._end()

    def relay_idle(self, relay: Relay) -> None:
        """No byte moved for the idle timeout."""
        self._proxy.stats.idle_timeout.value += 1
        self._close()

    # Ends of our own making

    def _limit_duration(self, duration: float) -> None:
        jitter = self._proxy.duration_jitter
        if jitter:
            duration *= 1 + self._proxy.context.random.uniform(0, jitter)
            self._expiry = self._proxy.context.network.clock.callLater(duration, self.expired)
        else:
            queue = self._expiry = self._proxy.context.network.timers.queue(duration, Session.expired)
            queue.add(self)

    def expired(self) -> None:
        """The connection has lived for its maximum duration."""
        self._expiry = None
        self._proxy.stats.max_duration.value += 1
        self.connection.flags |= ResponseFlag.DT
        self._close()

    def _close(self) -> None:
        if self.relay.from_upstream.source is not None:
            self.relay.close()
            return
        connector = self._connector
        if connector is not None:
            self.cluster.stats.rq_cancelled.value += 1
            self._undial(remote=False)
            connector.stopConnecting()
        self._leave()

    def _end(self) -> None:
        self._stop_expiry()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._proxy.forget(self)

    def _stop_expiry(self) -> None:
        if isinstance(self._expiry, TimerQueue):
            self._expiry.discard(self)
        elif self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None

    # Counting

    def fold(self) -> tuple[int, int]:
        """Add to the counters what was relayed since the last call.

        @return: bytes waiting for the upstream, and bytes waiting for the client.
        """
        cluster = self.cluster
        if cluster is None:
            return 0, 0
        down, up = self.relay.from_downstream, self.relay.from_upstream
        tcp, stats = self._proxy.stats, cluster.stats
        received, sent, answered, returned = self._counted
        self._counted = now = (down.bytes, down.written, up.bytes, up.written)
        tcp.cx_rx_bytes_total.value += now[0] - received
        stats.cx_tx_bytes_total.value += now[1] - sent
        stats.cx_rx_bytes_total.value += now[2] - answered
        tcp.cx_tx_bytes_total.value += now[3] - returned
        if down.pauses or down.resumes:
            tcp.flow_control_paused.value += down.pauses
            tcp.flow_control_resumed.value += down.resumes
            down.pauses = down.resumes = 0
        if up.pauses or up.resumes:
            stats.flow_control_paused.value += up.pauses
            stats.flow_control_resumed.value += up.resumes
            up.pauses = up.resumes = 0
        return down.buffered, up.buffered


def _route(message: Any, context: Context) -> Callable[[], str]:
    """How each attempt finds the name of its cluster: always the same, or drawn by weight."""
    if message.WhichOneof("cluster_specifier") == "cluster":
        name: str = message.cluster
        return lambda: name
    names = [entry.name for entry in message.weighted_clusters.clusters]
    weights = [entry.weight for entry in message.weighted_clusters.clusters]
    return lambda: context.random.choices(names, weights)[0]
