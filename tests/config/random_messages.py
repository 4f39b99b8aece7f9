"""Random valid messages of Envoy's schema, for property tests: any field of any type in reach, but
no Any.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tcpmesh.config.messages.types import full_name_of, message_class

_TYPES = FieldDescriptor

#: Characters that YAML and JSON text can hold as they are.
TEXT = st.text(
    st.characters(
        min_codepoint=0x20,
        max_codepoint=0x2000,
        exclude_characters="\x7f\x85",
        exclude_categories=("Cc", "Cs"),
    )
)

_SCALARS: dict[int, Any] = {
    _TYPES.TYPE_STRING: TEXT,
    _TYPES.TYPE_BYTES: st.binary(max_size=20),
    _TYPES.TYPE_BOOL: st.booleans(),
    _TYPES.TYPE_DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    _TYPES.TYPE_FLOAT: st.floats(allow_nan=False, allow_infinity=False, width=32),
    **dict.fromkeys(
        (_TYPES.TYPE_INT32, _TYPES.TYPE_SINT32, _TYPES.TYPE_SFIXED32),
        st.integers(-(2**31), 2**31 - 1),
    ),
    **dict.fromkeys(
        (_TYPES.TYPE_INT64, _TYPES.TYPE_SINT64, _TYPES.TYPE_SFIXED64),
        st.integers(-(2**63), 2**63 - 1),
    ),
    **dict.fromkeys((_TYPES.TYPE_UINT32, _TYPES.TYPE_FIXED32), st.integers(0, 2**32 - 1)),
    **dict.fromkeys((_TYPES.TYPE_UINT64, _TYPES.TYPE_FIXED64), st.integers(0, 2**64 - 1)),
}

#: Types that are left out: Any needs a type, masks and timestamps have a text form of protobuf's
#: own.
_LEFT_OUT = frozenset(
    {"google.protobuf.Any", "google.protobuf.FieldMask", "google.protobuf.Timestamp"}
)


@st.composite
def messages(draw: Any, descriptor: Descriptor, depth: int = 5) -> Any:
    """A message of this type with a few random fields, nested at most this deep."""
    message = message_class(descriptor)()
    fill(draw, message, depth)
    return message


def fill(draw: Any, message: Any, depth: int) -> None:
    """Set a few fields of a message."""
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Duration":
        message.seconds, message.nanos = (
            draw(st.integers(0, 10**9)),
            draw(st.integers(0, 999_999_999)),
        )
    elif name in ("google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue"):
        _fill_free_form(draw, message, depth)
    else:
        fields = [
            f
            for f in message.DESCRIPTOR.fields
            if full_name_of(f) not in _LEFT_OUT and (depth or not f.message_type)
        ]
        for field in (
            draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda f: f.name))
            if fields
            else []
        ):
            _fill_field(draw, message, field, depth - 1)


def _fill_free_form(draw: Any, message: Any, depth: int) -> None:
    """Struct and its parts, with the numbers that YAML leaves numbers."""
    if message.DESCRIPTOR.name == "Struct":
        for key in draw(st.lists(TEXT, max_size=3)) if depth > 0 else []:
            _fill_free_form(draw, message.fields[key], depth - 1)
    elif message.DESCRIPTOR.name == "ListValue":
        for _ in range(draw(st.integers(0, 3)) if depth > 0 else 0):
            _fill_free_form(draw, message.values.add(), depth - 1)
    else:
        _fill_value(
            draw,
            message,
            draw(st.sampled_from(("null", "number", "string", "bool", "struct", "list"))),
            depth,
        )


def _fill_value(draw: Any, message: Any, kind: str, depth: int) -> None:
    if kind == "null":
        message.null_value = 0
    elif kind in ("struct", "list"):
        inner = getattr(message, f"{kind}_value")
        inner.SetInParent()
        _fill_free_form(draw, inner, depth - 1)
    else:
        values = {"number": st.integers(-(2**31), 2**31 - 1), "string": TEXT, "bool": st.booleans()}
        setattr(message, f"{kind}_value", draw(values[kind]))


def _fill_field(draw: Any, message: Any, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(draw, message, field, depth)
    elif field.is_repeated:
        for _ in range(draw(st.integers(1, 2))):
            if field.message_type is not None:
                fill(draw, getattr(message, field.name).add(), depth)
            else:
                getattr(message, field.name).append(_scalar(draw, field))
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
        fill(draw, getattr(message, field.name), depth)
    else:
        setattr(message, field.name, _scalar(draw, field))


def _fill_map(draw: Any, message: Any, field: FieldDescriptor, depth: int) -> None:
    entry: Any = field.message_type
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    if full_name_of(value) in _LEFT_OUT:
        return
    target = getattr(message, field.name)
    for name in draw(st.lists(_SCALARS[key.type], max_size=2)):
        if value.message_type is not None:
            fill(draw, target[name], depth)
        else:
            target[name] = _scalar(draw, value)


def _scalar(draw: Any, field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    return draw(_SCALARS[field.type])
