"""From what was written to what it is worth as a number, a truth and a share.

All of this is as in Envoy: text that reads as a number is one, but the text "true" in quotes is no
truth, and a share is a mapping with `numerator` and `denominator`.  A static layer has values that
have been read with the configuration; what comes from a file or by request is read here, as YAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

from google.protobuf import text_format

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.config.text.source import Mapping, Scalar
from tcpmesh.config.text.yaml_text import parse_yaml, plain_value
from tcpmesh.values.runtime import Entry

MOST_TRUTH = (1 << 31) - 1
"""Numbers from here on are no truths."""

MOST_READ = 1024
"""Longer text is only text: no number and no share is as long."""

DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}
"""Those of a `type.v3.FractionalPercent`."""

_PLAIN = re.compile(r"[\w.+-]+\Z", re.ASCII)
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
_NUMBER = (  # compiled when it is used, for it takes a millisecond
    r"(?i)[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|0x[0-9a-f]+(?:\.[0-9a-f]*)?(?:p[-+]?"
    r"[0-9]+)?|inf(?:inity)?|nan)\Z"
)


class NotReadable(Exception):
    """This text is no value; the argument says why."""


def entry_of(value: Any) -> Entry:
    """The entry for a `google.protobuf.Value` of a static layer."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields.items()
        plain = ((name, _plain(each)) for name, each in fields)
        return Entry(text_format.MessageToString(value.struct_value), fraction=_fraction(plain))
    found = _plain(value)
    if isinstance(found, bool):
        return Entry("true" if found else "false", truth=found)
    if isinstance(found, float):
        return _of_number(found, f"{found:g}")
    return _of_text(found) if isinstance(found, str) else Entry("")


def entry_of_text(text: str) -> Entry:
    """The entry for the text of a file or of a request.

    :raise NotReadable: where it is no YAML.
    """
    if len(text) > MOST_READ or _UNPRINTABLE.search(text) or not text.strip():
        return Entry(text)
    if _PLAIN.match(text):
        return _of_scalar(plain_value(text), text)
    try:
        node = parse_yaml(text, "").root
    except ConfigError as e:
        raise NotReadable(e.problems[0].text) from None
    if isinstance(node, Mapping):
        items = ((key, getattr(each, "value", None)) for key, each in node.items.items())
        return Entry(text, fraction=_fraction(items))
    return _of_scalar(node.value, text) if isinstance(node, Scalar) else Entry(text)


def _plain(value: Any) -> object:
    """The scalar in a `Value`."""
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind in ("number_value", "string_value", "bool_value") else None


def _of_scalar(value: object, text: str) -> Entry:
    """Of a text that stands for this.  A string may be a number as it was written, with its
    quotes.
    """
    if isinstance(value, bool):
        return Entry(text, truth=value)
    if isinstance(value, int):
        return _of_number(float(value), text)
    return _of_text(text) if isinstance(value, str) else Entry(text)


def _of_text(text: str) -> Entry:
    digits = text.strip(" \t\n\v\f\r")
    if len(digits) > MOST_READ or not re.match(_NUMBER, digits):
        return Entry(text)
    try:
        number = float.fromhex(digits) if "x" in digits[:3].lower() else float(digits)
    except OverflowError:
        number = inf
    return _of_number(number, text)


def _of_number(number: float, text: str) -> Entry:
    is_small = -MOST_TRUTH - 1 <= number < MOST_TRUTH and number == int(number)
    return Entry(text, number, number != 0 if is_small else None)


def _fraction(items: Iterable[tuple[str, object]]) -> tuple[int, int] | None:
    """A share; what is not given is 0 of 100.  What no share has makes it none, as in Envoy, but a
    numerator that is no number is 0.
    """
    numerator, denominator = 0, 100
    for name, value in items:
        if name == "numerator":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            numerator = int(value) % (1 << 32) if is_number and isfinite(value) else 0  # type: ignore[call-overload, arg-type]
        elif name == "denominator" and isinstance(value, str) and value in DENOMINATORS:
            denominator = DENOMINATORS[value]
        else:
            return None
    return numerator, denominator
