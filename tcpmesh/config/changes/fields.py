"""Which fields of two messages of one type are different, by their paths.

Only where they are is told, never what they say: a field may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor

from tcpmesh.config.messages.types import unpack
from tcpmesh.config.text.problems import Path, path_text

MOST = 8
"""Paths that are told; nobody reads more of one message."""

MORE = "..."


def changed_fields(before: Any, after: Any) -> tuple[str, ...]:
    """The paths of the fields that differ, in order of the schema, and `...` where there are more
    than are told.

    Where a list is longer or shorter than before, it is the list that differs; what is in an `Any`
    of the same type is looked into.
    """
    paths = [path_text(path) for path in islice(differing(before, after), MOST + 1)]
    return tuple(paths[:MOST] + [MORE] * (len(paths) > MOST))


def differing(before: Any, after: Any, path: Path = ()) -> Iterator[Path]:
    """As above, all of them, as paths."""
    if isinstance(before, AnyMessage):
        yield from _in_any(before, after, path)
        return
    old, new = _values(before), _values(after)
    for number in sorted(old.keys() | new.keys()):
        field, value = old.get(number) or new[number]
        here = (*path, field.name)
        if number not in old or number not in new:
            yield here
        elif value != (other := new[number][1]):
            yield from _in_field(field, value, other, here)


def _values(message: Any) -> dict[int, tuple[FieldDescriptor, Any]]:
    return {field.number: (field, value) for field, value in message.ListFields()}


def _in_any(before: Any, after: Any, path: Path) -> Iterator[Path]:
    old = unpack(before) if before.type_url == after.type_url else None
    new = unpack(after) if old is not None else None
    if old is None or new is None or old == new:
        yield path
    else:
        yield from differing(old, new, path)


def _in_field(field: FieldDescriptor, old: Any, new: Any, here: Path) -> Iterator[Path]:
    inner = field.message_type
    if inner is None or (not field.is_repeated and inner.full_name.startswith("google.protobuf.")):
        if inner is not None and inner.full_name == AnyMessage.DESCRIPTOR.full_name:
            yield from _in_any(old, new, here)
        else:
            yield here
    elif not field.is_repeated:
        yield from differing(old, new, here)
    elif inner.GetOptions().map_entry:
        yield from ((*here, key) for key in sorted({*old, *new}) if old.get(key) != new.get(key))
    elif len(old) != len(new):
        yield here
    else:
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                yield from differing(one, other, (*here, index))
