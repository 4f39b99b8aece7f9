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
    if listener.HasField("filter_chain_matcher"):
        _check_chain_names(listener.filter_chains, chains, report)
        return
    leaves: dict[tuple[Any, ...], int] = {}
    for index, chain in enumerate(listener.filter_chains):
        match = chain.filter_chain_match
        first = _first_overlap(match, index, leaves)
        if first is None:
            continue
        same = listener.filter_chains[first].filter_chain_match == match
        what = "has the same matching rules as" if same else "has matching rules overlapping with"
        report.error(
            (chains, index),
            f"filter chain {chain.name!r} {what} the filter chain at "
            f"{_place_of(report, chains, first)}",
        )


def _place_of(report: Report, chains: FieldPath, index: int) -> str:
    return str(report.place((chains, index)))


def _check_chain_names(chains: Any, field_path: FieldPath, report: Report) -> None:
    names: set[str] = set()
    for index, chain in enumerate(chains):
        if not chain.name or chain.name in names:
            text = "filter_chain_matcher needs filter chains with names, each of its own"
            report.error(((field_path, index), "name"), text)
        names.add(chain.name)


def _first_overlap(match: Any, index: int, leaves: dict[tuple[Any, ...], int]) -> int | None:
    """The first chain that has a leaf of this one; its leaves are added to the table."""
    found: int | None = None
    for leaf in islice(product(*_criteria(match)), MAX_COMBINATIONS):
        other = leaves.setdefault(leaf, index)
        if other != index and found is None:
            found = other
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
    return list(values) or [None]


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


def _check_match(match: Any, field_path: FieldPath, report: Report) -> None:
    for name in _UNIMPLEMENTED:
        if (
            match.HasField(name)
            if match.DESCRIPTOR.fields_by_name[name].has_presence
            else getattr(match, name)
        ):
            report.error((field_path, name), f"{name} is a field that Envoy does not implement")
    for field in ("prefix_ranges", "source_prefix_ranges", "direct_source_prefix_ranges"):
        for index, item in enumerate(getattr(match, field)):
            _check_prefix(item, ((field_path, field), index), report)
    for index, name in enumerate(match.server_names):
        if "*" in name.removeprefix("*."):
            text = (
                f"{name!r}: a wildcard stands for the whole first label only, as in '*.example.com'"
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
    "envoy.config.listener.v3.FilterChainMatch": _check_match,
}
