"""The cluster type `envoy.clusters.aggregate`: several clusters as one, each used as far as those
before it fail.

The priorities of all its clusters, one cluster after the other, are as if they were the priorities
of one cluster.  The cluster that is chosen so picks the host, connects by its own settings and
counts the connection.

Different from Envoy's: which of its priorities a chosen cluster uses is its own decision, so its
degraded hosts are not kept for when the healthy hosts of all other clusters do not suffice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from envoy.extensions.clusters.aggregate.v3 import cluster_pb2
from zope.interface import implementer, provider

from twisted.internet.defer import Deferred, succeed

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.balancing.priority_load import PriorityLoad
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, HostSets
from tcpmesh.interfaces import IBringsBalancer, IDiscovery, ILoadBalancer
from tcpmesh.registry import MainContext, extension
from tcpmesh.values.hosts import Assignment


@extension(cluster_pb2.ClusterConfig)
@provider(IBringsBalancer)
class Aggregate:
    """Built from a `ClusterConfig`."""

    def __init__(self, message: Any, context: MainContext) -> None:
        """The names of its clusters are for its load balancer."""

    def discovery(self, cluster: Any) -> AggregateDiscovery:
        """What stands for the discovery of a `cluster.v3.Cluster` of this type."""
        return AggregateDiscovery()

    @staticmethod
    def balancer(message: Any, config: Any, context: PolicyContext) -> ILoadBalancer:
        """The load balancer of a cluster with this `ClusterConfig`."""
        return AggregateBalancer(tuple(config.clusters), context)


@implementer(IDiscovery)
class AggregateDiscovery:
    """No hosts of its own."""

    dropped_hosts_stay = False

    def __init__(self) -> None:
        self.warm: Deferred[None] = succeed(None)

    def start(self, found: Callable[[Assignment], object]) -> None:
        """There is nothing to find."""

    def stop(self) -> None:
        """There is nothing to stop."""


@implementer(ILoadBalancer)
class AggregateBalancer:
    """Chooses a cluster, and has it pick."""

    def __init__(self, names: tuple[str, ...], context: PolicyContext) -> None:
        self._names = names
        self._context = context
        self._known: tuple[HostSets, ...] | None = None
        self._owners: dict[HostSet, Any] = {}
        self._load = PriorityLoad(HostSets())

    def update(self, sets: HostSets) -> None:
        """The cluster itself has no hosts, but its panic threshold may have changed."""
        self._known = None

    def pick(self, context: Any) -> Host | None:
        """A host of one of the clusters, or `None`."""
        self._look()
        key = getattr(context, "hash", None)
        chosen = self._load.choose(self._context.random.getrandbits(32) if key is None else key)
        host: Host | None = self._owners[chosen[0]].pick(context) if chosen is not None else None
        return host

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts of all clusters, in the order of the clusters."""
        for cluster in dict.fromkeys(self._owners.values()):
            yield from cluster.candidates(context)

    def _look(self) -> None:
        """See how the clusters are now: they come, go and change on their own."""
        found = [
            cluster for cluster in map(self._context.cluster, self._names) if cluster is not None
        ]
        clusters: list[Any] = list(found)
        known = tuple(cluster.sets for cluster in clusters)
        if known != self._known:
            self._known = known
            self._owners = {
                each: cluster for cluster in clusters for each in cluster.sets.sets if each.hosts
            }
            factor = known[0].overprovisioning_factor if known else 140
            sets = HostSets(tuple(self._owners), factor)
            self._load = PriorityLoad(sets, self._context.panic_threshold)
