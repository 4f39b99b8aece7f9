"""Which rows are wanted, in the words of a query string: `cluster=db&client=10.0.0.0/8&age=>60`.

- A text is given as it is, or as `~` and an expression of RE2 that is found in it.
- A number is given as it is, or after `<` or `>`.
- An address is given whole, as a host without a port, as a prefix such as `10.0.0.0/8`, or with
  its end left out after a dot or a colon: `10.1.`, never so that `10.0.0.3` would be `10.0.0.30`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from operator import gt, lt
from typing import Any

from tcpmesh.values.stream.live import (
    CLOSE_FIELDS,
    CONNECTION_FIELDS,
    CloseQuery,
    ConnectionQuery,
    FieldFilter,
    FieldKind,
)
from tcpmesh.wire.regex import BadRegex, Regex

MOST_ROWS = 5000
"""Rows of one answer, which is held in memory."""

ROWS = 100
"""Rows of an answer where nobody says how many."""

REGEX_MEMORY = 1 << 16
"""Bytes of an expression: it is tried on each of many connections."""

LONGEST_NAME = 40
"""Characters of a name that are told of one that is not known."""

Matches = Callable[[Any], bool]
"""Whether the value of a field is a wanted one."""

SEARCH = "search"
"""Stands for all fields that are texts or addresses: one of them has to contain what is wanted."""

Readers = Callable[[str], Callable[[Any], Any]]
"""Gives what reads a field of a row."""


class BadQuery(ValueError):
    """What is asked for cannot be had; the text says why."""


def connection_query(parameters: Mapping[str, str]) -> ConnectionQuery:
    """What these parameters ask for: `sort`, `limit`, and values of fields.

    :raise BadQuery: where there is no such field, or a value is none of its kind.
    """
    sort = parameters.get("sort") or "id"
    name = sort.removeprefix("-")
    if name not in CONNECTION_FIELDS:
        raise _no_field("sort", name, CONNECTION_FIELDS)
    filters = filters_of(_without(parameters, "sort", "limit"), CONNECTION_FIELDS)
    return ConnectionQuery(filters, name, sort.startswith("-"), _limit(parameters))


def close_query(parameters: Mapping[str, str]) -> CloseQuery:
    """The same of connections that have ended.

    :raise BadQuery: as `connection_query`.
    """
    return CloseQuery(filters_of(_without(parameters, "limit"), CLOSE_FIELDS), _limit(parameters))


def filters_of(
    parameters: Mapping[str, str], known: Mapping[str, FieldKind] = CONNECTION_FIELDS
) -> tuple[FieldFilter, ...]:
    """The filters that these parameters say; an empty value says nothing.

    :raise BadQuery: as `connection_query`.
    """
    filters = tuple(FieldFilter(name, value) for name, value in parameters.items() if value)
    for each in filters:
        matcher(each, known)
    return filters


def _without(parameters: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if name not in names}


def _limit(parameters: Mapping[str, str]) -> int:
    text = parameters.get("limit") or str(ROWS)
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 0 < int(text) <= MOST_ROWS):
        raise BadQuery(f"limit: a number from 1 to {MOST_ROWS} is wanted, not '{text}'")
    return int(text)


def _no_field(what: str, name: str, known: Mapping[str, FieldKind]) -> BadQuery:
    near = get_close_matches(name[:LONGEST_NAME], known, 1)
    more = f", did you mean '{near[0]}'" if near else ""
    return BadQuery(
        f"{what}: there is no field '{name[:LONGEST_NAME]}'{more}; there are {', '.join(known)}"
    )


def matcher(wanted: FieldFilter, known: Mapping[str, FieldKind] = CONNECTION_FIELDS) -> Matches:
    """What tells whether the value of the field is a wanted one.

    :raise BadQuery: as `connection_query`.
    """
    field, text = wanted
    if field == SEARCH:
        return _contained(text.lower())
    kind = known.get(field)
    if kind is None:
        raise _no_field("filter", field, known)
    try:
        if kind is FieldKind.NUMBER:
            return _number(text)
        if text.startswith("~"):
            return _found(Regex(text[1:], REGEX_MEMORY))
        return _address(text) if kind is FieldKind.ADDRESS else text.__eq__
    except (BadRegex, ValueError) as e:
        raise BadQuery(f"{field}: {e}") from None


def reader(field: str, known: Mapping[str, FieldKind], read: Readers) -> Callable[[Any], Any]:
    """What reads from a row what `matcher` judges."""
    if field != SEARCH:
        return read(field)
    readers = [read(name) for name, kind in known.items() if kind is not FieldKind.NUMBER]
    return lambda row: (each(row) for each in readers)


def _contained(text: str) -> Matches:
    return lambda values: any(text in value.lower() for value in values)


def _found(regex: Regex) -> Matches:
    return lambda value: regex.search(value)


def _number(text: str) -> Matches:
    sign = text[:1]
    digits = text[1:] if sign in ("<", ">") else text
    try:
        number = float(digits) if len(digits) < 30 else None
    except ValueError:
        number = None
    if number is None or number != number:
        raise ValueError(f"a number is wanted, not '{text}'")
    if sign in ("<", ">"):
        compare = lt if sign == "<" else gt
        return lambda value: value is not None and compare(value, number)
    return lambda value: value is not None and value == number


def _address(text: str) -> Matches:
    """Where the text is a whole address or a host, it is compared as one; paths are texts."""
    if "/" in text and not text.startswith(("/", "@", ".")):
        network = ip_network(text, strict=False)
        return lambda value: _is_in(value, network)
    if text.endswith((".", ":", "]:")) and not text.startswith(("/", "@")):
        return lambda value: value.startswith(text)
    host = f"[{text}]:" if ":" in text and not text.startswith("[") else f"{text}:"
    if text.startswith("["):
        host = f"{text}:"

    def matches(value: str) -> bool:
        return value == text or (value.startswith(host) and value[len(host) :].isdecimal())

    return matches


def _is_in(value: str, network: Any) -> bool:
    host = value.rpartition(":")[0].removeprefix("[").removesuffix("]")
    try:
        return ip_address(host) in network
    except ValueError:
        return False
