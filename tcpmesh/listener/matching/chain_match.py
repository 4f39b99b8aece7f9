"""Which filter chain is for a client: the rules of `listener.v3.FilterChainMatch`.

Envoy goes by one criterion after the other, in a fixed order.  By each it takes the best value that
any chain left over has, and goes on with the chains of that value alone: it never comes back, even
where none of those is for the client after all.  So this is a tree of tables, one level for each
criterion, and a look-up goes down one path of it.  A level at which no chain wants anything is left
out; with 10,000 chains for server names that leaves one table.

Different from Envoy 1.40: where one chain is for the network of all addresses and another says
nothing of addresses, Envoy takes either, as the memory happens to lie.  Here it is the one that
names the network.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from tcpmesh.listener.matching.client import ip_address, is_local, transport_protocol
from tcpmesh.listener.matching.networks import Network, Networks, network_of
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo

Chain = TypeVar("Chain")

Find: TypeAlias = "Callable[[StreamInfo], Any]"
"""Finds a chain in the rest of the tree, or `None`."""


class Overlap(ValueError):
    """Two chains would be for the same clients."""


def chain_finder(chains: Iterable[tuple[Any, Chain]]) -> Callable[[StreamInfo], Chain | None]:
    """What finds the chain that is for a client.

    :param chains: those of a listener, each with its `FilterChainMatch`.
    :raise Overlap: where two are for the same clients.
    :raise ValueError: where a network has no IP address.
    """
    entries = (
        (match, frozenset(field.name for field, _ in match.ListFields()), chain)
        for match, chain in chains
    )
    return _level(list(entries), 0)


Entry: TypeAlias = "tuple[Any, frozenset[str], Any]"
"""A match, the fields that it has, and its chain."""


ANY = ("",)


class Criterion(NamedTuple):
    """What a level of the tree goes by."""

    field: str
    """Of the match."""

    wanted: Callable[[Any], Sequence[Any]]
    """The values that a match with this field asks for; an empty one stands for any."""

    table: Callable[[Mapping[Any, Find], Find | None], Find]
    """Finds by the values, or among the chains that take any."""


def _nothing(info: StreamInfo) -> None:
    return None


def _level(entries: list[Entry], depth: int) -> Find:
    """What finds one of these chains, which agree in all criteria before this depth."""
    if len(entries) == 1 and entries[0][1].isdisjoint(LATER[depth]):
        return _leaf(entries[0][2])
    if depth == len(CRITERIA):
        raise Overlap("multiple filter chains with overlapping matching rules are defined")
    criterion = CRITERIA[depth]
    by_value: dict[Any, list[Entry]] = {}
    rest: list[Entry] = []
    for entry in entries:
        match, said, _ = entry
        for value in criterion.wanted(match) if criterion.field in said else ANY:
            (by_value.setdefault(value, []) if value else rest).append(entry)
    any_other = _level(rest, depth + 1) if rest else None
    if not by_value:
        return any_other or _nothing
    table = {value: _level(group, depth + 1) for value, group in by_value.items()}
    return criterion.table(table, any_other)


def _leaf(chain: Any) -> Find:
    return lambda info: chain


# The tables of the criteria


def _by_port(table: Mapping[Any, Find], any_other: Find | None) -> Find:
    otherwise = any_other or _nothing

    def find(info: StreamInfo) -> Any:
        address = info.local_address
        if address.family == socket.AF_UNIX:
            return otherwise(info)
        return table.get(address.port, otherwise)(info)

    return find


def _by_network(address_of: Callable[[StreamInfo], Address]) -> Callable[..., Find]:
    def build(table: Mapping[Network, Find], any_other: Find | None) -> Find:
        networks = Networks(table.items())
        otherwise = any_other or _nothing

        def find(info: StreamInfo) -> Any:
            return (networks.find(ip_address(address_of(info)).host) or otherwise)(info)

        return find

    return build


def _by_name(table: Mapping[str, Find], any_other: Find | None) -> Find:
    """A wildcard is in the table from its first dot on, as in Envoy."""
    otherwise = any_other or _nothing

    def find(info: StreamInfo) -> Any:
        name = info.hello.server_name.lower()
        found = table.get(name)
        if found is not None:
            return found(info)
        dot = name.find(".", 1)
        while 0 <= dot < len(name) - 1:
            found = table.get(name[dot:])
            if found is not None:
                return found(info)
            dot = name.find(".", dot + 1)
        return otherwise(info)

    return find


def _by_transport(table: Mapping[str, Find], any_other: Find | None) -> Find:
    otherwise = any_other or _nothing
    return lambda info: table.get(transport_protocol(info), otherwise)(info)


def _by_application(table: Mapping[str, Find], any_other: Find | None) -> Find:
    """The first that the client names and any chain wants."""
    otherwise = any_other or _nothing

    def find(info: StreamInfo) -> Any:
        for name in info.hello.application_protocols:
            found = table.get(name)
            if found is not None:
                return found(info)
        return otherwise(info)

    return find


def _by_source_type(table: Mapping[int, Find], any_other: Find | None) -> Find:
    otherwise = any_other or _nothing
    local, external = table.get(LOCAL, otherwise), table.get(EXTERNAL, otherwise)
    return lambda info: (local if is_local(info) else external)(info)


def _by_source_port(table: Mapping[int, Find], any_other: Find | None) -> Find:
    otherwise = any_other or _nothing
    return lambda info: table.get(info.remote_address.port, otherwise)(info)


# What matches ask for

LOCAL, EXTERNAL = 1, 2
"""Values of `FilterChainMatch.ConnectionSourceType`; 0 is any."""


def _port(match: Any) -> Sequence[int]:
    return (match.destination_port.value,)


def _networks(field: str) -> Callable[[Any], Sequence[Network]]:
    return lambda match: [network_of(each) for each in getattr(match, field)]


def _names(match: Any) -> Sequence[str]:
    """Server names; of a wildcard, what follows the star."""
    lowered = (name.lower() for name in match.server_names)
    return [name[1:] if name.startswith("*.") else name for name in lowered]


def _local(info: StreamInfo) -> Address:
    return info.local_address


def _direct(info: StreamInfo) -> Address:
    return info.direct_remote_address


def _remote(info: StreamInfo) -> Address:
    return info.remote_address


def _network_criterion(field: str, address_of: Callable[[StreamInfo], Address]) -> Criterion:
    return Criterion(field, _networks(field), _by_network(address_of))


CRITERIA = (
    Criterion("destination_port", _port, _by_port),
    _network_criterion("prefix_ranges", _local),
    Criterion("server_names", _names, _by_name),
    Criterion("transport_protocol", lambda match: (match.transport_protocol,), _by_transport),
    Criterion("application_protocols", lambda match: match.application_protocols, _by_application),
    _network_criterion("direct_source_prefix_ranges", _direct),
    Criterion("source_type", lambda match: (match.source_type,), _by_source_type),
    _network_criterion("source_prefix_ranges", _remote),
    Criterion("source_ports", lambda match: match.source_ports, _by_source_port),
)
"""The order in which Envoy goes by them."""

LATER = tuple(
    frozenset(each.field for each in CRITERIA[depth:]) for depth in range(len(CRITERIA) + 1)
)
"""The fields of a criterion and of those after it."""
