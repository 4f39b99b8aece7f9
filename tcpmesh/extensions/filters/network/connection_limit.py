"""connection_limit: so many clients of a filter chain at a time, in all workers together, and no
more.

A client too many is closed, at once or after `delay`.  While `runtime_enabled` is false nothing is
counted, unlike in Envoy 1.40, whose gauge falls below 0 then.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from tcpmesh.config.fields.values import seconds
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import FilterStatus


@extension(connection_limit_pb2.ConnectionLimit)
class ConnectionLimit(ReadFilter):
    """What a chain's `ConnectionLimit` message says, and the clients it has."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._limit: int = message.max_connections.value
        self._enabled = context.runtime.feature_flag(message.runtime_enabled)
        delay = seconds(message.delay)
        self._delayed = context.network.timers.queue(delay, _reject) if delay else None
        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"connection_limit.{message.stat_prefix}")
            undo.callback(self._scope.close)
            self._active = self._scope.gauge("active_connections", Merge.SUM)
            self._limited = self._scope.counter("limited_connections")
            self._clients = context.shared.count("connection_limit")
        self._admitted: set[FilterManager] = set()
        self._rejected: set[FilterManager] = set()
        self._closed = False

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Let a client in, or not."""
        if not self._enabled.value:
            return FilterStatus.CONTINUE
        self._active.add(1)
        # First counted and then compared: of two workers that do so at the same time perhaps both
        # close a client, but never do both let in the last one.
        self._clients.own += 1
        if self._clients.total <= self._limit:
            self._admitted.add(manager)
            return FilterStatus.CONTINUE
        self._clients.own -= 1
        self._limited.tally += 1
        self._rejected.add(manager)
        if self._delayed is None:
            _reject(manager)
        else:
            self._delayed.add(manager)
        return FilterStatus.STOP

    def on_connection_lost(self, manager: FilterManager) -> None:
        """A client has left."""
        if manager in self._rejected and self._delayed is not None:
            self._delayed.discard(manager)
        if manager in self._admitted:
            self._clients.own -= 1
            self._admitted.discard(manager)
            self._active.add(-1)
        elif manager in self._rejected:
            self._rejected.discard(manager)
            self._active.add(-1)
        self._end()

    def close(self) -> None:
        """No more clients come."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        if self._closed and not (self._admitted or self._rejected):
            self._scope.close()


def _reject(manager: FilterManager) -> None:
    manager.close("over_connection_limit")
