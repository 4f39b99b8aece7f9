"""Clusters that come, change and go while traffic flows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.base_pb2 import Node

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.assembly import assemble
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import address_of, values_of
from tcpmesh.wire.names import Found
from tests.mesh import MeshTestCase, cluster_message, tcp_proxy
from tests.names import Names

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class ClusterManagerTests(MeshTestCase):
    """The manager alone."""

    def test_counts(self) -> None:
        """Clusters added, modified and removed are counted, and how many there are."""
        self.mesh.add_cluster("a", HOST)
        self.mesh.add_cluster("b", HOST)
        self.mesh.add_cluster("b", OTHER)
        self.mesh.clusters.remove("a")
        self.assertEqual(
            {"cluster_added": 2, "cluster_modified": 1, "cluster_removed": 1, "active_clusters": 1},
            self.mesh.moved("cluster_manager."),
        )

    def test_names(self) -> None:
        """The statistics that nothing moves yet are there at 0."""
        expected = (
            "cluster_updated",
            "cluster_updated_via_merge",
            "update_merge_cancelled",
            "update_out_of_merge_window",
        )
        stats = self.mesh.stats("cluster_manager.")
        self.assertEqual({0}, {stats[name] for name in (*expected, "warming_clusters")})

    def test_equal(self) -> None:
        """A cluster that is given again as it was stays untouched."""
        self.mesh.add_cluster("c", HOST)
        before = self.mesh.cluster("c")
        self.mesh.add_cluster("c", HOST)
        self.assertIs(before, self.mesh.cluster("c"))
        self.assertEqual(0, self.mesh.stat("cluster_manager.cluster_modified"))

    def test_remove_unknown(self) -> None:
        """To remove what is not there does nothing."""
        self.mesh.clusters.remove("c")
        self.assertEqual(0, self.mesh.stat("cluster_manager.cluster_removed"))

    def test_statuses(self) -> None:
        """Clusters are told in the order they were added; a replaced one with its new hosts."""
        for name in ("b", "a", "c"):
            self.mesh.add_cluster(name, HOST)
        self.mesh.add_cluster("a", OTHER)
        statuses = list(self.mesh.clusters.statuses())
        self.assertEqual(["b", "a", "c"], [status.name for status in statuses])
        self.assertEqual([OTHER], [host.address for host in statuses[1].hosts])

    def test_stop(self) -> None:
        """To stop ends discovery and leaves the clusters usable."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.clusters.stop()
        self.assertEqual(1, len(self.mesh.clusters.statuses()))

    def test_bad_cluster_changes_nothing(self) -> None:
        """A cluster that cannot be built is an error, and its predecessor stays."""
        self.mesh.add_cluster("c", HOST)
        before = self.mesh.cluster("c")
        message = cluster_message("c", [HOST], "lb_policy: CLUSTER_PROVIDED")
        self.assertRaises(LookupError, self.mesh.clusters.add_or_update, message)
        self.assertIs(before, self.mesh.cluster("c"))
        message.name = "other"
        self.assertRaises(LookupError, self.mesh.clusters.add_or_update, message)
        self.assertEqual({}, self.mesh.stats("cluster.other."))

    def test_collected_meanwhile(self) -> None:
        """Clusters may come and go while statistics are brought up to date, a few at a time."""
        for name in "abc":
            self.mesh.add_cluster(name, HOST)
        for number, _ in enumerate(self.mesh.store.collecting()):
            if number < 3:
                self.mesh.add_cluster(f"new {number}", HOST)
                self.mesh.clusters.remove("abc"[number])
        self.assertEqual(3, self.mesh.stat("cluster_manager.active_clusters"))


