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
from tests.mesh import cluster_message


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
            self.cluster.stats.cx_active.add(change)
            seen.append((breakers.full, self.gauge("default.cx_open")))
        self.assertEqual([(False, 0), (True, 1), (True, 1), (True, 1), (False, 0)], seen)

    def test_pending(self) -> None:
        """No more than max_pending_requests may wait for their connection, and the gauge says
        so.
        """
        breakers = self.make("thresholds: [{max_pending_requests: 1}]")
        self.assertEqual((False, 0), (breakers.pending_full, self.gauge("default.rq_pending_open")))
        self.cluster.stats.rq_pending_active.add(1)
        self.assertEqual((True, 1), (breakers.pending_full, self.gauge("default.rq_pending_open")))

    def test_requests(self) -> None:
        """max_requests keeps no client of TCP out, but its gauge counts them."""
        breakers = self.make("thresholds: [{max_requests: 2}]")
        seen = []
        for _ in range(2):
            self.cluster.stats.rq_active.add(1)
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
        self.make(
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
        self.cluster.stats.cx_active.add(3)
        self.cluster.stats.rq_pending_active.add(1)
        self.cluster.stats.rq_active.add(2)
        self.assertEqual(
            [0, 0, 1022, 3, UNLIMITED], [self.gauge(f"default.{name}") for name in names]
        )

    def test_remaining_pools(self) -> None:
        """max_connection_pools, which limits nothing for TCP, is all left, as in Envoy."""
        self.make("thresholds: [{max_connection_pools: 2, track_remaining: true}]")
        self.cluster.stats.cx_active.add(3)
        self.assertEqual(
            (2, 0), (self.gauge("default.remaining_cx_pools"), self.gauge("default.cx_pool_open"))
        )

    def test_remaining_of_high(self) -> None:
        """The HIGH priority, which TCP never uses, has all of its limits left."""
        self.make("thresholds: [{priority: HIGH, max_connections: 2, track_remaining: true}]")
        self.cluster.stats.cx_active.add(1)
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
