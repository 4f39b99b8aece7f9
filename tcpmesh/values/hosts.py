"""What discovery tells of hosts, and what may be wrong with them: values that main sends to
workers.
"""

from __future__ import annotations

from enum import Enum, IntFlag
from typing import Any

from tcpmesh.facts import dataclass
from tcpmesh.values.address import Address


@dataclass(frozen=True, order=True)
class Locality:
    """Where a host runs (`core.v3.Locality`)."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True)
class HostSpec:
    """What discovery tells of one host (`endpoint.v3.LbEndpoint`): a value, so that main can send
    it to workers.
    """

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

    endpoint: int = 0
    """Which of several endpoints it came from, where names may lead to one address: as long as
    this and the addresses stay, it is the same host.
    """

    additional_addresses: tuple[Address, ...] = ()
    """Further addresses of the same host, tried in turn with the first (happy eyeballs)."""

    @property
    def is_checked(self) -> bool:
        """Whether the cluster's active health checks concern this host."""
        return (
            self.health_check_config is None
            or not self.health_check_config.disable_active_health_check
        )

    @property
    def is_canary(self) -> bool:
        """Whether its metadata says `canary` under `envoy.lb`."""
        if self.metadata is None or "envoy.lb" not in self.metadata.filter_metadata:
            return False
        fields = self.metadata.filter_metadata["envoy.lb"].fields
        return "canary" in fields and bool(fields["canary"].bool_value)


@dataclass(frozen=True)
class Assignment:
    """All that discovery tells of a cluster's hosts (`endpoint.v3.ClusterLoadAssignment`): a
    value.
    """

    hosts: tuple[HostSpec, ...] = ()
    locality_weights: tuple[tuple[int, Locality, int], ...] = ()
    """(priority, locality, weight) of each `LocalityLbEndpoints` that has a weight."""

    overprovisioning_factor: int = 140
    """Percent (`Policy.overprovisioning_factor`)."""

    weighted_priority_health: bool = False


class HealthFlag(IntFlag):
    """Why a host is not simply healthy, in the order and by the names in which `/clusters` shows
    them.
    """

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
    drained_by_operator = 1 << 11
    """Not one of Envoy's: an operator wants no new connections to go there."""


class Health(Enum):
    """What the flags of a host amount to for load balancing."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


NO_FLAGS = HealthFlag(0)


UNHEALTHY_FLAGS = (
    HealthFlag.failed_active_hc
    | HealthFlag.failed_outlier_check
    | HealthFlag.failed_eds_health
    | HealthFlag.eds_status_draining
    | HealthFlag.drained_by_operator
)


DEGRADED_FLAGS = (
    HealthFlag.degraded_active_hc
    | HealthFlag.degraded_eds_health
    | HealthFlag.degraded_outlier_detection
)


EDS_FLAGS = {
    "UNHEALTHY": HealthFlag.failed_eds_health,
    "TIMEOUT": HealthFlag.failed_eds_health,
    "DRAINING": HealthFlag.eds_status_draining,
    "DEGRADED": HealthFlag.degraded_eds_health,
}


BALANCED_FLAGS = (
    UNHEALTHY_FLAGS
    | DEGRADED_FLAGS
    | HealthFlag.pending_active_hc
    | HealthFlag.excluded_via_immediate_hc_fail
)
"""The flags that a load balancer looks at: the others are only shown."""


def health_of(flags: int) -> Health:
    """Whether new connections may go to a host with these flags."""
    if flags & _UNHEALTHY:
        return Health.UNHEALTHY
    return Health.DEGRADED if flags & _DEGRADED else Health.HEALTHY


# As plain numbers: an operation on an IntFlag costs ten times as much.
_UNHEALTHY = int(UNHEALTHY_FLAGS)
_DEGRADED = int(DEGRADED_FLAGS)


FROM_EDS = (
    HealthFlag.failed_eds_health | HealthFlag.eds_status_draining | HealthFlag.degraded_eds_health
)
