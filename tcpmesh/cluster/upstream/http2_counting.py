"""What a request over HTTP/2 and its connection move in the statistics of a cluster and a host, and
by which limits they go.
"""

from __future__ import annotations

from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.cluster.upstream.counting import begins, closed, failed, opened, over, waits
from tcpmesh.rpc.http2.counts import HostCounts
from tcpmesh.rpc.http2.stream import Reset, ResetReason
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration

DECLARED = Declaration(
    counters=(
        "http2.cookies_total_bytes_too_large",
        "http2.deferred_stream_close",
        "http2.dropped_headers_with_underscores",
        "http2.goaway_sent",
        "http2.header_list_size_too_large",
        "http2.header_overflow",
        "http2.headers_cb_no_stream",
        "http2.inbound_empty_frames_flood",
        "http2.inbound_priority_frames_flood",
        "http2.inbound_window_update_frames_flood",
        "http2.metadata_empty_frames",
        "http2.outbound_control_flood",
        "http2.outbound_flood",
        "http2.requests_rejected_with_underscores_in_headers",
        "http2.rx_messaging_error",
        "http2.stream_refused_errors",
        "http2.trailers",
        "http2.tx_flush_timeout",
    ),
    gauges=("http2.pending_send_bytes",),
)

SERVER_ERROR = 500
UNAVAILABLE = 503
LATE = 504

CONNECT_ERROR = 0xA
"""The code of a reset that is not counted as one of the host's."""

_CONNECTION = (ResetReason.CONNECTION_FAILURE, ResetReason.CONNECTION_TIMEOUT)
_OURS = (ResetReason.TIMEOUT, ResetReason.LOCAL_RESET, ResetReason.ANSWERED)


class Http2Stats:
    """What only clusters count that speak HTTP/2."""

    def __init__(self, stats: ClusterStats) -> None:
        scope = self._scope = stats.scope
        self.streams_active = scope.gauge("http2.streams_active", Merge.SUM)
        self.keepalive_timeout = scope.counter("http2.keepalive_timeout")
        self.connections = scope.counter("http2.nghttp2_upstream_connections")
        """Envoy counts them by the library that it speaks HTTP/2 with."""
        self.rx_reset = scope.counter("http2.rx_reset")
        self.tx_reset = scope.counter("http2.tx_reset")
        scope.declare(DECLARED)

    def responded(self, status: int) -> None:
        """A request has come to this.  Calls are the proxy's own, so `internal` has it too."""
        for prefix in ("upstream_rq", "internal.upstream_rq"):
            for name in (f"_{status}", f"_{status // 100}xx", "_completed"):
                self._scope.counter(f"{prefix}{name}").tally += 1


