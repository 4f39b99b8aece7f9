"""The file access logger (`envoy.extensions.access_loggers.file.v3`).

All of Envoy's, but for extensions that bring operators of their own (`log_format.formatters`).
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.file.v3 import file_pb2

from tcpmesh.accesslog.file_logger import FileLogger, lines_of
from tcpmesh.registry import Context, extension


@extension(file_pb2.FileAccessLog)
class FileAccessLog(FileLogger):
    """Records in the file `path`."""

    def __init__(self, message: Any, context: Context) -> None:
        super().__init__(message.path, lines_of(message), context)
