"""Circuit breakers: who may connect, who waits, and what the gauges say."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.breakers import UNLIMITED, Breakers
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.host import Host, HostSpec
from tcpmesh.cluster.status import BreakerThresholds
from tcpmesh.net.address import Address
from tcpmesh.registry import Context
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory import MemoryNetwork
from tests.mesh import cluster_message, values_of


class Waiting:
    """A client that waits; it takes a connection of the host when it may."""

    def __init__(self, host: Host, name: str, order: list[str]) -> None:
        self._host, self._name, self._order = host, name, order

    def host_freed(self) -> None:
        """Connect."""
        self._order.append(self._name)
        self._host.cx_active += 1


class BreakersTestCase(SynchronousTestCase):
    """A cluster whose circuit breakers are looked at."""

    def make(self, fields: str) -> Breakers:
        """The breakers of a cluster with these `circuit_breakers`, in YAML flow style."""
        self.store = Store()
        context = Context(MemoryNetwork(), self.store, lambda name: None, Random(1))
        self.cluster = Cluster(cluster_message("c", [], f"circuit_breakers: {{{fields}}}"), context)
        return self.cluster.breakers

    def gauge(self, name: str) -> int:
        """A gauge of the breakers."""
        self.cluster.collect()
        return values_of(self.store)[f"cluster.c.circuit_breakers.{name}"]


class ThresholdTests(BreakersTestCase):
    """Limits of the whole cluster."""

    def test_defaults(self) -> None:
        """Without a word 1024 connections and 1024 clients that wait, and no limit for each host."""
        breakers = self.make("")
        self.assertEqual(BreakerThresholds(1024, 1024, 1024, 3), breakers.default)
        self.assertIsNone(breakers.per_host)

    def test_priorities(self) -> None:
        """TCP goes by the DEFAULT thresholds; those of HIGH are only shown."""
        breakers = self.make("thresholds: [{priority: HIGH, max_connections: 1}, {max_connections: 7, max_retries: 2}]")
        self.assertEqual(7, breakers.max_connections)
        status = self.cluster.status()
        self.assertEqual(BreakerThresholds(max_connections=7, max_retries=2), status.default_priority)
        self.assertEqual(BreakerThresholds(max_connections=1), status.high_priority)

    def test_first_counts(self) -> None:
        """Of two thresholds for one priority the first counts."""
        self.assertEqual(3, self.make("thresholds: [{max_connections: 3}, {max_connections: 4}]").max_connections)

    def test_full(self) -> None:
        """The breaker is open as long as there are max_connections, and its gauge says so."""
        breakers = self.make("thresholds: [{max_connections: 2}]")
        seen = []
        for change in (1, 1, 1, -1, -1):
            self.cluster.stats.cx_active.add(change)
            seen.append((breakers.full, self.gauge("default.cx_open")))
        self.assertEqual([(False, 0), (True, 1), (True, 1), (True, 1), (False, 0)], seen)

    def test_pending(self) -> None:
        """No more than max_pending_requests may wait for their connection, and the gauge says so."""
        breakers = self.make("thresholds: [{max_pending_requests: 1}]")
        self.assertEqual((False, 0), (breakers.pending_full, self.gauge("default.rq_pending_open")))
        self.cluster.stats.rq_pending_active.add(1)
        self.assertEqual((True, 1), (breakers.pending_full, self.gauge("default.rq_pending_open")))

    def test_none(self) -> None:
        """A limit of 0 lets nobody through; its gauge is 0, as in Envoy."""
        breakers = self.make("thresholds: [{max_connections: 0, max_pending_requests: 0}]")
        self.assertTrue(breakers.full and breakers.pending_full)
        self.assertEqual((0, 0), (self.gauge("default.cx_open"), self.gauge("default.rq_pending_open")))

    def test_remaining(self) -> None:
        """track_remaining shows what is left of each limit, never less than nothing."""
        self.make("thresholds: [{max_connections: 2, max_pending_requests: 1, track_remaining: true}]")
        names = ("remaining_cx", "remaining_pending", "remaining_rq", "remaining_retries", "remaining_cx_pools")
        self.assertEqual([2, 1, 1024, 3, UNLIMITED], [self.gauge(f"default.{name}") for name in names])
        self.cluster.stats.cx_active.add(3)
        self.cluster.stats.rq_pending_active.add(1)
        self.assertEqual([0, 0, 1024, 3, UNLIMITED], [self.gauge(f"default.{name}") for name in names])

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

    def setUp(self) -> None:
        """A host."""
        self.host = Host(HostSpec(Address("127.0.0.1", 80)))
        self.order: list[str] = []

    def waiter(self, name: str) -> Waiting:
        """A client of the host."""
        return Waiting(self.host, name, self.order)

    def test_limit(self) -> None:
        """A host may have so many connections."""
        breakers = self.make("per_host_thresholds: [{max_connections: 2}]")
        seen = []
        for self.host.cx_active in (0, 1, 2):
            seen.append(breakers.allows(self.host))
        self.assertEqual([True, True, False], seen)

    def test_first_is_always_allowed(self) -> None:
        """A host without a connection may always get one, for nothing would wake up those who wait for it."""
        self.assertTrue(self.make("per_host_thresholds: [{max_connections: 0}]").allows(self.host))

    def test_other_priority(self) -> None:
        """A limit of the HIGH priority is none for TCP."""
        self.host.cx_active = 9
        self.assertTrue(self.make("per_host_thresholds: [{priority: HIGH, max_connections: 1}]").allows(self.host))

    def test_served_in_order(self) -> None:
        """Who waits longest is the first to go on, and each connection that ends lets one of them."""
        breakers = self.make("per_host_thresholds: [{max_connections: 1}]")
        self.host.cx_active = 1
        for name in "abc":
            breakers.wait(self.host, self.waiter(name))
        for expected in ("a", "ab", "abc"):
            self.host.cx_active -= 1
            breakers.freed(self.host)
            self.assertEqual(expected, "".join(self.order))
        self.assertEqual({}, breakers.waiting)

    def test_not_yet(self) -> None:
        """As long as the host has as many connections as it may, nobody goes on."""
        breakers = self.make("per_host_thresholds: [{max_connections: 1}]")
        breakers.wait(self.host, self.waiter("a"))
        self.host.cx_active = 1
        breakers.freed(self.host)
        self.assertEqual([], self.order)

    def test_leaving(self) -> None:
        """Who leaves is not woken, and is told whether it had waited."""
        breakers = self.make("per_host_thresholds: [{max_connections: 1}]")
        first, second = self.waiter("a"), self.waiter("b")
        breakers.wait(self.host, first)
        self.assertEqual([True, False, False], [breakers.leave(self.host, each) for each in (first, first, second)])
        self.assertEqual({}, breakers.waiting)
        breakers.freed(self.host)
        self.assertEqual([], self.order)
