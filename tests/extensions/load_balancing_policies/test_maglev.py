"""MAGLEV in a cluster.  Its picks are compared with Envoy's in `tests.differential`; tables alone
in `test_tables`.
"""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.extensions.load_balancing_policies.maglev import MaglevPolicy
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tests.mesh import cluster_message
from tests.picks import Client, clients, cluster_of

HOSTS = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev"


def legacy(fields: str = "") -> str:
    """The cluster's own fields, in YAML."""
    return f"{{lb_policy: MAGLEV, {fields}}}"


def typed(fields: str = "") -> str:
    """The same as a typed policy."""
    policy = (
        f'{{typed_extension_config: {{name: table, typed_config: {{"@type": {TYPE}, {fields}}}}}}}'
    )
    return f"{{load_balancing_policy: {{policies: [{policy}]}}}}"


def addresses(cluster: Cluster) -> list[str]:
    """The hosts of many clients."""
    return [str(host and host.address) for host in map(cluster.pick, clients(200))]


class MaglevTests(SynchronousTestCase):
    """The policy over a few hosts."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        stats = ClusterStats(Store(), "c")
        context = PolicyContext(MemoryNetwork(), Store(), lambda name: None, stats=stats)
        verifyObject(ILoadBalancer, MaglevPolicy.from_cluster(cluster_message("c", HOSTS), context))

    def test_typed(self) -> None:
        """The typed policy is the same as the cluster's own fields, and the size of the table
        matters.
        """
        default = addresses(cluster_of(cluster_message("c", HOSTS, legacy())))
        small = addresses(
            cluster_of(cluster_message("c", HOSTS, legacy("maglev_lb_config: {table_size: 11}")))
        )
        self.assertEqual(default, addresses(cluster_of(cluster_message("c", HOSTS, typed()))))
        self.assertEqual(
            small, addresses(cluster_of(cluster_message("c", HOSTS, typed("table_size: 11"))))
        )
        self.assertNotEqual(default, small)

    def test_sizes(self) -> None:
        """The statistics say how many places a host has in a table of 65537, unless the table has
        another size.
        """
        store = Store()
        cluster_of(cluster_message("c", HOSTS, legacy()), store).pick(Client(1))
        self.assertEqual(21845, values_of(store)["cluster.c.maglev_lb.min_entries_per_host"])
        self.assertEqual(21846, values_of(store)["cluster.c.maglev_lb.max_entries_per_host"])

    def test_bound(self) -> None:
        """No host has more than its share times the balance factor, however popular a client is."""
        bound = "consistent_hashing_lb_config: {hash_balance_factor: 120}"
        for more in (legacy(f"common_lb_config: {{{bound}}}"), typed(bound)):
            cluster = cluster_of(cluster_message("c", HOSTS, more))
            for _ in range(90):
                host = cluster.pick(Client(7))
                assert host is not None
                host.rq_active += 1
                cluster.breakers.requests.own += 1
            self.assertEqual(37, max(host.rq_active for host in cluster.hosts))

    def test_attempted(self) -> None:
        """A client whose host was tried in vain gets another one."""
        cluster = cluster_of(cluster_message("c", HOSTS, legacy()))
        for client in clients(20):
            first = cluster.pick(client)
            assert first is not None
            client.attempted = (first,)
            second = cluster.pick(client)
            assert second is not None
            self.assertIsNot(first, second)
            client.attempted = (first, second)
            self.assertEqual(set(cluster.hosts), {first, second, cluster.pick(client)})
