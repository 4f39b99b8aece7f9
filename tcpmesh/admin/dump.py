"""`/config_dump`: the configuration that is in effect, in the schema's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from time import time
from typing import Any, NamedTuple

from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2
from google.protobuf import field_mask_pb2, json_format, timestamp_pb2
from google.protobuf.descriptor import Descriptor

from tcpmesh.admin.address import address_json
from tcpmesh.admin.endpoint import Answer, Call, Endpoint, Parameter, Refusal, json_answer
from tcpmesh.admin.redact import redacted
from tcpmesh.cluster.status import ClusterStatus, HostStatus
from tcpmesh.config.plain import whole
from tcpmesh.interfaces import IServer

_TYPE = "type.googleapis.com/"
_OVERPROVISIONING_FACTOR = 140

Json = dict[str, Any]


class _Dump(NamedTuple):
    """One message of the dump as JSON, or one element of it."""

    schema: Descriptor
    value: Json


def _config_dump(call: Call) -> Answer:
    pattern = call.regex("name_regex", "Error while parsing name_regex: {}")
    mask = [path for path in call.parameters.get("mask", "").split(",") if path]
    resource = call.parameters.get("resource")
    dumps = _dumps(call.server, "include_eds" in call.parameters)
    if resource:
        chosen = [each for each in _elements(dumps, resource) if _is_named(each.value, pattern)]
    else:
        chosen = [_Dump(schema, _only_named(value, pattern)) for schema, value in dumps]
    configs = [
        {"@type": _TYPE + schema.full_name, **_masked(value, mask)}
        for schema, value in chosen
        if not mask or _is_valid(schema, mask)
    ]
    if chosen and not configs:
        raise Refusal(f"FieldMask {','.join(mask)} could not be successfully applied to any configs.")
    return json_answer({"configs": configs} if configs else {})


def _dumps(server: IServer, include_eds: bool) -> list[_Dump]:
    """All messages, in Envoy's order."""
    static = server.bootstrap.static_resources
    updated = timestamp_pb2.Timestamp()
    updated.FromMilliseconds(int((time() - server.uptime) * 1000))
    bootstrap = config_dump_pb2.BootstrapConfigDump(bootstrap=redacted(server.bootstrap), last_updated=updated)
    clusters = config_dump_shared_pb2.ClustersConfigDump()
    for cluster in static.clusters:
        clusters.static_clusters.add(last_updated=updated).cluster.Pack(redacted(cluster))
    listeners = config_dump_shared_pb2.ListenersConfigDump()
    for listener in static.listeners:
        listeners.static_listeners.add(last_updated=updated).listener.Pack(redacted(listener))
    endpoints = [_endpoints(server)] if include_eds else []
    return [
        _as_json(bootstrap),
        _as_json(clusters),
        *endpoints,
        _as_json(listeners),
        _as_json(config_dump_pb2.SecretsConfigDump()),
    ]


def _as_json(message: Any) -> _Dump:
    return _Dump(message.DESCRIPTOR, whole(json_format.MessageToDict(message, preserving_proto_field_name=True)))


def _endpoints(server: IServer) -> _Dump:
    """An `EndpointsConfigDump` of what the clusters' hosts are now."""
    factors = {
        cluster.name: cluster.load_assignment.policy.overprovisioning_factor.value or _OVERPROVISIONING_FACTOR
        for cluster in server.bootstrap.static_resources.clusters
    }
    value: Json = {}
    for status in server.cluster_statuses():
        field = "dynamic_endpoint_configs" if status.added_via_api else "static_endpoint_configs"
        assignment = _assignment(status, factors.get(status.name, _OVERPROVISIONING_FACTOR))
        value.setdefault(field, []).append({"endpoint_config": assignment})
    return _Dump(config_dump_shared_pb2.EndpointsConfigDump.DESCRIPTOR, value)


def _assignment(status: ClusterStatus, factor: int) -> Json:
    def place(host: HostStatus) -> tuple[int, str, str, str]:
        return host.priority, host.region, host.zone, host.sub_zone

    groups = [_locality(list(hosts), *at) for at, hosts in groupby(sorted(status.hosts, key=place), place)]
    return {
        "@type": _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": status.name,
        "endpoints": groups,
        "policy": {"overprovisioning_factor": factor},
    }


def _locality(hosts: Sequence[HostStatus], priority: int, region: str, zone: str, sub_zone: str) -> Json:
    names = {"region": region, "zone": zone, "sub_zone": sub_zone}
    return {
        "locality": {name: value for name, value in names.items() if value},
        "lb_endpoints": [
            {
                "endpoint": {"address": address_json(host.address), **({"hostname": host.hostname} if host.hostname else {})},
                "health_status": host.eds_health_status,
                "load_balancing_weight": host.weight,
            }
            for host in hosts
        ],
        **({"priority": priority} if priority else {}),
    }


def _elements(dumps: Iterable[_Dump], resource: str) -> list[_Dump]:
    """The elements of the list of this name."""
    for schema, value in dumps:
        field = schema.fields_by_name.get(resource)
        if field is None:
            continue
        if not field.is_repeated or field.message_type is None:
            raise Refusal(f"{resource} is not a repeated field. Use ?mask={resource} to get only this field")
        return [_Dump(field.message_type, element) for element in value.get(resource, ())]
    raise Refusal(f"{resource} not found in config dump", 404)


def _only_named(value: Json, pattern: re.Pattern[str] | None) -> Json:
    """The message with only those elements of its lists whose name matches; what is no list stays."""
    if pattern is None:
        return value
    left: Json = {}
    for field, content in value.items():
        if not isinstance(content, list):
            left[field] = content
        elif elements := [element for element in content if _is_named(element, pattern)]:
            left[field] = elements
    return left


def _is_named(element: Json, pattern: re.Pattern[str] | None) -> bool:
    if pattern is None:
        return True
    holders = [element, *(content for content in element.values() if isinstance(content, dict))]
    names = [holder[key] for holder in holders for key in ("name", "cluster_name") if key in holder]
    return bool(names) and pattern.fullmatch(names[0]) is not None


def _is_valid(schema: Descriptor, mask: Sequence[str]) -> bool:
    """Whether all paths exist in the schema; below an `Any` every path may."""
    return all(_exists(schema, path) for path in mask)


def _exists(schema: Descriptor, path: str) -> bool:
    field = schema.fields_by_name.get(path.partition(".")[0])
    if field is not None and field.message_type is not None and field.message_type.full_name == "google.protobuf.Any":
        return True
    return bool(field_mask_pb2.FieldMask(paths=[path]).IsValidForDescriptor(schema))


def _masked(value: Json, mask: Sequence[str]) -> Json:
    """Only what the paths lead to; the types of messages stay."""
    if not mask:
        return value
    left: Json = {}
    for path in mask:
        _copy(value, left, path.split("."))
    return left


def _copy(source: Json, target: Json, path: Sequence[str]) -> None:
    for name in path[:-1]:
        source = source.get(name, {})
        target = target.setdefault(name, {})
        if not isinstance(source, dict):
            return
        if "@type" in source:
            target["@type"] = source["@type"]
    if path[-1] in source:
        target[path[-1]] = source[path[-1]]


ENDPOINTS = (
    Endpoint(
        "/config_dump",
        "dump current configs",
        _config_dump,
        (
            Parameter("resource", "The list to dump, such as static_clusters"),
            Parameter("mask", "The fields to dump of each element, or of each config"),
            Parameter("name_regex", "Regular expression that the whole name has to match"),
            Parameter("include_eds", "Include the endpoints of clusters", flag=True),
        ),
    ),
)
