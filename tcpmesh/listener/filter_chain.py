"""The network filters that a listener gives its clients to, and the transport socket between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import FilterManager
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    ILogsConnections,
    INetworkFilter,
    IReadFilter,
    IStoppableFilter,
)
from tcpmesh.listener.handshakes import Handshakes
from tcpmesh.registry import BrokenExtension, WorkerContext, build_checked, check_provides
from tcpmesh.values.all_or_nothing import all_or_nothing


class FilterChain:
    """The network filters of one `listener.v3.FilterChain`, each built once and shared by the
    chain's connections.

    :raise tcpmesh.registry.BrokenExtension: where a filter that ends chains is not the last, or the
        last one does not, which the configuration says before of the types that Envoy has.
    """

    attach: Callable[[Connection], None]
    """Serve a client."""

    def __init__(
        self,
        message: Any,
        context: WorkerContext,
        reject: Callable[[Connection], None],
        on_handshake_timeout: Callable[[], None],
    ) -> None:
        """`reject` closes the clients of a chain without filters; `on_handshake_timeout` is
        told of each handshake that takes too long.
        """
        self.name: str = message.name
        self.metadata: Any = message.metadata if message.HasField("metadata") else None
        self.filters: list[Any] = []
        self.access_logs: Any = None
        """The `AccessLogs` of the last filter, or `None`."""
        self._socket: Any = None
        with all_or_nothing() as undo:
            undo.callback(self.close)
            undo.callback(self.release)
            for index, entry in enumerate(message.filters, 1):
                check = partial(_check_place, entry, index, len(message.filters))
                self.filters.append(build_checked(entry.typed_config, context, check))
            last = self.filters[-1] if self.filters else None
            if ILogsConnections.providedBy(last) and last.access_logs is not None:
                self.access_logs = last.access_logs.hold()
            self.attach = _way_through(self.filters) if self.filters else reject
            self._socket = transport_socket(message, IDownstreamTransportSocketFactory, context)
            if self._socket is not None:
                handshakes = Handshakes(
                    message, self._socket, context.network, on_handshake_timeout, self.attach
                )
                self.attach = handshakes.attach

    def stop(self) -> None:
        """End at once what filters do for their connections."""
        for network_filter in self.filters:
            if IStoppableFilter.providedBy(network_filter):
                network_filter.stop()

    def close(self) -> None:
        """Take no more clients."""
        if self._socket is not None:
            self._socket.close()
        for network_filter in self.filters:
            network_filter.close()

    def release(self) -> None:
        """No client is left."""
        logs, self.access_logs = self.access_logs, None
        if logs is not None:
            logs.close()


def _check_place(entry: Any, index: int, count: int, network_filter: Any) -> None:
    """See to it that the last filter, and no other, ends the chain."""
    config, is_last = entry.typed_config, index == count
    if getattr(network_filter, "terminal", is_last) is not is_last:
        kind = "terminal" if network_filter.terminal else "non-terminal"
        raise BrokenExtension(f"{kind} filter {entry.name!r} is number {index} of {count}", config)
    check_provides(network_filter, INetworkFilter if is_last else IReadFilter, config)


def _way_through(filters: Sequence[Any]) -> Callable[[Connection], None]:
    *before, last = filters
    read_filters = tuple(before)

    def serve(connection: Connection) -> None:
        last.on_accept(connection)
        last.attach(connection)

    def filtered(connection: Connection) -> None:
        last.on_accept(connection)
        FilterManager(connection, read_filters, last.attach).start()

    return filtered if read_filters else serve
