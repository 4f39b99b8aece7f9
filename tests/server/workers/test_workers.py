"""Main with several workers, over links that write bytes: they serve as one proxy, also while it
changes.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.listener.listener import Listener
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.server.worker import Worker
from tcpmesh.server.workers.workers import SILENCE, STOPPING
from tcpmesh.testing.mesh import address_of
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.link import (
    ListenerRefused,
    Refusal,
)
from tcpmesh.values.stream.live import AskConnections, CloseQuery, ConnectionQuery
from tests.mesh import FRONT, address_yaml, cluster_message, tcp_proxy
from tests.server.workers.several import HOST, OTHER, WorkersTestCase
from tests.told import told_in

UNKNOWN = '[{name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty}}]'


class ServingTests(WorkersTestCase):
    """Two workers serve as one proxy."""

    def test_both_serve(self) -> None:
        """Each worker has its share of the clients, and shows them apart as in Envoy."""
        self.begin()
        self.connect(4)
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        for prefix, clients in (("", 4), ("worker_0.", 2), ("worker_1.", 2)):
            self.assertEqual(clients, stats[f"{prefix}downstream_cx_total"])
            self.assertEqual(clients, stats[f"{prefix}downstream_cx_active"])
        self.assertEqual(4, self.mesh.stat("cluster.c.upstream_cx_total"))

    def test_names(self) -> None:
        """The manager counts a listener as created in each worker, as in Envoy, and all else
        once.
        """
        self.begin()
        stats = self.mesh.stats("listener_manager.")
        self.assertEqual(
            [1, 2, 1, 1],
            [
                stats[name]
                for name in (
                    *("listener_added", "listener_create_success", "total_listeners_active"),
                    "workers_started",
                )
            ],
        )
        inflated = self.mesh.stats("thread_local_cluster_manager.")
        names = ("main_thread", "worker_0", "worker_1")
        self.assertEqual([1, 1, 1], [inflated[f"{name}.clusters_inflated"] for name in names])

    def test_hosts_alternate(self) -> None:
        """Two hosts of equal weight alternate, whichever worker has the connection."""
        self.begin()
        names = b"".join(client.received for client in self.connect(6))
        self.assertIn(names, (b"ababab", b"bababa"))

    def test_histograms(self) -> None:
        """What workers have measured is one histogram."""
        self.begin()
        for client in self.connect(4):
            client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(4, self.mesh.times("listener.127.0.0.1_1.downstream_cx_length_ms")[0])

    def test_connection_ids(self) -> None:
        """No two connections of the proxy have one number, and the table has those of all workers
        in order.
        """
        self.begin()
        self.connect(4)
        asked = self.mesh.main.live.connections(ConnectionQuery())
        self.mesh.pump()
        told = self.successResultOf(asked)
        self.assertEqual((4, 4), (told.matched, told.total))
        self.assertEqual(4, len({row.id for row in told.rows}))
        self.assertEqual({0, 1}, {row.worker for row in told.rows})

    def test_ends_and_closing(self) -> None:
        """Clients of all workers are closed by one call, and are among those that have ended."""
        self.begin()
        self.connect(4)
        closing = self.mesh.main.live.close(())
        self.mesh.pump()
        self.assertEqual(4, self.successResultOf(closing))
        self.mesh.advance(1)
        asked = self.mesh.main.live.closes(CloseQuery())
        self.mesh.pump()
        self.assertEqual({0, 1}, {row.worker for row in self.successResultOf(asked)})

    def test_traffic(self) -> None:
        """Traffic is that of all workers."""
        self.begin()
        self.connect(4)
        asked = self.mesh.main.watching.traffic()
        self.mesh.pump()
        traffic = self.successResultOf(asked)
        self.assertEqual(4, traffic.sample.open)
        self.assertEqual(4, sum(traffic.flows.values()))

    def test_silent(self) -> None:
        """A worker that says nothing is not waited for: rows of the others are told, and that
        these are not all; traffic counts it as it was.  What it says late does no harm.
        """
        self.begin()
        self.connect(4)
        live, watching = self.mesh.main.live, self.mesh.main.watching
        self.mesh.advance(5)
        watching.traffic()
        self.mesh.advance(SILENCE)
        self.mesh.workers[1].is_stuck = True
        query = ConnectionQuery(())
        asked, traffic = live.connections(query), watching.traffic()
        self.mesh.pump()
        closing = live.close(())
        self.mesh.advance(SILENCE - 0.1)
        self.assertNoResult(asked)
        self.mesh.advance(0.1)
        told = self.successResultOf(asked)
        self.assertEqual(((1,), {0}), (told.silent, {row.worker for row in told.rows}))
        self.assertEqual(2, self.successResultOf(closing))
        self.assertEqual(2 + 2, self.successResultOf(traffic).sample.open)
        self.mesh.workers[1].go_on()
        self.mesh.pump()
        again = live.connections(query)
        self.mesh.pump()
        self.assertEqual((), self.successResultOf(again).silent)

    def test_slow(self) -> None:
        """A worker that says anything is waited for, however long its answer takes; one that stops
        to do so is not.
        """
        self.begin()
        self.connect(2)
        worker = self.mesh.workers[1].worker
        asked_of_it: list[object] = []
        worker._receivers[AskConnections] = asked_of_it.append
        asked = self.mesh.main.live.connections(ConnectionQuery(()))
        for _ in range(5):
            self.mesh.advance(SILENCE)
            self.assertNoResult(asked)
        self.assertEqual(1, len(asked_of_it))
        self.mesh.workers[1].is_stuck = True
        for _ in range(2):
            self.mesh.advance(SILENCE)
        self.assertEqual((1,), self.successResultOf(asked).silent)

    def test_host_numbers(self) -> None:
        """A host shows what all workers have counted of it."""
        self.begin()
        self.connect(4)
        asked = self.mesh.main.host_numbers()
        self.mesh.pump()
        self.successResultOf(asked)
        (cluster,) = self.mesh.main.cluster_statuses()
        self.assertEqual([2, 2], [host.counters["cx_total"] for host in cluster.hosts])
        self.assertEqual([2, 2], [host.gauges["cx_active"] for host in cluster.hosts])

    def test_count(self) -> None:
        """Clients are counted over all workers."""
        self.begin()
        self.connect(3)
        counted = self.mesh.main.count_connections()
        self.mesh.pump()
        self.assertEqual(3, self.successResultOf(counted))

    def test_stop(self) -> None:
        """A stop is over when all workers have stopped, which are told nothing more then."""
        self.begin()
        self.connect(2)
        self.mesh.workers[1].is_stuck = True
        stopped = self.mesh.main.stop()
        self.mesh.pump()
        self.assertNoResult(stopped)
        self.assertEqual([True, False], [each.is_closed for each in self.mesh.workers])
        self.mesh.workers[1].go_on()
        self.mesh.pump()
        self.successResultOf(stopped)
        self.assertTrue(self.mesh.workers[1].is_closed)

    def test_does_not_stop(self) -> None:
        """A worker that does not stop is not waited for after some seconds."""
        self.begin()
        told = told_in(self, "main")
        self.mesh.workers[1].is_stuck = True
        stopped = self.mesh.main.stop()
        self.mesh.pump()
        self.mesh.advance(STOPPING - 0.1)
        self.assertNoResult(stopped)
        self.mesh.advance(0.1)
        self.successResultOf(stopped)
        self.assertTrue(self.mesh.workers[1].is_closed)
        self.assertEqual(["worker_1 does not stop, and is not waited for"], told.lines)

    def test_prepared(self) -> None:
        """Clients are accepted once all workers are ready to pick."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.workers[1].is_stuck = True
        warm = self.mesh.main.initialize()
        self.assertNoResult(warm)
        self.mesh.workers[1].go_on()
        self.successResultOf(warm)


