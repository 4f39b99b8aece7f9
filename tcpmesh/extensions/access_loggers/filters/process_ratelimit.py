"""The log filter of a rate: so many records in a time, of all logs that name the same bucket.

The bucket begins full, each record takes a token of it, and tokens come back one by one.

Of Envoy's this leaves out buckets from an xDS server, and changes of the file while the proxy
runs.  Each worker has a bucket of its own.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.filters.process_ratelimit.v3 import process_ratelimit_pb2
from zope.interface import implementer

from tcpmesh.config.fields.token_buckets import path_of, read_bucket
from tcpmesh.connection.token_bucket import TokenBucket
from tcpmesh.interfaces import IAccessLogFilter
from tcpmesh.registry import Context, extension
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.shared.counts import LocalCount
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.wanted import NOTHING


@extension(process_ratelimit_pb2.ProcessRateLimitFilter)
@implementer(IAccessLogFilter)
class ProcessRateLimitFilter:
    """What a `ProcessRateLimitFilter` message says."""

    wants = NOTHING

    def __init__(self, message: Any, context: Context) -> None:
        config, clock = message.dynamic_config, context.network.clock
        self._objects = context.objects
        self._key = ("token bucket", path_of(config), config.resource_name)
        with all_or_nothing() as undo:
            self._scope = context.store.scope("access_log.process_ratelimit")
            undo.callback(self._scope.close)
            self._allowed = self._scope.counter("allowed")
            self._denied = self._scope.counter("denied")
            self._tokens = self._objects.obtain(
                self._key, lambda: TokenBucket(read_bucket(config), clock, LocalCount())
            )

    def passes(self, info: StreamInfo, at: Moment) -> bool:
        """Whether there is a token for a record."""
        if self._tokens.take():
            self._allowed.tally += 1
            return True
        self._denied.tally += 1
        return False

    def close(self) -> None:
        """The log is closed."""
        self._objects.release(self._key)
        self._scope.close()
