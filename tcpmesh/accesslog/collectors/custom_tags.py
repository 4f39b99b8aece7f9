"""`type.tracing.v3.CustomTag`: what a configuration adds to each record for a collector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tcpmesh.accesslog.collectors.texts import valid
from tcpmesh.accesslog.fields import OPERATORS
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_Text = Callable[[StreamInfo, Moment], str]

_KINDS = {"request": "DYNAMIC", "route": "ROUTE", "cluster": "CLUSTER", "host": "UPSTREAM_HOST"}
"""The kinds of `type.metadata.v3.MetadataKind`, as METADATA calls them."""


class CustomTags:
    """The tags of one log.

    :param environ: where variables are looked up, once.
    :raise tcpmesh.config.fields.operators.FormatError: where Envoy refuses the format of one.
    """

    def __init__(self, messages: Iterable[Any], environ: Mapping[str, str]) -> None:
        self._tags = [(each.tag, _text_of(each, environ)) for each in messages]

    def of(self, info: StreamInfo, at: Moment) -> list[tuple[str, str]]:
        """Names and values, for a connection; what is empty is left out."""
        texts = ((name, text(info, at)) for name, text in self._tags)
        return [(name, valid(text)) for name, text in texts if text]


def _text_of(message: Any, environ: Mapping[str, str]) -> _Text:
    kind = message.WhichOneof("type")
    if kind == "value":
        return TextFormat(message.value, True).format
    if kind == "metadata":
        return _metadata(message.metadata)
    if kind == "environment":
        asked = message.environment
        return _fixed(environ.get(asked.name, asked.default_value))
    if kind == "request_header":
        return _fixed(message.request_header.default_value)  # a connection has no headers
    return _fixed(message.literal.value)


def _fixed(text: str) -> _Text:
    return lambda info, at: text


def _metadata(message: Any) -> _Text:
    kind = _KINDS[message.kind.WhichOneof("kind") or "request"]
    steps = (message.metadata_key.key, *(each.key for each in message.metadata_key.path))
    ask = OPERATORS["METADATA"](Operator("METADATA", ":".join((kind, *steps))))
    default: str = message.default_value

    def text(info: StreamInfo, at: Moment) -> str:
        found = ask(info, at)
        return default if found is None else str(found)

    return text
