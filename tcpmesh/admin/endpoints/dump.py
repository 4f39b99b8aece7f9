"""`/config_dump`: the configuration that is in effect, in the schema's own words.

There may be ten thousand clusters, so each is put into words when its turn to be sent has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, groupby
from time import time
from typing import Any, NamedTuple

from envoy.admin.v3 import config_dump_pb2, config_dump_shared_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from google.protobuf import field_mask_pb2, json_format, timestamp_pb2
from google.protobuf.descriptor import Descriptor

from tcpmesh.admin.answers.address import address_json
from tcpmesh.admin.answers.endpoint import JSON, PLAIN, Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.admin.answers.json_stream import LazyList, json_stream
from tcpmesh.admin.answers.node import own_node
from tcpmesh.admin.answers.redact import redacted
from tcpmesh.config.fields.to_plain import whole
from tcpmesh.interfaces import IServer
from tcpmesh.values.statuses import ClusterStatus, DynamicResources, DynamicStatus, HostStatus
from tcpmesh.wire.regex import Regex

_TYPE = "type.googleapis.com/"
_OVERPROVISIONING_FACTOR = 140

#: What is in the `Any` of this name.
_CONTENTS = {
    "cluster": cluster_pb2.Cluster.DESCRIPTOR,
    "endpoint_config": endpoint_pb2.ClusterLoadAssignment.DESCRIPTOR,
    "listener": listener_pb2.Listener.DESCRIPTOR,
    "secret": secret_pb2.Secret.DESCRIPTOR,
}

_SECRET_KINDS = (
    "tls_certificate",
    "validation_context",
    "session_ticket_keys",
    "generic_secret",
    "",
)

Json = dict[str, Any]


class _Dump(NamedTuple):
    """One message of the dump as JSON, whose lists are made later."""

    schema: Descriptor
    value: Json


def _config_dump(call: Call) -> Answer:
    pattern = call.regex(
        "name_regex",
        "INVALID_ARGUMENT: Error while parsing name_regex from {text}: {error}",
        content_type=PLAIN,
    )
    mask = [path for path in call.parameters.get("mask", "").split(",") if path]
    resource = call.parameters.get("resource")
    dumps = _dumps(call.server, pattern, "include_eds" in call.parameters)
    configs = _one_list(dumps, resource, mask) if resource else _all(dumps, mask)
    return Answer(chain(json_stream({"configs": configs}), "\n"), content_type=JSON)


def _all(dumps: Iterable[_Dump], mask: Sequence[str]) -> LazyList:
    """The messages that have all fields of the mask."""
    configs = [
        _typed(schema, value, mask)
        for schema, value in dumps
        if not mask or _is_valid(schema, mask)
    ]
    if not configs:
        raise _bad_mask(mask)
    return LazyList(configs)


def _one_list(dumps: Iterable[_Dump], resource: str, mask: Sequence[str]) -> LazyList:
    """The elements of the list of this name."""
    schema, elements = _elements(dumps, resource)
    if mask and not _is_valid(schema, mask):
        if any(element is not None for element in elements.items):
            raise _bad_mask(mask)
        return LazyList(())
    return LazyList(
        _typed(schema, element, mask) if element is not None else None for element in elements.items
    )


def _typed(schema: Descriptor, value: Json, mask: Sequence[str]) -> Json:
    return {"@type": _TYPE + schema.full_name, **_masked(value, mask)}


def _bad_mask(mask: Sequence[str]) -> Refusal:
    text = f"FieldMask {','.join(mask)} could not be successfully applied to any configs."
    return Refusal(text, content_type=PLAIN)


def _dumps(server: IServer, pattern: Regex | None, include_eds: bool) -> list[_Dump]:
    """All messages, in Envoy's order; in their lists only what has a name like this."""
    static = server.bootstrap.static_resources
    started = _at(time() - server.uptime)
    changed = server.reloads.updated
    replaced = changed.get(("bootstrap", ""))
    since = started if replaced is None else _at(replaced)
    clusters, listeners = (
        config_dump_shared_pb2.ClustersConfigDump,
        config_dump_shared_pb2.ListenersConfigDump,
    )

    def element(name: str, message: Any) -> Json:
        at = changed.get((name, message.name))
        return {
            name: _packed(message),
            "last_updated": (started if at is None else _at(at)).ToJsonString(),
        }

    return [
        _Dump(
            config_dump_pb2.BootstrapConfigDump.DESCRIPTOR,
            _bootstrap(server, since),
        ),
        _Dump(
            clusters.DESCRIPTOR,
            {
                **_versioned(server.dynamic_clusters()),
                "static_clusters": _named(static.clusters, partial(element, "cluster"), pattern),
                **_dynamic_clusters(server, pattern),
            },
        ),
        *([_endpoints(server, pattern)] if include_eds else []),
        _Dump(
            listeners.DESCRIPTOR,
            {
                **_versioned(server.dynamic_listeners()),
                "static_listeners": _named(static.listeners, partial(element, "listener"), pattern),
                **_dynamic_listeners(server, pattern),
            },
        ),
        _Dump(
            config_dump_pb2.SecretsConfigDump.DESCRIPTOR,
            {
                "static_secrets": _named(_by_kind(static.secrets), _secret, pattern),
                **_dynamic_secrets(server, pattern),
            },
        ),
    ]


