"""A filter chain: the network filters that serve a client, and the transport socket between.

What a chain is built of may serve several chains (`ChainFilters`), and what is one chain's own is
little (`FilterChain`): where ten thousand chains differ only in the clients they are for, ten
thousand are not built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from zope.interface.interface import InterfaceClass

from twisted.internet.interfaces import IReactorTime

from tcpmesh.config.absent.watchers import is_watcher
from tcpmesh.connection.byte_filters.transport import FilteredTransport
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import FilterManager, ReadFilters
from tcpmesh.connection.transport_sockets import transport_socket
from tcpmesh.interfaces import (
    IDownstreamTransportSocketFactory,
    IFilterFactory,
    ILogsConnections,
    IMovesClients,
    INetworkFilter,
    IReadFilter,
    IReleasedFilter,
    IStoppableFilter,
)
from tcpmesh.listener.draining import ChainDrain, ListenerDrain
from tcpmesh.listener.handshakes import Handshakes
from tcpmesh.registry import BrokenExtension, WorkerContext, build_checked, check_provides
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.stream_info import ListenerInfo


class Serving(Protocol):
    """A listener, as its chains see it."""

    def reject(self, connection: Connection) -> None:
        """Close a client of a chain without filters."""

    def on_handshake_timeout(self) -> None:
        """A client was closed because its handshake took too long."""

    def on_filter_failed(self) -> None:
        """A network filter has raised something."""

    def lost(self, connection: Connection, chain: FilterChain) -> None:
        """A client of a chain is gone."""

    def moved(self, chain: FilterChain) -> None:
        """... is another process's."""

    def left(self, chain: FilterChain) -> None:
        """... of one that takes no more."""


class ChainFilters:
    """The network filters of one or more equal `listener.v3.FilterChain`, each built once and
    shared by their connections.

    It is there as long as somebody holds it, as who builds it does.

    :raise tcpmesh.registry.BrokenExtension: where a filter that ends chains is not the last, or the
        last one does not, which the configuration says before of the types that Envoy has.
    """

    attach: Callable[[Connection], None]
    """Serve a client."""

    def __init__(
        self, message: Any, context: WorkerContext, listener: Serving, owner: str = ""
    ) -> None:
        """
        :param owner: by which main knows the counts that filters share with those of other workers.
        """
        self.filters: list[Any] = []
        self.access_logs: Any = None
        """The `AccessLogs` of the last filter, or `None`."""
        self._socket: Any = None
        self._takers = self._holders = 1
        shared = context.shared.block(owner)
        if shared is not context.shared:
            context = replace(context, shared=shared)
        self._counts = shared
        self._drain: ChainDrain | None = None
        if isinstance(context.drain, ListenerDrain):
            self._drain = context.drain.of_chain()
            context = replace(context, drain=self._drain)
        with all_or_nothing() as undo:
            undo.callback(self.release)
            undo.callback(self.close)
            entries = [each for each in message.filters if not is_watcher(each)]
            for index, entry in enumerate(entries, 1):
                check = partial(_check_place, entry, index, len(entries))
                self.filters.append(build_checked(entry.typed_config, context, check))
            last = self.filters[-1] if self.filters else None
            if ILogsConnections.providedBy(last) and last.access_logs is not None:
                self.access_logs = last.access_logs.hold()
            if self.filters:
                self.attach = _way_through(self.filters, listener, context.network.clock)
            else:
                self.attach = listener.reject
            self._socket = transport_socket(message, IDownstreamTransportSocketFactory, context)
            if self._socket is not None:
                handshakes = Handshakes(
                    message,
                    self._socket,
                    context.network,
                    listener.on_handshake_timeout,
                    self.attach,
                    context.overload,
                )
                self.attach = handshakes.attach

    @property
    def may_be_shared(self) -> bool:
        """Whether all that was built keeps nothing apart by its chain, and says so."""
        built = self.filters if self._socket is None else [*self.filters, self._socket]
        return all(getattr(each, "serves_many_chains", False) for each in built)

    @property
    def wraps(self) -> bool:
        """Whether there is a transport socket between."""
        return self._socket is not None

    def hold(self) -> ChainFilters:
        """Keep it for one more chain."""
        self._takers += 1
        self._holders += 1
        return self

    def stop(self) -> None:
        """End at once what filters do for their connections."""
        for network_filter in self.filters:
            if IStoppableFilter.providedBy(network_filter):
                network_filter.stop()

    def drain(self) -> None:
        """Have the clients leave by and by, where no chain takes any more."""
        if self._drain is not None and not self._takers:
            self._drain.begin()

    def close(self) -> None:
        """One of those that hold it takes no more clients; with the last one's call the filters are
        told.
        """
        self._takers -= 1
        if self._takers:
            return
        if self._socket is not None:
            self._socket.close()
        for network_filter in self.filters:
            network_filter.close()

    def release(self) -> None:
        """One of those that hold it has no client left."""
        self._holders -= 1
        if self._holders:
            return
        self._counts.close()
        for network_filter in self.filters:
            if IReleasedFilter.providedBy(network_filter):
                network_filter.release()
        logs, self.access_logs = self.access_logs, None
        if logs is not None:
            logs.close()


