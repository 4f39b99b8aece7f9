"""The logger that exports to an OpenTelemetry collector
(`envoy.extensions.access_loggers.open_telemetry.v3`).

What is left of Envoy's: resource detectors.  Beyond it: a collector that does not answer costs no
more memory than eight requests, and is waited for no longer than ten seconds where `grpc_service`
has no `timeout`.
"""

from __future__ import annotations

import os
from typing import Any

from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service_pb2

from twisted.logger import Logger

from tcpmesh.accesslog.collectors.buffered import RecordBuffer, buffering
from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.exports import Exports
from tcpmesh.accesslog.collectors.logger import CollectorLogger
from tcpmesh.accesslog.collectors.otlp import LogRecords, records_of, request_of
from tcpmesh.accesslog.collectors.otlp_transport import GrpcTransport, HttpTransport, Transport
from tcpmesh.accesslog.operators import Operators
from tcpmesh.config.fields.operators import names_of_formatters
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import Context, extension
from tcpmesh.stats.store import sanitize
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

log = Logger(namespace="filter")

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class Collector:
    """The collector of one configuration, and what is to be sent to it.

    :param transport: the way to it.
    """

    def __init__(self, message: Any, context: Context, transport: Transport) -> None:
        self._template = request_of(message, context.node)
        self._transport = transport
        counter, stats = context.store.counter, stats_of(message)
        self._written = counter(f"{stats}.logs_written")
        self._dropped = counter(f"{stats}.logs_dropped")
        if not message.HasField("http_service"):
            counter(f"{stats}.grpc_entries_flushed")
            counter(f"{stats}.grpc_entries_flush_failed")
        clock = context.network.clock
        what = f"the OpenTelemetry collector of logs of {transport.destination}"
        self._exports = Exports(
            transport, self._count_written, self._lose, Reachability(log, what, clock.seconds)
        )
        self._buffer = RecordBuffer(clock, self._send, *buffering(message))

    def add(self, record: Any) -> None:
        """Send a `LogRecord`, now or later."""
        if not self._buffer.add(record, record.ByteSize()):
            self._lose(1)

    def close(self) -> None:
        """Send what can be sent."""
        self._lose(len(self._buffer.close()))
        self._exports.when_idle(self._transport.close)

    def _send(self, records: list[Any]) -> bool:
        if not self._exports.is_ready:
            return False
        request = service_pb2.ExportLogsServiceRequest()
        request.CopyFrom(self._template)
        records_of(request).extend(records)
        self._exports.send(request, len(records))
        return True

    def _count_written(self, records: int) -> None:
        self._written.tally += records

    def _lose(self, records: int) -> None:
        self._dropped.tally += records


def stats_of(message: Any) -> str:
    """What the names of its statistics begin with."""
    prefix = sanitize(message.stat_prefix).removesuffix(".")
    return ".".join(filter(None, ("access_logs.open_telemetry_access_log", prefix)))


def transport_of(message: Any, context: Context) -> Transport:
    """The transport of an `OpenTelemetryAccessLogConfig`."""
    if message.HasField("http_service"):
        return HttpTransport(message.http_service, context)
    has_own = message.HasField("grpc_service")
    service = message.grpc_service if has_own else message.common_config.grpc_service
    return GrpcTransport(service, context, METHOD, service_pb2.ExportLogsServiceResponse)


@extension(logs_service_pb2.OpenTelemetryAccessLogConfig)
class OpenTelemetryAccessLog(CollectorLogger[Collector]):
    """Records as `LogRecord` messages."""

    def __init__(self, message: Any, context: Context) -> None:
        known = Operators(context.node, names_of_formatters(message.formatters))
        tags = CustomTags(message.custom_tags, os.environ, known)
        self._records = LogRecords(message, tags, known)
        super().__init__(
            message,
            context,
            lambda: Collector(message, context, transport_of(message, context)),
        )

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Record a connection."""
        self.sender.add(self._records.of(info, at))