def _at(seconds: float) -> timestamp_pb2.Timestamp:
    at = timestamp_pb2.Timestamp()
    at.FromMilliseconds(int(seconds * 1000))
    return at


def _versioned(found: DynamicResources) -> Json:
    return {"version_info": found.version} if found.version else {}


def _state(status: DynamicStatus, name: str) -> Json:
    """What a DynamicCluster, or the state of a DynamicListener, is."""
    updated = _at(status.updated)
    version = {"version_info": status.version} if status.version else {}
    return {**version, name: _packed(status.message), "last_updated": updated.ToJsonString()}


def _dynamic_clusters(server: IServer, pattern: Regex | None) -> Json:
    found: dict[bool, list[DynamicStatus]] = {False: [], True: []}
    for status in server.dynamic_clusters().statuses:
        found[server.is_warming(status.message.name)].append(status)
    return {
        name: LazyList(
            _state(each, "cluster") if _is_named(each.message.name, pattern) else None
            for each in statuses
        )
        for name, statuses in zip(
            ("dynamic_active_clusters", "dynamic_warming_clusters"), found.values(), strict=True
        )
        if statuses
    }


def _dynamic_listeners(server: IServer, pattern: Regex | None) -> Json:
    statuses = server.dynamic_listeners().statuses
    if not statuses:
        return {}
    return {
        "dynamic_listeners": LazyList(
            {"name": each.message.name, "active_state": _state(each, "listener")}
            if _is_named(each.message.name, pattern)
            else None
            for each in statuses
        )
    }


def _dynamic_secrets(server: IServer, pattern: Regex | None) -> Json:
    found = server.dynamic_secrets()
    if not found:
        return {}
    return {
        "dynamic_active_secrets": LazyList(
            {"name": each.message.name, **_state(each, "secret")}
            if _is_named(each.message.name, pattern)
            else None
            for each in found
        )
    }


def _packed(message: Any) -> Json:
    """As an Any with the message in it, from which protobuf would not read again what is nested
    very deep.
    """
    return {"@type": _TYPE + message.DESCRIPTOR.full_name, **_json(redacted(message))}


def _by_kind(secrets: Iterable[Any]) -> list[Any]:
    """Secrets as Envoy keeps them, each kind by itself."""
    return sorted(secrets, key=lambda each: _SECRET_KINDS.index(each.WhichOneof("type") or ""))


def _secret(message: Any) -> Json:
    return {"name": message.name, "secret": _packed(message)}


def _named(
    messages: Iterable[Any], describe: Callable[[Any], Json], pattern: Regex | None
) -> LazyList:
    """Those whose whole name matches."""
    return LazyList(
        describe(message) if _is_named(message.name, pattern) else None for message in messages
    )


def _is_named(name: str, pattern: Regex | None) -> bool:
    return pattern is None or bool(name and pattern.fullmatch(name))


def _bootstrap(server: IServer, updated: timestamp_pb2.Timestamp) -> Json:
    """A `BootstrapConfigDump` in which listeners and clusters are made later; its node is the one
    that this proxy is.
    """
    lists = ("listeners", "clusters")
    bootstrap = server.bootstrap
    shown = _without(bootstrap, "static_resources")
    shown.node.CopyFrom(own_node(server))
    if bootstrap.HasField("static_resources"):
        shown.static_resources.CopyFrom(_without(bootstrap.static_resources, *lists))
        for name in lists:
            # One stays for its place among the fields.
            first = getattr(bootstrap.static_resources, name)[:1]
            _copied(first, getattr(shown.static_resources, name))
    dump = config_dump_pb2.BootstrapConfigDump(last_updated=updated)
    dump.bootstrap.CopyFrom(redacted(shown))
    value = _json(dump)
    static = value.get("bootstrap", {}).get("static_resources", {})
    for name in lists:
        if name in static:
            static[name] = LazyList(
                _json(redacted(message)) for message in getattr(bootstrap.static_resources, name)
            )
    return value


