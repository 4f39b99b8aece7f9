"""Parts of a message as plain values, as Envoy's JSON has them, but short where people know a
shorter form.

An address is `127.0.0.1:80`, a percentage `50%`; what the schema calls sensitive is never shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from udpa.annotations import sensitive_pb2

from tcpmesh.config.fields.values import host_and_port
from tcpmesh.config.messages.types import full_name_of, type_of_url

REDACTED = "[redacted]"

#: From here on Envoy writes doubles with an exponent.
_EXACT = 1e15

Json: TypeAlias = "str | int | float | bool | list[Any] | dict[str, Any] | None"


def is_secret(descriptor: FieldDescriptor) -> bool:
    """Whether the schema marks a field as one that holds a secret."""
    return bool(descriptor.GetOptions().Extensions[sensitive_pb2.sensitive])


def leaf(descriptor: FieldDescriptor) -> bool:
    """Whether a field is one value for whoever reads it, not a message to look into."""
    full_name = full_name_of(descriptor)
    if full_name == "google.protobuf.Any":
        return False
    if (
        descriptor.message_type is None
        or full_name in _SHORT
        or descriptor.message_type.GetOptions().map_entry
    ):
        return True
    return full_name.startswith("google.protobuf.")


def plain_value(value: Any, descriptor: FieldDescriptor | None = None) -> Json:
    """A value, or a list or map of them; `descriptor` is that of the field, which knows the names
    of an enum.
    """
    if isinstance(value, Message):
        return _of_message(value)
    if isinstance(value, (str, int, float)):
        return _scalar(value, descriptor)
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "items"):
        return {str(key): plain_value(value[key]) for key in sorted(value)}
    return [plain_value(item, descriptor) for item in value]


def _scalar(value: str | int | float, descriptor: FieldDescriptor | None) -> Json:
    if descriptor is not None and descriptor.enum_type is not None:
        known = descriptor.enum_type.values_by_number.get(int(value))
        return known.name if known is not None else value
    plain: Json = whole(value)
    return plain


def whole(value: Json) -> Any:
    """A value with each double that is a whole number written as one, as Envoy writes it."""
    if isinstance(value, dict):
        return {key: whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _of_message(message: Any) -> Json:
    short = _SHORT.get(message.DESCRIPTOR.full_name)
    if short is not None:
        return short(message)
    if message.DESCRIPTOR.full_name.startswith("google.protobuf."):
        plain = whole(json_format.MessageToDict(message, preserving_proto_field_name=True))
        return _in_order(plain)
    return {
        field.name: REDACTED if is_secret(field) else plain_value(value, field)
        for field, value in message.ListFields()
    }


def _in_order(value: Json) -> Json:
    """A value with the keys of its mappings sorted: those of protobuf come in any order, another
    one in each process.
    """
    if isinstance(value, dict):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def _address(message: Any) -> Json:
    host, port = host_and_port(message)
    if not message.HasField("socket_address"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _duration(message: Any) -> Json:
    return duration_text(message.seconds, message.nanos)


def duration_text(seconds: int, nanos: int) -> str:
    """A duration in Envoy's form without needless zeros: `0.25s`."""
    sign = "-" if seconds < 0 or nanos < 0 else ""
    fraction = f".{abs(nanos):09d}".rstrip("0").rstrip(".")
    return f"{sign}{abs(seconds)}{fraction}s"


def _locality(message: Any) -> Json:
    return "/".join((message.region, message.zone, message.sub_zone)).rstrip("/")


def _wrapped(message: Any) -> Json:
    return plain_value(message.value)


_WRAPPERS = ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")

_SHORT: dict[str, Callable[[Any], Json]] = {
    "envoy.config.core.v3.Address": _address,
    "envoy.config.core.v3.Locality": _locality,
    "envoy.config.core.v3.Metadata": lambda message: plain_value(message.filter_metadata),
    "envoy.type.v3.Percent": lambda message: f"{message.value:g}%",
    "google.protobuf.Any": lambda message: type_of_url(message.type_url),
    "google.protobuf.Duration": _duration,
    **{f"google.protobuf.{kind}Value": _wrapped for kind in _WRAPPERS},
}


#: A value as Envoy's JSON has it.
