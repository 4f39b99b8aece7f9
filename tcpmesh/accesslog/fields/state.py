"""Operators for what filters and configurations say: filter state and metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.json_format import MessageToDict

from tcpmesh.accesslog.fields.value import Build, Typed, Value, Yield, always, found_at, typed
from tcpmesh.config.fields.operators import Operator
from tcpmesh.config.fields.to_plain import whole
from tcpmesh.values.stream.filter_state import Entry, StateObject
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_RANGES = (
    ("<", "<"),
    (">", ">"),
    ("\x7f", "\x9f"),
    ("\xad", "\xad"),
    ("\u0600", "\u0604"),
    ("\u06dd", "\u06dd"),
    ("\u070f", "\u070f"),
    ("\u17b4", "\u17b5"),
    ("\u200b", "\u200f"),
    ("\u2028", "\u202e"),
    ("\u2060", "\u2064"),
    ("\u206a", "\u206f"),
    ("\ufeff", "\ufeff"),
    ("\ufff9", "\ufffb"),
)
"""What protobuf masks in the strings of its JSON, beyond what JSON demands: first and last of each
range of characters.
"""

_MASKED = "[" + "".join(f"{first}-{last}" for first, last in _RANGES) + "]"


@cache
def _masks() -> dict[str, str]:
    return {
        chr(code): f"\\u{code:04x}"
        for first, last in _RANGES
        for code in range(ord(first), ord(last) + 1)
    }


class TypedState(Typed):
    """An object of filter state: protobuf writes its JSON, which masks some characters."""

    __slots__ = ()

    def __str__(self) -> str:
        text = super().__str__()
        return "".join(map(_masks().get, text, text)) if re.search(_MASKED, text) else text


def _of_connection(info: StreamInfo, key: str) -> StateObject | None:
    return info.filter_state.get(key)


def shared_entries(info: StreamInfo) -> Mapping[str, Entry]:
    """What the upstream connection has of the filter state, once it is made."""
    if info.upstream.connect_ended is None:
        return {}
    return info.filter_state.shared()


def _shared(info: StreamInfo, key: str) -> StateObject | None:
    entry = shared_entries(info).get(key)
    return None if entry is None else entry.value


def _filter_state(find: Callable[[StreamInfo, str], StateObject | None]) -> Build:
    def build(operator: Operator) -> Yield:
        key, form, name = (*(operator.argument or "").split(":"), "", "")[:3]

        def value(info: StreamInfo, at: Moment) -> Value:
            found = find(info, key)
            if found is None:
                return None
            if form == "PLAIN":
                return found.text
            if form == "FIELD":
                field = found.field(name)
                return None if field is None else str(field)
            return TypedState(found.typed) if found.typed is not None else None

        return value

    return build


def metadata_at(message: Any, steps: Sequence[str]) -> Value:
    """A value of a `core.v3.Metadata`, or of `None`: by a namespace, and keys from the outside
    in.
    """
    namespace, *keys = steps
    if message is None or namespace not in message.filter_metadata:
        return None
    found: Any = message.filter_metadata[namespace]
    fields = found.fields
    for key in keys:
        if key not in fields:
            return None
        found = fields[key]
        fields = found.struct_value.fields
    return typed(whole(MessageToDict(found)))


_ON_PATH: dict[str, Callable[[StreamInfo], Any]] = {
    "CLUSTER": lambda info: info.upstream.cluster.metadata,
    "UPSTREAM_HOST": lambda info: host.metadata if (host := info.upstream.host) else None,
    "LISTENER": lambda info: info.listener.metadata,
    "LISTENER_FILTER_CHAIN": lambda info: info.listener.filter_chain_metadata,
}
"""Where the configuration has metadata about what a connection passes; routes and virtual hosts are
HTTP's.
"""


def _metadata(kind: str, path: str) -> Yield:
    steps = path.split(":")
    if kind == "DYNAMIC":
        return lambda info, at: typed(found_at(info.metadata, steps))
    if kind not in _ON_PATH:
        return always(None)
    find = _ON_PATH[kind]
    return lambda info, at: metadata_at(find(info), steps)


def _of_kind(kind: str) -> Build:
    return lambda operator: _metadata(kind, operator.argument or "")


def _any_metadata(operator: Operator) -> Yield:
    kind, _, path = (operator.argument or "").partition(":")
    return _metadata(kind, path)


OPERATORS: dict[str, Build] = {
    "FILTER_STATE": _filter_state(_of_connection),
    "UPSTREAM_FILTER_STATE": _filter_state(_shared),
    "DYNAMIC_METADATA": _of_kind("DYNAMIC"),
    "CLUSTER_METADATA": _of_kind("CLUSTER"),
    "UPSTREAM_METADATA": _of_kind("UPSTREAM_HOST"),
    "METADATA": _any_metadata,
}
