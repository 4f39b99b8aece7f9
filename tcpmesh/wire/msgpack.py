"""MessagePack, as far as values of JSON need it: fluentd is told its records so.

Each value takes the smallest of the forms that the format has for it
(https://github.com/msgpack/msgpack/blob/master/spec.md).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_DEPTH = 100
"""Values within values; what is further inside is nil."""

_UINTS = (
    (1 << 8, 0xCC, ">BB"),
    (1 << 16, 0xCD, ">BH"),
    (1 << 32, 0xCE, ">BI"),
    (1 << 64, 0xCF, ">BQ"),
)
_INTS = (
    (1 << 7, 0xD0, ">Bb"),
    (1 << 15, 0xD1, ">Bh"),
    (1 << 31, 0xD2, ">Bi"),
    (1 << 63, 0xD3, ">Bq"),
)


def packed(value: Any) -> bytes:
    """A value of JSON in MessagePack.

    What JSON does not have, or MessagePack cannot hold, is nil, and characters that UTF-8 does not
    have are question marks: this never raises.
    """
    out = bytearray()
    _pack(value, out, MOST_DEPTH)
    return bytes(out)


def array_head(length: int) -> bytes:
    """What an array of so many values begins with."""
    return _head(length, 0x90, 16, ((1 << 16, 0xDC, ">BH"), (1 << 32, 0xDD, ">BI")))


def _pack(value: Any, out: bytearray, depth: int) -> None:
    pack = _PACK.get(type(value)) if depth else None
    if pack is not None:
        pack(value, out, depth - 1)
    else:
        out.append(0xC0)


def _bool(value: bool, out: bytearray, depth: int) -> None:
    out.append(0xC3 if value else 0xC2)


def _int(value: int, out: bytearray, depth: int) -> None:
    if -32 <= value < 128:
        out.append(value & 0xFF)
        return
    for bound, code, form in _UINTS if value >= 0 else _INTS:
        if -bound <= value < bound:
            out += struct.pack(form, code, value)
            return
    out.append(0xC0)


def _float(value: float, out: bytearray, depth: int) -> None:
    out += struct.pack(">Bd", 0xCB, value)


def _str(value: str, out: bytearray, depth: int) -> None:
    data = value.encode("utf-8", "replace")
    forms = ((1 << 8, 0xD9, ">BB"), (1 << 16, 0xDA, ">BH"), (1 << 32, 0xDB, ">BI"))
    out += _head(len(data), 0xA0, 32, forms)
    out += data


def _sequence(value: Sequence[Any], out: bytearray, depth: int) -> None:
    out += array_head(len(value))
    for each in value:
        _pack(each, out, depth)


def _mapping(value: Mapping[str, Any], out: bytearray, depth: int) -> None:
    out += _head(len(value), 0x80, 16, ((1 << 16, 0xDE, ">BH"), (1 << 32, 0xDF, ">BI")))
    for key, each in value.items():
        _str(key, out, depth)
        _pack(each, out, depth)


def _head(length: int, short: int, most: int, forms: Sequence[tuple[int, int, str]]) -> bytes:
    """The length of something, in the smallest form that holds it."""
    if length < most:
        return bytes((short | length,))
    code, form = next((code, form) for bound, code, form in forms if length < bound)
    return struct.pack(form, code, length)


_PACK: dict[type, Callable[[Any, bytearray, int], None]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
}