class WarmingTests(SynchronousTestCase):
    """Clusters that do not know their hosts at once."""

    def setUp(self) -> None:
        """A manager and a resolver that holds its answers."""
        self.names = Names()
        self.held: list[Deferred[Any]] = []
        self.names.held = self.held
        self.store = Store()
        proxy = assemble(Bootstrap(), Node(), MemoryNetwork(), self.store)
        self.worker = proxy.worker
        self.clusters = proxy.main.clusters
        self.clusters._context = replace(proxy.main.context, resolver=self.names)

    def add(self, name: str, host: str = "a.test") -> None:
        """Add or replace a STRICT_DNS cluster."""
        message = cluster_message(name, [f"{host}:80"])
        message.type = message.STRICT_DNS
        self.clusters.add_or_update(message)

    def hosts(self, name: str) -> list[str]:
        """The hosts of a cluster as it is now."""
        cluster = self.worker.clusters.get(name)
        return [] if cluster is None else [str(host.address) for host in cluster.hosts]

    def answer(self, question: int, host: str) -> None:
        """Answer one of the questions."""
        self.held[question].callback((Found(host),))

    def gauges(self) -> tuple[int, int]:
        """How many clusters are active, and how many warm up."""
        values = values_of(self.store)
        return values["cluster_manager.active_clusters"], values["cluster_manager.warming_clusters"]

    def test_when_warm(self) -> None:
        """Who waits for clusters hears when the last of them is warm or gone; of those that are not
        warming nobody has to hear.
        """
        self.clusters.initialize()
        self.successResultOf(self.clusters.when_warm(["a", "none"]))
        for name in ("a", "b", "c"):
            self.add(name)
        waiting, other = self.clusters.when_warm(["a", "b"]), self.clusters.when_warm("c")
        self.answer(0, "127.0.0.5")
        self.assertNoResult(waiting)
        self.clusters.remove("b")
        self.successResultOf(waiting)
        self.assertNoResult(other)
        self.clusters.stop()
        self.failureResultOf(other, CancelledError)

    def test_always(self) -> None:
        """One that is equal is replaced where that is asked for."""
        message = cluster_message("a", ["127.0.0.5:80"])
        self.assertTrue(self.clusters.add_or_update(message))
        self.assertFalse(self.clusters.add_or_update(message))
        self.assertTrue(self.clusters.add_or_update(message, always=True))

    def test_whose(self) -> None:
        """An equal one may be the bootstrap's own instead of what discovery has brought."""
        message = cluster_message("a", ["127.0.0.5:80"])
        self.clusters.add_or_update(message, added_via_api=True)
        self.assertFalse(self.clusters.is_static("a"))
        self.clusters.add_or_update(message)
        self.assertTrue(self.clusters.is_static("a"))
        self.assertFalse(self.clusters.is_static("b"))

    def test_initialize(self) -> None:
        """The clusters that the proxy begins with are there at once, and all ready when the last of
        them is warm.
        """
        self.add("a")
        self.add("b")
        self.clusters.add_or_update(cluster_message("c", [HOST]))
        ready = self.clusters.initialize()
        self.answer(0, "10.0.0.1")
        self.assertNoResult(ready)
        self.assertEqual((3, 0), self.gauges())
        self.answer(1, "10.0.0.2")
        self.successResultOf(ready)
        self.assertEqual(["10.0.0.2:80"], self.hosts("b"))

    def test_nothing_to_wait_for(self) -> None:
        """Without clusters, or with static ones alone, all is ready at once."""
        self.clusters.add_or_update(cluster_message("c", [HOST]))
        self.successResultOf(self.clusters.initialize())

    def test_removed_while_waiting(self) -> None:
        """Nobody waits for a cluster that is not wanted any more."""
        self.add("a")
        ready = self.clusters.initialize()
        self.clusters.remove("a")
        self.successResultOf(ready)

    def test_added_later(self) -> None:
        """A cluster that comes later is not found before it is warm."""
        self.clusters.initialize()
        self.add("a")
        self.assertIsNone(self.worker.clusters.get("a"))
        self.assertEqual((0, 1), self.gauges())
        self.answer(0, "10.0.0.1")
        self.assertEqual(["10.0.0.1:80"], self.hosts("a"))
        self.assertEqual((1, 0), self.gauges())

    def test_replaced_later(self) -> None:
        """A cluster that changes is served as it was until its successor is warm."""
        self.add("a")
        self.clusters.initialize()
        self.answer(0, "10.0.0.1")
        self.add("a", "b.test")
        self.assertEqual((["10.0.0.1:80"], (1, 1)), (self.hosts("a"), self.gauges()))
        self.answer(1, "10.0.0.2")
        self.assertEqual((["10.0.0.2:80"], (1, 0)), (self.hosts("a"), self.gauges()))

    def test_replaced_while_warming(self) -> None:
        """Of two successors the last one counts, also where the first answers late."""
        self.clusters.initialize()
        self.add("a")
        self.add("a", "b.test")
        self.assertTrue(self.held[0].called)
        self.answer(1, "10.0.0.2")
        self.assertEqual(["10.0.0.2:80"], self.hosts("a"))
        self.assertEqual((1, 0), self.gauges())

    def test_removed_while_warming(self) -> None:
        """A cluster that is removed while it warms up never comes, and leaves nothing behind."""
        self.clusters.initialize()
        self.add("a")
        self.clusters.remove("a")
        self.assertTrue(self.held[0].called)
        self.assertEqual((0, 0), self.gauges())
        self.assertEqual(
            [], [name for name in values_of(self.store) if name.startswith("cluster.a.")]
        )


