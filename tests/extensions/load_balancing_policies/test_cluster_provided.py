"""CLUSTER_PROVIDED."""

from __future__ import annotations

from random import Random
from typing import Any

from envoy.extensions.load_balancing_policies.cluster_provided.v3.cluster_provided_pb2 import (
    ClusterProvided as Message,
)
from zope.interface import implementer, provider

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster import cluster
from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.interfaces import IBringsBalancer, ILoadBalancer
from tcpmesh.registry import UnknownExtension, WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.balance import Balance
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.mesh import cluster_message

NAME = f"type.googleapis.com/{Message.DESCRIPTOR.full_name}"
TYPED = (
    f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: x, "
    f'typed_config: {{"@type": {NAME}}}}}}}]}}'
)


@implementer(ILoadBalancer)
class Fixed:
    """A balancer that a cluster type might bring."""

    def pick(self, context: Any) -> Any:
        """Always the same."""
        return "fixed"

    def update(self, sets: Any) -> None:
        """It has hosts of its own."""

    def candidates(self, context: Any) -> Any:
        """None but that one."""


@provider(IBringsBalancer)
class Bringing:
    """A cluster type with a balancer."""

    @staticmethod
    def balancer(message: Any, config: Any, context: PolicyContext) -> ILoadBalancer:
        """The same for all."""
        return Fixed()


class ClusterProvidedTests(SynchronousTestCase):
    """The policy."""

    def make(self, text: str) -> Cluster:
        """A cluster with these fields."""
        context = WorkerContext(MemoryNetwork(), Store(), lambda name: None, Random(1))
        return Cluster(cluster_message("c", [], text), context)

    def test_used(self) -> None:
        """The balancer of the cluster's type is used, whichever way it is asked for."""
        self.patch(cluster, "cluster_type", lambda message: (Bringing, None))
        for text in ("lb_policy: CLUSTER_PROVIDED", TYPED):
            self.assertEqual("fixed", self.make(text).pick(None))

    def test_none(self) -> None:
        """Where the type has none, the policy is not known."""
        self.assertRaises(UnknownExtension, self.make, TYPED)

    def test_refused(self) -> None:
        """A configuration that asks a STATIC cluster for its balancer is refused, whichever way it
        asks.
        """
        for text in ("lb_policy: CLUSTER_PROVIDED", TYPED):
            self.assertRaises(ConfigError, Balance, text, [])
