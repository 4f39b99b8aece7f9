"""Hosts sorted into subsets by their metadata: what the SUBSET policy works out when hosts change.

A selector is a set of keys.  For each of them a subset exists for every combination of values that
a host has under all its keys, so a pick has only to look one up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import field, replace
from itertools import product
from math import floor

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, HostSets, LocalityHosts, host_sets
from tcpmesh.cluster.hosts.metadata import Criteria, criteria, members
from tcpmesh.facts import dataclass
from tcpmesh.values.hosts import Assignment, Locality

Key = frozenset[tuple[str, Hashable]]
"""A subset's keys, each with its value."""


@dataclass(frozen=True)
class Selector:
    """One of `subset_selectors`."""

    keys: frozenset[str]
    fallback: str = "NOT_DEFINED"
    """What to do where it has no subset of some values: a name of
    `LbSubsetSelectorFallbackPolicy`.
    """

    fallback_keys: frozenset[str] = frozenset()
    is_single: bool = False
    """Whether each subset has one host only, the first (`single_host_per_subset`)."""


@dataclass
class Members:
    """The hosts of one subset."""

    is_single: bool
    hosts: list[Host] = field(default_factory=list)


class HostValues:
    """The metadata of hosts under `envoy.lb`, worked out once for as long as it stays the same."""

    def __init__(self) -> None:
        self._known: dict[Host, tuple[object, Criteria]] = {}

    def update(self, hosts: Iterable[Host]) -> None:
        """These are the hosts from now on."""
        before = self._known
        self._known = {}
        for host in hosts:
            metadata = host.spec.metadata
            known = before.get(host)
            self._known[host] = (
                known
                if known is not None and known[0] is metadata
                else (metadata, criteria(metadata))
            )

    def of(self, host: Host) -> Criteria:
        """What this one has."""
        return self._known[host][1]


def sort(
    hosts: Iterable[Host], values: HostValues, selectors: Iterable[Selector], list_as_any: bool
) -> tuple[dict[Key, Members], int]:
    """The subsets, and how many hosts found their subset taken by another one.

    :param hosts: the first priority first.
    """
    subsets: dict[Key, Members] = {}
    duplicates = 0
    for host in hosts:
        for selector in selectors:
            for key in _keys(selector.keys, values.of(host), list_as_any):
                subset = subsets.setdefault(key, Members(selector.is_single))
                if not subset.is_single or not subset.hosts:
                    if not subset.hosts or subset.hosts[-1] is not host:
                        subset.hosts.append(host)
                elif subset.hosts[0].spec.priority == host.spec.priority:
                    duplicates += 1
    return subsets, duplicates


def _keys(names: frozenset[str], values: Criteria, list_as_any: bool) -> Iterator[Key]:
    """The subsets of a selector that a host belongs to: one at most, unless each member of a list
    is a value.
    """
    if names and names <= values.keys():
        for combination in product(*(_choices(values[name], list_as_any) for name in names)):
            yield frozenset(zip(names, combination, strict=True))


def _choices(value: Hashable, list_as_any: bool) -> tuple[Hashable, ...]:
    listed = members(value) if list_as_any else None
    return (value,) if listed is None else listed


def matches(wanted: Criteria, values: Criteria, list_as_any: bool) -> bool:
    """Whether a host has all these values."""
    return all(
        name in values and value in _choices(values[name], list_as_any)
        for name, value in wanted.items()
    )


@dataclass(frozen=True)
class LocalityWeights:
    """Whether the weights of localities count in subsets, and whether less where a subset has a
    part of a locality's hosts only.
    """

    count: bool
    scale: bool

    def part(self, sets: HostSets, hosts: Iterable[Host]) -> HostSets:
        """Some of the hosts, sorted as all of them are."""
        part = host_sets(
            hosts, Assignment((), (), sets.overprovisioning_factor, sets.weighted_priority_health)
        )
        if not self.count:
            return replace(part, has_locality_weights=False)
        weighted = tuple(
            self._weighted(all_of_it, some)
            for all_of_it, some in zip(sets.sets, part.sets, strict=False)
        )
        return replace(part, sets=weighted)

    def _weighted(self, whole: HostSet, part: HostSet) -> HostSet:
        found = {each.locality: each for each in part.localities}
        return replace(
            part, localities=tuple(self._locality(each, found) for each in whole.localities)
        )

    def _locality(
        self, whole: LocalityHosts, found: dict[Locality, LocalityHosts]
    ) -> LocalityHosts:
        part = found.get(whole.locality, LocalityHosts(whole.locality, None, (), (), ()))
        weight = whole.weight
        if weight is not None and self.scale:
            weight = floor(weight * len(part.hosts) / len(whole.hosts) + 0.5)
        return replace(part, weight=weight)
