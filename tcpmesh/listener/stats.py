"""The statistics of a listener, under `listener.<address or stat_prefix>.`."""

from __future__ import annotations

from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store, sanitize

DECLARED = Declaration(
    counters=("extension_config_missing",),
)


class ListenerStats:
    """What accepting and losing a client moves.  With one worker, its own share is the whole."""

    def __init__(self, store: Store, name: str, worker: str) -> None:
        scope = self.scope = store.scope(f"listener.{sanitize(name)}")
        self.cx_total = scope.counter("downstream_cx_total")
        self.cx_active = scope.gauge("downstream_cx_active", Merge.SUM)
        self.cx_destroy = scope.counter("downstream_cx_destroy")
        self.accepted_in_event = scope.histogram("connections_accepted_per_socket_event", unit="")
        self.cx_length_ms = scope.histogram("downstream_cx_length_ms")
        self.no_filter_chain_match = scope.counter("no_filter_chain_match")
        self.network_extension_config_missing = scope.counter("network_extension_config_missing")
        self.overflow = scope.counter("downstream_cx_overflow")
        self.global_overflow = scope.counter("downstream_global_cx_overflow")
        self.overload_reject = scope.counter("downstream_cx_overload_reject")
        self.pre_cx_active = scope.gauge("downstream_pre_cx_active", Merge.SUM)
        self.pre_cx_timeout = scope.counter("downstream_pre_cx_timeout")
        self.listener_filter_error = scope.counter("downstream_listener_filter_error")
        self.listener_filter_remote_close = scope.counter("downstream_listener_filter_remote_close")
        self.transport_socket_connect_timeout = scope.counter(
            "downstream_cx_transport_socket_connect_timeout"
        )
        self._worker_cx_total = scope.counter(f"{worker}.downstream_cx_total")
        self._worker_cx_active = scope.gauge(f"{worker}.downstream_cx_active", Merge.SUM)
        scope.declare(DECLARED)

    def opened(self) -> None:
        """A client was accepted."""
        self.cx_total.tally += 1
        self.cx_active.raised += 1
        self._worker_cx_total.tally += 1
        self._worker_cx_active.raised += 1

    def closed(self, milliseconds: int) -> None:
        """A client is gone, after so long."""
        self.cx_destroy.tally += 1
        self.cx_active.lowered += 1
        self._worker_cx_active.lowered += 1
        self.cx_length_ms.record(milliseconds)

    def moved(self, count: int) -> None:
        """So many clients have come from another process, or, below zero, gone to one: accepted
        was none, and none has ended.
        """
        self.cx_active.add(count)
        self._worker_cx_active.add(count)
