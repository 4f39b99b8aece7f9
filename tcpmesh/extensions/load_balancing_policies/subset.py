"""SUBSET: connections go to the hosts whose metadata is what the connection asks for
(`metadata_match` of tcp_proxy).

Each subset has a balancer of its own, of the policy within.  Where there is no subset for what is
asked, `fallback_policy` decides, first that of the selector with the same keys, then the common
one.  As `lb_subset_config` of a cluster the policy within is its `lb_policy`.

In Envoy a selector loses its fallback policy when one that begins with its keys stands before it;
here it keeps it.  And Envoy counts its subsets once for main and once for each worker; here they
are counted once.

Of the `context` of a pick this reads `metadata_match`, see `tcpmesh.cluster.hosts.metadata`, or
`None`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from envoy.extensions.load_balancing_policies.subset.v3 import subset_pb2
from zope.interface import implementer

from tcpmesh.cluster.balancing.policy import PolicyContext, first_known, policy_of_enum
from tcpmesh.cluster.balancing.subsets import (
    HostValues,
    Key,
    LocalityWeights,
    Members,
    Selector,
    matches,
    sort,
)
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.cluster.hosts.metadata import Criteria, content, members, struct_criteria
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import enum_value, extension
from tcpmesh.stats.metrics import Counter, Merge
from tcpmesh.values.shared.counts import LocalCounts

FALLBACK_LIST = "fallback_list"
"""The key under which a connection may name several criteria, of which the first with a host
counts.
"""

Way = tuple["ILoadBalancer | None", "Counter | None"]
"""Who is to be asked, if anybody, and what counts it."""


@implementer(ILoadBalancer)
class OneHost:
    """The subset of a single host, which is picked whatever its health, as in Envoy."""

    def __init__(self) -> None:
        self._host: Host | None = None

    def update(self, sets: HostSets) -> None:
        """The first of these."""
        self._host = next(iter(sets.hosts), None)

    def pick(self, context: Any) -> Host | None:
        """The host."""
        return self._host

    def candidates(self, context: Any) -> Iterator[Host]:
        """The host."""
        if self._host is not None:
            yield self._host


@extension(subset_pb2.Subset)
@enum_value("load_balancing_policies", "SUBSET")
@implementer(ILoadBalancer)
class Subset:
    """Built from a `Subset` message.

    :param make: makes a balancer of the policy within; by default that of the message.
    """

    def __init__(
        self, message: Any, context: PolicyContext, make: Callable[[], ILoadBalancer] | None = None
    ) -> None:
        # Workers come to have their subsets in no common order, so these share no place.
        apart = replace(context, shared=LocalCounts())
        self._make = make or (lambda: first_known(message.subset_lb_policy, apart))
        self._selectors = tuple(_selector(each) for each in message.subset_selectors)
        self._by_keys = {each.keys: each for each in reversed(self._selectors)}
        self._list_as_any: bool = message.list_as_any
        self._redundant_keys: bool = message.allow_redundant_keys
        self._uses_list = message.metadata_fallback_policy == message.FALLBACK_LIST
        self._weights = LocalityWeights(
            message.locality_weight_aware, message.scale_locality_weight
        )
        self._default_criteria = struct_criteria(message.default_subset)
        self._values = HostValues()
        self._subsets: dict[Key, ILoadBalancer] = {}
        fallbacks = {
            message.LbSubsetFallbackPolicy.Name(message.fallback_policy),
            *(each.fallback for each in self._selectors),
        }
        self._any = self._make() if message.panic_mode_any or "ANY_ENDPOINT" in fallbacks else None
        self._default = self._make() if "DEFAULT_SUBSET" in fallbacks else None
        self._fallback = {
            message.ANY_ENDPOINT: self._any,
            message.DEFAULT_SUBSET: self._default,
        }.get(message.fallback_policy)
        self._panics: bool = message.panic_mode_any
        scope = context.stats.scope
        self._active = scope.gauge("lb_subsets_active", Merge.SUM)
        self._created = scope.counter("lb_subsets_created")
        self._removed = scope.counter("lb_subsets_removed")
        self._selected = scope.counter("lb_subsets_selected")
        self._fallen_back = scope.counter("lb_subsets_fallback")
        self._panicked = scope.counter("lb_subsets_fallback_panic")
        self._duplicates = scope.gauge("lb_subsets_single_host_per_subset_duplicate", Merge.SUM)

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> Subset:
        """The policy as a cluster's `lb_subset_config` asks for it."""
        # The two messages give the same numbers to the same fields.
        made = subset_pb2.Subset.FromString(message.lb_subset_config.SerializeToString())
        apart = replace(context, shared=LocalCounts())
        return cls(made, context, lambda: policy_of_enum(message, apart))

    def update(self, sets: HostSets) -> None:
        """Sort these hosts into subsets."""
        hosts = sets.hosts
        self._values.update(hosts)
        found, duplicates = sort(hosts, self._values, self._selectors, self._list_as_any)
        before = self._subsets
        self._subsets = {
            key: before.get(key) or self._made(subset) for key, subset in found.items()
        }
        for key, subset in found.items():
            self._subsets[key].update(self._weights.part(sets, subset.hosts))
        if self._any is not None:
            self._any.update(self._weights.part(sets, hosts))
        if self._default is not None:
            default = [
                host
                for host in hosts
                if matches(self._default_criteria, self._values.of(host), self._list_as_any)
            ]
            self._default.update(self._weights.part(sets, default))
        self._created.tally += len(found.keys() - before.keys())
        self._removed.tally += len(before.keys() - found.keys())
        self._active.follow(len(found))
        self._duplicates.set(duplicates)

    def _made(self, subset: Members) -> ILoadBalancer:
        return OneHost() if subset.is_single else self._make()

    def pick(self, context: Any) -> Host | None:
        """A host of the subset that is asked for, or of what is fallen back to; `None` where there
        is none.
        """
        for balancer, counter in self._ways(context):
            host: Host | None = None if balancer is None else balancer.pick(context)
            if counter is not None and (host is not None or counter is self._selected):
                counter.tally += 1
            if host is not None:
                return host
        return None

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose, in the order in which subsets are asked."""
        for balancer in (balancer for balancer, _ in self._ways(context) if balancer is not None):
            yield from balancer.candidates(context)

    def _ways(self, context: Any) -> Iterator[Way]:
        """Whom to ask, one after the other until one has a host."""
        match: Criteria = (None if context is None else context.metadata_match) or {}
        if not self._uses_list or FALLBACK_LIST not in match:
            yield from self._ways_of(match)
            return
        common = {name: value for name, value in match.items() if name != FALLBACK_LIST}
        for each in members(match[FALLBACK_LIST]) or (None,):
            yield from self._ways_of({**common, **content(each)})

    def _ways_of(self, match: Criteria) -> Iterator[Way]:
        if self._redundant_keys:
            match = self._reduced(match)
        subset = self._subsets.get(frozenset(match.items()))
        selector = self._by_keys.get(frozenset(match))
        if subset is not None:
            yield subset, self._selected
        elif selector is None or selector.fallback == "NOT_DEFINED":
            yield self._fallback, self._fallen_back
            if self._panics and self._fallback is not None:
                yield self._any, self._panicked
        elif selector.fallback == "ANY_ENDPOINT":
            yield self._any, None
        elif selector.fallback == "DEFAULT_SUBSET":
            yield self._default, None
        elif selector.fallback == "KEYS_SUBSET":
            yield from self._ways_of({name: match[name] for name in selector.fallback_keys})

    def _reduced(self, match: Criteria) -> Criteria:
        """Without the keys beyond those of the first selector that has all of its keys in it."""
        for selector in self._selectors:
            if selector.keys <= match.keys():
                return {name: match[name] for name in selector.keys}
        return match


def _selector(message: Any) -> Selector:
    fallback = message.LbSubsetSelectorFallbackPolicy.Name(message.fallback_policy)
    return Selector(
        frozenset(message.keys),
        fallback,
        frozenset(message.fallback_keys_subset),
        message.single_host_per_subset,
    )
