"""local_ratelimit: so many clients of a filter chain in a time, in all workers together; one too
many is closed before anything is done for it.

It is the listener filter of this name at a later moment: a token bucket begins full, and its tokens
come back one by one, evenly.  While `runtime_enabled` is false no token is taken.  Filters with one
`share_key`, and buckets configured alike, draw from one bucket, whichever listeners they are in.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.local_ratelimit.v3 import local_rate_limit_pb2

from tcpmesh.config.fields.token_buckets import bucket_of
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.connection.token_bucket import TokenBucket
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.response_flags import ResponseFlag

CLOSED = "local_ratelimit_close_over_limit"


@extension(local_rate_limit_pb2.LocalRateLimit)
class LocalRateLimit(ReadFilter):
    """What a chain's `LocalRateLimit` message says."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._enabled = context.runtime.feature_flag(message.runtime_enabled)
        self._objects = context.objects
        self._key: tuple[object, ...] = ()
        bucket, clock = bucket_of(message.token_bucket), context.network.clock
        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"local_rate_limit.{message.stat_prefix}")
            undo.callback(self._scope.close)
            self._limited = self._scope.counter("rate_limited")
            if message.share_key:
                self._key = ("local_ratelimit", message.share_key, bucket)
                name = f"local_ratelimit {message.share_key} {bucket}"
                self._tokens = self._objects.obtain(
                    self._key,
                    lambda: TokenBucket(bucket, clock, context.shared.count_of_all(name)),
                )
            else:
                count = context.shared.count("local_rate_limit")
                self._tokens = TokenBucket(bucket, clock, count)

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Let a client in, or not."""
        if not self._enabled.value or self._tokens.take():
            return FilterStatus.CONTINUE
        self._limited.tally += 1
        manager.close(CLOSED, ResponseFlag.URX)
        return FilterStatus.STOP

    def close(self) -> None:
        """No more clients come."""
        self._scope.close()
        if self._key:
            self._objects.release(self._key)
