"""Statistics of the admin interface's own connections and requests, under the names that Envoy has for them."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from tcpmesh.stats.store import Declaration, Scope

_NEVER_MOVE = Declaration(
    counters=(
        *("downstream_cx_overflow", "downstream_cx_overload_reject", "downstream_cx_transport_socket_connect_timeout"),
        *("downstream_global_cx_overflow", "downstream_listener_filter_error", "downstream_listener_filter_remote_close"),
        *("downstream_pre_cx_timeout", "no_filter_chain_match"),
    ),
    gauges=("downstream_pre_cx_active",),
    histograms=("connections_accepted_per_socket_event",),
)
"""Statistics of every listener that count what cannot happen on this one."""

_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")


class AdminTraffic:
    """Counts connections for the admin interface as a listener and as an HTTP server."""

    def __init__(self, listener: Scope, http: Scope, clock: IReactorTime) -> None:
        self._clock = clock
        listener.declare(_NEVER_MOVE)
        thread = listener.scope("main_thread")
        self._total = [scope.counter("downstream_cx_total") for scope in (listener, thread, http)]
        self._active = [scope.gauge("downstream_cx_active") for scope in (listener, thread, http)]
        self._ended = [scope.counter("downstream_cx_destroy") for scope in (listener, http)]
        self._length = [scope.histogram("downstream_cx_length_ms") for scope in (listener, http)]
        both = (http, listener.scope("http.admin"))
        self._requests = [http.counter("downstream_rq_total"), *(scope.counter("downstream_rq_completed") for scope in both)]
        self._classes = [[scope.counter(f"downstream_rq_{each}") for scope in both] for each in _CLASSES]

    def opened(self) -> float:
        """A connection was accepted; returns when."""
        for counter in self._total:
            counter.value += 1
        for gauge in self._active:
            gauge.add(1)
        return self._clock.seconds()

    def closed(self, opened_at: float) -> None:
        """A connection that was accepted at that time has ended."""
        for gauge in self._active:
            gauge.add(-1)
        for counter in self._ended:
            counter.value += 1
        for histogram in self._length:
            histogram.record(int((self._clock.seconds() - opened_at) * 1000))

    def answered(self, status: int) -> None:
        """A request was answered with this status."""
        for counter in (*self._requests, *self._classes[status // 100 - 1]):
            counter.value += 1
