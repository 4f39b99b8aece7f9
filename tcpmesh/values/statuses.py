"""What a worker tells main of its clusters: plain values that could be sent over a pipe, read by
the admin interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, NamedTuple, overload

from tcpmesh.facts import dataclass

UNLIMITED = (1 << 64) - 1


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

    health: str = "HEALTHY"
    """What all flags together come to: HEALTHY, DEGRADED or UNHEALTHY."""

    weight: int = 1
    priority: int = 0
    region: str = ""
    zone: str = ""
    sub_zone: str = ""
    locality_weight: int = 0
    """Of its locality; 0 where that has none."""

    canary: bool = False
    success_rate: float = -1
    """Percent, as outlier detection last computed it; -1 where it has not."""

    local_origin_success_rate: float = -1
    """The same of failures that are not the host's answers."""

    counters: dict[str, int] = field(default_factory=dict)
    """Counters by name: cx_connect_fail, cx_total, rq_error, rq_success, rq_timeout, rq_total."""

    gauges: dict[str, int] = field(default_factory=dict)
    """Gauges by name: cx_active, rq_active, rq_pending_active."""

    metadata: Any = None
    """Its `core.v3.Metadata`, or `None`."""

    health_check_config: Any = None
    """Its `endpoint.v3.Endpoint.HealthCheckConfig`, or `None`."""


@dataclass(frozen=True)
class BreakerThresholds:
    """Limits of one routing priority (`cluster.v3.CircuitBreakers.Thresholds`)."""

    max_connections: int = 1024
    max_pending_requests: int = 1024
    max_requests: int = 1024
    max_retries: int = 3
    max_connection_pools: int = UNLIMITED


@dataclass(frozen=True)
class RateStatus:
    """How the success rates of a cluster's hosts compared in the last interval of outlier
    detection, in percent; -1: not at all.
    """

    average: float = -1
    threshold: float = -1
    """Hosts below it are ejected."""


class HostRates(NamedTuple):
    """Shares of the connections to a host that were made in the last interval of outlier
    detection, in percent; -1 where it has not computed them.
    """

    external: float = -1.0
    local_origin: float = -1.0
    """Of failures that are not the host's answers."""


NO_RATES = HostRates()


@dataclass(frozen=True)
class OutlierStatus:
    """What outlier detection has found of a cluster as a whole."""

    external: RateStatus = RateStatus()
    local_origin: RateStatus = RateStatus()


@dataclass(frozen=True)
class ClusterStatus:
    """One cluster as `/clusters` shows it."""

    name: str
    observability_name: str
    added_via_api: bool = False
    default_priority: BreakerThresholds = BreakerThresholds()
    high_priority: BreakerThresholds = BreakerThresholds()
    hosts: tuple[HostStatus, ...] = ()
    outliers: OutlierStatus | None = None
    """`None` where the cluster has no outlier detection."""

    paused_for: float = 0.0
    """Seconds that new connections are still held for."""


class Statuses(Sequence[ClusterStatus]):
    """The statuses of many clusters, each made when it is asked for, so that nobody waits for all
    of them.
    """

    def __init__(self, makers: Sequence[Callable[[], ClusterStatus]]) -> None:
        self._makers = makers

    def __len__(self) -> int:
        return len(self._makers)

    @overload
    def __getitem__(self, index: int) -> ClusterStatus: ...

    @overload
    def __getitem__(self, index: slice) -> Statuses: ...

    def __getitem__(self, index: int | slice) -> ClusterStatus | Statuses:
        return Statuses(self._makers[index]) if isinstance(index, slice) else self._makers[index]()


class NotThere(LookupError):
    """There is no cluster or host of this name; the text says so to an operator."""


class NotPossible(Exception):
    """What an operator wants cannot be done; the text says why."""


@dataclass(frozen=True)
class ChainStatus:
    """What a filter chain of a listener is configured to do."""

    name: str
    """Several may have one, or none."""

    server_names: tuple[str, ...] = ()
    """SNI that it takes clients with; empty for any."""

    clusters: tuple[str, ...] = ()
    """Where its tcp_proxy sends clients."""

    filter: str = ""
    """The name of its last filter."""

    is_default: bool = False
    """Whether it takes those that no other one does."""


@dataclass(frozen=True)
class ListenerStatus:
    """One listener as `/listeners` shows it."""

    name: str
    addresses: tuple[str, ...]
    """What is bound, such as `127.0.0.1:10000`, `[::1]:80` or `/run/x.sock`; the first is the
    listener's own.
    """


@dataclass(frozen=True)
class DynamicStatus:
    """A listener or cluster that discovery has brought, as `/config_dump` shows it."""

    message: Any
    version: str
    """Of the update that has made it what it is."""

    updated: float
    """When that was, in seconds since 1970."""


@dataclass(frozen=True)
class DynamicResources:
    """All that discovery has brought of one kind."""

    version: str = ""
    """Of the last update that has changed anything."""

    statuses: tuple[DynamicStatus, ...] = ()


NO_DYNAMIC_RESOURCES = DynamicResources()


@dataclass(frozen=True)
class CertificateStatus:
    """One certificate as `/certs` shows it; times are seconds since 1970."""

    path: str
    serial_number: str
    """Hexadecimal, whole bytes."""

    subject_alt_names: tuple[tuple[str, str], ...]
    """Of the kinds `dns`, `uri` and `ip_address`."""

    begins: int
    ends: int
    ocsp: tuple[int, int] | None = None
    """From when and until when its OCSP response holds."""


@dataclass(frozen=True)
class TlsContextStatus:
    """The certificates of a TLS context, as `/certs` shows them."""

    ca_cert: tuple[CertificateStatus, ...] = ()
    cert_chain: tuple[CertificateStatus, ...] = ()
