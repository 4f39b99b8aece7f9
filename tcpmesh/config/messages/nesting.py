"""Messages inside each other, of which protobuf reads no more than a hundred from bytes.

What is nested deeper can be made of a text, but whoever then copies it, packs it or sends it to
another process fails.  So it is refused with the text.  Each level of a mapping of any values
(`google.protobuf.Struct`) is three messages.  Envoy refuses such an `Any` too; elsewhere it takes
more than this, which no real configuration has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError, Message

from tcpmesh.config.text.problems import Path

TOO_DEEP = "nested deeper than the 100 messages inside each other that protobuf reads"

_STEPS = 8
"""Steps of a path to what is too deep: the field that somebody has written, not the last level."""


def is_readable(message: Message) -> bool:
    """Whether a message can be read from its bytes again."""
    try:
        type(message).FromString(message.SerializeToString())
    except DecodeError:
        return False
    return True


def too_deep(message: Message) -> Path | None:
    """Where a message is nested too deep, if it is."""
    if is_readable(message):
        return None
    path: Path = ()
    while len(path) < _STEPS:
        inner = next((each for each in _inner(message) if not is_readable(each[1])), None)
        if inner is None:
            break
        steps, message = inner
        path = (*path, *steps)
    return path


def _inner(message: Message) -> Iterator[tuple[Path, Any]]:
    """The messages in the fields of a message, and their steps."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield (field.name,), value
        elif not field.message_type.GetOptions().map_entry:
            yield from (((field.name, index), each) for index, each in enumerate(value))
        elif field.message_type.fields_by_name["value"].message_type is not None:
            yield from (((field.name, key), each) for key, each in value.items())
