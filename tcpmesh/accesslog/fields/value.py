"""What a command operator yields, and how a text shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


class Typed:
    """A value of JSON that is neither a string nor a whole number: a text shows it as JSON."""

    __slots__ = ("_json", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._json: str | None = None

    @property
    def json(self) -> str:
        """It as JSON."""
        if self._json is None:
            self._json = dumps(self.value)
        return self._json

    def __str__(self) -> str:
        return self.json


Value: TypeAlias = "str | int | Typed | None"
"""What an operator yields; `None` is what is not there."""

Yield = Callable[[StreamInfo, Moment], Value]
"""An operator of a format that is built: what it yields of a connection at a moment."""

Build = Callable[[Operator], Yield]
"""What makes a `Yield` of an operator as it is written."""


def dumps(value: Any) -> str:
    """JSON without blanks, its keys sorted."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def typed(value: Any) -> Value:
    """Any value of JSON as one that an operator yields."""
    if value is None or type(value) is str or type(value) is int:
        return value
    return Typed(value)


def shown(value: Value) -> str | None:
    """A value as text; `None` where there is none."""
    return value if value is None or isinstance(value, str) else str(value)


def encoded(text: str) -> bytes:
    """A text as it is written out: what was no UTF-8 is what it was, and never is there an error.

    :param text: where it has bytes that are no UTF-8, they are surrogates (`surrogateescape`).
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "replace")


def cut_to(text: str, length: int | None) -> str:
    """At most so many bytes of a text."""
    if length is None or (length >= len(text) and text.isascii()):
        return text
    return encoded(text)[:length].decode("utf-8", "surrogateescape")


def with_room(ask: Yield) -> Yield:
    """What yields the same as long as there is room for it in what is written at this moment, and
    then nothing.  The value that fills the room is still whole.
    """

    def value(info: StreamInfo, at: Moment) -> Value:
        if at.room <= 0:
            at.left_out += 1
            return None
        found = ask(info, at)
        if isinstance(found, str):
            at.room -= len(found)
        elif isinstance(found, Typed):
            at.room -= len(found.json)
        return found

    return value


def found_at(values: Any, steps: Iterable[str]) -> Any:
    """What is found in mappings within mappings, by keys from the outside in; `None` where nothing
    is.
    """
    for step in steps:
        if not isinstance(values, Mapping) or step not in values:
            return None
        values = values[step]
    return values


def always(value: Value) -> Yield:
    """The same for every connection."""
    return lambda info, at: value
