"""The network filters that a listener gives its clients to, and the transport socket between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import FilterManager
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    IPatientFilter,
    IStoppableFilter,
)
from tcpmesh.listener.handshakes import Handshakes
from tcpmesh.registry import WorkerContext, build


class FilterChain:
    """The network filters of one `listener.v3.FilterChain`, each built once and shared by the
    chain's connections.

    :raise ValueError: where a filter that ends chains is not the last, or the last one does not.
        The configuration says so before with its line, for the types that Envoy has.
    """

    attach: Callable[[Connection], None]
    """Serve a client.  A chain of one filter without a transport socket, the usual one, is that
    filter's own `attach`.
    """

    def __init__(
        self,
        message: Any,
        context: WorkerContext,
        reject: Callable[[Connection], None],
        late: Callable[[], None],
    ) -> None:
        """`reject` closes the clients of a chain without filters; `late` is told of each handshake
        that takes too long.
        """
        self.name: str = message.name
        self.filters = tuple(build(entry.typed_config, context) for entry in message.filters)
        for index, network_filter in enumerate(self.filters, 1):
            if network_filter.terminal is not (index == len(self.filters)):
                kind = "terminal" if network_filter.terminal else "non-terminal"
                raise ValueError(
                    f"{kind} filter {message.filters[index - 1].name!r} is number {index} of "
                    f"{len(self.filters)}"
                )
        self.attach = _way_through(self.filters) if self.filters else reject
        self._socket = transport_socket(message, IDownstreamTransportSocketFactory, context)
        if self._socket is not None:
            self.attach = Handshakes(
                message, self._socket, context.network, late, self.attach
            ).attach

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


def _way_through(filters: tuple[Any, ...]) -> Callable[[Connection], None]:
    *before, last = filters
    if not before:
        attach: Callable[[Connection], None] = last.attach
        return attach
    read_filters = tuple(before)
    if not IPatientFilter.providedBy(last):
        return lambda connection: FilterManager(connection, read_filters, last.attach).start()

    def met(connection: Connection) -> None:
        last.meet(connection)
        FilterManager(connection, read_filters, last.attach_met).start()

    return met
