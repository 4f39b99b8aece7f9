"""Which message of the v3 schema a message of the v2 schema became.

Both schemas are installed, and each says in its descriptors what became of what: a v2 file where
its package moved and what a field is called now, a v3 message which one it was before.  Only the
few moves that happened after that was written down stand here by name.
"""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from udpa.annotations import migrate_pb2, versioning_pb2

from tcpmesh.config.messages.scalars import Wrong
from tcpmesh.config.messages.types import any_type, find_type, is_v2, moved_to

#: Types that moved once more, after v3 had begun.
_MOVED = {
    "envoy.config.cluster.redis.RedisClusterConfig": (
        "envoy.extensions.clusters.redis.v3.RedisClusterConfig"
    ),
    "envoy.config.filter.http.cache.v2alpha.CacheConfig": (
        "envoy.extensions.filters.http.cache.v3.CacheConfig"
    ),
    "envoy.config.filter.thrift.router.v2alpha1.Router": (
        "envoy.extensions.filters.network.thrift_proxy.router.v3.Router"
    ),
    "envoy.config.health_checker.redis.v2.Redis": (
        "envoy.extensions.health_checkers.redis.v3.Redis"
    ),
    "envoy.config.resource_monitor.fixed_heap.v2alpha.FixedHeapConfig": (
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
    ),
    "envoy.config.resource_monitor.injected_resource.v2alpha.InjectedResourceConfig": (
        "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig"
    ),
    "envoy.config.retry.previous_priorities.PreviousPrioritiesConfig": (
        "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    ),
}

#: Types that the schema still has and Envoy does not.
GONE = frozenset(
    (
        "envoy.config.trace.v3.DynamicOtConfig",
        "envoy.config.trace.v3.LightstepConfig",
        "envoy.config.trace.v3.OpenCensusConfig",
        "envoy.extensions.filters.http.dynamo.v3.Dynamo",
        "envoy.extensions.filters.http.gzip.v3.Gzip",
        "envoy.extensions.filters.http.squash.v3.Squash",
        "envoy.extensions.filters.network.client_ssl_auth.v3.ClientSSLAuth",
    )
)


def is_old(full_name: str) -> bool:
    """Whether a type is of the schema before v3."""
    found = any_type(full_name)
    return full_name in _MOVED or ".v2" in full_name or (found is not None and is_v2(found))


def newer(full_name: str) -> str:
    """The v3 name of an older type, whether Envoy still has that or not; that of a type which is
    in no schema, such as an extension of Envoy's contrib folder, is made by the usual rule.
    """
    if full_name in _MOVED:
        return _MOVED[full_name]
    found = any_type(full_name)
    if found is not None:
        return moved_to(found)
    parts = full_name.split(".")
    if parts[:3] == ["envoy", "config", "filter"]:
        parts[1:3] = ["extensions", "filters"]
    return ".".join("v3" if part[:2] in ("v1", "v2") else part for part in parts)


@cache
def current(full_name: str) -> Descriptor | None:
    """The descriptor of a type that Envoy has today."""
    if full_name in GONE:
        return None
    try:
        return find_type(full_name)
    except Wrong:
        return None


@cache
def older(descriptor: Descriptor) -> Descriptor | None:
    """The v2 message that a v3 message was."""
    before = descriptor.GetOptions().Extensions[versioning_pb2.versioning].previous_message_type
    found = any_type(before) if before else None
    return found if found is None or ".v3" not in found.file.package else older(found)


@cache
def fields_of(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields of a message by their names in the schema."""
    return {each.name: each for each in descriptor.fields}


def renamed(old: FieldDescriptor, descriptor: Descriptor) -> FieldDescriptor | None:
    """The field of a v3 message that a v2 field became under another name."""
    name = old.GetOptions().Extensions[migrate_pb2.field_migrate].rename
    return fields_of(descriptor).get(name) if name else None


def enum_value(old: FieldDescriptor | None, field: FieldDescriptor, name: str) -> str:
    """What a value of an enum is called now; the name itself where nothing changed, empty where
    there is no such value any more.
    """
    was, now = old.enum_type if old is not None else None, field.enum_type
    if was is None or now is None or {name, name.upper()} & {*now.values_by_name}:
        return name
    before = was.values_by_name.get(name.upper())
    if before is None:
        return name
    value = now.values_by_number.get(before.number)
    return "" if value is None or "DO_NOT_USE" in value.name else value.name
