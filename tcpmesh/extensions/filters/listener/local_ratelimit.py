"""The listener filter `local_ratelimit`: so many clients of a listener in a time, in all workers
together; one too many is closed before anything is known of it.

A token bucket begins full, and its tokens come back one by one, evenly.  While `runtime_enabled` is
false no token is taken.

`tokens_per_fill` and `fill_interval` say how fast tokens come back, and not, as Envoy's
documentation has it, how many at a time: so it is in Envoy 1.40 too.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.listener.local_ratelimit.v3 import local_ratelimit_pb2
from zope.interface import implementer

from tcpmesh.config.fields.token_buckets import bucket_of
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.token_bucket import TokenBucket
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import InspectResult

debug_log = debug_logger("filter")


@extension(local_ratelimit_pb2.LocalRateLimit)
@implementer(IListenerFilter)
class LocalRateLimit:
    """Built from a `LocalRateLimit` message."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._enabled = context.runtime.feature_flag(message.runtime_enabled)
        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"listener_local_ratelimit.{message.stat_prefix}")
            undo.callback(self._scope.close)
            self._limited = self._scope.counter("rate_limited")
            self._tokens = TokenBucket(
                bucket_of(message.token_bucket),
                context.network.clock,
                context.shared.count("listener_local_ratelimit"),
            )

    def accept(self, connection: Connection) -> InspectResult | None:
        """Let a client pass, or not."""
        if not self._enabled.value or self._tokens.take():
            return None
        self._limited.tally += 1
        if debug_log.enabled:
            debug_log.debug("[C{id}] too many clients", id=connection.stream_info.id)
        return InspectResult.CLOSE

    def close(self) -> None:
        """The listener takes no more clients."""
        self._scope.close()
