"""Access loggers that write lines to a file, and what their lines are."""

from __future__ import annotations

import json
import os
import re
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from zope.interface import implementer

from tcpmesh.accesslog.format import Formatter, formatter
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.opening import NOWHERE, CannotLog
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.interfaces import IAccessLogger
from tcpmesh.registry import Context
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

DEFAULT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""Envoy's, made for HTTP: of a TCP connection it says when it began, its flags, bytes and duration,
and the host.
"""


_OF_SOCKETS = re.compile("_ADDRESS|_PORT|COALESCE|CEL")
_OF_REASONS = re.compile("TCPMESH|COALESCE|CEL")
"""The operators for which something is kept of a connection that has ended."""


class Lines(NamedTuple):
    """A format that is built, and its text."""

    formatter: Formatter
    text: str

    def names(self, operators: re.Pattern[str]) -> bool:
        """Whether it may have one of these operators."""
        return operators.search(self.text) is not None


@implementer(IAccessLogger)
class FileLogger:
    """Writes what a format says of connections to a file.

    :raise CannotLog: where it cannot be opened.
    """

    def __init__(self, path: str, lines: Lines, context: Context) -> None:
        self._format = lines.formatter.format
        self.wants_addresses = lines.names(_OF_SOCKETS)
        self.wants_idle = lines.names(_OF_REASONS)
        """What has to be found out as long as the sockets are open."""
        self.writes_nothing = path == NOWHERE
        """Whether nothing need be asked of this at all."""
        try:
            self._file: Any = context.access_logs.open(path)
        except OSError as e:
            raise CannotLog(f"cannot open the access log {path!r}: {e.strerror}") from None
        self._write = self._file.write

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Write a connection down."""
        self._write(self._format(info, at))

    def close(self) -> None:
        """No more comes from here."""
        self._file.close()


def lines_of(message: Any) -> Lines:
    """What the `access_log_format` of a logger's message says, or Envoy's default.

    :raise FormatError: where Envoy refuses the format.
    """
    kind = message.WhichOneof("access_log_format")
    if kind == "log_format":
        return Lines(formatter(message.log_format, os.environ), _text_of(message.log_format))
    if kind in ("json_format", "typed_json_format"):
        shape = MessageToDict(getattr(message, kind))
        return Lines(JsonFormat(shape), json.dumps(shape))
    text = (message.format if kind == "format" else "") or DEFAULT_FORMAT
    return Lines(TextFormat(text), text)


def _text_of(message: Any) -> str:
    """All that a `SubstitutionFormatString` says, in whatever form."""
    source = source_bytes(message.text_format_source, os.environ) or b""
    return f"{message} {source.decode('utf-8', 'replace')}"
