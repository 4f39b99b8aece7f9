"""Which hosts a pick is made from: first a priority, then, where that is asked for, a locality.

Every policy that picks among equal hosts begins so, and then picks in the group of hosts that it
got here in its own way.  Policies by hash do not: their tables have the weights of localities in
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tcpmesh.cluster.balancing.edf import EdfScheduler
from tcpmesh.cluster.balancing.policy import PolicyContext, candidates
from tcpmesh.cluster.balancing.priority_load import Kind, PriorityLoad, hosts_of, in_panic
from tcpmesh.cluster.balancing.zone_aware import NoZones, Zones, overridden, zone_options, zones
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, HostSets, LocalityHosts

WHOLE_PRIORITY = -1
"""In place of the number of a locality."""


class Group:
    """Hosts to pick from, and how: `choose` is for the policy to set, and lasts until the next
    update.
    """

    __slots__ = ("choose", "has_turns", "hosts", "key")

    def __init__(self, key: tuple[int, Kind, int], hosts: tuple[Host, ...]) -> None:
        self.key = key
        """Priority, kind and place of the locality: what is the same group after the next
        update.
        """
        self.hosts = hosts
        self.choose: Callable[[], Host] | None = None
        self.has_turns = False
        """Whether `choose` lets the hosts take turns by weight, which is for the policy to set as
        well.
        """


class LocalityBalancer:
    """Spreads picks over groups.

    :param config: a `LocalityLbConfig`, or `None`.
    """

    def __init__(self, config: Any, context: PolicyContext) -> None:
        self._context = context
        self._by_weight = context.locality_weighted or (
            config is not None and config.HasField("locality_weighted_lb_config")
        )
        self._options = zone_options(config)
        self._router = ZoneRouter(config, context) if context.local_cluster else None
        self._stats = context.stats
        self.update(HostSets())

    def update(self, sets: HostSets) -> None:
        """LocalityBalancer over these from now on."""
        self._sets = sets
        self._load = PriorityLoad(sets, self._context.panic_threshold)
        self._groups: dict[tuple[int, Kind, int], Group] = {}
        self._localities: dict[tuple[int, Kind], EdfScheduler[int] | None] = {}
        if self._router is not None:
            self._router.update(sets)
        self.only_group = self._find_only_group()
        """The group of all picks, where they have but one: as a rule, and then a pick need not ask
        for it.
        """

    def group(self, number: int) -> Group | None:
        """The hosts to pick from for a random number, not negative; they may be none.  `None` where
        the pick is to fail.
        """
        if self.only_group is not None:
            return self.only_group
        chosen = self._load.choose(number)
        if chosen is None:
            return None
        host_set, kind = chosen
        if kind is Kind.PANIC:
            self._stats.healthy_panic.tally += 1
            return (
                None if self._options.fail_on_panic else self._group(host_set, kind, WHOLE_PRIORITY)
            )
        if self._by_weight:
            schedule = self._schedule(host_set, kind)
            if schedule is not None:
                return self._group(host_set, kind, schedule.pick())
        if self._router is not None and host_set.priority == 0:
            place = self._router.place()
            return None if place is None else self._group(host_set, kind, place)
        return self._group(host_set, kind, WHOLE_PRIORITY)

    def candidates(self) -> Iterator[Host]:
        """All hosts that a pick may choose, the better ones first."""
        return candidates(self._sets, self._load)

    def _find_only_group(self) -> Group | None:
        only = self._load.only_choice
        if only is None or only[1] is Kind.PANIC or self._by_weight or self._router is not None:
            return None
        return self._group(*only, WHOLE_PRIORITY)

    def _group(self, host_set: HostSet, kind: Kind, place: int) -> Group:
        key = (host_set.priority, kind, place)
        found = self._groups.get(key)
        if found is None:
            hosts = (
                hosts_of(host_set, kind)
                if place == WHOLE_PRIORITY
                else _having(host_set.localities[place], kind)
            )
            found = self._groups[key] = Group(key, hosts)
        return found

    def _schedule(self, host_set: HostSet, kind: Kind) -> EdfScheduler[int] | None:
        """The turns of the localities; `None` where none has a weight and a host of this kind."""
        key = (host_set.priority, kind)
        if key not in self._localities:
            self._localities[key] = _turns(
                host_set, kind, self._sets.overprovisioning_factor, self._context.random
            )
        return self._localities[key]


class ZoneRouter:
    """Chooses the locality for a pick, by where this proxy is and where the others of its kind
    are.
    """

    def __init__(self, config: Any, context: PolicyContext) -> None:
        self._context = context
        self._configured = self._options = zone_options(config)
        self._sets = HostSets()
        self._local: HostSets | None = None
        self._zones: Zones | None = None
        scope = context.stats.scope
        self._recalculated = scope.counter("lb_recalculate_zone_structures")
        self._not_ok = scope.counter("lb_local_cluster_not_ok")
        self._all_directly = scope.counter("lb_zone_routing_all_directly")
        self._sampled = scope.counter("lb_zone_routing_sampled")
        self._cross_zone = scope.counter("lb_zone_routing_cross_zone")
        self._no_capacity = scope.counter("lb_zone_no_capacity_left")

    def update(self, sets: HostSets) -> None:
        """The hosts to route to."""
        self._sets = sets
        self._local = self._local_sets()
        self._calculate()

    def place(self) -> int | None:
        """The place of a locality, or `WHOLE_PRIORITY`; `None` where the pick is to fail."""
        local = self._local_sets()
        if local is not self._local:
            self._local = local
            self._calculate()
        if self._zones is None or self._context.random.randrange(100) >= self._options.enabled:
            return WHOLE_PRIORITY
        assert local is not None
        if in_panic(local.sets[0], self._context.panic_threshold):
            self._not_ok.tally += 1
            return None if self._options.fail_on_panic else WHOLE_PRIORITY
        return self._routed(self._zones, self._context.random)

    def _routed(self, found: Zones, random: Random) -> int:
        if found.direct and found.home is not None:
            self._all_directly.tally += 1
            return found.home
        if found.home is not None and random.randrange(10000) < found.stay:
            self._sampled.tally += 1
            return found.home
        self._cross_zone.tally += 1
        place = found.elsewhere(random)
        if place is None:
            self._no_capacity.tally += 1
            return random.randrange(len(found.residual))
        return place

    def _local_sets(self) -> HostSets | None:
        local: Any = self._context.cluster(self._context.local_cluster)
        return None if local is None else local.sets

    def _calculate(self) -> None:
        self._options = overridden(self._configured, self._context.runtime)
        self._zones = None
        if self._local is None or not self._local.sets or not self._sets.sets:
            return
        self._recalculated.tally += 1
        try:
            self._zones = zones(
                self._sets.sets[0], self._local.sets[0], self._context.locality, self._options
            )
        except NoZones as e:
            if e.args:
                self._context.stats.scope.counter(e.args[0]).tally += 1


def _having(locality: LocalityHosts, kind: Kind) -> tuple[Host, ...]:
    return locality.healthy if kind is Kind.HEALTHY else locality.degraded


def _turns(host_set: HostSet, kind: Kind, factor: int, random: Random) -> EdfScheduler[int] | None:
    weights = {}
    excluded = set(host_set.excluded)
    for place, locality in enumerate(host_set.localities):
        counted = (
            len(locality.hosts) - sum(host in excluded for host in locality.hosts)
            if excluded
            else len(locality.hosts)
        )
        usable = len(_having(locality, kind))
        if locality.weight and usable and counted:
            # As with priorities, a locality keeps its whole weight while overprovisioning makes up
            # for what is missing.
            weights[place] = locality.weight * min(1.0, factor * usable / (100 * counted))
    return EdfScheduler(weights, weights.__getitem__, random) if weights else None
