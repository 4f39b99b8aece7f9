"""Circuit breakers: how many connections a cluster and each of its hosts may have, and how many
clients may wait for one.

TCP goes by the DEFAULT priority; what is said of the HIGH one is only shown.  `max_connections` of
a cluster closes a client at once, unless an aggregate cluster sends it.  A limit for each host
makes the client wait until the host has fewer, in a pool: see `tcpmesh.cluster.upstream.pool`.
`max_connection_pools` limits the pools of HTTP in Envoy, and for TCP only shows in
`remaining_cx_pools`.

A runtime value `circuit_breakers.<cluster>.<default or high>.<limit>` goes before the limit that is
configured.

Breakers go by counts of their own.  The gauges only show these: clusters may share the names of
their statistics, and share no breaker for that, as in Envoy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Scope
from tcpmesh.values.shared.counts import SharedCounts
from tcpmesh.values.statuses import BreakerThresholds

RUNTIME_PREFIX = "circuit_breakers."
LIMITS = (
    "max_connections",
    "max_pending_requests",
    "max_requests",
    "max_retries",
    "max_connection_pools",
)
"""The fields of a `cluster.v3.CircuitBreakers.Thresholds`, and the ends of the runtime keys."""


class Breakers:
    """Those of one cluster (`cluster.v3.CircuitBreakers`)."""

    def __init__(
        self, message: Any, stats: ClusterStats, counts: SharedCounts, name: str, runtime: Runtime
    ) -> None:
        """
        :param name: of the cluster.
        """
        self._message = message
        self._name = name
        self._runtime = runtime
        self._remaining: _Remaining | None = None
        self._remaining_high: _Remaining | None = None
        self.refresh()
        self.per_host = _per_host(message.per_host_thresholds)
        """How many connections each host may have, or `None` for any number."""
        self.connections = counts.count("connections")
        """Connections there are or that are being made: moved by who makes them, as are the other
        two.
        """
        self.pending = counts.count("pending")
        """Clients that wait for their connection."""
        self.requests = counts.count("requests")
        """Connections that have a client."""
        scope = stats.scope
        self._cx_open = scope.gauge("circuit_breakers.default.cx_open", Merge.MAX)
        self._requests_open = scope.gauge("circuit_breakers.default.rq_open", Merge.MAX)
        self._pending_open = scope.gauge("circuit_breakers.default.rq_pending_open", Merge.MAX)
        tracked = {entry.priority for entry in message.thresholds if entry.track_remaining}
        if 0 in tracked:
            self._remaining = _Remaining(scope, "default", self.default)
        if 1 in tracked:
            self._remaining_high = _Remaining(scope, "high", self.high)

    def refresh(self) -> None:
        """Go by the limits as the runtime has them now."""
        self.default, self.high = thresholds_of(self._message.thresholds, self._name, self._runtime)
        self.max_connections = self.default.max_connections
        self.max_pending = self.default.max_pending_requests
        if self._remaining is not None:
            self._remaining.limits = self.default
        if self._remaining_high is not None:
            self._remaining_high.limits = self.high

    @property
    def full(self) -> bool:
        """Whether the cluster may have no further connection (`max_connections`).

        Clients look for themselves, at this and at `pending_full`: each call would be one for each
        connection.
        """
        return self.connections.total >= self.max_connections

    @property
    def pending_full(self) -> bool:
        """Whether no further client may wait for its connection (`max_pending_requests`)."""
        return self.pending.total >= self.max_pending

    def allows(self, host: Host) -> bool:
        """Whether this host may have a connection more (`max_connections` of the cluster and
        `per_host_thresholds`).
        """
        return not self.full and (self.per_host is None or host.cx_active < self.per_host)

    def collect(self, is_used: bool) -> None:
        """Bring the gauges up to date.  A limit of 0 that nothing has reached does not count as
        open, as in Envoy.

        Clients count as requests, but `max_requests` keeps none of them out.

        :param is_used: whether the cluster has had a connection: the gauges count as used then.
        """
        connections, pending = self.connections.total, self.pending.total
        requests = self.requests.total
        for gauge, number, limit in (
            (self._cx_open, connections, self.max_connections),
            (self._pending_open, pending, self.max_pending),
            (self._requests_open, requests, self.default.max_requests),
        ):
            move = gauge.set if is_used else gauge.follow
            move(int(number >= limit and number > 0))
        if self._remaining is not None:
            self._remaining.set(connections, pending, requests)
        if self._remaining_high is not None:
            self._remaining_high.set(0, 0, 0)


def thresholds_of(
    messages: Any, name: str, runtime: Runtime
) -> tuple[BreakerThresholds, BreakerThresholds]:
    """The limits of the DEFAULT and the HIGH priority; the first entry for a priority counts, as in
    Envoy.

    :param name: of the cluster, for its runtime keys.
    """
    found: dict[int, BreakerThresholds] = {}
    for entry in messages:
        given = {each: getattr(entry, each).value for each in LIMITS if entry.HasField(each)}
        found.setdefault(entry.priority, BreakerThresholds(**given))
    default, high = found.get(0, BreakerThresholds()), found.get(1, BreakerThresholds())
    if runtime.is_empty:
        return default, high
    return _overridden(default, f"{name}.default", runtime), _overridden(
        high, f"{name}.high", runtime
    )


def _overridden(limits: BreakerThresholds, name: str, runtime: Runtime) -> BreakerThresholds:
    values = {
        each: runtime.integer(f"{RUNTIME_PREFIX}{name}.{each}", getattr(limits, each))
        for each in LIMITS
    }
    return BreakerThresholds(**values)


def clusters_of(keys: Iterable[str]) -> set[str]:
    """The names of the clusters that these runtime keys, which begin with the prefix, are of."""
    return {key.removeprefix(RUNTIME_PREFIX).rsplit(".", 2)[0] for key in keys}


def _per_host(messages: Any) -> int | None:
    """The limit of the DEFAULT priority."""
    for entry in messages:
        if entry.priority == 0 and entry.HasField("max_connections"):
            limit: int = entry.max_connections.value
            return limit
    return None


class _Remaining:
    """The gauges of what is left of one priority's limits (`track_remaining`)."""

    def __init__(self, scope: Scope, name: str, limits: BreakerThresholds) -> None:
        self.limits = limits
        self._connections = scope.gauge(f"circuit_breakers.{name}.remaining_cx", Merge.MAX)
        self._pending = scope.gauge(f"circuit_breakers.{name}.remaining_pending", Merge.MAX)
        self._requests = scope.gauge(f"circuit_breakers.{name}.remaining_rq", Merge.MAX)
        # What TCP never uses up.
        self._retries = scope.gauge(f"circuit_breakers.{name}.remaining_retries", Merge.MAX)
        self._pools = scope.gauge(f"circuit_breakers.{name}.remaining_cx_pools", Merge.MAX)
        self.set(0, 0, 0)

    def set(self, connections: int, pending: int, requests: int) -> None:
        """So many are used."""
        self._connections.set(max(0, self.limits.max_connections - connections))
        self._pending.set(max(0, self.limits.max_pending_requests - pending))
        self._requests.set(max(0, self.limits.max_requests - requests))
        self._retries.set(self.limits.max_retries)
        self._pools.set(self.limits.max_connection_pools)
