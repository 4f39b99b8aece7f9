"""What an operator does with clusters and their hosts while traffic flows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.upstream import pause
from tcpmesh.testing.mesh import Mesh
from tcpmesh.values.address import Address
from tcpmesh.values.statuses import HostStatus, NotPossible, NotThere
from tests.connection.live.test_rows import answer, closes, rows

CONFIG = """
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: CLUSTER
          max_downstream_connection_duration: 300s
  clusters:
  - name: db
    connect_timeout: 3s
    load_assignment:
      cluster_name: db
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8081}}}
  - name: both
    lb_policy: CLUSTER_PROVIDED
    cluster_type:
      name: aggregate
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig
        clusters: [db]
  - name: wanted
    type: ORIGINAL_DST
    lb_policy: CLUSTER_PROVIDED
"""

ONE, OTHER = "127.0.0.1:8080", "127.0.0.1:8081"


class SteeringTestCase(SynchronousTestCase):
    """A proxy with a cluster of two hosts."""

    def setUp(self) -> None:
        """It is there."""
        self.begin("db")

    def begin(self, cluster: str) -> None:
        """The proxy sends its clients to this cluster."""
        self.mesh = Mesh(CONFIG.replace("CLUSTER\n", f"{cluster}\n"))
        self.hosts = [self.mesh.upstream(each) for each in (ONE, OTHER)]
        self.steering = self.mesh.main.steering

    def connect(self, count: int = 1) -> list[Any]:
        """So many clients."""
        return [self.mesh.connect("127.0.0.1:10000") for _ in range(count)]

    def served(self) -> list[int]:
        """How many connections each host was given."""
        return [len(each.built) for each in self.hosts]


class DrainTests(SteeringTestCase):
    """Hosts that are to get no new connections."""

    def status(self, address: str) -> HostStatus:
        """How a host is shown."""
        (cluster,) = [each for each in self.mesh.main.cluster_statuses() if each.name == "db"]
        return next(host for host in cluster.hosts if host.address == address)

    def test_drained(self) -> None:
        """A drained host gets no new connections at once, keeps those that it has, and is shown so;
        enabled, it gets some again.
        """
        clients = self.connect(4)
        self.assertEqual([2, 2], self.served())
        self.assertEqual(1, self.steering.drain_host("db", ONE, True))
        self.connect(4)
        self.assertEqual([2, 6], self.served())
        self.assertFalse(any(each.ended for each in clients))
        status = self.status(ONE)
        self.assertEqual(
            (("drained_by_operator",), "DRAINING", "UNHEALTHY"),
            (status.health_flags, status.eds_health_status, status.health),
        )
        self.assertEqual(1, self.mesh.stat("cluster.db.membership_healthy"))
        self.steering.drain_host("db", ONE, False)
        self.connect(4)
        self.assertEqual([4, 8], self.served())
        self.assertEqual((), self.status(ONE).health_flags)

    def test_all(self) -> None:
        """Where all hosts are drained nobody gets one, not even in panic, and is told why."""
        for each in (ONE, OTHER):
            self.steering.drain_host("db", each, True)
        (client,) = self.connect()
        self.assertTrue(client.ended)
        self.assertEqual(
            "no host: all 2 of cluster db are drained by an operator", closes(self.mesh)[0].reason
        )

    def test_updates(self) -> None:
        """A host stays drained while discovery names its address, whatever else it says; one that
        has gone and comes back later is new.
        """
        self.steering.drain_host("db", ONE, True)
        entry = self.mesh.main.clusters.get("db")
        assert entry is not None
        specs = [host.spec for host in entry.membership.hosts.values()]
        update = entry._monitor.update_hosts
        assignment = entry.membership._assignment
        update(replace(assignment, hosts=tuple(replace(each, endpoint=7) for each in specs)))
        self.connect(2)
        self.assertEqual([0, 2], self.served())
        self.assertEqual(("drained_by_operator",), self.status(ONE).health_flags)
        update(replace(assignment, hosts=tuple(specs[1:])))
        update(assignment)
        self.assertEqual((), self.status(ONE).health_flags)
        self.mesh.advance(2)
        self.connect(2)
        self.assertEqual([1, 3], self.served())

    def test_refused(self) -> None:
        """A cluster or a host that is not there is told with names that are near; hosts that
        connections name cannot be drained.
        """
        for cluster, address, words in (
            ("bd", ONE, "there is no cluster bd"),
            ("dbs", ONE, "there is no cluster dbs; did you mean db?"),
            ("db", "127.0.0.1:8082", "has no host 127.0.0.1:8082; did you mean 127.0.0.1:808"),
            ("x" * 60_000, ONE, "there is no cluster xxx"),
        ):
            error = self.assertRaises(NotThere, self.steering.drain_host, cluster, address, True)
            self.assertIn(words, str(error))
            self.assertTrue(len(str(error)) < 300)
        self.assertRaises(NotPossible, self.steering.drain_host, "wanted", ONE, True)


class RebalanceTests(SteeringTestCase):
    """Clients that are to choose anew."""

    def test_oldest(self) -> None:
        """The oldest percent of a cluster's clients is closed gently, and of no other cluster."""
        clients = []
        for _ in range(10):
            clients += self.connect()
            self.mesh.advance(1)
        self.assertEqual(3, answer(self.mesh, self.steering.rebalance("db", 30)))
        self.mesh.pump()
        self.assertEqual([True] * 3 + [False] * 7, [each.ended for each in clients])
        self.assertEqual(0, answer(self.mesh, self.steering.rebalance("wanted", 30)))
        self.assertRaises(NotThere, self.steering.rebalance, "nope", 30)