def _without(message: Any, *names: str) -> Any:
    """A copy of a message but for these fields, which are too long to be copied at once."""
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name in names:
            continue
        if field.is_repeated:
            _copied(value, getattr(copy, field.name))
        elif field.message_type is not None:
            getattr(copy, field.name).CopyFrom(value)
        else:
            setattr(copy, field.name, value)
    return copy


def _copied(source: Any, target: Any) -> None:
    """Put the elements of a list into an empty one.  Protobuf itself makes bytes of messages for
    that, from which it would not read again what is nested very deep.
    """
    if not hasattr(target, "add"):  # scalars, or a map
        target.MergeFrom(source)
        return
    for each in source:
        target.add().CopyFrom(each)


def _json(message: Any) -> Json:
    found: Json = whole(json_format.MessageToDict(message, preserving_proto_field_name=True))
    return found


def _endpoints(server: IServer, pattern: Regex | None) -> _Dump:
    """An `EndpointsConfigDump` of what the clusters' hosts are now."""
    factors = {
        cluster.name: cluster.load_assignment.policy.overprovisioning_factor.value
        or _OVERPROVISIONING_FACTOR
        for cluster in server.bootstrap.static_resources.clusters
    }

    def configs(via_api: bool) -> LazyList:
        statuses = (
            status if status.added_via_api == via_api and _is_named(status.name, pattern) else None
            for status in server.cluster_statuses()
        )
        return LazyList(
            {
                "endpoint_config": _assignment(
                    status, factors.get(status.name, _OVERPROVISIONING_FACTOR)
                )
            }
            if status
            else None
            for status in statuses
        )

    value = {"static_endpoint_configs": configs(False), "dynamic_endpoint_configs": configs(True)}
    return _Dump(config_dump_shared_pb2.EndpointsConfigDump.DESCRIPTOR, value)


def _assignment(status: ClusterStatus, factor: int) -> Json:
    def place(host: HostStatus) -> tuple[int, str, str, str]:
        return host.priority, host.region, host.zone, host.sub_zone

    groups = [
        _locality(list(hosts), *at) for at, hosts in groupby(sorted(status.hosts, key=place), place)
    ]
    return {
        "@type": _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": status.name,
        **({"endpoints": groups} if groups else {}),
        "policy": {"overprovisioning_factor": factor},
    }


def _locality(
    hosts: Sequence[HostStatus], priority: int, region: str, zone: str, sub_zone: str
) -> Json:
    names = {"region": region, "zone": zone, "sub_zone": sub_zone}
    return {
        "locality": {name: value for name, value in names.items() if value},
        "lb_endpoints": list(map(_lb_endpoint, hosts)),
        "load_balancing_weight": hosts[0].locality_weight,
        **({"priority": priority} if priority else {}),
    }


def _lb_endpoint(host: HostStatus) -> Json:
    """The host as an `LbEndpoint`, with what health checks ask where that is said to be something
    else.
    """
    checks: Json = {}
    config = host.health_check_config
    if config is not None:
        checks = {
            name: getattr(config, name)
            for name in ("port_value", "hostname")
            if getattr(config, name)
        }
    return {
        "endpoint": {
            "address": address_json(host.address),
            "health_check_config": checks,
            **({"hostname": host.hostname} if host.hostname else {}),
        },
        "health_status": host.health,
        **({"metadata": _json(host.metadata)} if host.metadata is not None else {}),
        "load_balancing_weight": host.weight,
    }


def _elements(dumps: Iterable[_Dump], resource: str) -> tuple[Descriptor, LazyList]:
    """The list of this name, and of what its elements are."""
    for schema, value in dumps:
        field = schema.fields_by_name.get(resource)
        if field is None:
            continue
        if not field.is_repeated or field.message_type is None:
            raise Refusal(
                f"{resource} is not a repeated field. Use ?mask={resource} to get only this field",
                content_type=PLAIN,
            )
        return field.message_type, value.get(resource, LazyList(()))
    raise Refusal(f"{resource} not found in config dump", 404, PLAIN)


def _is_valid(schema: Descriptor, mask: Sequence[str]) -> bool:
    """Whether all paths exist in the schema, and none asks for the whole of an `Any`."""
    return all(_exists(schema, path) for path in mask)


def _exists(schema: Descriptor, path: str) -> bool:
    first, _, rest = path.partition(".")
    field = schema.fields_by_name.get(first)
    if (
        field is not None
        and field.message_type is not None
        and field.message_type.full_name == "google.protobuf.Any"
    ):
        return bool(rest) and (first not in _CONTENTS or _exists(_CONTENTS[first], rest))
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
        inner = source.get(name)
        if not isinstance(inner, dict):
            return
        source, target = inner, target.setdefault(name, {})
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
