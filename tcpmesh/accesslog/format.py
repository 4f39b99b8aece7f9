"""A substitution format: text with command operators, made into the words for one connection.

Formats are built once and used for each connection.  Building finds all that is wrong with one, and
formatting never raises, whatever a client or a filter has done.  Texts may hold bytes that are no
UTF-8, as surrogates; who writes them out encodes them with `surrogateescape`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict

from twisted.logger import Logger

from tcpmesh.accesslog.fields import OPERATORS, Typed, Value, Yield, cut_to, shown
from tcpmesh.config.fields.operators import Operator, Part, parse
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

log = Logger(namespace="filter")

ABSENT = "-"
"""What a text shows for what is not there."""


class Formatter(Protocol):
    """Whatever makes words of a connection."""

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The words; never raises."""


def formatter(message: Any, environ: Mapping[str, str]) -> Formatter:
    """What a `core.v3.SubstitutionFormatString` asks for.

    :param environ: where an `environment_variable` that holds the text is looked up.
    :raise FormatError: where Envoy refuses the format.
    """
    kind = message.WhichOneof("format")
    if kind == "json_format":
        return JsonFormat(MessageToDict(message.json_format), message.omit_empty_values)
    if kind == "text_format":
        return TextFormat(message.text_format, message.omit_empty_values)
    text = source_bytes(message.text_format_source, environ) or b""
    return TextFormat(text.decode("utf-8", "surrogateescape"), message.omit_empty_values)


class TextFormat:
    """A text with operators.

    :raise FormatError: where Envoy refuses the text.
    """

    def __init__(self, text: str, omit_empty: bool = False) -> None:
        self._parts = tuple(
            part if isinstance(part, str) else _text_of(part) for part in parse(text)
        )
        self._absent = "" if omit_empty else ABSENT

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The text for this connection; what is not there is `-`, or nothing with `omit_empty`."""
        pieces = (part if isinstance(part, str) else part(info, at) for part in self._parts)
        return "".join(self._absent if piece is None else piece for piece in pieces)


class JsonFormat:
    """A JSON object with operators in its strings: one object a line, its keys sorted.

    A string that is one operator and nothing else becomes a value of its type.

    :param shape: the object as plain values of JSON.
    :raise FormatError: where Envoy refuses one of the strings.
    """

    def __init__(self, shape: Mapping[str, Any], omit_empty: bool = False) -> None:
        self._build = _mapping(shape, omit_empty)

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The line for this connection, with its end; what is not there is null, or left out with
        `omit_empty`.
        """
        return json.dumps(self._build(info, at), ensure_ascii=False, separators=(",", ":")) + "\n"


def _safe(operator: Operator) -> Yield:
    """The function for an operator, which yields nothing where it fails; that is a mistake of ours,
    and logged.
    """
    ask = OPERATORS[operator.name](operator)

    def value(info: StreamInfo, at: Moment) -> Value:
        try:
            return ask(info, at)
        except Exception:
            log.failure("the operator {name} failed", name=operator.name)
            return None

    return value


def _text_of(operator: Operator) -> Callable[[StreamInfo, Moment], str | None]:
    ask, length = _safe(operator), operator.length

    def text(info: StreamInfo, at: Moment) -> str | None:
        value = shown(ask(info, at))
        return None if value is None else cut_to(value, length)

    return text


def _value_of(operator: Operator) -> Yield:
    ask, length = _safe(operator), operator.length

    def value(info: StreamInfo, at: Moment) -> Value:
        found = ask(info, at)
        if isinstance(found, Typed):
            return found.value
        return cut_to(found, length) if isinstance(found, str) else found

    return value


def _leaf(value: Any, omit_empty: bool) -> Yield:
    """A value of the shape that is neither a mapping nor a list."""
    if not isinstance(value, str):
        # A Struct has doubles only; whole ones are written without a fraction.
        plain = (
            int(value)
            if isinstance(value, float) and value.is_integer() and abs(value) < 2**53
            else value
        )
        return lambda info, at: plain
    parts: tuple[Part, ...] = parse(value)
    if len(parts) == 1 and isinstance(parts[0], Operator):
        return _value_of(parts[0])
    return TextFormat(value, omit_empty).format


def _shape(value: Any, omit_empty: bool) -> Yield:
    if isinstance(value, Mapping):
        return _mapping(value, omit_empty)
    if isinstance(value, list):
        return _sequence(value, omit_empty)
    return _leaf(value, omit_empty)


def _mapping(shape: Mapping[str, Any], omit_empty: bool) -> Yield:
    members = [(key, _shape(shape[key], omit_empty)) for key in sorted(shape)]

    def value(info: StreamInfo, at: Moment) -> Value:
        found = {key: member(info, at) for key, member in members}
        return (
            {key: each for key, each in found.items() if each is not None and each != {}}
            if omit_empty
            else found
        )

    return value


def _sequence(shape: list[Any], omit_empty: bool) -> Yield:
    members = [_shape(each, omit_empty) for each in shape]

    def value(info: StreamInfo, at: Moment) -> Value:
        found = [member(info, at) for member in members]
        return [each for each in found if each is not None] if omit_empty else found

    return value
