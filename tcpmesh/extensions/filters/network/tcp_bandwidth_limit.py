"""tcp_bandwidth_limit: so many bytes a second from the clients of a filter chain, and to them, in
all workers together.

What is too much waits, in both directions, and with it the end of the stream; the side that sends
it is paused where it comes to more than the buffer limit of the connection.  Nobody is closed.

Different from Envoy 1.40: a bucket that is full gives what it has once, not twice; when
`runtime_enabled` becomes false, what waits goes on at once, ahead of what comes; and what waits for
a client is sent where the upstream has closed the connection, or has reset it, also where the
client has sent all it will.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.extensions.filters.network.tcp_bandwidth_limit.v3 import tcp_bandwidth_limit_pb2

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.byte_bucket import ByteBucket
from tcpmesh.connection.byte_filters.base import ByteFilter, FilterFactory
from tcpmesh.connection.byte_filters.callbacks import FilterCallbacks
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.scope import Scope
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import FilterStatus

FILL_INTERVAL = 0.05
RATE_WINDOW = 1.0
"""Seconds of which `rate_bps` is the mean, at least."""


class Limit:
    """That of one direction.

    :param bucket: `None` where there is no limit.
    """

    def __init__(self, name: str, bucket: ByteBucket | None, scope: Scope) -> None:
        self.bucket = bucket
        self.waiting = 0
        """Clients of which something waits for tokens: they share those that come, or the first
        would have them all.
        """
        self.enabled = scope.counter(f"{name}_enabled")
        self.throttled = scope.counter(f"{name}_throttled")
        self.total_bytes = scope.counter(f"{name}_total_bytes")
        self.bytes_buffered = scope.gauge(f"{name}_bytes_buffered", Merge.SUM)
        self._rate = scope.gauge(f"{name}_rate_bps", Merge.SUM)
        self._since: float | None = None
        self._bytes = 0

    def passed(self, size: int, now: float) -> None:
        """So many bytes have; the rate is known once that was seen for long enough."""
        self.total_bytes.tally += size
        self._bytes += size
        if self._since is None:
            self._since = now
        elif now - self._since >= RATE_WINDOW:
            self._rate.set(int(self._bytes / (now - self._since)))
            self._since, self._bytes = now, 0


@extension(tcp_bandwidth_limit_pb2.TcpBandwidthLimit)
class TcpBandwidthLimit(FilterFactory):
    """What a chain's `TcpBandwidthLimit` message says."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self.enabled = context.runtime.feature_flag(message.runtime_enabled)
        self.clock = clock = context.network.clock
        given = message.HasField("fill_interval")
        interval = seconds(message.fill_interval) if given else FILL_INTERVAL
        self.queue = context.network.timers.queue(interval, Throttle.on_fill)
        self._clients = 0
        self._closed = False

        def bucket(name: str) -> ByteBucket | None:
            if not message.HasField(name):
                return None
            rate = getattr(message, name).value * 1024
            return ByteBucket(rate, clock, context.shared.count(f"tcp_bandwidth_limit.{name}"))

        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"{message.stat_prefix}.tcp_bandwidth_limit")
            undo.callback(self._scope.close)
            self.reads = Limit("read", bucket("read_limit_kbps"), self._scope)
            self.writes = Limit("write", bucket("write_limit_kbps"), self._scope)

    def build_filter(self, callbacks: FilterCallbacks) -> Limited:
        """A client."""
        self._clients += 1
        return Limited(self, callbacks)

    def left(self) -> None:
        """A client is gone."""
        self._clients -= 1
        self._end()

    def close(self) -> None:
        """No more clients come."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        if self._closed and not self._clients:
            self._scope.close()


class Throttle:
    """One direction of a client.

    :param again: has the filter asked once more.
    """

    __slots__ = ("_again", "_buffered", "_factory", "_inject", "_limit", "_retries", "_waits")

    def __init__(
        self,
        factory: TcpBandwidthLimit,
        limit: Limit,
        inject: Callable[[bytes], None],
        again: Callable[[], None],
    ) -> None:
        self._factory = factory
        self._limit = limit
        self._inject = inject
        self._again = again
        self._buffered = 0
        self._waits = self._retries = False
        """Whether something waits for tokens, and whether it does no more."""

    def on_bytes(self, data: bytearray) -> FilterStatus:
        """See how much of this may go on, in which is what waits already."""
        limit, size = self._limit, len(data)
        if limit.bucket is None or not self._factory.enabled.value:
            self._note(0)
            return FilterStatus.CONTINUE
        if not self._retries:
            limit.enabled.tally += 1
        granted = 0 if self._waits else limit.bucket.take(size, limit.waiting + 1)
        if granted:
            limit.passed(granted, self._factory.clock.seconds())
        if granted == size and not self._waits:
            self._note(0)
            return FilterStatus.CONTINUE
        if not self._retries:
            limit.throttled.tally += 1
        if granted:
            passing = bytes(data[:granted])
            del data[:granted]
            self._inject(passing)
        self._note(len(data))
        if not self._waits:
            self._waits = True
            limit.waiting += 1
            self._factory.queue.add(self)
        return FilterStatus.STOP

    def on_fill(self) -> None:
        """There are more tokens."""
        self._end_wait()
        self._retries = True
        self._again()
        self._retries = False

    def stop(self) -> None:
        """The client is gone."""
        self._factory.queue.discard(self)
        self._end_wait()
        self._note(0)

    def _end_wait(self) -> None:
        if self._waits:
            self._waits = False
            self._limit.waiting -= 1

    def _note(self, buffered: int) -> None:
        if buffered != self._buffered:
            self._limit.bytes_buffered.add(buffered - self._buffered)
            self._buffered = buffered


class Limited(ByteFilter):
    """A client, which shares both buckets with the others of the chain."""

    factory: TcpBandwidthLimit

    def __init__(self, factory: TcpBandwidthLimit, callbacks: FilterCallbacks) -> None:
        super().__init__(factory, callbacks)
        self._reads = Throttle(factory, factory.reads, callbacks.inject_data, callbacks.retry_data)
        self._writes = Throttle(
            factory, factory.writes, callbacks.inject_write, callbacks.retry_write
        )

    def on_data(self, data: bytearray, end: bool) -> FilterStatus:
        """The client has sent this."""
        return self._reads.on_bytes(data)

    def on_write(self, data: bytearray, end: bool) -> FilterStatus:
        """This is for the client."""
        return self._writes.on_bytes(data)

    def on_connection_lost(self) -> None:
        """The client is gone."""
        self._reads.stop()
        self._writes.stop()
        self.factory.left()
