"""connection_limit: so many clients of a filter chain at a time, and no more.

A client too many is closed, at once or after `delay`.  Envoy's runtime is left out: the default value of `runtime_enabled` counts.
Where it is false nothing is counted, unlike in Envoy 1.40, whose gauge falls below 0 then.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from tcpmesh.config.values import seconds
from tcpmesh.net.chain import Passage, ReadFilter, Verdict
from tcpmesh.registry import Context, extension


@extension(connection_limit_pb2.ConnectionLimit)
class ConnectionLimit(ReadFilter):
    """What a chain's `ConnectionLimit` message says, and the clients it has."""

    def __init__(self, message: Any, context: Context) -> None:
        self._limit: int = message.max_connections.value
        enabled = message.runtime_enabled
        self._enabled: bool = enabled.default_value.value if enabled.HasField("default_value") else True
        delay = seconds(message.delay)
        self._delayed = context.network.timers.queue(delay, _turn_away) if delay else None
        self._scope = context.store.scope(f"connection_limit.{message.stat_prefix}")
        self._active = self._scope.gauge("active_connections")
        self._limited = self._scope.counter("limited_connections")
        self._admitted: set[Passage] = set()
        self._rejected: set[Passage] = set()
        self._closed = False

    def new_connection(self, passage: Passage) -> Verdict:
        """Let a client in, or not."""
        if not self._enabled:
            return Verdict.CONTINUE
        self._active.add(1)
        if len(self._admitted) < self._limit:
            self._admitted.add(passage)
            return Verdict.CONTINUE
        self._limited.value += 1
        self._rejected.add(passage)
        if self._delayed is None:
            _turn_away(passage)
        else:
            self._delayed.add(passage)
        return Verdict.STOP

    def connection_lost(self, passage: Passage) -> None:
        """A client has left."""
        if passage in self._rejected and self._delayed is not None:
            self._delayed.discard(passage)
        if passage in self._admitted or passage in self._rejected:
            self._active.add(-1)
            self._admitted.discard(passage)
            self._rejected.discard(passage)
        self._end()

    def close(self) -> None:
        """No more clients come."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        if self._closed and not (self._admitted or self._rejected):
            self._scope.close()


def _turn_away(passage: Passage) -> None:
    passage.close("over_connection_limit")
