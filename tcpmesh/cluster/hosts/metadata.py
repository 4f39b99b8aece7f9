"""Metadata under `envoy.lb`, as plain values that can be compared and be keys: how connections are
matched to subsets of hosts.

A filter that chooses hosts by metadata (`metadata_match` of tcp_proxy) gives the load balancer
`criteria` of its message; where messages are merged, so are these: `{**of_the_filter,
**of_the_cluster_weight}`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

NAMESPACE = "envoy.lb"

Criteria = Mapping[str, Hashable]
"""Values by key, each as `plain` makes it."""


def plain(value: Any) -> Hashable:
    """A `google.protobuf.Value` as a value that equals another one where Envoy says so: of the same
    kind and content.
    """
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return kind, frozenset(
            (name, plain(field)) for name, field in value.struct_value.fields.items()
        )
    if kind == "list_value":
        return kind, tuple(plain(item) for item in value.list_value.values)
    # With its kind, for Python takes True and 1 for equal.
    return kind, getattr(value, kind) if kind else None


def plain_of(value: Any) -> Hashable:
    """The same of a value of JSON, as filters leave them in `Connection.metadata`."""
    if isinstance(value, Mapping):
        return "struct_value", frozenset((name, plain_of(field)) for name, field in value.items())
    if isinstance(value, list | tuple):
        return "list_value", tuple(plain_of(item) for item in value)
    if isinstance(value, bool):
        return "bool_value", value
    if value is None:
        return "null_value", 0
    return ("string_value", value) if isinstance(value, str) else ("number_value", float(value))


def criteria(metadata: Any) -> dict[str, Hashable]:
    """What a `core.v3.Metadata` says under `envoy.lb`; nothing for `None`."""
    if metadata is None or NAMESPACE not in metadata.filter_metadata:
        return {}
    return struct_criteria(metadata.filter_metadata[NAMESPACE])


def struct_criteria(struct: Any) -> dict[str, Hashable]:
    """What a `google.protobuf.Struct` says."""
    return {name: plain(value) for name, value in struct.fields.items()}


def members(value: Hashable) -> tuple[Hashable, ...] | None:
    """The members of a list, or `None` where it is none."""
    return value[1] if isinstance(value, tuple) and value[0] == "list_value" else None


def content(value: Hashable) -> dict[str, Hashable]:
    """The fields of a struct; nothing where it is none."""
    return dict(value[1]) if isinstance(value, tuple) and value[0] == "struct_value" else {}
