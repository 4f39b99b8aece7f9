"""Clients that leave this process, and clients of another one that go on here: whose they are.

Which filter has them says how that is done (`IMovesClients`); here is found out which filter that
is, by the names of the listener and of the filter chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tcpmesh.connection.connection import Connection
from tcpmesh.listener.listener import Listener
from tcpmesh.registry import WorkerContext
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moved import MovedConnection
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import NO_HELLO, ClientHello, StreamInfo


class Candidate(NamedTuple):
    """A client that may leave."""

    mover: Any
    """The `IMovesClients` that it is with."""

    client: Any
    """What it is to that."""


def candidates(listeners: Iterable[Listener]) -> Iterator[Candidate]:
    """The clients of these listeners that may be able to leave."""
    for mover in {each for listener in listeners for each in listener.movers}:
        for client in mover.clients():
            yield Candidate(mover, client)


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
    listener = next((each for each in listeners if each.name == moved.listener), None)
    if listener is None:
        return f"there is no listener {moved.listener}"
    network: Any = context.network
    connection = Connection(None)
    connection.stream_info = _stream_info(moved, network.clock.seconds())
    chain = listener.chain_for(connection, moved.filter_chain)
    if chain is None:
        return f"listener {moved.listener} has no such filter chain for it"
    refused: str = chain.mover.takes(moved)
    if refused:
        return refused
    relay = moved.relay
    downstream = network.arrive(descriptors[0], relay.from_downstream.source)
    upstream = network.arrive(descriptors[1], relay.from_upstream.source)
    connection.transport = connection.read_source = downstream
    connection.stream_info.addresses = downstream
    connection.stream_info.listener = chain.info
    listener.arrived(connection, chain)
    chain.mover.arrive(connection, moved, upstream)
    return ""


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
