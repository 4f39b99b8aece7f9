"""Clients that leave this process, and clients of another one that go on here: whose they are.

Which filter has them says how that is done (`IMovesClients`); here is found out which filter that
is, by the names of the listener and of the filter chain.  A client that has left and that nobody
takes comes back to just the chain that it had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tcpmesh.connection.connection import Connection
from tcpmesh.interfaces import IMovesClients, IMovesConnections
from tcpmesh.listener.filter_chain import FilterChain
from tcpmesh.listener.listener import Listener
from tcpmesh.registry import WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import MovedConnection
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import NO_HELLO, ClientHello, StreamInfo

OTHER_TRANSPORTS = "transports of this kind cannot be handed over"
WRAPPED = "a transport socket wraps it"
OTHER_FILTERS = "other filters than tcp_proxy stand before it"
INSPECTED = "listener filters look at it"
FLUSHES = "it has gone, and its last bytes are on their way to its host"
REPLACED = "its listener or filter chain was replaced or removed"


class Candidate(NamedTuple):
    """A client that may leave."""

    mover: Any
    """The `IMovesClients` that it is with."""

    client: Any
    """What it is to that."""

    @property
    def id(self) -> int:
        """The number of its connection."""
        return int(self.client.connection.stream_info.id)

    @property
    def chain(self) -> FilterChain | None:
        """The filter chain that has it, as long as it is there."""
        found: FilterChain | None = self.client.connection.owner
        return found

    @property
    def why_stays(self) -> str:
        """Why it cannot leave now; empty where it can."""
        chain = self.chain
        if chain is None:
            return FLUSHES
        if chain.is_closed:
            return REPLACED
        return str(self.mover.why_stays(self.client))


def candidates(listeners: Iterable[Listener]) -> Iterator[Candidate]:
    """The clients of these listeners that may be able to leave."""
    for mover in {chain.mover for listener in listeners for chain in listener.chains} - {None}:
        for client in mover.clients():
            yield Candidate(mover, client)


def staying(listeners: Iterable[Listener]) -> Iterator[tuple[str, int]]:
    """Why the other clients of these listeners stay, and how many."""
    for listener in listeners:
        if listener.inspected:
            yield INSPECTED, listener.inspected
        for chain in listener.chains:
            if chain.connections and chain.mover is None:
                yield WRAPPED if chain.filters.wraps else OTHER_FILTERS, len(chain.connections)


def last_filters(listeners: Iterable[Listener]) -> set[Any]:
    """The filters that have the clients of these listeners, so far as they can tell which."""
    chains = (chain.filters.filters for listener in listeners for chain in listener.chains)
    lasts = (filters[-1] for filters in chains if filters)
    return {each for each in lasts if IMovesClients.providedBy(each)}


class Place(NamedTuple):
    """Where a client of another process goes on."""

    connection: Connection
    chain: FilterChain


def why_not(listeners: Iterable[Listener], context: WorkerContext, moved: MovedConnection) -> str:
    """Why a client of another process cannot go on here; empty where it can."""
    place = _place(listeners, context, moved)
    return place if isinstance(place, str) else ""


def arrive(
    listeners: Iterable[Listener],
    context: WorkerContext,
    moved: MovedConnection,
    descriptors: tuple[int, int],
) -> str:
    """Go on with a client of another process.

    :param descriptors: those of the client and of its host: this side's from now on, unless the
        client cannot be taken.
    :return: why it cannot; empty where it is here.
    """
    moved = moved.arrived(context.network.clock.seconds())
    place = _place(listeners, context, moved)
    if isinstance(place, str):
        return place
    _go_on(place, context, moved, descriptors)
    return ""


def come_back(
    chain: FilterChain,
    context: WorkerContext,
    moved: MovedConnection,
    descriptors: tuple[int, int],
) -> str:
    """Go on with a client that has left this chain, and that no other process has.  Parameters and
    result are those of `arrive`.
    """
    if chain.is_closed:
        return REPLACED
    moved = moved.arrived(context.network.clock.seconds())
    refused: str = chain.mover.takes(moved)
    if not refused:
        _go_on(Place(_connection(context, moved), chain), context, moved, descriptors)
    return refused


def _place(
    listeners: Iterable[Listener], context: WorkerContext, moved: MovedConnection
) -> Place | str:
    """Where it goes on, or why it cannot."""
    if not IMovesConnections.providedBy(context.network):
        return OTHER_TRANSPORTS
    listener = next((each for each in listeners if each.name == moved.listener), None)
    if listener is None:
        return f"there is no listener {moved.listener}"
    connection = _connection(context, moved)
    chain = listener.chain_for(connection, moved.filter_chain)
    if chain is None:
        return f"listener {moved.listener} has no such filter chain for it"
    return chain.mover.takes(moved) or Place(connection, chain)


def _connection(context: WorkerContext, moved: MovedConnection) -> Connection:
    connection = Connection(None)
    connection.stream_info = _stream_info(moved, context.network.clock.seconds())
    return connection


def _go_on(
    place: Place, context: WorkerContext, moved: MovedConnection, descriptors: tuple[int, int]
) -> None:
    connection, chain = place
    network: Any = context.network
    relay = moved.relay
    downstream = network.arrive(descriptors[0], relay.from_downstream.source)
    upstream = network.arrive(descriptors[1], relay.from_upstream.source)
    connection.transport = connection.read_source = downstream
    connection.stream_info.addresses = downstream
    connection.stream_info.listener = chain.info
    chain.listener.arrived(connection, chain)
    chain.mover.arrive(connection, moved, upstream)


def _stream_info(moved: MovedConnection, now: float) -> StreamInfo:
    """What is known of it, of a transport that is not there yet."""
    source = moved.relay.from_downstream.source
    ends = _Ends(source.peer, source.local)
    info = StreamInfo(moved.id, ends, now - moved.age, CONNECTING)
    hello = ClientHello(
        server_name=moved.server_name,
        application_protocols=moved.application_protocols,
        transport_protocol=moved.transport_protocol,
        ja3=moved.ja3,
        ja4=moved.ja4,
    )
    if hello != NO_HELLO:
        info.hello = hello
    if moved.restored_local is not None:
        info.restored_local = moved.restored_local
    info.restored_remote = moved.restored_remote
    return info


class _Ends(NamedTuple):
    """The addresses of a socket that is on its way."""

    peer: Address
    local: Address

    def getPeer(self) -> Address:
        """The other side's."""
        return self.peer

    def getHost(self) -> Address:
        """This side's."""
        return self.local
