"""The statistics of a tcp_proxy, under `tcp.<stat_prefix>.`."""

from __future__ import annotations

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store, sanitize

DECLARED = Declaration(counters=("route_delayed_total",))


class TcpProxyStats:
    """What the clients of all filters with one `stat_prefix` move."""

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
        self.cx_drain_close = scope.counter("downstream_cx_drain_close")
        self.cx_overload_close = scope.counter("downstream_cx_overload_close")
        self.idle_timeout = scope.counter("idle_timeout")
        self.max_duration = scope.counter("max_downstream_connection_duration")
        self.upstream_flush_total = scope.counter("upstream_flush_total")
        self.upstream_flush_active = scope.gauge("upstream_flush_active", Merge.SUM)
        self.early_data_received = scope.counter("early_data_received_count_total")
        scope.declare(DECLARED)
