"""Single values: what Envoy's JSON parser takes for a number, a boolean, an enum, bytes or a
duration.

Each reader gets a node and returns what the protobuf field takes, or raises `Wrong` with what was
expected instead.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from tcpmesh.config.text.source import Node, Scalar

#: Protobuf's own bound of a Duration: about 10,000 years.
MAX_DURATION_SECONDS = 315_576_000_000

#: Of that; with some thousand Python refuses to make a number of them.
MOST_DIGITS = len(str(MAX_DURATION_SECONDS))

_DURATION = re.compile(r"(?P<sign>-?)(?P<seconds>[0-9]+)(?:\.(?P<fraction>[0-9]{1,9}))?s\Z")
_OTHER_UNIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|sec|m|min|h|d)?\Z", re.IGNORECASE)
_UNIT_SECONDS = {
    "": 1,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "sec": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "d": 86400,
}
_SURELY_MILLISECONDS = 50
"""A plain number from here on was meant in another unit: who writes 250 means 0.25s."""

_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_REAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_REAL_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_TRUE = frozenset({"true", "t", "yes", "y", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "0"})

Reader = Callable[[Node], Any]


class Wrong(ValueError):
    """A value that its field does not take: what was expected, and a hint."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


def shown(node: Node) -> str:
    """A value as an error names it."""
    if isinstance(node, Scalar) and node.value is not None:
        text = repr(node.value) if isinstance(node.value, str) else str(node.value).lower()
        return f"{node.kind} {text if len(text) < 60 else text[:57] + '...'}"
    return node.kind


def expected(what: str, node: Node, hint: str = "") -> Wrong:
    """The error of a value that is of another kind."""
    return Wrong(f"expected {what}, not {shown(node)}", hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name; empty where nothing is near."""
    return _nearest(word, tuple(known))


@lru_cache(maxsize=1024)
def _nearest(word: str, known: tuple[str, ...]) -> str:
    folded = {name.lower(): name for name in known}
    word = word.lower().replace("-", "_")
    near = get_close_matches(word, folded, 1, 0.6) or [
        name for name in folded if word and name.startswith(f"{word}_")
    ]
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def read_string(node: Node) -> str:
    """Text.  A bare number or boolean is refused, as Envoy does, with the advice to quote it."""
    value = getattr(node, "value", None)
    if isinstance(value, str):
        return value
    quotable = isinstance(node, Scalar) and value is not None
    raise expected("a string", node, "put it in quotes" if quotable else "")


def read_bool(node: Node) -> bool:
    """A boolean, or a string that stands for one."""
    value = getattr(node, "value", None)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
    raise expected("true or false", node)


def read_bytes(node: Node) -> bytes:
    """Base64, of either alphabet, padded or not."""
    text = read_string(node).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise expected("bytes in base64", node) from None


def integer_reader(low: int, high: int) -> Reader:
    """A reader of whole numbers from `low` to `high`; strings and reals that are whole count."""

    def read_integer(node: Node) -> int:
        value = getattr(node, "value", None)
        if type(value) is not int:
            value = _whole(value)
        if value is None:
            raise expected("a whole number", node)
        if not low <= value <= high:
            raise expected(f"a whole number from {low} to {high}", node)
        return value

    return read_integer


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        if len(value) <= 30 and _INTEGER.match(value):
            return int(value)
        value = float(value) if _REAL.match(value) else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def real_reader(largest: float) -> Reader:
    """A reader of numbers up to `largest` in absolute value."""

    def read_real(node: Node) -> float:
        value = getattr(node, "value", None)
        if isinstance(value, str):
            if value in _REAL_WORDS:
                return _REAL_WORDS[value]
            value = float(value) if _REAL.match(value) else None
        if value is None or isinstance(value, bool):
            raise expected("a number", node)
        if abs(value) > largest:
            raise expected("a number in range", node)
        return float(value)

    return read_real


def enum_reader(enum: EnumDescriptor) -> Reader:
    """A reader of the names of an enum, in any case, and of its numbers."""
    by_name = {name.upper(): value.number for name, value in enum.values_by_name.items()}
    names = tuple(enum.values_by_name)

    def read_enum(node: Node) -> int:
        value = getattr(node, "value", None)
        if isinstance(value, str) and value.upper() in by_name:
            return by_name[value.upper()]
        number = value if type(value) is int else _whole(value)
        if number is not None and -(2**31) <= number < 2**31:
            return number
        if not isinstance(value, str):
            raise expected(f"a name of {enum.full_name}", node)
        known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise Wrong(f"unknown value {value!r}, expected one of {known}", did_you_mean(value, names))

    return read_enum


def read_duration(node: Node) -> tuple[int, int]:
    """Seconds and nanoseconds of a duration such as `0.25s`."""
    value = getattr(node, "value", None)
    found = _DURATION.match(value) if isinstance(value, str) else None
    if found is None:
        raise expected("a duration in seconds such as '0.25s'", node, _in_seconds(value))
    digits = found["seconds"].lstrip("0") or "0"
    if len(digits) > MOST_DIGITS or int(digits) > MAX_DURATION_SECONDS:
        raise expected(f"a duration of at most {MAX_DURATION_SECONDS}s", node)
    seconds = int(digits)
    nanos = int((found["fraction"] or "0").ljust(9, "0"))
    return (-seconds, -nanos) if found["sign"] else (seconds, nanos)


def _in_seconds(value: Any) -> str:
    """The hint for a duration in another unit or without one."""
    found = (
        None if value is None or isinstance(value, bool) else _OTHER_UNIT.match(str(value).strip())
    )
    if found is None or len(found[1]) > 12:
        return ""
    number, unit = float(found[1]), (found[2] or "").lower()
    if not unit and number >= _SURELY_MILLISECONDS:
        return f"write {_text(number / 1000)} where these are milliseconds, else {_text(number)}"
    return f"write {_text(number * _UNIT_SECONDS[unit])}"


def _text(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _readers() -> dict[int, Reader]:
    kinds = FieldDescriptor
    signed32 = integer_reader(-(2**31), 2**31 - 1)
    signed64 = integer_reader(-(2**63), 2**63 - 1)
    unsigned32 = integer_reader(0, 2**32 - 1)
    unsigned64 = integer_reader(0, 2**64 - 1)
    return {
        kinds.TYPE_STRING: read_string,
        kinds.TYPE_BYTES: read_bytes,
        kinds.TYPE_BOOL: read_bool,
        kinds.TYPE_DOUBLE: real_reader(1.7976931348623157e308),
        kinds.TYPE_FLOAT: real_reader(3.4028234663852886e38),
        **dict.fromkeys((kinds.TYPE_INT32, kinds.TYPE_SINT32, kinds.TYPE_SFIXED32), signed32),
        **dict.fromkeys((kinds.TYPE_INT64, kinds.TYPE_SINT64, kinds.TYPE_SFIXED64), signed64),
        **dict.fromkeys((kinds.TYPE_UINT32, kinds.TYPE_FIXED32), unsigned32),
        **dict.fromkeys((kinds.TYPE_UINT64, kinds.TYPE_FIXED64), unsigned64),
    }


_READERS = _readers()


def reader_of(field: FieldDescriptor) -> Reader:
    """The reader of a field (of one element, where it is repeated) that is no message."""
    return enum_reader(field.enum_type) if field.enum_type is not None else _READERS[field.type]
