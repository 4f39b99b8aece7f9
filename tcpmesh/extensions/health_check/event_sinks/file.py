"""The file sink of health check events (`envoy.extensions.health_check.event_sinks.file.v3`)."""

from __future__ import annotations

from typing import Any

from envoy.extensions.health_check.event_sinks.file.v3 import file_pb2

from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.registry import MainContext, extension


@extension(file_pb2.HealthCheckEventFileSink)
class FileSink(EventLog):
    """An event log at `event_log_path`.

    :raise CannotLog: where the file cannot be opened.
    """

    def __init__(self, message: Any, context: MainContext) -> None:
        super().__init__(message.event_log_path)
