"""`envoy.config.endpoint.v3.ClusterLoadAssignment` as host values: what static clusters and EDS have in common."""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.host import HostSpec
from tcpmesh.config.values import host_and_port
from tcpmesh.net.address import Address


def host_specs(assignment: Any) -> tuple[HostSpec, ...]:
    """The hosts of an assignment whose addresses are numeric, in the order given; an address named twice is two hosts."""
    return tuple(_host_spec(group, entry) for group in assignment.endpoints for entry in group.lb_endpoints)


def _host_spec(group: Any, entry: Any) -> HostSpec:
    return HostSpec(
        address=Address(*host_and_port(entry.endpoint.address)),
        hostname=entry.endpoint.hostname,
        weight=entry.load_balancing_weight.value if entry.HasField("load_balancing_weight") else 1,
        priority=group.priority,
        region=group.locality.region,
        zone=group.locality.zone,
        sub_zone=group.locality.sub_zone,
    )
