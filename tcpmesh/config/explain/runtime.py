"""What the values of static runtime layers are for, and which nothing goes by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from tcpmesh.config.checks.limits import GLOBAL_KEY
from tcpmesh.config.checks.overload import LIMIT_NAME
from tcpmesh.config.fields.runtime_values import Names, runtime_values
from tcpmesh.config.fields.to_plain import Json, plain_value
from tcpmesh.config.messages.types import unpack
from tcpmesh.facts import dataclass

#: Keys that stand for fields, or for what there is no field for; `{0}` is the part in brackets.
#: A test compares them with those that other rooms read.
KEYS = (
    (
        r"circuit_breakers\.(.+)\.(default|high)\.(max_connections|max_pending_requests|"
        r"max_requests|max_retries|max_connection_pools)",
        "in place of {2} of the cluster {0}",
    ),
    (
        r"outlier_detection\.((?:consecutive|enforcing|failure_percentage|success_rate)_\w+|"
        r"max_ejection_percent)",
        "in place of {0} of the outlier detection of all clusters",
    ),
    (
        r"outlier_detection\.(interval|base_ejection_time|max_ejection_time|"
        r"max_ejection_time_jitter)_ms",
        "in place of {0} of the outlier detection of all clusters, in milliseconds",
    ),
    (r"health_check\.min_interval", "no interval of a health check is shorter, in milliseconds"),
    (r"health_check\.max_interval", "no interval of a health check is longer, in milliseconds"),
    (r"health_check\.verify_cluster", "in so many percent of checks the service is looked at"),
    (r"upstream\.(healthy_panic_threshold)", "in place of {0} of all clusters"),
    (
        r"upstream\.zone_routing\.(enabled|min_cluster_size|force_local_zone\.min_size)",
        "in place of {0} of zone aware routing in all clusters",
    ),
    (
        r"envoy\.resource_limits\.listener\.(.*)\.connection_limit",
        "the listener {0} has so many clients at most",
    ),
    (
        r"overload\.global_downstream_max_connections",
        "all listeners together have so many clients at most",
    ),
    (
        r"ratelimit\.tcp_filter_enabled",
        "the filter ratelimit asks about so many clients in a hundred",
    ),
    (
        r"ratelimit\.tcp_filter_enforcing",
        "so many clients in a hundred are closed where the filter ratelimit is told to",
    ),
)
_KEYS = tuple((re.compile(rf"{pattern}\Z"), text) for pattern, text in KEYS)

#: Keys of Envoy's own code.
_LABELS = (
    "envoy.reloadable_features.",
    "envoy.restart_features.",
    "envoy.deprecated_features",
    "re2.max_program_size.",
)


@dataclass(frozen=True)
class RuntimeValue:
    """A value of a static layer."""

    key: str
    value: Json
    path: Names
    """Where it is in its layer."""


class RuntimeExplainer:
    """What a bootstrap says of runtime values."""

    def __init__(self, bootstrap: Message) -> None:
        self._asked = set(_runtime_keys(bootstrap))
        self._has_limit = any(
            each.name == LIMIT_NAME
            for each in bootstrap.overload_manager.resource_monitors  # type: ignore[attr-defined]
        )
        self._values = {
            each.key: each.value
            for layer in bootstrap.layered_runtime.layers  # type: ignore[attr-defined]
            for each in values_of(layer.static_layer)
        }

    def meaning(self, key: str) -> str:
        """What a key is for; empty where nothing goes by it."""
        if key in self._asked:
            return "in place of the default of all that name this key"
        for pattern, text in _KEYS:
            found = pattern.match(key)
            if found is not None:
                return text.format(*found.groups())
        return ""

    def ignored(self, key: str) -> str:
        """Why a value has no effect; empty where it has one."""
        if key == GLOBAL_KEY and self._has_limit:
            return "the overload manager has a limit of all connections"
        if self.meaning(key):
            return ""
        if key.startswith(_LABELS):
            return "a flag of Envoy's own code, which tcpmesh has not"
        return "nothing here goes by this key"

    def note(self, key: str) -> str:
        """What a field with a runtime key has in place of its default."""
        if key not in self._values:
            return ""
        return f"the runtime has {plain_text(self._values[key])}, which goes before the default"


def values_of(struct: Any) -> Iterator[RuntimeValue]:
    """The values of a static layer."""
    for names, value in runtime_values(struct):
        yield RuntimeValue(".".join(names), plain_value(value), names)


def plain_text(value: Json) -> str:
    """A value as YAML would have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _runtime_keys(message: Message) -> Iterator[str]:
    """All fields `runtime_key` that are set, at whatever depth."""
    waiting = [message]
    while waiting:
        each = waiting.pop()
        inner = unpack(each) if isinstance(each, AnyMessage) else each
        for field, value in inner.ListFields() if inner is not None else ():
            if field.name == "runtime_key" and isinstance(value, str):
                yield value
            elif isinstance(value, Message):
                waiting.append(value)
            elif field.message_type is not None:
                is_map = field.message_type.GetOptions().map_entry
                parts = value.values() if is_map else value
                waiting += (part for part in parts if isinstance(part, Message))