class PauseTests(SteeringTestCase):
    """New connections that wait."""

    def test_waiting(self) -> None:
        """Clients wait while their cluster is paused, those there are go on, and then all are
        served, in order.
        """
        (before,) = self.connect()
        self.steering.pause("db", 30)
        waiting = self.connect(20)
        self.assertEqual(1, sum(self.served()))
        before.transport.write(b"x")
        self.mesh.pump()
        self.assertEqual({"connecting": 20, "relaying": 1}, self.phases())
        self.mesh.advance(29)
        self.assertEqual(1, sum(self.served()))
        self.mesh.advance(1.1)
        self.settle()
        self.assertEqual(21, sum(self.served()))
        self.assertFalse(any(each.ended for each in waiting))
        self.assertEqual({"relaying": 21}, self.phases())

    def phases(self) -> dict[str, int]:
        """How many connections are in each phase."""
        phases = [row.phase for row in rows(self.mesh)]
        return {each: phases.count(each) for each in phases}

    def settle(self) -> None:
        """Let some turns of the event loop pass."""
        for _ in range(20):
            self.mesh.advance(0)

    def test_shown(self) -> None:
        """How long new connections will wait is shown."""
        self.steering.pause("db", 30)
        self.mesh.advance(10)
        left = {each.name: each.paused_for for each in self.mesh.main.cluster_statuses()}
        self.assertEqual({"db": 20.0, "both": 0.0, "wanted": 0.0}, left)

    def test_ended_early(self) -> None:
        """A pause ends when an operator says so; one that is asked for again lasts from then on."""
        self.steering.pause("db", 30)
        self.connect()
        self.mesh.advance(20)
        self.steering.pause("db", 30)
        self.mesh.advance(20)
        self.assertEqual([0, 0], self.served())
        self.steering.pause("db", 0)
        self.settle()
        self.assertEqual(1, sum(self.served()))
        self.steering.pause("db", 0)
        self.connect()
        self.assertEqual(2, sum(self.served()))

    def test_timers(self) -> None:
        """A client that waits counts under its own timers, and connect_timeout begins only when it
        waits no more.
        """
        self.steering.pause("db", 400)
        (client,) = self.connect()
        self.mesh.advance(299)
        self.assertFalse(client.ended)
        self.mesh.advance(2)
        self.mesh.pump()
        self.assertTrue(client.ended)
        self.assertEqual(
            "max_downstream_connection_duration reached after 301.0 s", closes(self.mesh)[0].reason
        )
        (other,) = self.connect()
        self.mesh.advance(90)
        self.mesh.network.silent.update((Address("127.0.0.1", 8080), Address("127.0.0.1", 8081)))
        self.mesh.advance(10)
        self.settle()
        self.mesh.advance(2.5)
        self.assertFalse(other.ended)
        self.mesh.advance(1)
        self.mesh.pump()
        self.assertTrue(other.ended)

    def test_gone(self) -> None:
        """A client that has left while it waited is not connected for."""
        self.steering.pause("db", 30)
        clients = self.connect(3)
        asked = self.mesh.main.live.close((), 100)
        self.assertEqual(3, answer(self.mesh, asked))
        self.settle()
        self.assertTrue(all(each.ended for each in clients))
        self.steering.pause("db", 0)
        self.settle()
        self.assertEqual([0, 0], self.served())
        self.assertEqual(0, self.mesh.stat("tcp.tcp.downstream_cx_rx_bytes_buffered"))

    def test_aggregate(self) -> None:
        """Clients of an aggregate wait where it would send them."""
        self.begin("both")
        self.steering.pause("db", 30)
        self.connect()
        self.assertEqual([0, 0], self.served())
        self.mesh.advance(31)
        self.settle()
        self.assertEqual(1, sum(self.served()))

    def test_too_many(self) -> None:
        """More than can wait are refused by name."""
        self.patch(pause, "MOST_HELD", 2)
        self.steering.pause("db", 30)
        clients = self.connect(3)
        self.assertEqual([False, False, True], [each.ended for each in clients])
        (row,) = closes(self.mesh)
        self.assertEqual(
            ("UO", "circuit breaker of cluster db is open: too many wait for a pause to end"),
            (row.flags, row.reason),
        )

    def test_replaced(self) -> None:
        """Clients that wait for a cluster that is replaced, or removed, wait no more."""
        self.steering.pause("db", 30)
        self.connect()
        self.mesh.main.clusters.remove("db")
        self.settle()
        self.assertEqual("no cluster db", closes(self.mesh)[0].reason)

    def test_stopped(self) -> None:
        """A proxy that ends closes those that wait, and leaves no timer."""
        self.steering.pause("db", 30)
        (client,) = self.connect()
        self.mesh.main.stop()
        self.mesh.pump()
        self.mesh.network.stop()
        self.settle()
        self.assertTrue(client.ended)
        self.assertEqual([], self.mesh.network.clock.getDelayedCalls())
