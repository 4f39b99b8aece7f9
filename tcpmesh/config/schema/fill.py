"""Adds to the description of a `.proto` file what a newer one has and it lacks.

Only what is missing is added: a name or a number that is taken, or that the file says is reserved,
stays what the file says.  So where the file is the newer one it loses nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, MutableSequence, Sequence
from typing import Protocol, TypeVar

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    OneofDescriptorProto,
)


class _Named(Protocol):
    """Whatever a file describes: it has a name."""

    name: str


_N = TypeVar("_N", bound=_Named)


def fill(file: FileDescriptorProto, newer: FileDescriptorProto) -> bool:
    """Add to a file what a newer one has beyond it.

    :return: whether anything was missing.
    """
    added = [
        _fill_all(file.message_type, newer.message_type, _fill_message),
        _fill_all(file.enum_type, newer.enum_type, _fill_enum),
        _fill_all(file.service, newer.service, None),
    ]
    if not any(added):
        return False
    file.dependency.extend(name for name in newer.dependency if name not in file.dependency)
    return True


def _fill_all(
    old: MutableSequence[_N], new: Iterable[_N], fill_one: Callable[[_N, _N], bool] | None
) -> bool:
    """Add what is missing by name, and fill what is there; whether anything was missing."""
    known = {each.name: each for each in old}
    missing = [each for each in new if each.name not in known]
    filled = [fill_one(known[each.name], each) for each in new if fill_one and each.name in known]
    old.extend(missing)
    return bool(missing) or any(filled)


def _fill_enum(old: EnumDescriptorProto, new: EnumDescriptorProto) -> bool:
    taken = {value.name for value in old.value} | set(old.reserved_name)
    numbers = {value.number for value in old.value}
    missing = [
        value
        for value in new.value
        if value.name not in taken
        and value.number not in numbers
        and not any(span.start <= value.number <= span.end for span in old.reserved_range)
    ]
    old.value.extend(missing)
    return bool(missing)


def _fill_message(old: DescriptorProto, new: DescriptorProto) -> bool:
    fields = [field for field in new.field if _has_room(old, field)]
    for field in fields:
        _add_field(old, field, new.oneof_decl)
    inner = [
        _fill_all(old.nested_type, new.nested_type, _fill_message),
        _fill_all(old.enum_type, new.enum_type, _fill_enum),
    ]
    return bool(fields) or any(inner)


def _has_room(message: DescriptorProto, field: FieldDescriptorProto) -> bool:
    return (
        field.name not in message.reserved_name
        and not any(span.start <= field.number < span.end for span in message.reserved_range)
        and not any(field.name == one.name or field.number == one.number for one in message.field)
    )


def _add_field(
    message: DescriptorProto,
    field: FieldDescriptorProto,
    oneofs: Sequence[OneofDescriptorProto],
) -> None:
    added = copy.copy(field)
    if field.HasField("oneof_index"):
        oneof = oneofs[field.oneof_index]
        added.oneof_index = _index_of(message, oneof, field.proto3_optional)
    message.field.append(added)


def _index_of(message: DescriptorProto, oneof: OneofDescriptorProto, is_optional: bool) -> int:
    """The index of the oneof of a name, which is added where there is none.

    Those that stand for an `optional` come last, as protobuf demands.
    """
    oneofs = list(message.oneof_decl)
    names = [each.name for each in oneofs]
    if oneof.name in names:
        return names.index(oneof.name)
    optional = {field.oneof_index for field in message.field if field.proto3_optional}
    index = len(oneofs) if is_optional else len(oneofs) - len(optional)
    for field in message.field:
        if field.HasField("oneof_index") and field.oneof_index >= index:
            field.oneof_index += 1
    oneofs.insert(index, oneof)
    del message.oneof_decl[:]
    message.oneof_decl.extend(oneofs)
    return index
