"""Messages that are nested deeper than protobuf reads them from bytes.

It reads a hundred messages inside each other, and writes any number.  Each level of a mapping of
metadata (`google.protobuf.Struct`) is three, so metadata of 34 levels cannot be read; a text may
have close to a hundred, and Envoy takes it.  Here the outermost messages are read one by one, until
protobuf can read what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

MOST = 400
"""Messages inside each other: those of a text that is nested as deep as one may be, and more."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_message(kind: Any, data: bytes) -> Any:
    """The message of these bytes.

    :raise DecodeError: they are none, or it is nested deeper than `MOST`.
    """
    try:
        return kind.FromString(data)
    except DecodeError:
        message = kind()
        _read_into(message, data, MOST)
        return message


def _read_into(message: Any, data: bytes, depth: int) -> None:
    if not depth:
        raise DecodeError(f"more than {MOST} messages inside each other")
    fields = message.DESCRIPTOR.fields_by_number
    for number, begins, content in _fields(data):
        field = fields.get(number)
        try:
            # Not into the message: of what cannot be read a part would stay.
            message.MergeFrom(type(message).FromString(data[begins : content.stop]))
        except DecodeError:
            if field is None or field.type != FieldDescriptor.TYPE_MESSAGE:
                raise
            _read_field(message, field, data[content], depth - 1)


def _read_field(message: Any, field: Any, data: bytes, depth: int) -> None:
    values = getattr(message, field.name)
    if not field.is_repeated:
        values.SetInParent()
        _read_into(values, data, depth)
    elif field.message_type.GetOptions().map_entry:
        entry = values.GetEntryClass()()
        _read_into(entry, data, depth)
        values[entry.key].CopyFrom(entry.value)
    else:
        _read_into(values.add(), data, depth)


def _fields(data: bytes) -> Iterator[tuple[int, int, slice]]:
    """The fields of a message on the wire: the number of each, where it begins, and its content."""
    at = 0
    while at < len(data):
        begins = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, end = _varint(data, at)
        elif kind == _BYTES:
            length, at = _varint(data, at)
            end = at + length
        elif kind in (_FIXED32, _FIXED64):
            end = at + (4 if kind == _FIXED32 else 8)
        else:
            raise DecodeError(f"a field of the wire type {kind}")
        if end > len(data):
            raise DecodeError("a field is cut short")
        yield tag >> 3, begins, slice(at, end)
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, at
    raise DecodeError("a number is cut short")
