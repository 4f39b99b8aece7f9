"""Aggregate clusters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml
from envoy.extensions.clusters.aggregate.v3 import cluster_pb2
from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.policy import PolicyContext
from tcpmesh.cluster.hosts.stats import ClusterStats
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.extensions.clusters.aggregate import Aggregate
from tcpmesh.interfaces import IBringsBalancer, IDiscovery, ILoadBalancer
from tcpmesh.testing.mesh import Mesh
from tcpmesh.testing.upstreams import Named
from tcpmesh.values.runtime import Entry

PORTS = {name: number for number, name in enumerate("abcxyz", 8001)}
LISTENER = "127.0.0.1:10000"
TYPE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"
PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def static(name: str, hosts: str, **fields: Any) -> dict[str, Any]:
    """A cluster of hosts by their letters; capital letters are unhealthy."""
    endpoints = [
        {
            "endpoint": {
                "address": {
                    "socket_address": {"address": "127.0.0.1", "port_value": PORTS[host.lower()]}
                }
            },
            "health_status": "UNHEALTHY" if host.isupper() else "HEALTHY",
        }
        for host in hosts
    ]
    return {
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **fields,
    }


def mesh(
    *clusters: dict[str, Any], names: tuple[str, ...] = ("first", "second"), **fields: Any
) -> Mesh:
    """A proxy that sends its clients to the aggregate of these clusters."""
    config = {"@type": TYPE, "clusters": list(names)}
    both = {
        "name": "both",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": config},
        **fields,
    }
    proxy = {"@type": PROXY, "stat_prefix": "t", "cluster": "both", "max_connect_attempts": 3}
    listener = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
        "filter_chains": [{"filters": [{"name": "t", "typed_config": proxy}]}],
    }
    made = Mesh(
        yaml.safe_dump(
            {"static_resources": {"listeners": [listener], "clusters": [*clusters, both]}}
        )
    )
    for name, port in PORTS.items():
        if name != "c":
            made.upstream(f"127.0.0.1:{port}", Named(name))
    return made


def served(made: Mesh, times: int) -> dict[str, int]:
    """Which host greets each of so many clients."""
    return dict(Counter(made.connect(LISTENER).received.decode() for _ in range(times)))


class AggregateTests(SynchronousTestCase):
    """The cluster type."""

    def test_interfaces(self) -> None:
        """It is a discovery, and its class brings a load balancer."""
        made = mesh(static("first", "a"), static("second", "x"))
        discovery: Any = made.clusters._active["both"]._discovery
        verifyObject(IDiscovery, discovery)
        context = PolicyContext(
            made.network, made.store, made.cluster, stats=ClusterStats(made.store, "x")
        )
        verifyObject(IBringsBalancer, Aggregate)
        message = cluster_pb2.ClusterConfig(clusters=["first"])
        verifyObject(ILoadBalancer, Aggregate.balancer(None, message, context))

    def test_panic_of_the_runtime(self) -> None:
        """Its panic threshold is the runtime's, as of each connection."""
        made = mesh(static("first", "A"), static("second", "X"))
        balancer: Any = made.cluster("both")
        seen = []
        for number in (50.0, 0.0, 50.0):
            made.worker.context.runtime.update(
                {"upstream.healthy_panic_threshold": Entry("", number)}
            )
            seen.append(served(made, 40).keys())
            seen.append(balancer._balancer._load.panic)
        self.assertEqual(seen[:4], [{"a", "x"}, (True, True), {""}, (False, False)])
        self.assertEqual(seen[4:], seen[:2])

    def test_first_healthy(self) -> None:
        """All connections go to the first cluster, and are counted there, as long as it is
        healthy.
        """
        made = mesh(static("first", "ab"), static("second", "x"))
        self.assertEqual({"a": 5, "b": 5}, served(made, 10))
        stats = made.stats()
        self.assertEqual(
            [10, 0], [stats[f"cluster.{name}.upstream_cx_total"] for name in ("first", "both")]
        )

    def test_first_down(self) -> None:
        """Where the first is down they go to the second."""
        self.assertEqual({"x": 10}, served(mesh(static("first", "AB"), static("second", "x")), 10))

    def test_first_in_part(self) -> None:
        """Where half of the first is down it keeps 70 %, as a priority would."""
        counted = served(mesh(static("first", "aB"), static("second", "x")), 400)
        self.assertTrue(240 < counted["a"] < 320, counted)

    def test_cluster_not_there(self) -> None:
        """A name that no cluster has is passed over; without any cluster the client is closed."""
        self.assertEqual({"x": 4}, served(mesh(static("second", "x")), 4))
        made = mesh(names=("none",))
        self.assertEqual({"": 2}, served(made, 2))
        self.assertEqual(2, made.stats()["cluster.both.upstream_cx_none_healthy"])

    def test_clusters_without_hosts(self) -> None:
        """Clusters without hosts have no part in it: they are not asked in vain, and not in
        panic.
        """
        made = mesh(static("first", ""), static("second", ""))
        self.assertEqual({"": 2}, served(made, 2))
        self.assertEqual(0, made.stats()["cluster.first.lb_healthy_panic"])

    def test_attempts(self) -> None:
        """A host that cannot be connected to is not tried again while the same cluster or another
        has others.
        """
        self.assertEqual({"a": 4}, served(mesh(static("first", "ca"), static("second", "x")), 4))
        self.assertEqual({"x": 4}, served(mesh(static("first", "c"), static("second", "x")), 4))

    def test_breakers_of_the_chosen(self) -> None:
        """Where the cluster that serves is full, one connection is made for each host that has
        none, and further clients wait.
        """
        full = static("first", "a", circuit_breakers={"thresholds": [{"max_connections": 0}]})
        made = mesh(full, static("second", "x"))
        first, second = made.connect(LISTENER), made.connect(LISTENER)
        self.assertEqual([b"a", b""], [first.received, second.received])
        stats = made.stats()
        self.assertEqual(
            [2, 1],
            [
                stats[f"cluster.first.upstream_{name}"]
                for name in ("cx_overflow", "rq_pending_active")
            ],
        )
        self.assertEqual(1, stats["cluster.first.circuit_breakers.default.cx_open"])
        first.transport.loseConnection()
        made.pump()
        self.assertEqual(b"a", second.received)

    def test_made_before(self) -> None:
        """Who waits for a host that was not full before is served once one of its earlier clients
        is gone, whoever that is.
        """
        limited = static("first", "a", circuit_breakers={"thresholds": [{"max_connections": 2}]})
        made = mesh(limited, static("second", "x"))
        clients = [made.connect(LISTENER) for _ in range(4)]
        self.assertEqual([b"a", b"a", b"", b""], [client.received for client in clients])
        for leaving, served_next in ((1, 2), (0, 3)):
            clients[leaving].transport.loseConnection()
            made.pump()
            self.assertEqual(b"a", clients[served_next].received)
        for client in clients[2:]:
            client.transport.loseConnection()
        made.pump()
        stats = made.stats()
        self.assertEqual(
            [0, 4, 4],
            [
                stats[f"cluster.first.upstream_{name}"]
                for name in ("cx_active", "cx_total", "cx_destroy")
            ],
        )

    def test_made_before_at_another_host(self) -> None:
        """A host for which nobody has waited yet has a connection less, too, when one of its
        earlier clients is gone.
        """
        limited = static("first", "ab", circuit_breakers={"thresholds": [{"max_connections": 2}]})
        made = mesh(limited, static("second", "x"))
        clients = [made.connect(LISTENER) for _ in range(3)]
        first, other, last = (bytes(client.received) for client in clients)
        self.assertEqual(({b"a", b"b"}, b""), ({first, other}, last))
        clients[1].transport.loseConnection()
        made.pump()
        self.assertEqual(b"", clients[2].received)
        clients.append(made.connect(LISTENER))
        self.assertEqual(other, clients[3].received)
        for number in (0, 2, 3):
            clients[number].transport.loseConnection()
            made.pump()
        self.assertEqual(first, clients[2].received)
        cluster: Any = made.cluster("first")
        pools = cluster.pools
        self.assertEqual((0, 0, 0), (pools.active, pools.waiting, pools.provided))
        self.assertEqual(0, made.stats()["cluster.first.upstream_cx_active"])

    def test_own_breakers(self) -> None:
        """A client for whom the aggregate itself is full is closed."""
        made = mesh(static("first", "a"), circuit_breakers={"thresholds": [{"max_connections": 0}]})
        self.assertEqual({"": 2}, served(made, 2))
        self.assertEqual(2, made.stats()["cluster.both.upstream_cx_overflow"])

    def test_policy(self) -> None:
        """Another lb_policy than CLUSTER_PROVIDED is refused."""
        self.assertRaises(ConfigError, mesh, static("first", "a"), lb_policy="ROUND_ROBIN")
