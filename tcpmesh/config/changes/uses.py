"""Which static secrets a listener or a cluster uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from tcpmesh.config.messages.types import unpack

_REFERENCE = SdsSecretConfig.DESCRIPTOR.full_name


def uses_of(message: Any, names: frozenset[str]) -> tuple[str, ...]:
    """Those of these static secrets that a message names, in order, each once."""
    return tuple(dict.fromkeys(each for each in _named(message) if each in names))


def _named(message: Any) -> Iterator[str]:
    if message.DESCRIPTOR.full_name == _REFERENCE:
        if not message.HasField("sds_config"):
            yield message.name
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.is_repeated:
            is_map = field.message_type.GetOptions().map_entry
            parts = list(value.values()) if is_map else list(value)
        else:
            parts = [value]
        for part in parts:
            inner = unpack(part) if isinstance(part, AnyMessage) else part
            if isinstance(inner, Message):
                yield from _named(inner)
