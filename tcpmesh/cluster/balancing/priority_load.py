"""How much of the load each priority gets: Envoy's arithmetic of priorities, degraded hosts and
panic.

A priority is as healthy as the share of its hosts that are, times the overprovisioning factor (1.4
unless configured), and 100 % at most: with three of four healthy it still takes everything.  The
first priority takes its percentage of the load, the next one takes its own of what is left, and so
on; then degraded hosts are asked in the same order, for the healthy ones of the last priority go
before the degraded ones of the first.  If all of them together do not come to 100 %, the
percentages are scaled up.

Then there may be too few hosts left for the load, and keeping it from the others would only
overload those.  So a priority in which less than the panic threshold is usable, while the whole
falls short, uses all of its hosts.  If that is so for every priority, the load goes by the number
of hosts.

The percentages are whole numbers as in Envoy, and what rounding leaves over goes to the first
priority that can take it, so that the shares are Envoy's to the percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, HostSets

PANIC_THRESHOLD = 50
"""Percent (`common_lb_config.healthy_panic_threshold`)."""


class Kind(IntEnum):
    """Which hosts of a priority are meant."""

    HEALTHY = 0
    DEGRADED = 1
    PANIC = 2
    """All of them, however they are."""


def hosts_of(host_set: HostSet, kind: Kind) -> tuple[Host, ...]:
    """The hosts of this kind; there may be none."""
    if kind is Kind.HEALTHY:
        return host_set.healthy
    return host_set.degraded if kind is Kind.DEGRADED else host_set.hosts


class PriorityLoad:
    """The shares of the priorities of one `HostSets`, worked out once.

    :param panic_threshold: percent; 0 for no panic.
    """

    def __init__(self, sets: HostSets, panic_threshold: int = PANIC_THRESHOLD) -> None:
        health = [_available(each, sets, each.healthy) for each in sets.sets]
        degraded = [_available(each, sets, each.degraded) for each in sets.sets]
        available = min(100, sum(health) + sum(degraded))
        self.sets = sets.sets
        self.panic = tuple(
            available < 100 and in_panic(each, panic_threshold) for each in sets.sets
        )
        """Of each priority, whether it uses all of its hosts."""
        if all(self.panic):
            loads = _by_size(sets.sets), [0] * len(sets.sets)
        elif available:
            loads = _by_health(health, degraded, available)
        else:  # no host is usable, and no panic allowed: the first priority is asked and has none
            loads = (
                [100 if index == 0 else 0 for index in range(len(sets.sets))],
                [0] * len(sets.sets),
            )
        self.healthy = tuple(loads[0])
        """Percent of the load for the healthy hosts of each priority, or for all hosts of one in
        panic.
        """
        self.degraded = tuple(loads[1])
        """Percent of the load for the degraded hosts of each priority."""
        self._table = self._cumulated()

    def _cumulated(self) -> tuple[tuple[HostSet, Kind], ...]:
        """The answer for each of 100 equal parts of the load."""
        table: list[tuple[HostSet, Kind]] = []
        for kind, loads in ((Kind.HEALTHY, self.healthy), (Kind.DEGRADED, self.degraded)):
            for host_set, panic, load in zip(self.sets, self.panic, loads, strict=True):
                table += [(host_set, Kind.PANIC if panic else kind)] * load
        return tuple(table)

    @property
    def only_choice(self) -> tuple[HostSet, Kind] | None:
        """What `choose` answers whatever it is asked, if that is so."""
        table = self._table
        return table[0] if table and table.count(table[0]) == len(table) else None

    def choose(self, hash: int) -> tuple[HostSet, Kind] | None:
        """The hosts to pick from for this random number or hash, not negative; they may be none.
        `None` without priorities.
        """
        return self._table[hash % 100] if self._table else None


def in_panic(host_set: HostSet, threshold: int) -> bool:
    """Whether less than `threshold` percent of the hosts are healthy or degraded.  A set without
    hosts has 0 %.
    """
    counted = len(host_set.hosts) - len(host_set.excluded)
    usable = len(host_set.healthy) + len(host_set.degraded)
    return 100 * usable < threshold * counted if counted > 0 else threshold > 0


def _available(host_set: HostSet, sets: HostSets, hosts: Sequence[Host]) -> int:
    """Percent of the hosts of a priority that these are, times the overprovisioning factor."""
    if len(host_set.hosts) <= len(host_set.excluded):
        return 0
    if sets.weighted_priority_health:
        part, whole = _weight(hosts), _weight(host_set.hosts) - _weight(host_set.excluded)
    else:
        part, whole = len(hosts), len(host_set.hosts) - len(host_set.excluded)
    return min(100, sets.overprovisioning_factor * part // whole)


def _weight(hosts: Iterable[Host]) -> int:
    return sum(host.weight for host in hosts)


def _by_health(
    health: list[int], degraded: list[int], available: int
) -> tuple[list[int], list[int]]:
    """The load of the healthy and of the degraded hosts of each priority."""
    loads, left = _distribute(health, 100, available)
    degraded_loads, left = _distribute(degraded, left, available)
    if any(health):
        loads[_first(health)] += left
    else:
        degraded_loads[_first(degraded)] += left
    return loads, degraded_loads


def _distribute(percentages: list[int], left: int, available: int) -> tuple[list[int], int]:
    """What each percentage takes of a load, the first one first, and what nobody took."""
    loads = []
    for percentage in percentages:
        load = min(left, percentage * 100 // available)
        loads.append(load)
        left -= load
    return loads, left


def _by_size(sets: tuple[HostSet, ...]) -> list[int]:
    """The load of each priority where all are in panic: as many hosts, so much load."""
    sizes = [len(each.hosts) for each in sets]
    total = sum(sizes)
    if not total:
        return [100 if index == 0 else 0 for index in range(len(sets))]
    loads = [100 * size // total for size in sizes]
    loads[_first(sizes)] += 100 - sum(loads)
    return loads


def _first(numbers: list[int]) -> int:
    """The place of the first number that is not 0."""
    return next(index for index, number in enumerate(numbers) if number)
