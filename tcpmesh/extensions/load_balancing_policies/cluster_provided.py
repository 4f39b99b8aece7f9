"""CLUSTER_PROVIDED: the type of the cluster brings its own load balancer, as ORIGINAL_DST does."""

from __future__ import annotations

from typing import Any

from envoy.extensions.load_balancing_policies.cluster_provided.v3 import cluster_provided_pb2

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.registry import UnknownExtension, enum_value, extension


@extension(cluster_provided_pb2.ClusterProvided)
@enum_value("load_balancing_policies", "CLUSTER_PROVIDED")
class ClusterProvided:
    """Hands the balancer on."""

    def __new__(cls, message: Any, context: PolicyContext) -> ILoadBalancer:  # type: ignore[misc]
        """The balancer of the cluster type.

        :raise UnknownExtension: where it has none.
        """
        if context.provided is None:
            raise UnknownExtension("the cluster provides no load balancer")
        return context.provided(context)

    @classmethod
    def from_cluster(cls, message: Any, context: PolicyContext) -> ILoadBalancer:
        """The balancer as a cluster's `lb_policy` asks for it."""
        return cls(message, context)
