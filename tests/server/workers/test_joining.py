"""A worker dies, and another one takes its place."""

from __future__ import annotations

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from twisted.internet.defer import Deferred

from tcpmesh.runtime.entries import entry_of_text
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.hosts import HealthFlag
from tcpmesh.values.link import (
    LogLevels,
    Start,
)
from tcpmesh.values.stream.live import ConnectionQuery
from tests.mesh import FRONT, Mesh, tcp_proxy
from tests.server.workers.several import HOST, OTHER, WorkersTestCase


class LostTests(WorkersTestCase):
    """A worker dies, and another one takes its place."""

    def setUp(self) -> None:
        """Clients are connected when one dies."""
        self.mesh = Mesh(1, workers=2)
        for host in (HOST, OTHER):
            self.mesh.upstream(host)
        self.begin("circuit_breakers: {thresholds: [{max_connections: 4}]}")
        self.clients = self.connect(4)
        self.mesh.stats()
        self.mesh.main.host_numbers()
        self.mesh.pump()
        self.mesh.workers[1].die()

    def test_gauges(self) -> None:
        """Its connections are counted no more, and what it has counted stays."""
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        self.assertEqual((4, 2), (stats["downstream_cx_total"], stats["downstream_cx_active"]))
        self.assertEqual(0, stats["worker_1.downstream_cx_active"])
        self.assertEqual(2, stats["worker_1.downstream_cx_total"])

    def test_limits(self) -> None:
        """What it had counted for limits of the whole proxy is 0, so others may use it."""
        self.assertEqual([False, False, True], [client.ended for client in self.connect(3)])

    def test_others(self) -> None:
        """The clients of the others notice nothing."""
        self.assertEqual(2, sum(client.ended for client in self.clients))

    def test_successor(self) -> None:
        """Another one serves in its place, as if it had always been there."""
        self.mesh.replace_worker(1)
        self.assertEqual([False, False, True], [client.ended for client in self.connect(3)])
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        self.assertEqual(7, stats["downstream_cx_total"])
        self.assertGreater(stats["worker_1.downstream_cx_total"], 2)

    def test_host_numbers(self) -> None:
        """What it has counted of hosts stays, but for its connections."""
        self.mesh.replace_worker(1)
        self.mesh.main.host_numbers()
        self.mesh.pump()
        (cluster,) = self.mesh.main.cluster_statuses()
        self.assertEqual(4, sum(host.counters["cx_total"] for host in cluster.hosts))
        self.assertEqual(2, sum(host.gauges["cx_active"] for host in cluster.hosts))

    def test_told_everything(self) -> None:
        """It is told all that there is: clusters with the health of their hosts and their pauses,
        what was replaced, log levels, drains.
        """
        mesh = self.mesh
        mesh.set_flags("c", HOST, HealthFlag.failed_active_hc)
        mesh.add_cluster("d", OTHER)
        mesh.main.steering.pause("d", 100)
        mesh.add_listener("l", FRONT, tcp_proxy("cluster: d"))
        mesh.main.set_log_levels({"connection": "info"})
        mesh.listeners.drain(DrainScope.ALL, False)
        mesh.listeners.fail_health_checks(True)
        mesh.replace_worker(1)
        worker = mesh.workers[1].worker
        cluster, other = worker.clusters.get("c"), worker.clusters.get("d")
        assert cluster is not None and other is not None
        failed = HealthFlag.failed_active_hc
        self.assertEqual([True, False], [failed in host.flags for host in cluster.hosts])
        self.assertIsNotNone(other.paused)
        self.assertEqual([LogLevels((("connection", "info"),))], self.told(LogLevels, 1))
        (listener,) = worker.listeners._listeners.values()
        self.assertTrue(listener.drain.is_due())

    def test_runtime(self) -> None:
        """It begins with the runtime values that hold."""
        self.mesh.main.layers.runtime.update({"k": entry_of_text("7")})
        self.mesh.replace_worker(1)
        runtime = self.mesh.workers[1].worker.context.runtime
        self.assertEqual(self.mesh.main.layers.begin(), runtime.items())

    def test_secrets(self) -> None:
        """It begins with the static secrets of the last reload."""
        secret = Secret(name="s")
        self.mesh.main.set_secrets([secret])
        self.assertEqual((secret,), self.mesh.main.begin(1).secrets)

    def test_before_the_start(self) -> None:
        """One that dies before clients are accepted is not waited for, and the next one opens its
        listeners when it is ready.
        """
        mesh = Mesh(1, workers=2)
        mesh.upstream(HOST)
        mesh.add_cluster("c", HOST)
        mesh.add_listener("l", FRONT, tcp_proxy())
        mesh.workers[1].is_stuck = True
        warm = mesh.main.initialize()
        mesh.workers[1].die()
        self.successResultOf(warm)
        mesh.main.start_workers()
        mesh.replace_worker(1)
        self.assertEqual([Start()], [e for e in mesh.workers[1].told if isinstance(e, Start)])
        for _ in range(2):
            mesh.connect()
        self.assertEqual(1, mesh.stat("listener.127.0.0.1_1.worker_1.downstream_cx_total"))

    def test_much_to_tell(self) -> None:
        """Where there is much it is told in steps; what changes meanwhile comes after that."""
        mesh = self.mesh
        for number in range(50):
            mesh.add_cluster(f"c{number}", HOST)
        worker = mesh.workers[1] = mesh.new_worker(1)
        self.assertLess(len(worker.told), 100)
        mesh.clusters.remove("c49")
        mesh.add_cluster("c0", OTHER)
        mesh.pump()
        self.assertIsNone(worker.worker.clusters.get("c49"))
        changed = worker.worker.clusters.get("c0")
        assert changed is not None
        self.assertEqual([OTHER], [str(host.address) for host in changed.hosts])

    def told_numbers(self) -> Deferred[None]:
        """Workers are asked what they have counted."""
        asked = self.mesh.main.numbers()
        self.mesh.pump()
        return asked

    def test_both(self) -> None:
        """With no worker there all questions are answered; the next one serves."""
        self.mesh.workers[0].die()
        self.successResultOf(self.told_numbers())
        self.assertEqual(0, self.successResultOf(self.mesh.main.count_connections()))
        asked = self.mesh.main.live.connections(ConnectionQuery())
        self.assertEqual(0, self.successResultOf(asked).total)
        self.mesh.replace_worker(0)
        self.assertFalse(self.mesh.connect().ended)
