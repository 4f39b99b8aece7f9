"""tcp_proxy: gives a client to a host of a cluster, and relays.

The terminal filter of nearly every chain.  What its message says is here; what happens to a client
is in `tcpmesh.extensions.filters.network.tcp_proxy.session`, one `Session` each.

Of Envoy's tcp_proxy this leaves out, and refuses in a configuration: access logs, tunnelling,
on-demand clusters and what a drain would close.  One thing it does otherwise: with
ON_DOWNSTREAM_DATA a client that sends FIN and no data is closed at once, where Envoy 1.40 holds it
until the idle timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from zope.interface import implementer

from tcpmesh.cluster.balancing.hash_policy import proxy_hash
from tcpmesh.cluster.hosts.metadata import NAMESPACE, criteria, plain_of
from tcpmesh.cluster.upstream.counting import held
from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.connection import NO_METADATA, Connection
from tcpmesh.connection.filter_state import NO_FILTER_STATE
from tcpmesh.connection.state_objects import IDLE_TIMEOUT_MS, TCP_PROXY_CLUSTER, ClusterName, Long
from tcpmesh.extensions.filters.network.tcp_proxy.proxy import IDLE_TIMEOUT, Route
from tcpmesh.extensions.filters.network.tcp_proxy.session import Session
from tcpmesh.interfaces import IPatientFilter, IStoppableFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store, sanitize

DECLARED = Declaration(
    counters=("downstream_cx_drain_close", "downstream_cx_overload_close", "route_delayed_total")
)


class TcpProxyStats:
    """The statistics under `tcp.<stat_prefix>.`."""

    def __init__(self, store: Store, prefix: str) -> None:
        scope = self.scope = store.scope(f"tcp.{sanitize(prefix)}")
        self.cx_total = scope.counter("downstream_cx_total")
        self.cx_no_route = scope.counter("downstream_cx_no_route")
        self.cx_rx_bytes_total = scope.counter("downstream_cx_rx_bytes_total")
        self.cx_tx_bytes_total = scope.counter("downstream_cx_tx_bytes_total")
        self.cx_rx_bytes_buffered = scope.gauge("downstream_cx_rx_bytes_buffered", Merge.SUM)
        self.cx_tx_bytes_buffered = scope.gauge("downstream_cx_tx_bytes_buffered", Merge.SUM)
        self.flow_control_paused = scope.counter("downstream_flow_control_paused_reading_total")
        self.flow_control_resumed = scope.counter("downstream_flow_control_resumed_reading_total")
        self.idle_timeout = scope.counter("idle_timeout")
        self.max_duration = scope.counter("max_downstream_connection_duration")
        self.upstream_flush_total = scope.counter("upstream_flush_total")
        self.upstream_flush_active = scope.gauge("upstream_flush_active", Merge.SUM)
        self.early_data_received = scope.counter("early_data_received_count_total")
        scope.declare(DECLARED)


class Backoff:
    """The pause before a further attempt (`backoff_options`): random, from a range that doubles up
    to a maximum.
    """

    def __init__(self, options: Any, context: WorkerContext) -> None:
        self._base = seconds(options.base_interval)
        self._most = (
            seconds(options.max_interval) if options.HasField("max_interval") else 10 * self._base
        )
        self._random = context.random

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures, 1 or more."""
        return self._random.uniform(0, min(self._base * 2 ** min(failures - 1, 62), self._most))