class ChangeTests(WorkersTestCase):
    """What changes while workers serve."""

    def test_replaced_listener(self) -> None:
        """A listener that replaces another has its sockets in every worker, and the old one drains
        in all.
        """
        self.begin()
        before = self.connect(2)
        self.mesh.add_listener("l", FRONT, tcp_proxy(), "tcp_backlog_size: 5")
        self.connect(4)
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        self.assertEqual([3, 3], [stats[f"worker_{n}.downstream_cx_active"] for n in range(2)])
        self.mesh.advance(600)
        self.assertEqual(4, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.assertTrue(all(client.ended for client in before))

    def test_removed_listener(self) -> None:
        """Where a listener is removed nobody listens, and its address is free."""
        self.begin()
        self.mesh.listeners.remove("l")
        self.assertNotIn(address_of(FRONT), self.mesh.network.ports)
        self.mesh.network.bind(address_of(FRONT)).close()

    def test_shared_socket(self) -> None:
        """Without enable_reuse_port all workers accept from one socket."""
        self.mesh.add_cluster("c", HOST, OTHER)
        self.mesh.serve(more="enable_reuse_port: false")
        self.connect(4)
        stats = self.mesh.stats("listener.127.0.0.1_1.")
        self.assertEqual([2, 2], [stats[f"worker_{n}.downstream_cx_total"] for n in range(2)])

    def test_any_port(self) -> None:
        """Where the system chooses the port it is one for all workers."""
        self.mesh.add_cluster("c", HOST, OTHER)
        self.mesh.add_listener("l", "127.0.0.1:0", tcp_proxy())
        self.mesh.listeners.start()
        (status,) = self.mesh.listeners.statuses()
        for _ in range(4):
            self.mesh.connect(status.addresses[0])
        stats = self.mesh.stats("listener.127.0.0.1_0.")
        self.assertEqual([2, 2], [stats[f"worker_{n}.downstream_cx_total"] for n in range(2)])

    def test_stopped_listening(self) -> None:
        """Where listeners are stopped no worker accepts, nor one that joins later."""
        self.begin()
        self.mesh.listeners.stop_listening(DrainScope.ALL)
        self.mesh.workers[1].die()
        self.mesh.replace_worker(1)
        self.assertNotIn(address_of(FRONT), self.mesh.network.ports)

    def test_cluster_ends_in_all(self) -> None:
        """A cluster that was removed is shown until no worker has connections of it any more."""
        self.begin()
        clients = self.connect(2)
        self.mesh.clusters.remove("c")
        for client in clients:
            self.assertTrue(self.mesh.stats("cluster.c."))
            client.transport.abortConnection()
            self.mesh.pump()
        self.mesh.stats()
        self.assertEqual({}, self.mesh.stats("cluster.c."))


class RefusalTests(WorkersTestCase):
    """What cannot be built no worker hears of."""

    def test_listener(self) -> None:
        """A listener with a filter that nobody knows is refused at once; what was there stays."""
        self.begin()
        before = [len(each.told) for each in self.mesh.workers]
        for name, address in (("l", FRONT), ("m", "127.0.0.1:2")):
            self.assertRaises(UnknownExtension, self.mesh.add_listener, name, address, UNKNOWN)
        self.assertEqual(before, [len(each.told) for each in self.mesh.workers])
        self.connect()

    def test_address(self) -> None:
        """So is one whose address is in use; what is bound of it is given back."""
        self.begin()
        more = f"additional_addresses: [{{address: {address_yaml(FRONT)}}}]"
        self.assertRaises(BindError, self.mesh.add_listener, "m", "127.0.0.1:2", tcp_proxy(), more)
        self.mesh.add_listener("m", "127.0.0.1:2", tcp_proxy())

    def test_cluster(self) -> None:
        """So is a cluster whose policy nobody knows."""
        message = cluster_message("c", [HOST])
        policy = message.load_balancing_policy.policies.add().typed_extension_config
        policy.typed_config.type_url = "type.googleapis.com/google.protobuf.Empty"
        before = len(self.mesh.workers[0].told)
        self.assertRaises(UnknownExtension, self.mesh.clusters.add_or_update, message)
        self.assertEqual(before, len(self.mesh.workers[0].told))
        self.mesh.add_cluster("c", HOST)

    def test_only_a_worker(self) -> None:
        """What only a worker cannot build is an error on the log, and costs the others nothing."""
        told = told_in(self, "main")
        self.begin()
        self.mesh.workers[1].worker._send(ListenerRefused(1, Refusal.LOG, "no such directory"))
        line = "worker 1 cannot build listener 1: no such directory"
        self.assertEqual([line], told.lines)
        self.connect(2)

    def test_what_a_worker_has_not(self) -> None:
        """One that could not build a listener and a cluster goes on without, however these change,
        and nobody waits for it to have nothing left of them.
        """
        told_in(self, "main")
        lacking = self.mesh.workers[1].worker
        self.patch(Cluster, "__init__", self.failing(lacking, Cluster.__init__))
        self.patch(Listener, "__init__", self.failing(lacking, Listener.__init__))
        self.begin()
        self.mesh.add_listener("l", FRONT, tcp_proxy("cluster: c, idle_timeout: 9s"))
        self.connect(2)
        self.mesh.clusters.remove("c")
        for transport in self.mesh.network.transports:
            transport.abortConnection()
        self.mesh.pump()
        self.mesh.stats()
        self.assertEqual({}, self.mesh.stats("cluster.c."))
        self.mesh.listeners.remove("l")

    def failing(self, worker: Worker, init: Any) -> Any:
        """What builds everywhere but in a worker."""

        def build(made: Any, message: Any, context: Any, *more: Any) -> None:
            if context is worker.context:
                raise BrokenExtension("not here")
            init(made, message, context, *more)

        return build
