"""Access loggers that write lines to a file, and what their lines are."""

from __future__ import annotations

import os
from typing import Any

from google.protobuf.json_format import MessageToDict
from zope.interface import implementer

from tcpmesh.accesslog.format import Formatter, formatter
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.opening import NOWHERE, CannotLog
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.interfaces import IAccessLogFile, IMayWriteNothing, ISaysWhatItWants
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


@implementer(IMayWriteNothing, ISaysWhatItWants)
class FileLogger:
    """Writes what a format says of connections to a file.

    :raise CannotLog: where it cannot be opened.
    """

    def __init__(self, path: str, lines: Formatter, context: Context) -> None:
        self._format = lines.format
        self.wants = lines.wants
        self.writes_nothing = path == NOWHERE
        try:
            self._file: IAccessLogFile = context.access_logs.open(path)
        except OSError as e:
            raise CannotLog(f"cannot open the access log {path!r}: {e.strerror}") from None
        self._write = self._file.write

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Write a connection down."""
        self._write(self._format(info, at))

    def close(self) -> None:
        """No more comes from here."""
        self._file.close()


def lines_of(message: Any, node: Any = None) -> Formatter:
    """What the `access_log_format` of a logger's message says, or Envoy's default.

    :param node: the `core.v3.Node` that this proxy is, or `None`: expressions may ask for it.
    :raise FormatError: where Envoy refuses the format.
    """
    kind = message.WhichOneof("access_log_format")
    if kind == "log_format":
        return formatter(message.log_format, os.environ, node)
    if kind in ("json_format", "typed_json_format"):
        return JsonFormat(MessageToDict(getattr(message, kind)))
    return TextFormat((message.format if kind == "format" else "") or DEFAULT_FORMAT)
