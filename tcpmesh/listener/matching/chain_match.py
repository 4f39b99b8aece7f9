"""Which filter chain is for a client: the rules of `listener.v3.FilterChainMatch`.

Envoy goes by one criterion after the other, in a fixed order.  By each it takes the best value that
any chain left over has, and goes on with the chains of that value alone: it never comes back, even
where none of those is for the client after all.  So this is a tree of tables, one level for each
criterion, and a look-up goes down one path of it.  A level at which no chain wants anything is left
out; with 10,000 chains for server names that leaves one table.  Where a few chains change, only the
tables are made anew that these are in.

Different from Envoy 1.40: where one chain is for the network of all addresses and another says
nothing of addresses, Envoy takes either, as the memory happens to lie.  Here it is the one that
names the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from tcpmesh.listener.matching.client import ip_address, is_local, transport_protocol
from tcpmesh.listener.matching.networks import Network, Networks, network_of
from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo

Chain = TypeVar("Chain")

Find: TypeAlias = "Callable[[StreamInfo], Any]"
"""Finds a chain in the rest of the tree, or `None`."""


class Overlap(ValueError):
    """Two chains would be for the same clients."""


class Entry(NamedTuple):
    """A chain, and the clients that it is for."""

    match: Any
    said: frozenset[str]
    """The fields that the match has."""

    chain: Any


class ChainFinder(Generic[Chain]):
    """What finds the chain that is for a client.

    :param chains: those of a listener, each with its `FilterChainMatch`.
    :raise Overlap: where two are for the same clients.
    :raise ValueError: where a network has no IP address.
    """

    find: Callable[[StreamInfo], Chain | None]

    def __init__(self, chains: Iterable[tuple[Any, Chain]]) -> None:
        self._take(_level(_entries(chains), 0))

    def _take(self, root: Node | None) -> None:
        self._root = root
        self.find = (root or NOTHING).find

    def changed(
        self, gone: Iterable[tuple[Any, Chain]], come: Iterable[tuple[Any, Chain]]
    ) -> ChainFinder[Chain]:
        """One that finds other chains, of which it makes the tables alone in which a chain is that
        goes or comes; raises what the class does.
        """
        other = ChainFinder[Chain](())
        other._take(_changed(self._root, 0, _entries(gone), _entries(come)))
        return other


def _entries(chains: Iterable[tuple[Any, Any]]) -> list[Entry]:
    known: dict[frozenset[str], frozenset[str]] = {}
    entries = []
    for match, chain in chains:
        said = frozenset(field.name for field, _ in match.ListFields())
        entries.append(Entry(match, known.setdefault(said, said), chain))
    return entries


class Leaf:
    """The end of a path: one chain."""

    __slots__ = ("_entry", "chain")

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self.chain = entry.chain

    def find(self, info: StreamInfo) -> Any:
        """That chain."""
        return self.chain

    def entries(self) -> Iterator[Entry]:
        """The chain with its match."""
        yield self._entry


class Level:
    """One level of the tree.

    :param depth: which criterion it goes by.
    :param table: the rest of the tree for each value of it.
    :param any_other: the rest for the chains that do not ask for a value.
    """

    __slots__ = ("any_other", "depth", "find", "table")

    def __init__(self, depth: int, table: dict[Any, Node], any_other: Node | None) -> None:
        self.depth = depth
        self.table = table
        self.any_other = any_other
        self.find = CRITERIA[depth].table(table, any_other or NOTHING)

    def entries(self) -> Iterator[Entry]:
        """All chains below, those that ask for several values as often."""
        for node in self.table.values():
            yield from node.entries()
        if self.any_other is not None:
            yield from self.any_other.entries()


class _Nothing:
    """The end of a path where no chain is."""

    def find(self, info: StreamInfo) -> None:
        """None."""

    def entries(self) -> Iterator[Entry]:
        """None."""
        return iter(())


Node: TypeAlias = "Leaf | Level | _Nothing"

NOTHING = _Nothing()

ANY = ("",)


class Criterion(NamedTuple):
    """What a level of the tree goes by."""

    field: str
    """Of the match."""

    wanted: Callable[[Any], Sequence[Any]]
    """The values that a match with this field asks for; an empty one stands for any."""

    table: Callable[[Mapping[Any, Node], Node], Find]
    """Finds by the values, or among the chains that take any."""

    def groups(self, entries: Iterable[Entry]) -> dict[Any, list[Entry]]:
        """The entries by the values that they ask for, under "" those that ask for none."""
        groups: dict[Any, list[Entry]] = {}
        for entry in entries:
            for value in self.wanted(entry.match) if self.field in entry.said else ANY:
                groups.setdefault(value or "", []).append(entry)
        return groups


def _level(entries: list[Entry], depth: int) -> Node | None:
    """What finds one of these chains, which agree in all criteria before this depth."""
    if not entries:
        return None
    if len(entries) == 1 and entries[0].said.isdisjoint(LATER[depth]):
        return Leaf(entries[0])
    if depth == len(CRITERIA):
        raise Overlap("multiple filter chains with overlapping matching rules are defined")
    groups = CRITERIA[depth].groups(entries)
    any_other = _level(groups.pop("", []), depth + 1)
    if not groups:
        return any_other
    table = {value: _level(group, depth + 1) or NOTHING for value, group in groups.items()}
    return Level(depth, table, any_other)


def _changed(node: Node | None, depth: int, gone: list[Entry], come: list[Entry]) -> Node | None:
    """The same without some chains and with others; what they do not touch is shared."""
    if isinstance(node, Leaf) and not come:  # as of thousands that go, each from its own place
        return None if any(each.chain == node.chain for each in gone) else node
    if not isinstance(node, Level) or any(each.said & BEFORE[node.depth] for each in come):
        leaving = {each.chain for each in gone}
        kept = {each.chain: each for each in (node or NOTHING).entries()}
        stay = [each for chain, each in kept.items() if chain not in leaving]
        return _level(stay + come, depth)
    depth, criterion = node.depth, CRITERIA[node.depth]
    goes, comes = criterion.groups(gone), criterion.groups(come)
    table, any_other = dict(node.table), node.any_other
    for value in goes.keys() | comes.keys():
        before = table.pop(value, None) if value else any_other
        after = _changed(before, depth + 1, goes.get(value, []), comes.get(value, []))
        if not value:
            any_other = after
        elif after is not None:
            table[value] = after
    return Level(depth, table, any_other) if table else any_other


# The tables of the criteria


def _by_port(table: Mapping[Any, Node], any_other: Node) -> Find:
    def find(info: StreamInfo) -> Any:
        address = info.local_address
        if not address.is_ip:
            return any_other.find(info)
        return table.get(address.port, any_other).find(info)

    return find


def _by_network(address_of: Callable[[StreamInfo], Address]) -> Callable[..., Find]:
    def build(table: Mapping[Network, Node], any_other: Node) -> Find:
        networks = Networks(table.items())

        def find(info: StreamInfo) -> Any:
            return (networks.find(ip_address(address_of(info)).host) or any_other).find(info)

        return find

    return build


def _by_name(table: Mapping[str, Node], any_other: Node) -> Find:
    """A wildcard is in the table from its first dot on, as in Envoy."""

    def find(info: StreamInfo) -> Any:
        name = info.hello.server_name.lower()
        found = table.get(name)
        if found is not None:
            return found.find(info)
        dot = name.find(".", 1)
        while 0 <= dot < len(name) - 1:
            found = table.get(name[dot:])
            if found is not None:
                return found.find(info)
            dot = name.find(".", dot + 1)
        return any_other.find(info)

    return find


def _by_transport(table: Mapping[str, Node], any_other: Node) -> Find:
    return lambda info: table.get(transport_protocol(info), any_other).find(info)


def _by_application(table: Mapping[str, Node], any_other: Node) -> Find:
    """The first that the client names and any chain wants."""

    def find(info: StreamInfo) -> Any:
        for name in info.hello.application_protocols:
            found = table.get(name)
            if found is not None:
                return found.find(info)
        return any_other.find(info)

    return find


def _by_source_type(table: Mapping[int, Node], any_other: Node) -> Find:
    local, external = table.get(LOCAL, any_other), table.get(EXTERNAL, any_other)
    return lambda info: (local if is_local(info) else external).find(info)


def _by_source_port(table: Mapping[int, Node], any_other: Node) -> Find:
    return lambda info: table.get(info.remote_address.port, any_other).find(info)


# What matches ask for

LOCAL, EXTERNAL = 1, 2
"""Values of `FilterChainMatch.ConnectionSourceType`; 0 is any."""


def _port(match: Any) -> Sequence[int]:
    return (match.destination_port.value,)


def _networks(field: str) -> Callable[[Any], Sequence[Network]]:
    return lambda match: [network_of(each) for each in getattr(match, field)]


def _names(match: Any) -> Sequence[str]:
    """Server names; of a wildcard, what follows the star."""
    small = (name.lower() for name in match.server_names)
    return [name[1:] if name.startswith("*.") else name for name in small]


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

BEFORE = tuple(frozenset(each.field for each in CRITERIA[:depth]) for depth in range(len(CRITERIA)))
"""The fields of the criteria before one."""
