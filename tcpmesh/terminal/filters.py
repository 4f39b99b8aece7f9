"""Which rows somebody wants to see, as they write it: words that must all fit.

`cluster=db`, `client=10.0.0.0/8`, `age=>60` and `sni=~^api\\.` are about a field, as the query of
`/connections` has it; any other word is to be found anywhere in the row, in upper or lower case.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Row = Mapping[str, Any]
"""What is shown in a line, by the names of its fields."""


class Filter(NamedTuple):
    """What is wanted."""

    fields: Mapping[str, str] = {}
    """By name, what each is to be like."""

    words: tuple[str, ...] = ()
    """In small letters."""


def filter_of(text: str) -> Filter:
    """What a line asks for; quotes keep blanks together."""
    return filter_of_words(_words(text))


def filter_of_words(given: Iterable[str]) -> Filter:
    """What words ask for."""
    fields: dict[str, str] = {}
    words: list[str] = []
    for word in given:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            fields[name] = value
        else:
            words.append(word.lower())
    return Filter(fields, tuple(words))


def _words(text: str) -> Sequence[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed, yet
        return text.split()


def quoted(name: str, value: str) -> str:
    """A word of a filter for a field that is just this."""
    return shlex.quote(f"{name}={value}")


def having(rows: Iterable[Row], words: Iterable[str]) -> list[Row]:
    """The rows in which each of the words is found."""
    wanted = tuple(words)
    return [row for row in rows if all(word in _text(row) for word in wanted)]


def fitting(rows: Iterable[Row], wanted: Filter) -> list[Row]:
    """The rows that fit, where nobody else has looked at the fields: these are compared as
    texts.
    """
    chosen = [
        row
        for row in rows
        if all(str(row.get(name, "")) == value for name, value in wanted.fields.items())
    ]
    return having(chosen, wanted.words)


def _text(row: Row) -> str:
    return "\n".join(map(str, row.values())).lower()