class HostCounter(HostCounts):
    """What is counted of one host of a cluster, and its limits."""

    def __init__(self, host: Host, http2: Http2Stats) -> None:
        self._host = host
        self._http2 = http2
        self._stats: ClusterStats = host.cluster.stats
        self._breakers = host.cluster.breakers

    def may_connect(self) -> bool:
        """Whether circuit breakers allow a connection more."""
        allowed: bool = self._breakers.allows(self._host)
        if not allowed:
            self._stats.cx_overflow.tally += 1
        return allowed

    def may_wait(self) -> bool:
        """Whether circuit breakers allow that a request more waits."""
        if not self._breakers.pending_full:
            return True
        self._stats.rq_pending_overflow.tally += 1
        return False

    def may_begin(self) -> bool:
        """Whether they allow a request more."""
        if self._breakers.requests.total < self._breakers.default.max_requests:
            return True
        self._stats.scope.counter("upstream_rq_active_overflow").tally += 1
        return False

    # Connections

    def dialled(self) -> None:
        """A connection is being made."""
        opened(self._host)
        self._stats.cx_http2_total.tally += 1

    def connected(self, seconds: float) -> None:
        """It is there."""
        self._http2.connections.tally += 1
        self._stats.cx_connect_ms.record(int(seconds * 1000))
        if self._host.outlier is not None:
            self._host.outlier.connect_succeeded()

    def failed(self, reason: Failure) -> bool:
        """It could not be made; whether that was the host's doing."""
        _, remote = failed(self._host, reason)
        return remote

    def closed(self, seconds: float, remote: bool, active: bool) -> None:
        """It is gone."""
        closed(self._host, seconds, remote, active)

    def protocol_error(self) -> None:
        """The host does not keep to HTTP/2."""
        self._stats.cx_protocol_error.tally += 1

    def silent(self) -> None:
        """It has not answered a ping in time."""
        self._http2.keepalive_timeout.tally += 1

    def most_requests(self) -> None:
        """A connection has had as many requests as it may."""
        self._stats.cx_max_requests.tally += 1

    def idle_timeout(self) -> None:
        """A connection had no request for too long."""
        self._stats.cx_idle_timeout.tally += 1

    def bytes_received(self, size: int) -> None:
        """So many bytes have come."""
        self._stats.cx_rx_bytes_total.tally += size

    def bytes_sent(self, size: int) -> None:
        """So many bytes are sent."""
        self._stats.cx_tx_bytes_total.tally += size

    # Requests

    def waits(self, change: int) -> None:
        """A request waits for a connection, or does so no more."""
        if change > 0:
            self._stats.rq_pending_total.tally += change
        waits(self._host, change)

    def begins(self) -> None:
        """A request has a connection."""
        begins(self._host)
        self._http2.streams_active.add(1)

    def over(self, status: int, reset: Reset | None) -> None:
        """Such a one is over."""
        over(self._host)
        self._http2.streams_active.add(-1)
        if reset is not None:
            status = self._broken_off(status, reset)
        if not status:
            return
        self._http2.responded(status)
        if status < SERVER_ERROR:
            self._host.rq_success += 1
        else:
            self._host.rq_error += 1

    def tunnel_over(self, reset: Reset | None) -> None:
        """Such a one is over that was a tunnel's: it is no request with a response."""
        over(self._host)
        self._http2.streams_active.add(-1)
        reason = reset.reason if reset is not None else None
        if reason in _OURS:
            self._stats.rq_tx_reset.tally += 1
            self._http2.tx_reset.tally += 1
        elif reason is ResetReason.PROTOCOL_ERROR:
            self._stats.rq_tx_reset.tally += 1
        elif reason is ResetReason.CONNECTION_TERMINATION:
            self._stats.rq_pending_failure_eject.tally += 1
        elif reset is not None and (reset.code or reason is ResetReason.REMOTE_RESET):
            self._http2.rx_reset.tally += 1
            if reason is ResetReason.REMOTE_RESET and reset.code != CONNECT_ERROR:
                self._stats.rq_rx_reset.tally += 1

    def told_to_leave(self) -> None:
        """The host wants no more streams on a connection."""
        self._stats.scope.counter("upstream_cx_close_notify").tally += 1

    def _broken_off(self, status: int, reset: Reset) -> int:
        """What a request counts as that was broken off: 0 for nothing, as where a response had
        begun.
        """
        reason = reset.reason
        if reason is ResetReason.TIMEOUT:
            self._stats.rq_timeout.tally += 1
            self._host.rq_timeout += 1
        if reason in _OURS:
            self._stats.rq_tx_reset.tally += 1
            self._http2.tx_reset.tally += 1
            if reason is ResetReason.ANSWERED:
                return status
            return LATE if reason is ResetReason.TIMEOUT and not status else 0
        if reason in (ResetReason.REMOTE_RESET, ResetReason.REMOTE_REFUSED):
            self._stats.rq_rx_reset.tally += 1
            self._http2.rx_reset.tally += 1
        return 0 if status else UNAVAILABLE

    def refused(self, reset: Reset, is_tunnel: bool = False) -> None:
        """A request is over that got no connection."""
        if reset.reason in _CONNECTION:
            self._stats.rq_pending_failure_eject.tally += 1
        elif reset.reason in (ResetReason.TIMEOUT, ResetReason.LOCAL_RESET):
            self._stats.rq_cancelled.tally += 1
        if is_tunnel:
            return
        if reset.reason is ResetReason.TIMEOUT:
            self._stats.rq_timeout.tally += 1
            self._http2.responded(LATE)
        elif reset.reason is not ResetReason.LOCAL_RESET:
            self._http2.responded(UNAVAILABLE)
