"""Reads MessagePack, for tests of what writes it."""

from __future__ import annotations

import struct
from typing import Any

_SCALARS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_LENGTHS = {
    0xD9: (">B", "str"),
    0xDA: (">H", "str"),
    0xDB: (">I", "str"),
    0xDC: (">H", "array"),
    0xDD: (">I", "array"),
    0xDE: (">H", "map"),
    0xDF: (">I", "map"),
}


def unpacked(data: bytes) -> list[Any]:
    """All values in these bytes.

    :raise IndexError: where the last one is cut off.
    """
    values, at = [], 0
    while at < len(data):
        value, at = _value(data, at)
        values.append(value)
    return values


def _value(data: bytes, at: int) -> tuple[Any, int]:
    code = data[at]
    at += 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code < 0xC0:
        kind = "map" if code < 0x90 else "array" if code < 0xA0 else "str"
        return _compound(data, at, kind, code & (0x1F if kind == "str" else 0x0F))
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code in _SCALARS:
        return _scalar(data, at, _SCALARS[code])
    form, kind = _LENGTHS[code]
    length, at = _scalar(data, at, form)
    return _compound(data, at, kind, length)


def _scalar(data: bytes, at: int, form: str) -> tuple[Any, int]:
    end = at + struct.calcsize(form)
    if end > len(data):
        raise IndexError("cut off")
    return struct.unpack_from(form, data, at)[0], end


def _compound(data: bytes, at: int, kind: str, length: int) -> tuple[Any, int]:
    if kind == "str":
        if at + length > len(data):
            raise IndexError("cut off")
        return data[at : at + length].decode(), at + length
    values = []
    for _ in range(length * (2 if kind == "map" else 1)):
        value, at = _value(data, at)
        values.append(value)
    if kind == "map":
        return dict(zip(values[::2], values[1::2], strict=True)), at
    return values, at
