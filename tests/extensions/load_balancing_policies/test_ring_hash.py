"""RING_HASH in a cluster.  Its picks are compared with Envoy's in `tests.differential`; rings alone
in `test_tables`.
"""

from __future__ import annotations

from collections import Counter

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.extensions.load_balancing_policies.ring_hash import RingHash
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tests.mesh import MeshTestCase, cluster_message
from tests.picks import Client, clients, cluster_of

HOSTS = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash"


def legacy(fields: str = "") -> str:
    """The cluster's own fields, in YAML."""
    return f"{{lb_policy: RING_HASH, {fields}}}"


def typed(fields: str = "") -> str:
    """The same as a typed policy."""
    policy = (
        f'{{typed_extension_config: {{name: ring, typed_config: {{"@type": {TYPE}, {fields}}}}}}}'
    )
    return f"{{load_balancing_policy: {{policies: [{policy}]}}}}"


def made(more: str, *hosts: str, store: Store | None = None) -> Cluster:
    """A cluster of these hosts."""
    return cluster_of(cluster_message("c", hosts or HOSTS, more), store)


def picks(cluster: Cluster, count: int = 300) -> list[Host | None]:
    """The hosts of so many clients."""
    return [cluster.pick(client) for client in clients(count)]


def addresses(cluster: Cluster, count: int = 300) -> list[str]:
    """The same by address."""
    return [str(host and host.address) for host in picks(cluster, count)]


class RingHashTests(SynchronousTestCase):
    """The policy over a few hosts."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        stats = ClusterStats(Store(), "c")
        context = PolicyContext(MemoryNetwork(), Store(), lambda name: None, stats=stats)
        verifyObject(ILoadBalancer, RingHash.from_cluster(cluster_message("c", HOSTS), context))

    def test_same_host(self) -> None:
        """A client gets the same host again, and from another proxy too."""
        cluster = made(legacy())
        self.assertEqual(picks(cluster), picks(cluster))
        self.assertEqual(addresses(cluster), addresses(made(legacy())))
        self.assertEqual(3, len(set(addresses(cluster))))

    def test_typed(self) -> None:
        """The typed policy is the same as the cluster's own fields."""
        for old, new in (
            ("", ""),
            ("ring_hash_lb_config: {hash_function: MURMUR_HASH_2}", "hash_function: MURMUR_HASH_2"),
            ("ring_hash_lb_config: {minimum_ring_size: 50}", "minimum_ring_size: 50"),
            (
                "ring_hash_lb_config: {minimum_ring_size: 5, maximum_ring_size: 7}",
                "minimum_ring_size: 5, maximum_ring_size: 7",
            ),
        ):
            self.assertEqual(addresses(made(legacy(old))), addresses(made(typed(new))))

    def test_sizes(self) -> None:
        """The statistics say how large the ring is."""
        store = Store()
        cluster = made(
            legacy("ring_hash_lb_config: {minimum_ring_size: 50, maximum_ring_size: 60}"),
            store=store,
        )
        cluster.pick(Client(1))
        names = ("size", "min_hashes_per_host", "max_hashes_per_host")
        self.assertEqual(
            [51, 17, 17], [values_of(store)[f"cluster.c.ring_hash_lb.{name}"] for name in names]
        )

    def test_no_hash(self) -> None:
        """A connection without a hash gets any host."""
        cluster = made(legacy())
        found = Counter(cluster.pick(Client()) for _ in range(600))
        self.assertEqual(3, len(found))
        self.assertTrue(all(120 < times < 280 for times in found.values()), found)

    def test_no_hosts(self) -> None:
        """Without hosts there is no pick."""
        self.assertIsNone(cluster_of(cluster_message("c", (), legacy())).pick(Client(1)))

    def test_attempted(self) -> None:
        """A client whose host was tried in vain gets another one, the same each time, and its own
        when all were tried.
        """
        cluster = made(legacy())
        for client in clients(20):
            tried: list[Host] = []
            for _ in HOSTS:
                client.attempted = tuple(tried)
                tried += [
                    host
                    for host in (cluster.pick(client), cluster.pick(client))
                    if host is not None and host not in tried
                ]
            self.assertEqual(set(cluster.hosts), set(tried))
            client.attempted = tuple(tried)
            self.assertIs(tried[0], cluster.pick(client))

    def test_bound(self) -> None:
        """No host has more than its share times the balance factor, however popular a client is."""
        bound = "consistent_hashing_lb_config: {hash_balance_factor: 150}"
        for more in (
            legacy(f"common_lb_config: {{{bound}}}"),
            typed(bound),
            typed("hash_balance_factor: 150"),
        ):
            cluster = made(more)
            for _ in range(90):
                host = cluster.pick(Client(7))
                assert host is not None
                host.rq_active += 1
                cluster.breakers.requests.own += 1
            self.assertEqual(90, sum(host.rq_active for host in cluster.hosts))
            self.assertEqual(46, max(host.rq_active for host in cluster.hosts))

    def test_localities_without_weights(self) -> None:
        """Chosen by the weights of localities, hosts get nothing where no locality has one."""
        for more in (
            legacy("common_lb_config: {locality_weighted_lb_config: {}}"),
            typed("locality_weighted_lb_config: {}"),
        ):
            self.assertEqual({None}, set(picks(made(more), 20)))

    def test_hostnames(self) -> None:
        """Hashed by hostname, hosts keep their clients when their addresses change."""
        names = "consistent_hashing_lb_config: {use_hostname_for_hashing: true}"
        for more in (
            legacy(f"common_lb_config: {{{names}}}"),
            typed(names),
            typed("use_hostname_for_hashing: true"),
        ):
            found = []
            for network in ("10.0.0", "10.0.1"):
                message = cluster_message(
                    "c", [f"{network}.{number}:80" for number in (1, 2, 3)], more
                )
                for number, entry in enumerate(message.load_assignment.endpoints[0].lb_endpoints):
                    entry.endpoint.hostname = f"{number}.test"
                found.append([host and host.spec.hostname for host in picks(cluster_of(message))])
            self.assertEqual(found[0], found[1])
            self.assertEqual({"0.test", "1.test", "2.test"}, set(found[0]))

    def test_unchanged_priority_is_kept(self) -> None:
        """A ring is built anew only where its own hosts have changed."""
        cluster = made(legacy())
        cluster.pick(Client(1))
        policy = cluster._balancer
        assert isinstance(policy, RingHash)
        before = policy._levels[0].built
        policy.update(cluster.sets)
        self.assertIs(before, policy._levels[0].built)
        cluster.hosts[0].weight = 2
        policy.update(cluster.sets)
        self.assertIsNot(before, policy._levels[0].built)


class ProxyTests(MeshTestCase):
    """The policy behind a listener."""

    def test_source_ip(self) -> None:
        """With hash_policy source_ip the clients of one address get one host, whatever their
        ports.
        """
        self.mesh.add_cluster("c", *HOSTS, more=legacy())
        upstreams = [self.mesh.upstream(host) for host in HOSTS]
        self.mesh.serve("cluster: c, hash_policy: [{source_ip: {}}]")
        for _ in range(6):
            self.mesh.connect()
        self.assertEqual([0, 0, 6], sorted(len(upstream.built) for upstream in upstreams))
