"""Tables that take long to build: `tcpmesh.cluster.balancing.hash_balancer`."""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing import hash_balancer
from tcpmesh.cluster.balancing.hash_balancer import AT_ONCE, Outdated
from tcpmesh.cluster.balancing.hash_tables import shares_of
from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.served import ServedCluster
from tests.mesh import cluster_message
from tests.picks import clients, cluster_of, hosts
from tests.turns import turn

HOSTS = tuple(f"10.0.0.{number}:80" for number in range(1, 6))
LARGE = "{lb_policy: MAGLEV, maglev_lb_config: {table_size: 65537}}"
SMALL = "{lb_policy: MAGLEV, maglev_lb_config: {table_size: 1009}}"


class BuildingTests(SynchronousTestCase):
    """Clusters whose hosts change."""

    def cluster(self, fields: str) -> None:
        """A cluster of all hosts."""
        self.network = MemoryNetwork()
        self.store = Store()
        self.fields = fields
        context = WorkerContext(self.network, self.store, lambda name: None, Random(1))
        self.served = ServedCluster(cluster_message("c", HOSTS, fields), context)
        self.made = self.served.cluster
        self.change(HOSTS)

    def change(self, addresses: tuple[str, ...]) -> None:
        """From now on the cluster has these hosts."""
        message = cluster_message("c", addresses, self.fields)
        self.served.update_hosts(assignment(message.load_assignment))
        self.made.pick(None)  # or the policy would not be told

    def picks(self) -> list[str]:
        """The hosts of many clients."""
        found = [self.made.pick(client) for client in clients(200)]
        return [str(host.address) for host in found if host is not None]

    def fresh(self, addresses: tuple[str, ...]) -> list[str]:
        """The hosts of these clients in a cluster that never had other hosts."""
        message = cluster_message("c", addresses, self.fields)
        cluster = cluster_of(message)
        found = [cluster.pick(client) for client in clients(200)]
        return [str(host.address) for host in found if host is not None]

    def test_in_steps(self) -> None:
        """A large table is built in many turns; meanwhile clients stay where they were, those of a
        host that has gone go to another, and in the end all are where they belong.
        """
        self.cluster(LARGE)
        before = self.picks()
        self.change(HOSTS[1:])
        meanwhile = self.picks()
        self.assertNotIn(HOSTS[0], meanwhile)
        for was, now in zip(before, meanwhile, strict=True):
            if was != HOSTS[0]:
                self.assertEqual(was, now)
        turns = 0
        while self.network.clock.getDelayedCalls():
            turn(self.network.clock)
            turns += 1
        self.assertGreater(turns, 0)
        self.assertEqual(self.fresh(HOSTS[1:]), self.picks())

    def test_small_ones(self) -> None:
        """A small table is there at once."""
        self.cluster(SMALL)
        self.change(HOSTS[1:])
        self.assertEqual([], self.network.clock.getDelayedCalls())
        self.assertEqual(self.fresh(HOSTS[1:]), self.picks())
        self.assertLess(1009, AT_ONCE)

    def test_changes_meanwhile(self) -> None:
        """Hosts that change while a table is being built are in the next one, and nobody is sent to
        one that has gone.
        """
        self.cluster(LARGE)
        for addresses in (HOSTS[1:], HOSTS[2:], HOSTS[1:4]):
            self.change(addresses)
            turn(self.network.clock)
            self.assertEqual(set(), set(self.picks()) - set(addresses))
        self.network.advance(0)
        self.assertEqual(self.fresh(HOSTS[1:4]), self.picks())

    def test_nobody_for_a_while(self) -> None:
        """Hosts that come back after all were gone are found by whoever asks, before their table is
        ready too.
        """
        self.cluster(LARGE)
        self.change(())
        self.assertEqual([], self.picks())
        self.change(HOSTS[:2])
        self.assertEqual(set(HOSTS[:2]), set(self.picks()))
        self.assertTrue(self.network.clock.getDelayedCalls())
        self.network.advance(0)
        self.assertEqual(self.fresh(HOSTS[:2]), self.picks())


class FirstTests(SynchronousTestCase):
    """Clusters that have no table yet."""

    def cluster(self, size: int) -> None:
        """A cluster with a Maglev table of so many places, and hosts."""
        self.network = MemoryNetwork()
        context = WorkerContext(self.network, Store(), lambda name: None, Random(1))
        fields = f"{{lb_policy: MAGLEV, maglev_lb_config: {{table_size: {size}}}}}"
        self.message = cluster_message("c", HOSTS, fields)
        self.served = ServedCluster(self.message, context)
        self.served.update_hosts(assignment(self.message.load_assignment))

    def picks(self, cluster: Any) -> list[str]:
        """The hosts of many clients."""
        return [str(cluster.pick(client).address) for client in clients(200)]

    def test_usual_size(self) -> None:
        """A table of the default size is there as soon as a client is."""
        self.cluster(65537)
        self.assertEqual(self.picks(cluster_of(self.message)), self.picks(self.served.cluster))
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_large(self) -> None:
        """A larger one is built in steps, and a proxy that begins can wait for it."""
        self.patch(hash_balancer, "FIRST_AT_ONCE", 5000)
        self.cluster(65537)
        ready = self.served.cluster.prepare()
        self.assertNoResult(ready)
        turn(self.network.clock)
        self.assertNoResult(ready)
        self.network.advance(0)
        self.successResultOf(ready)
        self.patch(hash_balancer, "FIRST_AT_ONCE", 1 << 17)
        self.assertEqual(self.picks(cluster_of(self.message)), self.picks(self.served.cluster))

    def test_clients_before(self) -> None:
        """Who comes before it is ready gets one of the hosts."""
        self.patch(hash_balancer, "FIRST_AT_ONCE", 5000)
        self.cluster(65537)
        self.assertEqual(set(HOSTS), set(self.picks(self.served.cluster)))


class OutdatedTests(SynchronousTestCase):
    """A table of other hosts than there are."""

    def test_no_table(self) -> None:
        """Before there is any table each host gets some clients."""
        members = hosts(3)
        table = Outdated(None, shares_of([(1.0, members)]))
        self.assertEqual(set(members), {table.choose(key) for key in range(9)})
        self.assertIsNone(Outdated(None, ()).choose(5))
