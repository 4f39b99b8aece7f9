"""The statistics of a cluster, under `cluster.<name>.`: those that TCP moves as attributes, the
rest declared and 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store, sanitize

DECLARED = Declaration(
    counters=(
        "assignment_stale",
        "assignment_timeout_received",
        "assignment_use_cached",
        "bind_errors",
        "lb_healthy_panic",
        "lb_local_cluster_not_ok",
        "lb_recalculate_zone_structures",
        "lb_subsets_created",
        "lb_subsets_fallback",
        "lb_subsets_fallback_panic",
        "lb_subsets_removed",
        "lb_subsets_selected",
        "lb_zone_cluster_too_small",
        "lb_zone_no_capacity_left",
        "lb_zone_routing_all_directly",
        "lb_zone_routing_cross_zone",
        "lb_zone_routing_sampled",
        "original_dst_host_invalid",
        "retry_or_shadow_abandoned",
        "update_attempt",
        "update_empty",
        "update_failure",
        "update_no_rebuild",
        "update_success",
        "upstream_cx_close_notify",
        "upstream_cx_connect_attempts_exceeded",
        "upstream_cx_connect_fail",
        "upstream_cx_connect_timeout",
        "upstream_cx_connect_with_0_rtt",
        "upstream_cx_destroy",
        "upstream_cx_destroy_local",
        "upstream_cx_destroy_local_with_active_rq",
        "upstream_cx_destroy_remote",
        "upstream_cx_destroy_remote_with_active_rq",
        "upstream_cx_destroy_with_active_rq",
        "upstream_cx_http1_total",
        "upstream_cx_http2_total",
        "upstream_cx_http3_total",
        "upstream_cx_idle_timeout",
        "upstream_cx_max_duration_reached",
        "upstream_cx_max_requests",
        "upstream_cx_none_healthy",
        "upstream_cx_overflow",
        "upstream_cx_pool_overflow",
        "upstream_cx_preconnect_skipped",
        "upstream_cx_protocol_error",
        "upstream_cx_rx_bytes_total",
        "upstream_cx_total",
        "upstream_cx_tx_bytes_total",
        "upstream_flow_control_backed_up_total",
        "upstream_flow_control_drained_total",
        "upstream_flow_control_paused_reading_total",
        "upstream_flow_control_resumed_reading_total",
        "upstream_http3_broken",
        "upstream_internal_redirect_failed_total",
        "upstream_internal_redirect_succeeded_total",
        "upstream_rq_0rtt",
        "upstream_rq_active_overflow",
        "upstream_rq_cancelled",
        "upstream_rq_completed",
        "upstream_rq_maintenance_mode",
        "upstream_rq_max_duration_reached",
        "upstream_rq_pending_failure_eject",
        "upstream_rq_pending_overflow",
        "upstream_rq_pending_total",
        "upstream_rq_per_try_idle_timeout",
        "upstream_rq_per_try_timeout",
        "upstream_rq_retry",
        "upstream_rq_retry_backoff_exponential",
        "upstream_rq_retry_backoff_ratelimited",
        "upstream_rq_retry_limit_exceeded",
        "upstream_rq_retry_overflow",
        "upstream_rq_retry_success",
        "upstream_rq_rx_reset",
        "upstream_rq_rx_reset_no_error",
        "upstream_rq_timeout",
        "upstream_rq_total",
        "upstream_rq_tx_reset",
    ),
    gauges=(
        "circuit_breakers.default.cx_pool_open",
        "circuit_breakers.default.rq_retry_open",
        "circuit_breakers.high.cx_open",
        "circuit_breakers.high.cx_pool_open",
        "circuit_breakers.high.rq_open",
        "circuit_breakers.high.rq_pending_open",
        "circuit_breakers.high.rq_retry_open",
        "lb_subsets_active",
        "max_host_weight",
        "upstream_cx_active",
        "upstream_cx_rx_bytes_buffered",
        "upstream_cx_tx_bytes_buffered",
        "upstream_queue_overloaded",
        "upstream_rq_active",
        "upstream_rq_pending_active",
        "version",
    ),
    histograms=(
        "upstream_cx_connect_ms",
        "upstream_cx_length_ms",
        "upstream_rq_per_cx",
    ),
)

TIMEOUT_BUDGETS = Declaration(
    histograms=(
        "upstream_rq_timeout_budget_per_try_percent_used",
        "upstream_rq_timeout_budget_percent_used",
    )
)
REQUEST_RESPONSE_SIZES = Declaration(
    histograms=(
        "upstream_rq_body_size",
        "upstream_rq_headers_count",
        "upstream_rq_headers_size",
        "upstream_rs_body_size",
        "upstream_rs_headers_count",
        "upstream_rs_headers_size",
    )
)


class MembershipStats:
    """What main counts of a cluster's hosts.

    :param name: the cluster's, as statistics have it.
    :param matches: the names of its transport socket matches.
    """

    def __init__(self, store: Store, name: str, matches: Iterable[str] = ()) -> None:
        scope = self.scope = store.scope(f"cluster.{sanitize(name)}")
        self.change = scope.counter("membership_change")
        self.total = scope.gauge("membership_total", Merge.MAIN)
        self.healthy = scope.gauge("membership_healthy", Merge.MAIN)
        self.degraded = scope.gauge("membership_degraded", Merge.MAIN)
        self.excluded = scope.gauge("membership_excluded", Merge.MAIN)
        # Of each discovery that may have to wait; it never has to here.
        scope.gauge("warming_state", Merge.MAIN).set(0)
        self._default_match = scope.counter("default.total_match_count")
        self._matches = {
            each: scope.counter(f"{sanitize(each)}.total_match_count") for each in set(matches)
        }

    def matched(self, name: str | None = None) -> None:
        """A host is new, and fits the match of this name, or none."""
        counter = self._default_match if name is None else self._matches[name]
        counter.tally += 1


class ClusterStats:
    """What a connection moves, one attribute each; they are read as Envoy documents them.

    They are made when one of them is first asked for, and shown at 0 until then: to make all for
    each of ten thousand clusters took a fifth of the time until the first client was served, and a
    quarter of the memory.

    :ivar are_made: whether they are.
    """

    are_made = True

    def __init__(self, store: Store, name: str) -> None:
        self.scope = store.scope(f"cluster.{sanitize(name)}")
        self.scope.declare(DECLARED)
        if self.scope.has_counter("upstream_cx_total"):
            self._make()  # a predecessor's, whose values go on
        else:
            self.__class__ = _Unmade

    def _make(self) -> None:
        scope = self.scope
        self.cx_total = scope.counter("upstream_cx_total")
        self.cx_active = scope.gauge("upstream_cx_active", Merge.SUM)
        self.cx_http2_total = scope.counter("upstream_cx_http2_total")
        self.cx_protocol_error = scope.counter("upstream_cx_protocol_error")
        self.cx_connect_fail = scope.counter("upstream_cx_connect_fail")
        self.cx_connect_timeout = scope.counter("upstream_cx_connect_timeout")
        self.cx_connect_attempts_exceeded = scope.counter("upstream_cx_connect_attempts_exceeded")
        self.cx_connect_ms = scope.histogram("upstream_cx_connect_ms")
        self.cx_length_ms = scope.histogram("upstream_cx_length_ms")
        self.cx_overflow = scope.counter("upstream_cx_overflow")
        self.cx_none_healthy = scope.counter("upstream_cx_none_healthy")
        self.cx_max_requests = scope.counter("upstream_cx_max_requests")
        self.cx_idle_timeout = scope.counter("upstream_cx_idle_timeout")
        self.cx_destroy = scope.counter("upstream_cx_destroy")
        self.cx_destroy_local = scope.counter("upstream_cx_destroy_local")
        self.cx_destroy_remote = scope.counter("upstream_cx_destroy_remote")
        self.cx_destroy_with_active_rq = scope.counter("upstream_cx_destroy_with_active_rq")
        self.cx_destroy_local_with_active_rq = scope.counter(
            "upstream_cx_destroy_local_with_active_rq"
        )
        self.cx_destroy_remote_with_active_rq = scope.counter(
            "upstream_cx_destroy_remote_with_active_rq"
        )
        self.cx_rx_bytes_total = scope.counter("upstream_cx_rx_bytes_total")
        self.cx_tx_bytes_total = scope.counter("upstream_cx_tx_bytes_total")
        self.cx_rx_bytes_buffered = scope.gauge("upstream_cx_rx_bytes_buffered", Merge.SUM)
        self.cx_tx_bytes_buffered = scope.gauge("upstream_cx_tx_bytes_buffered", Merge.SUM)
        self.flow_control_paused = scope.counter("upstream_flow_control_paused_reading_total")
        self.flow_control_resumed = scope.counter("upstream_flow_control_resumed_reading_total")
        self.rq_total = scope.counter("upstream_rq_total")
        self.rq_active = scope.gauge("upstream_rq_active", Merge.SUM)
        self.rq_timeout = scope.counter("upstream_rq_timeout")
        self.rq_rx_reset = scope.counter("upstream_rq_rx_reset")
        self.rq_tx_reset = scope.counter("upstream_rq_tx_reset")
        self.rq_pending_total = scope.counter("upstream_rq_pending_total")
        self.rq_pending_active = scope.gauge("upstream_rq_pending_active", Merge.SUM)
        self.rq_pending_overflow = scope.counter("upstream_rq_pending_overflow")
        self.bind_errors = scope.counter("bind_errors")
        self.rq_cancelled = scope.counter("upstream_rq_cancelled")
        self.rq_pending_failure_eject = scope.counter("upstream_rq_pending_failure_eject")
        self.original_dst_host_invalid = scope.counter("original_dst_host_invalid")
        self.healthy_panic = scope.counter("lb_healthy_panic")

    def track(self, budgets: bool, sizes: bool) -> None:
        """Show the histograms of HTTP requests that `track_cluster_stats` asks for; a TCP
        connection moves none of them.
        """
        for wanted, names in ((budgets, TIMEOUT_BUDGETS), (sizes, REQUEST_RESPONSE_SIZES)):
            if wanted:
                self.scope.declare(names)

    def destroyed(self, remote: bool, active: bool) -> None:
        """An upstream connection is gone: closed by whom, and whether it was in use."""
        self.cx_destroy.tally += 1
        side = self.cx_destroy_remote if remote else self.cx_destroy_local
        side.tally += 1
        if active:
            self.cx_destroy_with_active_rq.tally += 1
            side = (
                self.cx_destroy_remote_with_active_rq
                if remote
                else self.cx_destroy_local_with_active_rq
            )
            side.tally += 1


class _Unmade(ClusterStats):
    """Those of a cluster that nobody has moved yet.  They become `ClusterStats` when asked for one:
    whoever moves them while traffic flows pays for no question.
    """

    are_made = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self.__class__ = ClusterStats  # type: ignore[assignment]
        self._make()
        return getattr(self, name)
