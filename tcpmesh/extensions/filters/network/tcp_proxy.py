"""tcp_proxy: gives a client to a host of a cluster, and relays.

The terminal filter of nearly every chain.  What its message says is here; what happens to a client is in
`tcpmesh.cluster.session`, one `Session` each.

Of Envoy's tcp_proxy this leaves out, and refuses in a configuration: access logs, hashing by filter state, tunnelling, on-demand
clusters and what a drain would close.  One thing it does otherwise: with ON_DOWNSTREAM_DATA a client that sends FIN and no data is
closed at once, where Envoy 1.40 holds it until the idle timeout.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from xxhash import xxh64_intdigest
from zope.interface import implementer

from tcpmesh.cluster.metadata import criteria
from tcpmesh.cluster.proxy import IDLE_TIMEOUT, Route
from tcpmesh.cluster.session import Session
from tcpmesh.config.values import seconds
from tcpmesh.interfaces import INetworkFilter
from tcpmesh.net.connection import Connection
from tcpmesh.registry import Context, extension
from tcpmesh.stats.store import Declaration, Store, sanitize

DECLARED = Declaration(counters=("downstream_cx_drain_close", "downstream_cx_overload_close", "route_delayed_total"))


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
        self.early_data_received = scope.counter("early_data_received_count_total")
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
        self.route = _routes(message, context)
        by_source = any(policy.HasField("source_ip") for policy in message.hash_policy)
        self.hash_of: Callable[[Connection], int | None] | None = _source_ip if by_source else None
        self.max_attempts: int = message.max_connect_attempts.value if message.HasField("max_connect_attempts") else 1
        self.backoff = Backoff(message.backoff_options, context) if message.HasField("backoff_options") else None
        self.early_limit: int | None = message.max_early_data_bytes.value if message.HasField("max_early_data_bytes") else None
        # Of plain connections there is no handshake to wait for: that mode connects at once.
        self.waits_for_data: bool = message.upstream_connect_mode == tcp_proxy_pb2.ON_DOWNSTREAM_DATA
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


def _routes(message: Any, context: Context) -> Callable[[], Route]:
    """How each attempt finds its cluster: always the same, or drawn by weight.

    The criteria of a weighted entry go before those of the whole filter where both name a key.
    """
    common = criteria(message.metadata_match)
    if message.WhichOneof("cluster_specifier") == "cluster":
        always: Route = (message.cluster, common or None)
        return lambda: always
    entries = message.weighted_clusters.clusters
    routes: list[Route] = [(entry.name, {**common, **criteria(entry.metadata_match)} or None) for entry in entries]
    # Summed up beforehand, so that a draw is one search.
    bounds = list(accumulate(entry.weight for entry in entries))
    return lambda: context.random.choices(routes, cum_weights=bounds)[0]


def _source_ip(connection: Connection) -> int | None:
    """The hash of a client by its address, as Envoy has it: xxHash64 of the address as text, without the port."""
    peer = connection.transport.getPeer()
    if peer.family == socket.AF_UNIX:
        return None
    return xxh64_intdigest(peer.host.partition("%")[0].encode())
