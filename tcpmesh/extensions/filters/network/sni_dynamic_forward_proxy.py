"""sni_dynamic_forward_proxy: has a client wait until the server that it asks for by name (SNI) is
looked up, for a cluster of the type dynamic_forward_proxy with the same DNS cache.

The filter state `envoy.upstream.dynamic_host` goes before the name, and
`envoy.upstream.dynamic_port` before `port_value`; the port is left there for the cluster.  A client
without a name goes on, and finds no host.  Where nobody can say what the name is the client finds
none either (UH).  A client for whom there is no room, among the names (`max_hosts`) or among those
who wait (`max_pending_requests`, of each filter chain in all workers), is closed.

`save_upstream_address` leaves an object that nothing here reads.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2,
)
from google.protobuf.any_pb2 import Any as AnyMessage

from tcpmesh.cluster.names.settings import key_of
from tcpmesh.cluster.names.tables import tables_of
from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.connection.state_objects import DYNAMIC_HOST, DYNAMIC_PORT, Number
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus
from tcpmesh.values.stream.filter_state import Text
from tcpmesh.values.stream.stream_info import StreamInfo


@extension(sni_dynamic_forward_proxy_pb2.FilterConfig)
class SniDynamicForwardProxy(ReadFilter):
    """What a chain's `FilterConfig` message says."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._port: int = message.port_value
        self._tables = tables_of(context)
        config = AnyMessage()
        config.Pack(message)
        self._table = self._tables.hold(message.dns_cache_config, config)
        self._most: int = self._table.settings.most_pending
        self._pending = context.shared.count("dns_pending")
        self._waiting: dict[FilterManager, tuple[str, Any]] = {}

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Go on where the name is known, or wait."""
        if max(self._table.pending, self._pending.total) >= self._most:
            self._table.pending_overflow.tally += 1
            manager.close("")
            return FilterStatus.STOP
        info = manager.connection.stream_info
        name = _name_of(info)
        if not name:
            return FilterStatus.CONTINUE
        port = self._port_of(info)
        info.set_filter_state(DYNAMIC_PORT, Number(port))
        key = key_of(name, port)
        if self._table.find(key) is not None:
            return FilterStatus.CONTINUE
        return self._wait(manager, key)

    def _wait(self, manager: FilterManager, key: str) -> FilterStatus:
        def told(has_room: bool) -> None:
            is_waiting = manager in self._waiting
            self._drop(manager)
            if not has_room:
                manager.close("")
            elif is_waiting:
                manager.resume()

        if self._table.wait(key, told):
            return FilterStatus.CONTINUE
        if manager.is_over:
            return FilterStatus.STOP
        self._waiting[manager] = key, told
        self._count(1)
        return FilterStatus.STOP

    def _port_of(self, info: StreamInfo) -> int:
        found = info.filter_state.get(DYNAMIC_PORT)
        if isinstance(found, Number) and 0 < found.value <= 65535:
            return found.value
        return self._port

    def _count(self, change: int) -> None:
        self._pending.own += change
        self._table.pending += change
        self._table.show(max(self._table.pending, self._pending.total))

    def _drop(self, manager: FilterManager) -> None:
        waits = self._waiting.pop(manager, None)
        if waits is not None:
            self._count(-1)
            self._table.leave(*waits)

    def on_connection_lost(self, manager: FilterManager) -> None:
        """The client is gone."""
        self._drop(manager)

    def close(self) -> None:
        """No more clients come."""
        self._tables.release(self._table)


def _name_of(info: StreamInfo) -> str:
    found = info.filter_state.get(DYNAMIC_HOST)
    return found.value if isinstance(found, Text) else info.hello.server_name
