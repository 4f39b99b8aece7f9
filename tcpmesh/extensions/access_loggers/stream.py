"""The access loggers to standard output and standard error
(`envoy.extensions.access_loggers.stream.v3`): what the process was started with, as a file.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.stream.v3 import stream_pb2

from tcpmesh.accesslog.file_logger import FileLogger, lines_of
from tcpmesh.registry import Context, extension


@extension(stream_pb2.StdoutAccessLog)
class StdoutAccessLog(FileLogger):
    """Records on standard output."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__("/dev/stdout", lines_of(message), context)


@extension(stream_pb2.StderrAccessLog)
class StderrAccessLog(FileLogger):
    """Records on standard error."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__("/dev/stderr", lines_of(message), context)
