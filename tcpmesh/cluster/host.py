"""A host of a cluster: what discovery says of it, how it is, and what a worker counts for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any

from tcpmesh.cluster.status import HostStatus
from tcpmesh.net.address import Address


@dataclass(frozen=True, order=True)
class Locality:
    """Where a host runs (`core.v3.Locality`)."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True)
class HostSpec:
    """What discovery tells of one host (`endpoint.v3.LbEndpoint`): a value, so that main can send it to workers."""

    address: Address
    hostname: str = ""
    weight: int = 1
    priority: int = 0
    locality: Locality = Locality()
    health_status: str = "UNKNOWN"
    """A name of `core.v3.HealthStatus`, as discovery gave it."""

    metadata: Any = None
    """A `core.v3.Metadata`, or `None`; for subsets, hash keys and transport-socket matches."""

    locality_metadata: Any = None
    """The `core.v3.Metadata` of its locality, or `None`."""

    health_check_config: Any = None
    """An `endpoint.v3.Endpoint.HealthCheckConfig`, or `None`."""

    additional_addresses: tuple[Address, ...] = ()
    """Further addresses of the same host, tried in turn with the first (happy eyeballs)."""

    @property
    def is_checked(self) -> bool:
        """Whether the cluster's active health checks concern this host."""
        return self.health_check_config is None or not self.health_check_config.disable_active_health_check

    @property
    def is_canary(self) -> bool:
        """Whether its metadata says `canary` under `envoy.lb`."""
        if self.metadata is None or "envoy.lb" not in self.metadata.filter_metadata:
            return False
        fields = self.metadata.filter_metadata["envoy.lb"].fields
        return "canary" in fields and bool(fields["canary"].bool_value)


@dataclass(frozen=True)
class Assignment:
    """All that discovery tells of a cluster's hosts (`endpoint.v3.ClusterLoadAssignment`): a value."""

    hosts: tuple[HostSpec, ...] = ()
    locality_weights: tuple[tuple[int, Locality, int], ...] = ()
    """(priority, locality, weight) of each `LocalityLbEndpoints` that has a weight."""

    overprovisioning_factor: int = 140
    """Percent (`Policy.overprovisioning_factor`)."""

    weighted_priority_health: bool = False


class HealthFlag(IntFlag):
    """Why a host is not simply healthy, in the order and by the names in which `/clusters` shows them."""

    failed_active_hc = 1 << 0
    failed_outlier_check = 1 << 1
    failed_eds_health = 1 << 2
    degraded_active_hc = 1 << 3
    degraded_eds_health = 1 << 4
    pending_dynamic_removal = 1 << 5
    pending_active_hc = 1 << 6
    excluded_via_immediate_hc_fail = 1 << 7
    active_hc_timeout = 1 << 8
    eds_status_draining = 1 << 9
    degraded_outlier_detection = 1 << 10


class Health(Enum):
    """What the flags of a host amount to for load balancing."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


NO_FLAGS = HealthFlag(0)
UNHEALTHY_FLAGS = (
    HealthFlag.failed_active_hc | HealthFlag.failed_outlier_check | HealthFlag.failed_eds_health | HealthFlag.eds_status_draining
)
DEGRADED_FLAGS = HealthFlag.degraded_active_hc | HealthFlag.degraded_eds_health | HealthFlag.degraded_outlier_detection
EDS_FLAGS = {
    "UNHEALTHY": HealthFlag.failed_eds_health,
    "TIMEOUT": HealthFlag.failed_eds_health,
    "DRAINING": HealthFlag.eds_status_draining,
    "DEGRADED": HealthFlag.degraded_eds_health,
}
BALANCED_FLAGS = UNHEALTHY_FLAGS | DEGRADED_FLAGS | HealthFlag.pending_active_hc | HealthFlag.excluded_via_immediate_hc_fail
"""The flags that a load balancer looks at: the others are only shown."""

FROM_EDS = HealthFlag.failed_eds_health | HealthFlag.eds_status_draining | HealthFlag.degraded_eds_health


class Host:
    """A host as a worker knows it.  The numbers are those of `/clusters`."""

    __slots__ = (
        "__weakref__",
        "_spec",
        "address",
        "cluster",
        "created",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "flags",
        "local_origin_success_rate",
        "outlier",
        "rq_active",
        "rq_error",
        "rq_pending_active",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "sessions",
        "success_rate",
        "weight",
    )

    def __init__(self, spec: HostSpec, created: float = 0.0, cluster: Any = None) -> None:
        self.flags = NO_FLAGS
        self.spec = spec
        self.address = spec.address
        self.cluster = cluster
        """The L{Cluster<tcpmesh.cluster.cluster.Cluster>} it belongs to, also where an aggregate one picked it."""
        self.created = created
        """Seconds of the network's clock: slow start counts from here, or from the first passed health check."""
        self.outlier: Any = None
        """Told of each connect result where the cluster has outlier detection, see `tcpmesh.cluster.outliers`; else `None`."""
        self.sessions: set[Any] = set()
        """Whose `host_failed()` is called when health checks or outlier detection take the host out: filled by those who connect,
        where the cluster's `close_on_failure` says so."""
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_error = self.rq_success = self.rq_timeout = 0
        self.rq_pending_active = 0
        self.success_rate = self.local_origin_success_rate = -1.0

    @property
    def spec(self) -> HostSpec:
        """What discovery says; setting it takes over the health that discovery gives."""
        return self._spec

    @spec.setter
    def spec(self, spec: HostSpec) -> None:
        self._spec = spec
        self.weight = spec.weight
        self.flags = (self.flags & ~FROM_EDS) | EDS_FLAGS.get(spec.health_status, NO_FLAGS)

    @property
    def health(self) -> Health:
        """Whether new connections may go here."""
        if self.flags == NO_FLAGS:
            return Health.HEALTHY  # nearly always, and a comparison costs a tenth of what masking a flag does
        if self.flags & UNHEALTHY_FLAGS:
            return Health.UNHEALTHY
        return Health.DEGRADED if self.flags & DEGRADED_FLAGS else Health.HEALTHY

    def status(self, locality_weight: int = 0) -> HostStatus:
        """The host as the admin interface shows it."""
        spec = self.spec
        status = spec.health_status
        return HostStatus(
            address=str(spec.address),
            hostname=spec.hostname,
            health_flags=tuple(flag.name or "" for flag in HealthFlag if flag in self.flags),
            eds_health_status={"UNKNOWN": "HEALTHY", "TIMEOUT": "UNHEALTHY"}.get(status, status),
            health=self.health.name,
            weight=spec.weight,
            priority=spec.priority,
            region=spec.locality.region,
            zone=spec.locality.zone,
            sub_zone=spec.locality.sub_zone,
            locality_weight=locality_weight,
            canary=spec.is_canary,
            success_rate=self.success_rate,
            local_origin_success_rate=self.local_origin_success_rate,
            counters={
                "cx_connect_fail": self.cx_connect_fail,
                "cx_total": self.cx_total,
                "rq_error": self.rq_error,
                "rq_success": self.rq_success,
                "rq_timeout": self.rq_timeout,
                "rq_total": self.rq_total,
            },
            gauges={"cx_active": self.cx_active, "rq_active": self.rq_active, "rq_pending_active": self.rq_pending_active},
            metadata=spec.metadata,
            health_check_config=spec.health_check_config,
        )