class FilterChain:
    """One chain of a listener, and the owner of the clients that were given to it.

    :param filters: what serves them, of which this is one of the holders.
    """

    __slots__ = ("_listener", "connections", "filters", "info", "is_closed")

    def __init__(self, filters: ChainFilters, info: ListenerInfo, listener: Serving) -> None:
        self.filters = filters
        self.info = info
        self.connections: set[Connection] | None = None
        """Its clients; `None` before it had any."""
        self.is_closed = False
        self._listener = listener

    def serve(self, connection: Connection) -> None:
        """A client is for this chain."""
        connection.stream_info.listener = self.info
        connection.owner = self
        if self.connections is None:
            self.connections = set()
        self.connections.add(connection)
        attach = self.filters.attach
        attach(connection)

    @property
    def listener(self) -> Any:
        """The listener whose chain it is."""
        return self._listener

    @property
    def mover(self) -> Any:
        """The `IMovesClients` that its clients have come to; `None` where they cannot go on in
        another process, as something else stands before it.
        """
        filters = self.filters
        only = filters.filters[0] if len(filters.filters) == 1 and not filters.wraps else None
        return only if IMovesClients.providedBy(only) else None

    def connection_lost(self, connection: Connection) -> None:
        """A client is gone."""
        if self.connections is not None:
            self.connections.discard(connection)
        self._listener.lost(connection, self)
        if self.is_closed:
            self._look_whether_gone()

    def connection_left(self, connection: Connection) -> None:
        """A client is another process's from now on."""
        if self.connections is not None:
            self.connections.discard(connection)
        self._listener.moved(self)
        if self.is_closed:
            self._look_whether_gone()

    def _look_whether_gone(self) -> None:
        """A client of a chain that takes no more has gone."""
        if not self.connections:
            self.filters.release()
        self._listener.left(self)

    def take(self, connection: Connection) -> None:
        """A client that another process had is one of this chain's."""
        connection.owner = self
        if self.connections is None:
            self.connections = set()
        self.connections.add(connection)

    def close(self) -> None:
        """Take no more clients; once those there are have left, nothing is left of it."""
        if not self.is_closed:
            self.is_closed = True
            self.filters.close()
            if not self.connections:
                self.filters.release()

    def expire(
        self,
        cause: Cause = Cause.CHAIN_REMOVED,
        words: str = "filter_chain_is_being_removed",
    ) -> Iterator[None]:
        """Close the clients: they have had their time, as in Envoy without more ado.  Each step
        closes one.

        :param words: Envoy's for the cause (`DOWNSTREAM_LOCAL_CLOSE_REASON`).
        """
        connections = self.connections or set()
        for connection in tuple(connections):
            if connection in connections:  # it has not left while others were closed
                info = connection.stream_info
                info.close(CloseReason(EndedBy.PROXY, info.phase, cause))
                info.local_close_reason = info.local_close_reason or words
                connection.transport.cutConnection()
                yield


def _check_place(entry: Any, index: int, count: int, network_filter: Any) -> None:
    """See to it that the last filter, and no other, ends the chain."""
    config, is_last = entry.typed_config, index == count
    if getattr(network_filter, "terminal", is_last) is not is_last:
        kind = "terminal" if network_filter.terminal else "non-terminal"
        raise BrokenExtension(f"{kind} filter {entry.name!r} is number {index} of {count}", config)
    changes = not is_last and IFilterFactory.providedBy(network_filter)
    before: InterfaceClass = IFilterFactory if changes else IReadFilter
    check_provides(network_filter, INetworkFilter if is_last else before, config)


def _way_through(
    filters: Sequence[Any], listener: Serving, clock: IReactorTime
) -> Callable[[Connection], None]:
    *before, last = filters
    read_filters = tuple(before)
    changes = any(IFilterFactory.providedBy(each) for each in before)
    told = ReadFilters(() if changes else read_filters)

    def serve(connection: Connection) -> None:
        last.on_accept(connection)
        last.attach(connection)

    def filtered(connection: Connection) -> None:
        last.on_accept(connection)
        FilterManager(connection, told, last.attach, listener.on_filter_failed).start()

    def changed(connection: Connection) -> None:
        below = connection.transport
        transport = FilteredTransport(clock)
        connection.transport = connection.read_source = transport
        transport.protocol = connection
        below.protocol = transport
        transport.makeConnection(below)
        last.on_accept(connection)
        transport.run(connection, read_filters, last.attach, listener.on_filter_failed)

    if changes:
        return changed
    return filtered if read_filters else serve
