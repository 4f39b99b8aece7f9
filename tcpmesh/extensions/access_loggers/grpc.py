"""The loggers that stream to an access log service (`envoy.extensions.access_loggers.grpc.v3`):
`TcpGrpcAccessLogConfig`, and `HttpGrpcAccessLogConfig`, to which a connection is a request without
header fields.

All of Envoy's, and beyond it: a service that is slow costs no more memory than the configuration
says and a megabyte, and what it does not take counts as dropped.  As in Envoy, `logs_written`
counts only requests, and `grpc_entries_flushed` counts what was sent.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.service.accesslog.v3 import als_pb2 as service_pb2

from twisted.logger import Logger

from tcpmesh.accesslog.collectors.buffered import RecordBuffer, buffering
from tcpmesh.accesslog.collectors.custom_tags import CustomTags
from tcpmesh.accesslog.collectors.entries import Entries
from tcpmesh.accesslog.collectors.log_stream import NO_RETRY, LogStream, RetryPolicy, Stream
from tcpmesh.accesslog.collectors.logger import CollectorLogger
from tcpmesh.accesslog.operators import Operators
from tcpmesh.config.fields.grpc_target import destination
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import Context, extension
from tcpmesh.rpc.client import GrpcClient, grpc_client
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

log = Logger(namespace="filter")

STATS = "access_logs.grpc_access_log"
TCP, HTTP = "tcp_logs", "http_logs"
METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"


class LogService:
    """The service of a `CommonGrpcAccessLogConfig`, and what is to be sent to it.

    :param kind: the field of a message that has the entries.
    """

    def __init__(self, message: Any, context: Context, client: GrpcClient, kind: str) -> None:
        self._kind = kind
        self._log_name: str = message.log_name
        self._node = context.node
        self._client = client
        counter = context.store.counter
        self._dropped = counter(f"{STATS}.logs_dropped")
        self._flushed = counter(f"{STATS}.grpc_entries_flushed")
        self._failed = counter(f"{STATS}.grpc_entries_flush_failed")
        self._written = counter(f"{STATS}.logs_written")
        interval, size = buffering(message)
        has_policy = message.HasField("grpc_stream_retry_policy")
        self._stream = LogStream(
            self._open,
            self._identify,
            self._lose,
            context.network.clock,
            Reachability(
                log,
                f"the access log service of {destination(message.grpc_service)}",
                context.network.clock.seconds,
            ),
            interval,
            RetryPolicy.of(message.grpc_stream_retry_policy) if has_policy else NO_RETRY,
            context.random,
        )
        self._buffer = RecordBuffer(context.network.clock, self._send, interval, size)

    def add(self, entry: Any) -> None:
        """Send an entry, now or later."""
        if not self._buffer.add(entry, entry.ByteSize()):
            self._lose(1)
        elif self._kind == HTTP:
            self._written.tally += 1

    def close(self) -> None:
        """Send what can be sent, and end the stream."""
        self._lose(len(self._buffer.close()))
        self._stream.close(self._client.close)

    def _open(self, observer: LogStream) -> Stream:
        return self._client.stream(METHOD, service_pb2.StreamAccessLogsResponse, observer)

    def _identify(self, message: Any) -> None:
        message.identifier.log_name = self._log_name
        if self._node is not None:
            message.identifier.node.CopyFrom(self._node)

    def _send(self, entries: list[Any]) -> bool:
        if self._stream.is_ready:
            message = service_pb2.StreamAccessLogsMessage()
            getattr(message, self._kind).log_entry.extend(entries)
            if self._stream.send(message, len(entries)):
                self._flushed.tally += len(entries)
                return True
        self._failed.tally += len(entries)
        return False

    def _lose(self, entries: int) -> None:
        self._dropped.tally += entries


class GrpcAccessLog(CollectorLogger[LogService]):
    """What the two loggers have in common.

    :param message: the whole configuration: logs of the two kinds are never one.
    """

    kind = TCP

    def __init__(self, message: Any, context: Context) -> None:
        common = message.common_config
        tags = CustomTags(common.custom_tags, os.environ, Operators(context.node))
        self._entries = Entries(common.filter_state_objects_to_log, tags)
        client = partial(grpc_client, common.grpc_service, context)
        super().__init__(message, context, lambda: LogService(common, context, client(), self.kind))


@extension(als_pb2.TcpGrpcAccessLogConfig)
class TcpGrpcAccessLog(GrpcAccessLog):
    """Records as `TCPAccessLogEntry` messages."""

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Record a connection."""
        self.sender.add(self._entries.of(info, at))


@extension(als_pb2.HttpGrpcAccessLogConfig)
class HttpGrpcAccessLog(GrpcAccessLog):
    """Records as `HTTPAccessLogEntry` messages."""

    kind = HTTP

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Record a connection."""
        self.sender.add(self._entries.of_http(info, at))
