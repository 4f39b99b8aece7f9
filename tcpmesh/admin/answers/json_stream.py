"""JSON that is written as it is made, for answers too long to be made at once.

An object may hold, at whatever depth, lists whose elements are made one after the other while the
answer is being sent.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from tcpmesh.facts import dataclass


@dataclass(frozen=True)
class LazyList:
    """A list whose elements are made when their turn comes.  A `None` among them is no element, but
    took a while.
    """

    items: Iterable[Any]

    shown_empty: bool = False
    """False where its object is without it if it has no elements."""


def json_stream(value: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """The text of an object in pieces, laid out like that of `json.dumps` with an indent of 1.
    Some pieces are empty.
    """
    before = "{"
    for key, content in value.items():
        opening = f"{before}{_line(depth + 1)}{json.dumps(key)}: "
        if isinstance(content, LazyList):
            if (yield from _written_list(content, opening, depth + 1)):
                before = ","
            continue
        yield opening
        yield from _written_value(content, depth + 1)
        before = ","
    yield "{}" if before == "{" else _line(depth) + "}"


def _written_list(later: LazyList, opening: str, depth: int) -> Generator[str, None, bool]:
    """The same of a list, and whether it has elements."""
    before = f"{opening}["
    for item in later.items:
        if item is None:
            yield ""
            continue
        yield before + _line(depth + 1)
        yield from _written_value(item, depth + 1)
        before = ","
    if before != ",":
        if later.shown_empty:
            yield before + "]"
        return later.shown_empty
    yield _line(depth) + "]"
    return True


def _written_value(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from json_stream(value, depth)
    else:
        yield json.dumps(value, indent=1).replace("\n", _line(depth))


def _line(depth: int) -> str:
    return "\n" + " " * depth
