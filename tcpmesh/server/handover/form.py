"""The byte form of a client that goes to another process, which may be of another release.

It is JSON, by the names of the fields of `MovedConnection` and what that has: a reader leaves out
fields that it does not know, and takes the default of those that it misses.  So a field may come
with any release, with a default that means "as before"; one may go once no release that has it is
upgraded from any more; and none ever changes its meaning.  Bytes are base64.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import MovedConnection


class NoConnection(Exception):
    """These bytes are no client of another process; the text says what is wrong with them."""


Reader: TypeAlias = "Callable[[Any, str], Any]"
"""Makes a value of what JSON has at a place, or raises `ValueError`."""


def encode(moved: MovedConnection) -> bytes:
    """The bytes of a client."""
    return json.dumps(_written(moved), separators=(",", ":")).encode()


def decode(data: bytes) -> MovedConnection:
    """The client of some bytes.

    :raise NoConnection: where they are none.
    """
    try:
        moved: MovedConnection = _reader(MovedConnection)(json.loads(data), "")
    except (ValueError, RecursionError) as e:
        raise NoConnection(str(e)) from None
    return moved


def _written(value: Any) -> Any:
    kind: Any = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is bytes:
        return b64encode(value).decode()
    if kind is tuple:
        return [_written(each) for each in value]
    if kind is Address:
        return [value.host, value.port]
    if isinstance(value, int):  # a family of addresses, for example
        return int(value)
    return {name: _written(getattr(value, name)) for name in _names(kind)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


@cache
def _reader(kind: Any) -> Reader:
    """What reads values of a type; found out once, for it takes longer than reading."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return partial(
            _record, kind, tuple((each, _reader(hints[each.name])) for each in fields(kind))
        )
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        if arguments[-1] is ...:
            return partial(_list, _reader(arguments[0]))
        return partial(_tuple, tuple(map(_reader, arguments)))
    if get_origin(kind) is UnionType:
        (inner,) = (each for each in arguments if each is not NoneType)
        return partial(_optional, _reader(inner))
    return partial(_plain, kind, _PLAIN[kind])


def _record(
    kind: Any, readers: tuple[tuple[Field[Any], Reader], ...], found: Any, place: str
) -> Any:
    if not isinstance(found, dict):
        raise ValueError(f"{place or 'it'} is no object")
    values = {}
    before = f"{place}." if place else ""
    for each, read in readers:
        name = each.name
        if name in found:
            values[name] = read(found[name], before + name)
        elif each.default is MISSING:
            raise ValueError(f"{before}{name} is missing")
    return kind(**values)


def _optional(read: Reader, found: Any, place: str) -> Any:
    return None if found is None else read(found, place)


def _list(read: Reader, found: Any, place: str) -> Any:
    if not isinstance(found, list):
        raise ValueError(f"{place} is no list")
    return tuple(read(each, place) for each in found)


def _tuple(readers: tuple[Reader, ...], found: Any, place: str) -> Any:
    if not isinstance(found, list):
        raise ValueError(f"{place} is no list")
    if len(readers) != len(found):
        raise ValueError(f"{place} has {len(found)} values and not {len(readers)}")
    return tuple(read(value, place) for read, value in zip(readers, found, strict=True))


def _plain(kind: type, read: Callable[[Any], Any], found: Any, place: str) -> Any:
    value = read(found)
    if value is None:
        raise ValueError(f"{place} is no {kind.__name__}")
    return value


def _bytes(found: Any) -> bytes | None:
    return b64decode(found, validate=True) if isinstance(found, str) else None


def _address(found: Any) -> Address | None:
    match found:
        case [str(host), int(port)] if not isinstance(port, bool):
            return Address(host, port)
    return None


def _whole(found: Any) -> int | None:
    return found if type(found) is int else None


def _fraction(found: Any) -> float | None:
    return float(found) if type(found) in (int, float) else None


_AS_IT_IS = frozenset((str, int, float, bool, NoneType))

_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: _fraction,
    str: lambda found: found if isinstance(found, str) else None,
    bool: lambda found: found if isinstance(found, bool) else None,
    bytes: _bytes,
    Address: _address,
}