class WhileConnectionsLiveTests(MeshTestCase):
    """Connections outlive the cluster that made them."""

    def setUp(self) -> None:
        """A client connected through the cluster c."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.old, self.new = self.mesh.upstream(HOST), self.mesh.upstream(OTHER)
        self.mesh.serve()
        self.client = self.mesh.connect()

    def assert_alive(self) -> None:
        """Bytes still go both ways on the first connection."""
        server = self.old.built[0]
        self.client.transport.write(b"ping")
        server.transport.write(b"pong")
        self.mesh.network.pump()
        self.assertEqual((b"ping", b"pong"), (server.received, self.client.received))

    def test_replaced(self) -> None:
        """When a cluster is replaced, its connections go on, and new clients go to the new
        hosts.
        """
        self.mesh.add_cluster("c", OTHER)
        self.assert_alive()
        self.mesh.connect()
        self.assertEqual((1, 1), (len(self.old.built), len(self.new.built)))

    def test_replaced_counts(self) -> None:
        """A replaced cluster's statistics go on with its successor's, old connections included."""
        self.mesh.add_cluster("c", OTHER)
        self.mesh.connect()
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_destroy"))
        self.assertEqual(1, self.mesh.stat("cluster.c.membership_total"))

    def test_removed(self) -> None:
        """When a cluster is removed, its connections go on, and new clients are closed."""
        self.mesh.clusters.remove("c")
        self.assert_alive()
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("NC", self.flags())
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertTrue(self.old.built[0].lost)

    def test_removed_counts(self) -> None:
        """A removed cluster's statistics are shown until its last connection is gone."""
        self.mesh.clusters.remove("c")
        self.assert_alive()
        self.mesh.clusters.remove("other")
        moved = self.mesh.moved("cluster.c.upstream_")
        names = ("cx_active", "rq_active", "cx_rx_bytes_total", "cx_tx_bytes_total")
        self.assertEqual((1, 1, 4, 4), tuple(moved[name] for name in names))
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual({}, self.mesh.stats("cluster.c."))

    def test_removed_and_added_again(self) -> None:
        """A cluster that comes back while old connections live goes on with its statistics."""
        self.mesh.clusters.remove("c")
        self.mesh.add_cluster("c", OTHER)
        self.mesh.connect()
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_removed_names(self) -> None:
        """A removed cluster without connections leaves no statistics."""
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.mesh.clusters.remove("c")
        self.assertEqual({}, self.mesh.stats("cluster.c."))

    def test_attempt_under_way(self) -> None:
        """An attempt that is under way when its cluster is replaced still serves its client."""
        client = self.mesh.dial().given
        while len(self.mesh.connections) < 2:
            self.assertTrue(self.mesh.network.step())
        self.mesh.add_cluster("c", OTHER)
        self.mesh.network.pump()
        self.assertFalse(client.ended)
        self.assertEqual((2, 0), (len(self.old.built), len(self.new.built)))

    def test_attempt_fails_after_the_end(self) -> None:
        """An attempt that fails when its cluster was replaced, or removed, is nothing to those that
        judge the hosts of the successor.
        """
        outliers = "outlier_detection: {consecutive_5xx: 1, max_ejection_percent: 100}"
        for change in (
            lambda: self.mesh.add_cluster("c", HOST, more=outliers),
            lambda: self.mesh.clusters.remove("c"),
        ):
            self.mesh.add_cluster("c", HOST, more=f"{outliers}\nconnect_timeout: 2s")
            self.mesh.network.silent.add(address_of(HOST))
            client = self.mesh.connect()
            change()
            self.mesh.network.advance(3)
            self.assertTrue(client.ended)
            shown = [host for each in self.mesh.clusters.statuses() for host in each.hosts]
            self.assertEqual([()] * len(shown), [host.health_flags for host in shown])
            self.mesh.network.silent.clear()

    def test_another_filter(self) -> None:
        """A cluster is found anew for each client, by every filter that names it."""
        self.mesh.add_listener("l2", "127.0.0.1:2", tcp_proxy("cluster: c", "t2"))
        self.mesh.add_cluster("c", OTHER)
        self.mesh.connect("127.0.0.1:2")
        self.assertEqual(1, len(self.new.built))
