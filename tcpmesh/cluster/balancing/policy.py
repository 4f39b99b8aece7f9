"""How a cluster comes to its load-balancing policy, and what every policy may use of its cluster.

A configuration names a policy in one of two ways: `lb_policy`, an enum with settings spread over
the cluster's message, or `load_balancing_policy`, a list of typed extensions of which the first one
known is taken.  The first way is turned into the message of the second, so each policy reads one
message only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Any

from envoy.extensions.load_balancing_policies.common.v3.common_pb2 import (
    LocalityLbConfig,
    SlowStartConfig,
)

from twisted.internet.defer import Deferred, DeferredList

from tcpmesh.cluster.balancing.priority_load import PANIC_THRESHOLD, PriorityLoad
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSets
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import UnknownExtension, WorkerContext, build, find_value
from tcpmesh.values.hosts import HostSpec, Locality
from tcpmesh.values.shared.counts import LocalCount, SharedCount


class FirstTables:
    """The tables of a cluster that are being built, and before which there were none: those that a
    client would have to do without.
    """

    def __init__(self) -> None:
        self._building: list[Deferred[None]] = []

    def add(self, built: Deferred[None]) -> None:
        """One is being built until then."""
        self._building.append(built)

    def built(self) -> Deferred[Any]:
        """Fires when none is being built any more of those there are now."""
        building, self._building = self._building, []
        return DeferredList(building)


RUNTIME_PREFIX = "upstream."
"""Of the runtime keys that load balancers go by; with a change of one they are updated."""

PANIC_KEY = "upstream.healthy_panic_threshold"


@dataclass(frozen=True, kw_only=True)
class PolicyContext(WorkerContext):
    """What a policy may use: the server's context, and what it needs to know of its cluster."""

    stats: ClusterStats
    requests: SharedCount = field(default_factory=LocalCount)
    """Connections of the cluster that have a client."""

    configured_panic_threshold: int = PANIC_THRESHOLD
    """Percent."""

    locality_weighted: bool = False
    """Whether a policy around this one wants localities chosen by weight, whatever the policy's own
    message says.
    """

    provided: Callable[[PolicyContext], ILoadBalancer] | None = None
    """Makes the balancer that the cluster's type brings along (CLUSTER_PROVIDED)."""

    host_for: Callable[[HostSpec], Host] | None = None
    """The cluster's host for this, which may be known to nobody before: for a policy that takes
    what a connection names.
    """

    first_tables: FirstTables = field(default_factory=FirstTables)
    """Where a policy enters what it builds before its first pick, if that takes long."""

    @property
    def panic_threshold(self) -> int:
        """Percent, as of now: the runtime's goes before the configured one."""
        return min(100, self.runtime.integer(PANIC_KEY, self.configured_panic_threshold))

    @property
    def locality(self) -> Locality | None:
        """Where this proxy runs (`node.locality`), or `None` where that is not configured."""
        node = self.node
        if node is None or not node.HasField("locality"):
            return None
        return Locality(node.locality.region, node.locality.zone, node.locality.sub_zone)


def balancer(message: Any, context: PolicyContext) -> ILoadBalancer:
    """The policy of a `cluster.v3.Cluster`.

    :raise UnknownExtension: where there is no module for it.
    """
    if message.HasField("load_balancing_policy"):
        return first_known(message.load_balancing_policy, context)
    if message.lb_subset_config.subset_selectors:
        made: ILoadBalancer = find_value("load_balancing_policies", "SUBSET").from_cluster(
            message, context
        )
        return made
    return policy_of_enum(message, context)


def policy_of_enum(message: Any, context: PolicyContext) -> ILoadBalancer:
    """The policy that `lb_policy` names, over all hosts or over those of one subset.

    :raise UnknownExtension: where there is no module for it.
    """
    name = message.LbPolicy.Name(message.lb_policy)
    made: ILoadBalancer = find_value("load_balancing_policies", name).from_cluster(message, context)
    return made


def first_known(policy: Any, context: PolicyContext) -> ILoadBalancer:
    """The first policy of a `cluster.v3.LoadBalancingPolicy` that we have a module for.

    :raise UnknownExtension: where we have none for any of them.
    """
    for each in policy.policies:
        try:
            made: ILoadBalancer = build(each.typed_extension_config.typed_config, context)
        except UnknownExtension:
            continue
        return made
    raise UnknownExtension("load_balancing_policy names no policy that is known")


def panic_threshold(message: Any) -> int:
    """Percent, to the nearest whole one, of a `cluster.v3.Cluster`."""
    common = message.common_lb_config
    if not common.HasField("healthy_panic_threshold"):
        return PANIC_THRESHOLD
    return int(common.healthy_panic_threshold.value + 0.5)


def locality_config(message: Any) -> Any:
    """What `common_lb_config` of a cluster says of localities, as a `LocalityLbConfig`, or
    `None`.
    """
    common = message.common_lb_config
    kind = common.WhichOneof("locality_config_specifier")
    if kind is None:
        return None
    made = LocalityLbConfig()
    # The two messages give the same numbers to the same fields.
    getattr(made, kind).MergeFromString(getattr(common, kind).SerializeToString())
    getattr(made, kind).SetInParent()
    return made


def slow_start_config(config: Any) -> Any:
    """The `SlowStartConfig` of a cluster's `round_robin_lb_config` or `least_request_lb_config`, or
    `None`.
    """
    if not config.HasField("slow_start_config"):
        return None
    return SlowStartConfig.FromString(config.slow_start_config.SerializeToString())


def candidates(sets: HostSets, load: PriorityLoad) -> Iterator[Host]:
    """All hosts that a pick may choose, the better ones first: those of a priority in panic, the
    healthy, the degraded.
    """
    for host_set, panic in zip(sets.sets, load.panic, strict=True):
        yield from host_set.hosts if panic else host_set.healthy
    for host_set in sets.sets:
        yield from host_set.degraded
