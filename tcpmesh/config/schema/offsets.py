"""Where the parts of a serialized `.proto` file are.

protobuf's implementation in Python copies messages and enums out of their file by it, and trusts
the numbers that `protoc` wrote into a generated module: they are wrong where the file was filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.internal import api_implementation

_LENGTH_DELIMITED = 2


def locate(descriptor: Any) -> None:
    """Say where in a file its parts are, where protobuf is implemented in Python."""
    if api_implementation.Type() == "python":
        data: bytes = descriptor.serialized_pb
        parts = {
            FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER: descriptor.message_types_by_name,
            FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER: descriptor.enum_types_by_name,
            FileDescriptorProto.SERVICE_FIELD_NUMBER: descriptor.services_by_name,
        }
        _locate_parts(parts, data, 0, len(data))


def _locate_parts(parts: dict[int, Any], data: bytes, start: int, end: int) -> None:
    """Say it of the parts in a stretch of the file, by the number of the field that they are in."""
    left = {number: iter(descriptors.values()) for number, descriptors in parts.items()}
    for number, first, last in _lengthy_fields(data, start, end):
        if number not in left:
            continue
        part = next(left[number])
        part._serialized_start, part._serialized_end = first, last
        if hasattr(part, "nested_types_by_name"):
            inner = {
                DescriptorProto.NESTED_TYPE_FIELD_NUMBER: part.nested_types_by_name,
                DescriptorProto.ENUM_TYPE_FIELD_NUMBER: part.enum_types_by_name,
            }
            _locate_parts(inner, data, first, last)


def _lengthy_fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message that have a length: the number of each, its start and its end."""
    while start < end:
        tag, start = _varint(data, start)
        value, start = _varint(data, start)
        if tag & 7 == _LENGTH_DELIMITED:
            yield tag >> 3, start, start + value
            start += value


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while data[place] > 127:
        number |= (data[place] & 127) << shift
        shift += 7
        place += 1
    return number | data[place] << shift, place + 1
