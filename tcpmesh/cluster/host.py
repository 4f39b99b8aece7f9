"""A host of a cluster: what discovery says of it, and what a worker counts for it."""

from __future__ import annotations

from dataclasses import dataclass

from tcpmesh.cluster.status import HostStatus
from tcpmesh.net.address import Address


@dataclass(frozen=True)
class HostSpec:
    """What discovery tells of one host (`endpoint.v3.LbEndpoint`): a value, so that main can send it to workers."""

    address: Address
    hostname: str = ""
    weight: int = 1
    priority: int = 0
    region: str = ""
    zone: str = ""
    sub_zone: str = ""


class Host:
    """A host as a worker knows it.  The numbers are those of `/clusters`."""

    __slots__ = (
        "__weakref__",
        "address",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "rq_active",
        "rq_error",
        "rq_pending_active",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "spec",
    )

    def __init__(self, spec: HostSpec) -> None:
        self.spec = spec
        self.address = spec.address
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_error = self.rq_success = self.rq_timeout = 0
        self.rq_pending_active = 0

    def status(self) -> HostStatus:
        """The host as the admin interface shows it."""
        spec = self.spec
        return HostStatus(
            address=str(spec.address),
            hostname=spec.hostname,
            weight=spec.weight,
            priority=spec.priority,
            region=spec.region,
            zone=spec.zone,
            sub_zone=spec.sub_zone,
            counters={
                "cx_connect_fail": self.cx_connect_fail,
                "cx_total": self.cx_total,
                "rq_error": self.rq_error,
                "rq_success": self.rq_success,
                "rq_timeout": self.rq_timeout,
                "rq_total": self.rq_total,
            },
            gauges={"cx_active": self.cx_active, "rq_active": self.rq_active, "rq_pending_active": self.rq_pending_active},
        )
