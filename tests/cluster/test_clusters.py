"""The clusters of a worker: what main says of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.clusters import Clusters
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.hosts import Assignment
from tcpmesh.values.link import (
    AddCluster,
    AskHostNumbers,
    AskRates,
    Cleanup,
    ClusterEnded,
    ClusterRefused,
    Flags,
    HostNumbers,
    Hosts,
    Rates,
    Rebalance,
    Refusal,
    RemoveCluster,
    ServeCluster,
    ToMain,
    ToWorker,
)
from tests.mesh import cluster_message


class ClustersTests(SynchronousTestCase):
    """A worker's clusters alone."""

    def setUp(self) -> None:
        """None yet."""
        self.store = Store()
        self.told: list[ToMain] = []
        context = WorkerContext(MemoryNetwork(), self.store, lambda name: None)
        self.clusters = Clusters(context, self.told.append)

    def receive(self, *messages: ToWorker) -> None:
        """Main says this."""
        for message in messages:
            self.clusters.receivers[type(message)](message)

    def test_found_when_served(self) -> None:
        """A cluster is built first, and found by its name when it is to be served."""
        self.receive(AddCluster(1, cluster_message("c", [])))
        self.assertIsNone(self.clusters.get("c"))
        self.receive(ServeCluster(1))
        found = self.clusters.get("c")
        self.assertEqual(1, found and found.number)

    def test_successor(self) -> None:
        """A cluster that is served takes the place of the one of its name, of which nothing is
        left.
        """
        for number in (1, 2):
            self.receive(AddCluster(number, cluster_message("c", [])), ServeCluster(number))
        self.assertEqual([ClusterEnded(1)], self.told)
        found = self.clusters.get("c")
        self.assertEqual(2, found and found.number)

    def test_removed(self) -> None:
        """One that is removed is found no more; without connections it has ended at once."""
        self.receive(AddCluster(1, cluster_message("c", [])), ServeCluster(1), RemoveCluster(1))
        self.assertIsNone(self.clusters.get("c"))
        self.assertEqual([ClusterEnded(1)], self.told)
        self.assertEqual([], [name for name in values_of(self.store) if ".c." in name])

    def test_refused(self) -> None:
        """One that cannot be built is refused, with the reason."""
        message = cluster_message("c", [], "lb_policy: CLUSTER_PROVIDED")
        self.receive(AddCluster(1, message))
        reason = "the cluster provides no load balancer"
        self.assertEqual([ClusterRefused(1, Refusal.UNKNOWN, reason)], self.told)

    def test_late(self) -> None:
        """What main says of a cluster before it hears that the cluster has ended does nothing, and
        what it asks has an empty answer.
        """
        self.receive(
            Hosts(1, (), (), Assignment()),
            Flags(1, 1, 1),
            Rebalance(1),
            Cleanup(1),
            AskRates(1),
            AskHostNumbers(1),
        )
        self.assertEqual([Rates(1, ()), HostNumbers(1, ())], self.told)
