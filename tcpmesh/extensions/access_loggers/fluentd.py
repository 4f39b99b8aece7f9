"""The logger that sends to fluentd (`envoy.extensions.access_loggers.fluentd.v3`), in its forward
mode (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1).

In two things it is better than Envoy's: with `buffer_size_bytes: 0` each record goes for itself,
where Envoy loses them all, and records that are given up with a collector count as lost.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any

from envoy.extensions.access_loggers.fluentd.v3 import fluentd_pb2
from google.protobuf.json_format import MessageToDict

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from tcpmesh.accesslog.collectors.buffered import RecordBuffer, buffering
from tcpmesh.accesslog.collectors.logger import CollectorLogger
from tcpmesh.accesslog.json_format import JsonFormat
from tcpmesh.accesslog.operators import Operators
from tcpmesh.config.fields.operators import names_of_formatters
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import ICluster
from tcpmesh.logs.reachability import Reachability
from tcpmesh.registry import Context, extension
from tcpmesh.rpc.backoff import Backoff
from tcpmesh.stats.store import sanitize
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.msgpack import array_head, packed

log = Logger(namespace="filter")

BASE, FACTOR = 0.5, 10
"""Seconds before the second attempt to connect, and how many times as long a pause becomes."""

MOST_UNSENT = 1 << 20
"""Bytes that a connection keeps for a fluentd that does not take them."""

_SIZE_OF_TIME = 8
"""Bytes that a record's time counts in the buffer, whatever it has when it is sent."""


class Fluentd:
    """The fluentd of one configuration, and what is to be sent to it: the user of a connection."""

    is_asking = False

    def __init__(self, message: Any, context: Context) -> None:
        self._cluster_name: str = message.cluster
        self._cluster = context.cluster
        self._tag = packed(message.tag)
        clock = self._clock = context.network.clock
        prefix = f"access_logs.fluentd.{sanitize(message.stat_prefix)}"
        counter = context.store.counter
        self._lost = counter(f"{prefix}.entries_lost")
        self._buffered = counter(f"{prefix}.entries_buffered")
        self._sent = counter(f"{prefix}.events_sent")
        self._reconnects = counter(f"{prefix}.reconnect_attempts")
        self._closed = counter(f"{prefix}.connections_closed")
        options = message.retry_options
        has_limit = options.HasField("max_connect_attempts")
        self._attempts_left = options.max_connect_attempts.value or 1 if has_limit else -1
        self._backoff = _backoff(options.backoff_options, context.random)
        self._buffer = RecordBuffer(clock, self._send, *buffering(message))
        what = f"fluentd of cluster {message.cluster!r}"
        self._reachability = Reachability(log, what, clock.seconds)
        self._connection: Any = None
        self._is_connected = self._is_given_up = False
        self._retry: IDelayedCall | None = None

    def add(self, second: int, record: bytes) -> None:
        """Send a record, now or later.

        :param second: since 1970.
        :param record: in MessagePack.
        """
        entry = array_head(2) + packed(second) + record
        if self._is_given_up or not self._buffer.add(entry, len(record) + _SIZE_OF_TIME):
            self._lost.tally += 1
        else:
            self._buffered.tally += 1

    def close(self) -> None:
        """Send what can be sent."""
        self._lost.tally += len(self._buffer.close())
        self._is_given_up = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _send(self, entries: list[bytes]) -> bool:
        if not self._is_connected:
            if self._connection is None and self._retry is None and not self._is_given_up:
                self._connect()
            return False
        if self._connection.buffered > MOST_UNSENT:
            return False
        head = array_head(2) + self._tag + array_head(len(entries))
        self._connection.write(head + b"".join(entries))
        self._sent.tally += 1
        self._reachability.succeeded()
        return True

    # The connection

    def _connect(self) -> None:
        self._attempts_left -= 1
        cluster = self._cluster(self._cluster_name)
        connection = cluster.connect(self) if cluster is not None else None
        if connection is None:
            self._reachability.failed("there is no host to connect to")
            self._try_again(cluster)
        elif self._retry is None and not self._is_given_up:
            self._connection = connection

    def connected(self) -> None:
        """There is a connection: what waits is sent."""
        self._is_connected = True
        self._backoff.reset()
        self._clock.callLater(0, self._buffer.flush)

    def received(self, data: bytes) -> None:
        """Forward mode has no answers."""

    def lost(self) -> None:
        """There is no connection, or no more."""
        self._closed.tally += 1
        self._reachability.failed(
            "it has closed the connection" if self._is_connected else "it cannot be connected to"
        )
        self._connection = None
        self._is_connected = False
        self._try_again(self._cluster(self._cluster_name))

    def _try_again(self, cluster: ICluster | None) -> None:
        if self._attempts_left:
            self._retry = self._clock.callLater(self._backoff.next(), self._reconnect)
            return
        self._is_given_up = True
        self._lost.tally += len(self._buffer.take())
        if cluster is not None:
            cluster.stats.cx_connect_attempts_exceeded.tally += 1

    def _reconnect(self) -> None:
        self._retry = None
        self._reconnects.tally += 1
        self._connect()


def _backoff(message: Any, random: Random) -> Backoff:
    base = seconds(message.base_interval) or BASE
    return Backoff(random, base, seconds(message.max_interval) or base * FACTOR)


@extension(fluentd_pb2.FluentdAccessLogConfig)
class FluentdAccessLog(CollectorLogger[Fluentd]):
    """Records as JSON that fluentd gets in MessagePack."""

    def __init__(self, message: Any, context: Context) -> None:
        known = Operators(context.node, names_of_formatters(message.formatters))
        self._record = JsonFormat(MessageToDict(message.record), known=known).format
        super().__init__(message, context, lambda: Fluentd(message, context))

    def log(self, info: StreamInfo, at: Moment) -> None:
        """Record a connection."""
        self.sender.add(int(at.wall), packed(json.loads(self._record(info, at))))