@extension(tcp_proxy_pb2.TcpProxy)
@implementer(IPatientFilter, IStoppableFilter)
class TcpProxy:
    """What a filter chain's `TcpProxy` message says, and the sessions it has."""

    terminal = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self.context = context
        self._find = _routes(message, context)
        self.hash_of = proxy_hash(message.hash_policy)
        self.max_attempts: int = (
            message.max_connect_attempts.value if message.HasField("max_connect_attempts") else 1
        )
        self.backoff = (
            Backoff(message.backoff_options, context)
            if message.HasField("backoff_options")
            else None
        )
        self.early_limit: int | None = (
            message.max_early_data_bytes.value if message.HasField("max_early_data_bytes") else None
        )
        # Of plain connections there is no handshake to wait for: that mode connects at once.
        self.waits_for_data: bool = (
            message.upstream_connect_mode == tcp_proxy_pb2.ON_DOWNSTREAM_DATA
        )
        idle = seconds(message.idle_timeout) if message.HasField("idle_timeout") else IDLE_TIMEOUT
        self._idle = idle or None
        has_duration = message.HasField("max_downstream_connection_duration")
        self.max_duration = (
            seconds(message.max_downstream_connection_duration) if has_duration else None
        )
        self.duration_jitter: float = (
            message.max_downstream_connection_duration_jitter_percentage.value / 100
        )
        self._sessions: set[Session] = set()
        self._buffered = (0, 0)
        self._closed = False
        # Last, for it is to be given back.
        self.stats = TcpProxyStats(context.store, message.stat_prefix)

    def attach(self, connection: Connection) -> None:
        """Serve a client."""
        self.stats.cx_total.tally += 1
        self.attach_met(connection)

    def meet(self, connection: Connection) -> None:
        """A client is to pass other filters first; it counts all the same, and waits as long."""
        self.stats.cx_total.tally += 1
        if self.early_limit is None:
            connection.transport.pauseProducing()

    def attach_met(self, connection: Connection) -> None:
        """Serve a client that other filters have let pass."""
        session = Session(self, connection)
        if not self._sessions:
            self.context.store.add_collector(self._collect)
        self._sessions.add(session)
        session.start()

    def route(self, connection: Connection) -> Route:
        """Where the next attempt for a client goes; its dynamic metadata under `envoy.lb` goes
        before `metadata_match`.
        """
        found = self._find(connection)
        if connection.metadata is NO_METADATA or NAMESPACE not in connection.metadata:
            return found
        own = {name: plain_of(value) for name, value in connection.metadata[NAMESPACE].items()}
        return found[0], {**(found[1] or {}), **own} or None

    def idle_for(self, connection: Connection) -> float | None:
        """Seconds without a byte after which a client is closed: what its filter state says goes
        first.
        """
        state = connection.filter_state
        if state is NO_FILTER_STATE:
            return self._idle
        own = state.get(IDLE_TIMEOUT_MS)
        # There, unlike in the configuration, 0 is no time at all: Envoy closes such a client at
        # once.
        return max(own.value, 1) / 1000 if isinstance(own, Long) else self._idle

    def stop(self) -> None:
        """End all sessions at once."""
        for session in tuple(self._sessions):
            session.stop()

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
        """Count what open sessions have moved since they were last counted, and what they hold at
        this moment.
        """
        read = unsent = 0
        for session in self._sessions:
            session.fold()
            if session.cluster is not None:
                now = held(session.relay)
                read, unsent = read + now.read_of_client, unsent + now.for_client
                session.cluster.stats.cx_tx_bytes_buffered.add(now.for_upstream)
                session.cluster.stats.cx_rx_bytes_buffered.add(now.read_of_upstream)
        before, self._buffered = self._buffered, (read, unsent)
        # Added, not set: other filters of the same stat_prefix have a share in these gauges.
        self.stats.cx_rx_bytes_buffered.add(read - before[0])
        self.stats.cx_tx_bytes_buffered.add(unsent - before[1])


def _routes(message: Any, context: WorkerContext) -> Callable[[Connection], Route]:
    """How each attempt finds its cluster: the one that the client's filter state names or always
    the same, or drawn by weight.

    The criteria of a weighted entry go before those of the whole filter where both name a key.
    """
    common = criteria(message.metadata_match)
    if message.WhichOneof("cluster_specifier") == "cluster":
        always: Route = (message.cluster, common or None)
        return lambda connection: (
            _named(connection, always) if connection.filter_state is not NO_FILTER_STATE else always
        )
    entries = message.weighted_clusters.clusters
    routes: list[Route] = [
        (entry.name, {**common, **criteria(entry.metadata_match)} or None) for entry in entries
    ]
    # Summed up beforehand, so that a draw is one search.
    bounds = list(accumulate(entry.weight for entry in entries))
    return lambda connection: context.random.choices(routes, cum_weights=bounds)[0]


def _named(connection: Connection, always: Route) -> Route:
    """The cluster that filters have chosen for a client, if they have."""
    named = connection.filter_state.get(TCP_PROXY_CLUSTER)
    return (named.value, always[1]) if isinstance(named, ClusterName) else always
