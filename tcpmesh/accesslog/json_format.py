"""A JSON object with command operators in its strings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from json.encoder import encode_basestring
from typing import Any

from tcpmesh.accesslog.fields.value import Typed, cut_to, encoded
from tcpmesh.accesslog.operators import OPERATORS, Operators, wanted_by
from tcpmesh.accesslog.text_format import TextFormat, log
from tcpmesh.config.fields.operators import Operator
from tcpmesh.config.fields.to_plain import whole
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import NOTHING

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

    __slots__ = ("_object", "wants")

    def __init__(
        self, shape: Mapping[str, Any], omit_empty: bool = False, known: Operators = OPERATORS
    ) -> None:
        members = _Members(omit_empty, known)
        self._object = members.mapping(shape)
        self.wants = members.wanted
        """What it may ask for once a connection is over."""

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
    return encode_basestring(text)


def _typed(value: Typed) -> str:
    text = value.json
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return "".join(map(_escapes().get, text, text))  # a client may send 64 KiB of them: no calls


@cache
def _escapes() -> dict[str, str]:
    return {chr(code): f"\\u{code & 0xFF:04x}" for code in range(0xD800, 0xE000)}


class _Members:
    """Makes the members of one format."""

    def __init__(self, omit_empty: bool, known: Operators) -> None:
        self._omit_empty = omit_empty
        self._known = known
        self.wanted = NOTHING

    def _value(self, value: Any) -> _Member:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, list):
            return self._sequence(value)
        text = None if value is None and self._omit_empty else _encode(whole(value))
        return lambda info, at: text

    def _text(self, text: str) -> _Member:
        """A string with or without operators."""
        parts = self._known.parse(text)
        operators = [part for part in parts if isinstance(part, Operator)]
        self.wanted |= wanted_by(operators)
        if operators and len(parts) == 1:
            return self._operator(operators[0])
        words = TextFormat(text, self._omit_empty, self._known).format
        return lambda info, at: quoted(words(info, at))

    def _operator(self, operator: Operator) -> _Member:
        """A string that is an operator and nothing else."""
        ask, length = self._known.build(operator), operator.length
        absent = None if self._omit_empty else "null"
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

    def mapping(self, shape: Mapping[str, Any]) -> _Member:
        """A mapping: one in which nothing is left is left out itself, where that is asked for."""
        members = [(f"{quoted(key)}:", self._value(shape[key])) for key in sorted(shape)]
        empty = None if self._omit_empty else "{}"

        def member(info: StreamInfo, at: Moment) -> str | None:
            found = [key + text for key, value in members if (text := value(info, at)) is not None]
            return f"{{{','.join(found)}}}" if found else empty

        return member

    def _sequence(self, shape: list[Any]) -> _Member:
        members = [self._value(each) for each in shape]

        def member(info: StreamInfo, at: Moment) -> str:
            found = [text for value in members if (text := value(info, at)) is not None]
            return f"[{','.join(found)}]"

        return member
