"""A substitution format: text with command operators, made into the words for one connection.

Formats are built once and used for each connection.  Building finds all that is wrong with one, and
formatting never raises, whatever a client or a filter has done.  Texts may hold bytes that are no
UTF-8, as surrogates: `tcpmesh.accesslog.fields.value.encoded` makes bytes of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict

from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.operators import Operators
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.operators import names_of_formatters
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo


class Formatter(Protocol):
    """Whatever makes words of a connection."""

    def format(self, info: StreamInfo, at: Moment) -> str:
        """The words; never raises."""


def formatter(message: Any, environ: Mapping[str, str], node: Any = None) -> Formatter:
    """What a `core.v3.SubstitutionFormatString` asks for.

    :param environ: where an `environment_variable` that holds the text is looked up.
    :param node: the `core.v3.Node` that this proxy is, or `None`: expressions may ask for it.
    :raise FormatError: where Envoy refuses the format.
    """
    known = Operators(node, names_of_formatters(message.formatters))
    kind = message.WhichOneof("format")
    if kind == "json_format":
        return JsonFormat(MessageToDict(message.json_format), message.omit_empty_values, known)
    if kind == "text_format":
        return TextFormat(message.text_format, message.omit_empty_values, known)
    text = source_bytes(message.text_format_source, environ) or b""
    return TextFormat(text.decode("utf-8", "surrogateescape"), message.omit_empty_values, known)
