"""A JSON object with command operators in its strings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.accesslog.fields import OPERATORS
from tcpmesh.accesslog.fields.value import Typed, Yield, cut_to, dumps, encoded
from tcpmesh.accesslog.text_format import TextFormat, log
from tcpmesh.config.fields.operators import Operator, parse
from tcpmesh.config.fields.to_plain import whole
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_Member = Callable[[StreamInfo, Moment], "str | None"]
"""The JSON text of a value; `None` where it is to be left out."""

_encode = json.JSONEncoder(ensure_ascii=False).encode
_SURROGATE = re.compile("[\ud800-\udfff]")


class JsonFormat:
    """A JSON object with operators in its strings: one object a line, its keys sorted.

    A string that is one operator and nothing else becomes a value of its type.

    :param shape: the object as plain values of JSON.
    :raise FormatError: where Envoy refuses one of the strings.
    """

    __slots__ = ("_object",)

    def __init__(self, shape: Mapping[str, Any], omit_empty: bool = False) -> None:
        self._object = _mapping(shape, omit_empty)

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The line for this connection, with its end; what is not there is null, or left out with
        `omit_empty`.
        """
        return f"{self._object(info, at) or '{}'}\n"


def quoted(text: str) -> str:
    """A string of JSON.  One that is no UTF-8 is shown byte for byte, each as the character of that
    number, as in Envoy.
    """
    if not text.isascii() and _SURROGATE.search(text):
        return json.dumps(encoded(text).decode("latin-1"))
    return _encode(text)


def _typed(value: Typed) -> str:
    text = dumps(value.value)
    return text if text.isascii() else _SURROGATE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]) & 0xFF:04x}"


def _operator(operator: Operator, omit_empty: bool) -> _Member:
    """A string that is an operator and nothing else."""
    ask: Yield = OPERATORS[operator.name](operator)
    length, absent = operator.length, None if omit_empty else "null"
    failed = False

    def member(info: StreamInfo, at: Moment) -> str | None:
        nonlocal failed
        try:
            value = ask(info, at)
            if value is None:
                return absent
            if isinstance(value, str):
                return quoted(value if length is None else cut_to(value, length))
            return str(value) if isinstance(value, int) else _typed(value)
        except Exception:
            if not failed:
                failed = True
                log.failure("the operator {name} failed", name=operator.name)
            return absent

    return member


def _text(text: str, omit_empty: bool) -> _Member:
    """A string with or without operators."""
    parts = parse(text)
    if len(parts) == 1 and isinstance(parts[0], Operator):
        return _operator(parts[0], omit_empty)
    words = TextFormat(text, omit_empty).format
    return lambda info, at: quoted(words(info, at))


def _value(value: Any, omit_empty: bool) -> _Member:
    if isinstance(value, str):
        return _text(value, omit_empty)
    if isinstance(value, Mapping):
        return _mapping(value, omit_empty)
    if isinstance(value, list):
        return _sequence(value, omit_empty)
    text = None if value is None and omit_empty else _encode(whole(value))
    return lambda info, at: text


def _mapping(shape: Mapping[str, Any], omit_empty: bool) -> _Member:
    """A mapping: with `omit_empty`, one in which nothing is left is left out itself."""
    members = [(f"{quoted(key)}:", _value(shape[key], omit_empty)) for key in sorted(shape)]
    empty = None if omit_empty else "{}"

    def member(info: StreamInfo, at: Moment) -> str | None:
        found = [key + text for key, value in members if (text := value(info, at)) is not None]
        return f"{{{','.join(found)}}}" if found else empty

    return member


def _sequence(shape: list[Any], omit_empty: bool) -> _Member:
    members = [_value(each, omit_empty) for each in shape]

    def member(info: StreamInfo, at: Moment) -> str:
        found = [text for value in members if (text := value(info, at)) is not None]
        return f"[{','.join(found)}]"

    return member
