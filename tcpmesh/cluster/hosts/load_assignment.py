"""`envoy.config.endpoint.v3.ClusterLoadAssignment` as values: what all discovery has in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec, Locality

OVERPROVISIONING_FACTOR = 140


def assignment(message: Any) -> Assignment:
    """An assignment whose addresses are numeric, in the order given; an address named twice is two
    hosts.
    """
    return assigned(
        message,
        (host_spec(group, entry) for group in message.endpoints for entry in group.lb_endpoints),
    )


def assigned(message: Any, hosts: Iterable[HostSpec]) -> Assignment:
    """The assignment with these as its hosts, for endpoints that are names."""
    policy = message.policy
    return Assignment(
        hosts=tuple(hosts),
        locality_weights=locality_weights(message),
        overprovisioning_factor=policy.overprovisioning_factor.value or OVERPROVISIONING_FACTOR,
        weighted_priority_health=policy.weighted_priority_health,
    )


def locality(group: Any) -> Locality:
    """The locality of a `LocalityLbEndpoints`."""
    return Locality(group.locality.region, group.locality.zone, group.locality.sub_zone)


def locality_weights(message: Any) -> tuple[tuple[int, Locality, int], ...]:
    """(priority, locality, weight) of each group that has a weight."""
    return tuple(
        (group.priority, locality(group), group.load_balancing_weight.value)
        for group in message.endpoints
        if group.HasField("load_balancing_weight")
    )


def host_spec(group: Any, entry: Any, address: Address | None = None) -> HostSpec:
    """One `LbEndpoint` of a `LocalityLbEndpoints`; with an address where its own is a name that was
    resolved.
    """
    endpoint = entry.endpoint
    return HostSpec(
        address=address or Address(*host_and_port(endpoint.address)),
        hostname=endpoint.hostname,
        weight=entry.load_balancing_weight.value or 1,
        priority=group.priority,
        locality=locality(group),
        health_status=entry.DESCRIPTOR.fields_by_name["health_status"]
        .enum_type.values_by_number[entry.health_status]
        .name,
        metadata=entry.metadata if entry.HasField("metadata") else None,
        locality_metadata=group.metadata if group.HasField("metadata") else None,
        health_check_config=endpoint.health_check_config
        if endpoint.HasField("health_check_config")
        else None,
        additional_addresses=tuple(
            Address(*host_and_port(more.address)) for more in endpoint.additional_addresses
        ),
    )
