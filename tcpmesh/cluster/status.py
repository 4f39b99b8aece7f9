"""What a worker tells main of its clusters: plain values that could be sent over a pipe, read by the admin interface."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostStatus:
    """One host as `/clusters` shows it."""

    address: str
    """`127.0.0.1:80`, `[::1]:80` or the path of a unix socket."""

    hostname: str = ""
    health_flags: tuple[str, ...] = ()
    """Such as `failed_eds_health`; empty where the host is healthy."""

    eds_health_status: str = "HEALTHY"
    """A name of `envoy.config.core.v3.HealthStatus`, as JSON shows it."""

    weight: int = 1
    priority: int = 0
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    canary: bool = False
    success_rate: float = -1
    """Percent, as outlier detection last computed it; -1 where it has not."""

    local_origin_success_rate: float = -1
    """The same of failures that are not the host's answers."""

    counters: dict[str, int] = field(default_factory=dict)
    """Counters by name: cx_connect_fail, cx_total, rq_error, rq_success, rq_timeout, rq_total."""

    gauges: dict[str, int] = field(default_factory=dict)
    """Gauges by name: cx_active, rq_active, rq_pending_active."""


@dataclass(frozen=True)
class BreakerThresholds:
    """Limits of one routing priority (`cluster.v3.CircuitBreakers.Thresholds`)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3


@dataclass(frozen=True)
class ClusterStatus:
    """One cluster as `/clusters` shows it."""

    name: str
    observability_name: str
    added_via_api: bool = False
    default_priority: BreakerThresholds = BreakerThresholds()
    high_priority: BreakerThresholds = BreakerThresholds()
    hosts: tuple[HostStatus, ...] = ()
