"""One runtime value: what was written, and what it is worth as a number, a truth and a share.

A value has no type of its own.  Who asks for an integer gets the number in it, and who asks for a
truth whether it is 0; a value that is nothing of the kind asked for leaves the default standing.
All of this is as in Envoy: text that reads as a number is one, but the text "true" in quotes is no
truth, and a share is a mapping with `numerator` and `denominator`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from google.protobuf import text_format

MOST_WHOLE = 1 << 64
"""Larger numbers are no integers, as in Envoy."""

MOST_TRUTH = (1 << 31) - 1
"""Numbers from here on are no truths."""

DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
"""Those of a `type.v3.FractionalPercent`."""

MOST_DIGITS = 4096
"""Longer text is no number."""

_NUMBER = re.compile(
    r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|0x[0-9a-f]+(?:\.[0-9a-f]*)?(?:p[-+]?"
    r"[0-9]+)?|inf(?:inity)?|nan)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value under its key."""

    text: str
    """As it was written; `/runtime` shows it."""

    number: float | None = None
    truth: bool | None = None
    fraction: tuple[int, int] | None = None
    """Numerator and denominator."""

    @property
    def whole(self) -> int | None:
        """The number without its fraction, where it is none below 0."""
        if self.number is None or not 0 <= self.number <= MOST_WHOLE:
            return None
        return min(int(self.number), MOST_WHOLE - 1)


def entry_of(value: Any, text: str | None = None) -> Entry:
    """The entry for a `google.protobuf.Value`.

    :param text: what it was written as, where that is known.
    """
    return _OF_KIND.get(value.WhichOneof("kind"), _nothing)(value, text)


def _of_number(value: float, text: str) -> Entry:
    is_small = -MOST_TRUTH - 1 <= value < MOST_TRUTH and value == int(value)
    return Entry(text, value, value != 0 if is_small else None)


def _number(value: Any, text: str | None) -> Entry:
    return _of_number(value.number_value, f"{value.number_value:g}" if text is None else text)


def _text(value: Any, text: str | None) -> Entry:
    text = value.string_value if text is None else text
    digits = text.strip(" \t\n\v\f\r")
    if len(digits) > MOST_DIGITS or not _NUMBER.match(digits):
        return Entry(text)
    try:
        number = float.fromhex(digits) if "x" in digits[:3].lower() else float(digits)
    except OverflowError:
        number = inf
    return _of_number(number, text)


def _truth(value: Any, text: str | None) -> Entry:
    return Entry(
        text if text is not None else "true" if value.bool_value else "false",
        truth=value.bool_value,
    )


def _struct(value: Any, text: str | None) -> Entry:
    struct = value.struct_value
    return Entry(
        text_format.MessageToString(struct) if text is None else text,
        fraction=_fraction(struct.fields),
    )


def _fraction(fields: Any) -> tuple[int, int] | None:
    """A share; what is not given is 0 of 100.  What no share has makes it none, as in Envoy, but a
    numerator that is no number is 0.
    """
    numerator, denominator = 0, 100
    for name, value in fields.items():
        if name == "numerator":
            number = value.number_value
            numerator = int(number) % (1 << 32) if isfinite(number) else 0
        elif name == "denominator" and value.string_value in DENOMINATORS:
            denominator = DENOMINATORS[value.string_value]
        else:
            return None
    return numerator, denominator


def _nothing(value: Any, text: str | None) -> Entry:
    return Entry(text or "")


_OF_KIND: dict[str | None, Callable[[Any, str | None], Entry]] = {
    "number_value": _number,
    "string_value": _text,
    "bool_value": _truth,
    "struct_value": _struct,
}
