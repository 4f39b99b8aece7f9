"""client_limit: so many connections of each client at a time, and so many new ones in a time, in
all workers together.  Envoy has nothing like it: the message is tcpmesh's own.

A client is an address, all addresses of a prefix, or a server name.  What is one too many is closed
or reset, or waits for its turn (`queue`).  Connections without an address, as those over a unix
socket, or without a server name are not limited, nor are those from exempt addresses.

What is known of clients is in `table`.  Filters with one `share_key`, and equal limits, have one
table; each counts its own connections in its own statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.config.fields.token_buckets import bucket_of
from tcpmesh.config.fields.values import seconds
from tcpmesh.config.schema.own import client_limit_pb2
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.extensions.filters.network.client_limit.names import client_namer, prefix_lengths
from tcpmesh.extensions.filters.network.client_limit.queue import Queue
from tcpmesh.extensions.filters.network.client_limit.table import ClientTable, Entry, Over, Rules
from tcpmesh.listener.matching.networks import Networks, network_of
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.stats.metrics import Merge
from tcpmesh.values.address import Address
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.response_flags import ResponseFlag

MAX_WAIT = 5.0
MAX_WAITING = 16
ROOM = 1 << 16
"""The defaults of `max_wait`, `max_waiting` and `max_entries`."""

REASONS = {
    Over.CONNECTIONS: "client_limit_over_connections",
    Over.RATE: "client_limit_over_rate",
}
TIMEOUT = "client_limit_queue_timeout"
OVERFLOW = "client_limit_queue_overflow"
"""Why a connection was closed (DOWNSTREAM_LOCAL_CLOSE_REASON)."""


@extension(client_limit_pb2.ClientLimit)
class ClientLimit(ReadFilter):
    """What a chain's `ClientLimit` message says, and the connections it has."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._enabled = context.runtime.feature_flag(message.runtime_enabled)
        self._name_of = client_namer(message)
        self._is_exempt = _exemption(message)
        self._answer: int = message.over_limit
        self._is_shadow: bool = message.shadow_mode
        self._clock = context.network.clock
        wait = seconds(message.max_wait) if message.HasField("max_wait") else MAX_WAIT
        self._most_waiting = _value(message, "max_waiting", MAX_WAITING)
        self._timers = context.network.timers.queue(wait, _late)
        self._objects = context.objects
        with all_or_nothing() as undo:
            self._scope = context.store.scope(f"client_limit.{message.stat_prefix}")
            undo.callback(self._scope.close)
            self._active = self._scope.gauge("active_connections", Merge.SUM)
            self._waiting = self._scope.gauge("waiting_connections", Merge.SUM)
            self._limited = {
                Over.CONNECTIONS: self._scope.counter("limited_connections"),
                Over.RATE: self._scope.counter("rate_limited"),
            }
            self._queued = self._scope.counter("queued")
            self._timeout = self._scope.counter("queue_timeout")
            self._overflow = self._scope.counter("queue_overflow")
            self._key, self._table = _table(message, context)
        self._entries: dict[FilterManager, Entry] = {}
        self._waiters: dict[FilterManager, Waiting] = {}
        self._is_closed = False

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Let a connection in, or not."""
        if not self._enabled.value:
            return FilterStatus.CONTINUE
        info = manager.connection.stream_info
        name = self._name_of(info)
        if not name or self._is_exempt(info.remote_address):
            return FilterStatus.CONTINUE
        entry = self._table.entry(name)
        if entry is None:
            return FilterStatus.CONTINUE
        if entry.waiting is not None and self._answer == client_limit_pb2.ClientLimit.QUEUE:
            entry.limited += 1
            return self._wait(manager, entry)  # Others have come before.
        over = self._table.take(entry)
        if over is None:
            return self._admit(manager, entry)
        entry.limited += 1
        self._limited[over].tally += 1
        if self._is_shadow:
            self._table.add(entry)
            return self._admit(manager, entry)
        if self._answer == client_limit_pb2.ClientLimit.QUEUE:
            return self._wait(manager, entry)
        self._table.settle(entry)
        self._refuse(manager, entry, REASONS[over])
        return FilterStatus.STOP

    def _admit(self, manager: FilterManager, entry: Entry) -> FilterStatus:
        self._entries[manager] = entry
        self._active.add(1)
        return FilterStatus.CONTINUE

    def _wait(self, manager: FilterManager, entry: Entry) -> FilterStatus:
        queue = entry.waiting
        if queue is None:
            queue = Queue(self._table, entry, self._clock)
        if len(queue) >= self._most_waiting:
            self._overflow.tally += 1
            self._refuse(manager, entry, OVERFLOW)
            return FilterStatus.STOP
        waiter = self._waiters[manager] = Waiting(self, manager, entry)
        self._queued.tally += 1
        self._waiting.add(1)
        queue.add(waiter)
        self._timers.add(waiter)
        return FilterStatus.STOP

    def _refuse(self, manager: FilterManager, entry: Entry, reason: str) -> None:
        reset = self._answer == client_limit_pb2.ClientLimit.RESET
        manager.close(reason, ResponseFlag.RL, f"client_limit[{entry.client}]", reset)

    def admit(self, waiter: Waiting) -> None:
        """There is room for a connection that has waited."""
        self._forget(waiter)
        self._admit(waiter.manager, waiter.entry)
        waiter.manager.resume()

    def give_up(self, waiter: Waiting) -> None:
        """It has waited too long."""
        self._timeout.tally += 1
        self._leave_queue(waiter)
        self._refuse(waiter.manager, waiter.entry, TIMEOUT)

    def _leave_queue(self, waiter: Waiting) -> None:
        self._forget(waiter)
        waiter.entry.waiting.discard(waiter)

    def _forget(self, waiter: Waiting) -> None:
        del self._waiters[waiter.manager]
        self._timers.discard(waiter)
        self._waiting.add(-1)

    def on_connection_lost(self, manager: FilterManager) -> None:
        """A connection has ended."""
        entry = self._entries.pop(manager, None)
        if entry is not None:
            self._active.add(-1)
            self._table.leave(entry)
            if entry.waiting is not None:
                entry.waiting.serve()
        elif manager in self._waiters:
            self._leave_queue(self._waiters[manager])
        self._end()

    def close(self) -> None:
        """No more connections come."""
        self._is_closed = True
        if self._key:
            self._objects.release(self._key)
        else:
            self._table.close()
        self._end()

    def _end(self) -> None:
        if self._is_closed and not (self._entries or self._waiters):
            self._scope.close()


class Waiting:
    """A connection that waits."""

    __slots__ = ("_limit", "entry", "manager")

    def __init__(self, limit: ClientLimit, manager: FilterManager, entry: Entry) -> None:
        self._limit = limit
        self.manager = manager
        self.entry = entry

    def admit(self) -> None:
        """It is let in."""
        self._limit.admit(self)

    def give_up(self) -> None:
        """It is closed."""
        self._limit.give_up(self)


def _late(waiter: Waiting) -> None:
    waiter.give_up()


def _table(message: Any, context: WorkerContext) -> tuple[tuple[object, ...], ClientTable]:
    """The table of a filter, and the key by which it is shared, empty where it is not."""
    bucket = bucket_of(message.new_connections) if message.HasField("new_connections") else None
    rules = Rules(message.max_connections.value, bucket, _value(message, "max_entries", ROOM))
    if not message.share_key:
        slots = context.shared.clients("client_limit")
        return (), ClientTable(message.stat_prefix, rules, context, slots)
    lengths = prefix_lengths(message)
    key = ("client_limit", message.share_key, rules, message.client, *lengths)
    slots = context.shared.clients_of_all(str(key))
    return key, context.objects.obtain(
        key, lambda: ClientTable(message.share_key, rules, context, slots)
    )


def _value(message: Any, field: str, default: int) -> int:
    """Of a wrapper."""
    return getattr(message, field).value if message.HasField(field) else default


def _exemption(message: Any) -> Callable[[Address], bool]:
    if not message.exempt:
        return lambda address: False
    networks = Networks((network_of(each), True) for each in message.exempt)
    return lambda address: address.is_ip and networks.find(address.host) is not None
