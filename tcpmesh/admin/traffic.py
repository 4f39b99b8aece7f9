"""Statistics of the admin interface's own connections and requests, under the names that Envoy has
for them.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Scope

_NEVER_MOVE = Declaration(
    counters=(
        *(
            "downstream_cx_overflow",
            "downstream_cx_overload_reject",
            "downstream_cx_transport_socket_connect_timeout",
        ),
        *(
            "downstream_global_cx_overflow",
            "downstream_listener_filter_error",
            "downstream_listener_filter_remote_close",
        ),
        *("downstream_pre_cx_timeout", "no_filter_chain_match"),
    ),
    gauges=("downstream_pre_cx_active",),
)
"""Statistics of every listener that count what cannot happen on this one."""

_NOT_COUNTED = Declaration(
    counters=(
        *(
            "downstream_cx_delayed_close_timeout",
            "downstream_cx_drain_close",
            "downstream_cx_idle_timeout",
            "downstream_cx_protocol_error",
            "downstream_cx_rx_bytes_total",
            "downstream_cx_tx_bytes_total",
        ),
        *(
            f"downstream_cx_destroy_{how}"
            for how in ("active_rq", "local", "local_active_rq", "remote", "remote_active_rq")
        ),
        *(f"downstream_flow_control_{what}_reading_total" for what in ("paused", "resumed")),
        *(
            f"downstream_rq_{what}"
            for what in (
                *("header_timeout", "idle_timeout", "response_before_rq_complete", "rx_reset"),
                *("timeout", "too_large", "tx_reset"),
            )
        ),
        *(
            "downstream_cx_http2_total",
            "downstream_cx_http3_total",
            "downstream_cx_max_duration_reached",
        ),
        *(
            "downstream_cx_max_requests_reached",
            "downstream_cx_overload_disable_keepalive",
            "downstream_cx_ssl_total",
        ),
        *(
            "downstream_cx_upgrades_total",
            "downstream_rq_failed_path_normalization",
            "downstream_rq_http2_total",
        ),
        *(
            "downstream_rq_http3_total",
            "downstream_rq_max_duration_reached",
            "downstream_rq_non_relative_path",
        ),
        *(
            "downstream_rq_overload_close",
            "downstream_rq_redirected_with_normalized_path",
            "downstream_rq_ws_on_non_ws_route",
        ),
        *(
            "downstream_rq_rejected_via_ip_detection",
            "downstream_rq_too_many_premature_resets",
            "rs_too_large",
        ),
    ),
    gauges=(
        *(
            "downstream_cx_http1_soft_drain",
            "downstream_cx_http2_active",
            "downstream_cx_http3_active",
            "downstream_cx_rx_bytes_buffered",
            "downstream_cx_tx_bytes_buffered",
            "downstream_cx_ssl_active",
            "downstream_cx_upgrades_active",
        ),
    ),
)
"""Statistics of every HTTP server that count what this one does not have."""

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class AdminTraffic:
    """Counts connections for the admin interface as a listener and as an HTTP server."""

    def __init__(self, listener: Scope, http: Scope, clock: IReactorTime) -> None:
        self._clock = clock
        listener.declare(_NEVER_MOVE)
        http.declare(_NOT_COUNTED)
        thread = listener.scope("main_thread")
        self._total = [scope.counter("downstream_cx_total") for scope in (listener, thread, http)]
        self._active = [
            scope.gauge("downstream_cx_active", Merge.SUM) for scope in (listener, thread, http)
        ]
        self._accepted = listener.histogram("connections_accepted_per_socket_event", unit="")
        self._ended = [scope.counter("downstream_cx_destroy") for scope in (listener, http)]
        self._length = [scope.histogram("downstream_cx_length_ms") for scope in (listener, http)]
        both = (http, listener.scope("http.admin"))
        self._requests = [
            http.counter("downstream_rq_total"),
            *(scope.counter("downstream_rq_completed") for scope in both),
        ]
        self._requests_seen = http.counter("downstream_rq_http1_total")
        self._asking = http.gauge("downstream_rq_active", Merge.SUM)
        self._spoken = http.counter("downstream_cx_http1_total")
        self._speaking = http.gauge("downstream_cx_http1_active", Merge.SUM)
        self._request_time = http.histogram("downstream_rq_time")
        self._classes = [
            [scope.counter(f"downstream_rq_{each}") for scope in both] for each in _CLASSES
        ]

    def opened(self) -> float:
        """A connection was accepted; returns when."""
        self._accepted.record(1)
        for counter in self._total:
            counter.tally += 1
        for gauge in self._active:
            gauge.add(1)
        return self._clock.seconds()

    def spoke(self) -> None:
        """A connection has sent its first request."""
        self._spoken.tally += 1
        self._speaking.add(1)

    def asked(self, ended: Deferred[None]) -> float:
        """A request has come, which is answered, or given up, when that happens; returns when."""
        started = self._clock.seconds()

        def over(_: object) -> None:
            self._asking.add(-1)
            self._request_time.record(int((self._clock.seconds() - started) * 1000))

        self._requests_seen.tally += 1
        self._asking.add(1)
        ended.addBoth(over)
        return started

    def closed(self, opened_at: float, has_spoken: bool) -> None:
        """A connection that was accepted at that time has ended."""
        if has_spoken:
            self._speaking.add(-1)
        for gauge in self._active:
            gauge.add(-1)
        for counter in self._ended:
            counter.tally += 1
        for histogram in self._length:
            histogram.record(int((self._clock.seconds() - opened_at) * 1000))

    def answered(self, status: int) -> None:
        """A request was answered with this status."""
        for counter in (*self._requests, *self._classes[status // 100 - 1]):
            counter.tally += 1
