"""CLUSTER_PROVIDED."""

from __future__ import annotations

from random import Random

from envoy.extensions.load_balancing_policies.cluster_provided.v3.cluster_provided_pb2 import (
    ClusterProvided as Message,
)

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.registry import Context, UnknownExtension
from tcpmesh.stats.store import Store
from tcpmesh.testing.balance import Balance
from tcpmesh.testing.memory.network import MemoryNetwork
from tests.mesh import cluster_message

NAME = f"type.googleapis.com/{Message.DESCRIPTOR.full_name}"
TYPED = (
    f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: x, "
    f'typed_config: {{"@type": {NAME}}}}}}}]}}'
)


class Fixed:
    """A balancer that a discovery might bring."""

    def pick(self, context: object) -> object:
        """Always the same."""
        return "fixed"

    def update(self, sets: object) -> None:
        """It has hosts of its own."""


class ClusterProvidedTests(SynchronousTestCase):
    """The policy."""

    def test_used(self) -> None:
        """The balancer of the discovery is used, whichever way it is asked for."""
        context = Context(MemoryNetwork(), Store(), lambda name: None, Random(1))
        for text in ("lb_policy: CLUSTER_PROVIDED", TYPED):
            cluster = Cluster(cluster_message("c", [], text), context, lambda context: Fixed())  # type: ignore[arg-type, return-value]
            self.assertEqual("fixed", cluster.pick(None))

    def test_none(self) -> None:
        """Where the discovery has none, the policy is not known."""
        context = Context(MemoryNetwork(), Store(), lambda name: None, Random(1))
        self.assertRaises(UnknownExtension, Cluster, cluster_message("c", [], TYPED), context)

    def test_refused(self) -> None:
        """A configuration that asks a STATIC cluster for its balancer is refused, whichever way it
        asks.
        """
        for text in ("lb_policy: CLUSTER_PROVIDED", TYPED):
            self.assertRaises(ConfigError, Balance, text, [])
