"""Circuit breakers: who may connect, who waits, and what the gauges say."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.circuit_breakers import Breakers
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.testing.served import ServedCluster
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.statuses import UNLIMITED, BreakerThresholds
from tests.mesh import Mesh, MeshTestCase, cluster_message, tcp_proxy


class BreakersTestCase(SynchronousTestCase):
    """A cluster whose circuit breakers are looked at."""

    def make(self, fields: str) -> Breakers:
        """The breakers of a cluster with these `circuit_breakers`, in YAML flow style."""
        self.store = Store()
        context = WorkerContext(MemoryNetwork(), self.store, lambda name: None, Random(1))
        message = cluster_message("c", [], f"circuit_breakers: {{{fields}}}")
        self.served = ServedCluster(message, context)
        self.cluster = self.served.cluster
        return self.cluster.breakers

    def gauge(self, name: str) -> int:
        """A gauge of the breakers."""
        self.cluster.collect()
        return values_of(self.store)[f"cluster.c.circuit_breakers.{name}"]


class ThresholdTests(BreakersTestCase):
    """Limits of the whole cluster."""

    def test_defaults(self) -> None:
        """Without a word 1024 connections and 1024 clients that wait, and no limit for each
        host.
        """
        breakers = self.make("")
        self.assertEqual(BreakerThresholds(1024, 1024, 1024, 3), breakers.default)
        self.assertIsNone(breakers.per_host)

    def test_priorities(self) -> None:
        """TCP goes by the DEFAULT thresholds; those of HIGH are only shown."""
        breakers = self.make(
            "thresholds: [{priority: HIGH, max_connections: 1}, {max_connections: 7, "
            "max_retries: 2}]"
        )
        self.assertEqual(7, breakers.max_connections)
        status = self.served.status()
        self.assertEqual(
            BreakerThresholds(max_connections=7, max_retries=2), status.default_priority
        )
        self.assertEqual(BreakerThresholds(max_connections=1), status.high_priority)

    def test_first_counts(self) -> None:
        """Of two thresholds for one priority the first counts."""
        self.assertEqual(
            3, self.make("thresholds: [{max_connections: 3}, {max_connections: 4}]").max_connections
        )

    def test_full(self) -> None:
        """The breaker is open as long as there are max_connections, and its gauge says so."""
        breakers = self.make("thresholds: [{max_connections: 2}]")
        seen = []
        for change in (1, 1, 1, -1, -1):
            breakers.connections.own += change
            seen.append((breakers.full, self.gauge("default.cx_open")))
        self.assertEqual([(False, 0), (True, 1), (True, 1), (True, 1), (False, 0)], seen)

    def test_pending(self) -> None:
        """No more than max_pending_requests may wait for their connection, and the gauge says
        so.
        """
        breakers = self.make("thresholds: [{max_pending_requests: 1}]")
        self.assertEqual((False, 0), (breakers.pending_full, self.gauge("default.rq_pending_open")))
        breakers.pending.own += 1
        self.assertEqual((True, 1), (breakers.pending_full, self.gauge("default.rq_pending_open")))

    def test_requests(self) -> None:
        """max_requests keeps no client of TCP out, but its gauge counts them."""
        breakers = self.make("thresholds: [{max_requests: 2}]")
        seen = []
        for _ in range(2):
            breakers.requests.own += 1
            seen.append(self.gauge("default.rq_open"))
        self.assertEqual(([0, 1], False), (seen, breakers.full))

    def test_none(self) -> None:
        """A limit of 0 lets nobody through; its gauge is 0, as in Envoy."""
        breakers = self.make("thresholds: [{max_connections: 0, max_pending_requests: 0}]")
        self.assertTrue(breakers.full and breakers.pending_full)
        self.assertEqual(
            (0, 0), (self.gauge("default.cx_open"), self.gauge("default.rq_pending_open"))
        )

    def test_remaining(self) -> None:
        """track_remaining shows what is left of each limit, never less than nothing."""
        breakers = self.make(
            "thresholds: [{max_connections: 2, max_pending_requests: 1, track_remaining: true}]"
        )
        names = (
            "remaining_cx",
            "remaining_pending",
            "remaining_rq",
            "remaining_retries",
            "remaining_cx_pools",
        )
        self.assertEqual(
            [2, 1, 1024, 3, UNLIMITED], [self.gauge(f"default.{name}") for name in names]
        )
        breakers.connections.own += 3
        breakers.pending.own += 1
        breakers.requests.own += 2
        self.assertEqual(
            [0, 0, 1022, 3, UNLIMITED], [self.gauge(f"default.{name}") for name in names]
        )

    def test_remaining_pools(self) -> None:
        """max_connection_pools, which limits nothing for TCP, is all left, as in Envoy."""
        breakers = self.make("thresholds: [{max_connection_pools: 2, track_remaining: true}]")
        breakers.connections.own += 3
        self.assertEqual(
            (2, 0), (self.gauge("default.remaining_cx_pools"), self.gauge("default.cx_pool_open"))
        )

    def test_remaining_of_high(self) -> None:
        """The HIGH priority, which TCP never uses, has all of its limits left."""
        breakers = self.make(
            "thresholds: [{priority: HIGH, max_connections: 2, track_remaining: true}]"
        )
        breakers.connections.own += 1
        self.assertEqual(2, self.gauge("high.remaining_cx"))

    def test_not_tracked(self) -> None:
        """Without track_remaining there are no such gauges."""
        self.make("")
        self.assertFalse([name for name in values_of(self.store) if "remaining" in name])


class PerHostTests(BreakersTestCase):
    """Limits of each host."""

    def allowed(self, fields: str, *connections: int) -> list[bool]:
        """Whether a host that has so many connections may have one more."""
        breakers = self.make(fields)
        host = Host(HostSpec(Address("127.0.0.1", 80)))
        seen = []
        for host.cx_active in connections:
            seen.append(breakers.allows(host))
        return seen

    def test_limit(self) -> None:
        """A host may have so many connections."""
        self.assertEqual(
            [True, True, False],
            self.allowed("per_host_thresholds: [{max_connections: 2}]", 0, 1, 2),
        )

    def test_limit_of_the_cluster(self) -> None:
        """Where the cluster has all that it may have, a host gets no more, whatever its own
        limit.
        """
        self.assertEqual([False], self.allowed("thresholds: [{max_connections: 0}]", 0))

    def test_other_priority(self) -> None:
        """A limit of the HIGH priority is none for TCP."""
        self.assertEqual(
            [True], self.allowed("per_host_thresholds: [{priority: HIGH, max_connections: 1}]", 9)
        )


class OwnCountTests(MeshTestCase):
    """Breakers go by what their own cluster has, whatever its statistics are called."""

    LIMIT = "circuit_breakers: {thresholds: [{max_connections: 1}]}"
    HOST = "127.0.0.2:80"

    def serve_both(self, one: str, other: str, more: str = "") -> None:
        """Two clusters with a limit of one connection each, and a listener for each."""
        self.mesh.upstream(self.HOST)
        for name, address in ((one, "127.0.0.1:1"), (other, "127.0.0.1:2")):
            self.mesh.add_cluster(name, self.HOST, more=f"{{{self.LIMIT}, {more}}}")
            self.mesh.add_listener(address, address, tcp_proxy(f"cluster: {name!r}"))
        self.mesh.listeners.start()

    def assert_separate(self, stats: str) -> None:
        """Each cluster has room for one client, and both are in these statistics."""
        ended = [self.mesh.connect(f"127.0.0.1:{port}").ended for port in (1, 2, 1, 2)]
        self.assertEqual([False, False, True, True], ended)
        moved = self.mesh.moved(stats)
        self.assertEqual(
            (2, 2, 1),
            (
                moved["upstream_cx_active"],
                moved["upstream_cx_overflow"],
                moved["circuit_breakers.default.cx_open"],
            ),
        )

    def test_similar_names(self) -> None:
        """Clusters whose names are the same in statistics share no breaker, as in Envoy."""
        self.serve_both("x:y", "x_y")
        self.assert_separate("cluster.x_y.")

    def test_one_stat_name(self) -> None:
        """Clusters with one `alt_stat_name` share no breaker, as in Envoy."""
        self.serve_both("a", "b", "alt_stat_name: s")
        self.assert_separate("cluster.s.")

    def test_replaced(self) -> None:
        """A cluster that takes the place of another has room for as many connections as its limit
        says, whoever is still connected by its predecessor, as in Envoy.
        """
        self.serve_both("a", "b")
        first = self.mesh.connect()
        self.mesh.add_cluster("a", self.HOST, more=f"{{{self.LIMIT}, connect_timeout: 9s}}")
        second, third = self.mesh.connect(), self.mesh.connect()
        self.assertEqual((False, False, True), (first.ended, second.ended, third.ended))
        self.assertEqual(2, self.mesh.stat("cluster.a.upstream_cx_active"))

    def test_reset(self) -> None:
        """What an operator does to the statistics changes no limit."""
        self.serve_both("a", "b")
        self.mesh.connect()
        self.mesh.store.reset_counters()
        self.assertTrue(self.mesh.connect().ended)

    def test_traffic(self) -> None:
        """Whether a cluster has had traffic is its own affair too: another one of its stat name
        gives it none, and its predecessor of the same name does.
        """
        self.serve_both("a", "b", "alt_stat_name: s")
        self.mesh.connect()
        self.mesh.add_cluster("a", self.HOST)

        found = [self.mesh.clusters.get(name) for name in ("a", "b")]
        self.assertEqual(
            [True, False], [each is not None and each.membership.is_used for each in found]
        )

    def test_several_workers(self) -> None:
        """Limits hold for all workers together: a client that another worker has leaves no room,
        and its end makes some.
        """
        mesh = Mesh(1, workers=2)
        mesh.upstream(self.HOST)
        mesh.add_cluster("c", self.HOST, more=f"{{{self.LIMIT}}}")
        mesh.serve()
        first, second = mesh.connect(), mesh.connect()
        self.assertEqual((False, True), (first.ended, second.ended))
        self.assertEqual(1, mesh.stat("cluster.c.circuit_breakers.default.cx_open"))
        first.transport.abortConnection()
        mesh.pump()
        self.assertEqual(0, mesh.stat("cluster.c.circuit_breakers.default.cx_open"))
        self.assertEqual([False, True], [mesh.connect().ended for _ in range(2)])
