"""Filter-chain matches: two chains must not claim the same connection.

Envoy sorts the values of all chains into nested tables, one for each criterion, and refuses a
second chain at a leaf.  So two chains overlap where they share a value in every criterion, "any"
being a value of its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import islice, product
from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

#: Combinations of one chain that are compared; a chain with more would not fit into Envoy's tables
#: in any sane time.
MAX_COMBINATIONS = 100_000

_UNIMPLEMENTED = ("address_suffix", "suffix_len")


def _check_listener(listener: Any, field_path: FieldPath, report: Report) -> None:
    chains = (field_path, "filter_chains")
    for index, chain in enumerate(listener.filter_chains):
        _check_unimplemented(chain, (chains, index), report)
    if listener.HasField("filter_chain_matcher"):
        _check_chain_names(listener.filter_chains, chains, report)
        return
    leaves: dict[tuple[Any, ...], int] = {}
    for index, chain in enumerate(listener.filter_chains):
        match = chain.filter_chain_match
        _check_values(match, ((chains, index), "filter_chain_match"), report)
        first = _first_overlap(match, index, leaves)
        if first is not None:
            text = _overlap(listener.filter_chains, first, index)
            report.error((chains, index), f"{text}, at {report.place((chains, first))}")


def _overlap(chains: Any, first: int, index: int) -> str:
    """What Envoy says of the second of two chains for the same clients."""
    chain, other = chains[index], chains[first]
    if first != index and chain.filter_chain_match == other.filter_chain_match:
        return f"filter chain {chain.name!r} has the same matching rules defined as {other.name!r}"
    text = (
        f"filter chain {chain.name!r}: multiple filter chains with overlapping matching rules are "
        "defined"
    )
    if first == index:
        return f"{text}, which are both its own: it has one value twice"
    return f"{text}, the other one being {other.name!r}"


def _check_chain_names(chains: Any, field_path: FieldPath, report: Report) -> None:
    names: set[str] = set()
    for index, chain in enumerate(chains):
        place = (field_path, index)
        if not chain.name:
            text = '"name" field is required when using a listener matcher'
            report.absent(place, ["name"], f"{text} (filter_chain_matcher)")
        elif chain.name in names:
            text = f'"name" field is duplicated with value {chain.name!r}'
            report.error((place, "name"), f"{text}: filter_chain_matcher goes by names")
        names.add(chain.name)


def _first_overlap(match: Any, index: int, leaves: dict[tuple[Any, ...], int]) -> int | None:
    """The first chain that has a leaf of this one, which may be this one, where it has one twice;
    its leaves are added to the table.
    """
    found: int | None = None
    own: set[tuple[Any, ...]] = set()
    for leaf in islice(product(*_criteria(match)), MAX_COMBINATIONS):
        other = leaves.setdefault(leaf, index)
        if found is None and (other != index or leaf in own):
            found = other
        own.add(leaf)
    return found


def _criteria(match: Any) -> list[list[Any]]:
    """The values of each criterion; `None` stands for "any"."""
    port = match.destination_port.value if match.HasField("destination_port") else None
    return [
        [port],
        _networks(match.prefix_ranges),
        _values(name.lower() for name in match.server_names),
        [match.transport_protocol],
        _values(match.application_protocols),
        _networks(match.direct_source_prefix_ranges),
        [match.source_type],
        _networks(match.source_prefix_ranges),
        _values(match.source_ports),
    ]


def _values(values: Iterable[Any]) -> list[Any]:
    """An empty one is any, too."""
    return [value or None for value in values] or [None]


def _networks(ranges: Any) -> list[Any]:
    return _values(_network(item) for item in ranges)


def _network(item: Any) -> str:
    """A CidrRange with its host bits dropped, so that two spellings of one network are equal; a
    length left out is 0.
    """
    try:
        ip = ipaddress.ip_address(item.address_prefix)
        return str(
            ipaddress.ip_network((ip, min(item.prefix_len.value, ip.max_prefixlen)), strict=False)
        )
    except ValueError:
        return f"{item.address_prefix}/{item.prefix_len.value}"


def _check_unimplemented(chain: Any, field_path: FieldPath, report: Report) -> None:
    match = chain.filter_chain_match
    for name in _UNIMPLEMENTED:
        if (
            match.HasField(name)
            if match.DESCRIPTOR.fields_by_name[name].has_presence
            else getattr(match, name)
        ):
            text = f"filter chain {chain.name!r} contains unimplemented fields"
            report.error(
                ((field_path, "filter_chain_match"), name),
                f"{text}: Envoy knows {name} and has no code for it",
            )


def _check_values(match: Any, field_path: FieldPath, report: Report) -> None:
    for field in ("prefix_ranges", "source_prefix_ranges", "direct_source_prefix_ranges"):
        for index, item in enumerate(getattr(match, field)):
            _check_prefix(item, ((field_path, field), index), report)
    for index, name in enumerate(match.server_names):
        if "*" in name and not name.startswith("*."):
            text = (
                f'{name!r}: partial wildcards are not supported in "server_names"; a wildcard '
                f"stands for the whole first label, as in '*.example.com'"
            )
            report.error(((field_path, "server_names"), index), text)


def _check_prefix(item: Any, field_path: FieldPath, report: Report) -> None:
    try:
        ipaddress.ip_address(item.address_prefix)
    except ValueError:
        report.error(
            (field_path, "address_prefix"), f"malformed IP address: {item.address_prefix!r}"
        )


CHECKS = {
    "envoy.config.listener.v3.Listener": _check_listener,
}
