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
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import MovedConnection


class NoConnection(Exception):
    """These bytes are no client of another process; the text says what is wrong with them."""


def encode(moved: MovedConnection) -> bytes:
    """The bytes of a client."""
    return json.dumps(_written(moved), separators=(",", ":")).encode()


def decode(data: bytes) -> MovedConnection:
    """The client of some bytes.

    :raise NoConnection: where they are none.
    """
    try:
        moved: MovedConnection = _record(MovedConnection, json.loads(data), "")
    except (ValueError, RecursionError) as e:
        raise NoConnection(str(e)) from None
    return moved


def _written(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _written(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Address):
        return [value.host, value.port]
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, tuple):
        return [_written(each) for each in value]
    return value


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a dataclass with their types."""
    hints = get_type_hints(kind)
    return tuple((each, hints[each.name]) for each in fields(kind))


def _record(kind: Any, found: Any, place: str) -> Any:
    if not isinstance(found, dict):
        raise ValueError(f"{place or 'it'} is no object")
    values = {}
    for each, hint in _fields(kind):
        here = f"{place}.{each.name}" if place else each.name
        if each.name in found:
            values[each.name] = _read(hint, found[each.name], here)
        elif each.default is MISSING:
            raise ValueError(f"{here} is missing")
    return kind(**values)


def _read(kind: Any, found: Any, place: str) -> Any:
    """A value of this kind.

    :raise ValueError: where it is none.
    """
    if is_dataclass(kind):
        return _record(kind, found, place)
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return _tuple(arguments, found, place)
    if get_origin(kind) is UnionType:
        (inner,) = (each for each in arguments if each is not NoneType)
        return None if found is None else _read(inner, found, place)
    read = _PLAIN[kind]
    value = read(found)
    if value is None:
        raise ValueError(f"{place} is no {kind.__name__}")
    return value


def _tuple(arguments: tuple[Any, ...], found: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(found, list):
        raise ValueError(f"{place} is no list")
    kinds = [arguments[0]] * len(found) if arguments[-1] is ... else list(arguments)
    if len(kinds) != len(found):
        raise ValueError(f"{place} has {len(found)} values and not {len(kinds)}")
    return tuple(_read(each, value, place) for each, value in zip(kinds, found, strict=True))


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


_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _whole,
    float: _fraction,
    str: lambda found: found if isinstance(found, str) else None,
    bool: lambda found: found if isinstance(found, bool) else None,
    bytes: _bytes,
    Address: _address,
}
