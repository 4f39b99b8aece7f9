"""Main with several workers, over links that write bytes: each rule that holds for the whole proxy,
and what becomes of a worker that is lost.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.listener.listener import Listener
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.runtime.entries import entry_of_text
from tcpmesh.server.worker import Worker
from tcpmesh.server.workers.workers import PATIENCE
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.upstreams import Named
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.hosts import HealthFlag
from tcpmesh.values.link import (
    HostFails,
    ListenerRefused,
    LogLevels,
    Refusal,
    SharedBlocks,
    Start,
)
from tcpmesh.values.stream.live import CloseQuery, ConnectionQuery
from tests.mesh import FRONT, Mesh, address_yaml, cluster_message, tcp_proxy
from tests.told import told_in

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"
UNKNOWN = '[{name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty}}]'
TYPE = f"type.googleapis.com/{connection_limit_pb2.ConnectionLimit.DESCRIPTOR.full_name}"
LIMIT = (
    f"[{{name: l, typed_config: {{'@type': {TYPE}, stat_prefix: n, max_connections: 2}}}}, "
    + tcp_proxy()[1:]
)


class WorkersTestCase(SynchronousTestCase):
    """Two workers before two hosts, which say their names."""

    def setUp(self) -> None:
        """Nobody listens yet."""
        self.mesh = Mesh(1, workers=2)
        for name, host in (("a", HOST), ("b", OTHER)):
            self.mesh.upstream(host, Named(name))

    def begin(self, more: str = "", fields: str = "cluster: c") -> None:
        """A listener before both hosts."""
        self.mesh.add_cluster("c", HOST, OTHER, more=more)
        self.mesh.serve(fields)

    def connect(self, times: int = 1) -> list[Any]:
        """So many clients, which workers get by turns."""
        return [self.mesh.connect() for _ in range(times)]

    def told(self, kind: type, index: int = 0) -> list[Any]:
        """What a worker was told of this kind."""
        return [each for each in self.mesh.workers[index].told if isinstance(each, kind)]


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

    def test_prepared(self) -> None:
        """Clients are accepted once all workers are ready to pick."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.workers[1].is_stuck = True
        warm = self.mesh.main.initialize()
        self.assertNoResult(warm)
        self.mesh.workers[1].go_on()
        self.successResultOf(warm)


class LimitTests(WorkersTestCase):
    """Limits hold for the whole proxy."""

    def setUp(self) -> None:
        """Hosts that keep their clients."""
        self.mesh = Mesh(1, workers=2)
        for host in (HOST, OTHER):
            self.mesh.upstream(host)

    def test_circuit_breaker(self) -> None:
        """A cluster may have as many connections as its breaker says, in all workers together."""
        self.begin("circuit_breakers: {thresholds: [{max_connections: 3}]}")
        self.assertEqual([False] * 3 + [True], [client.ended for client in self.connect(4)])
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_overflow"))

    def test_connection_limit(self) -> None:
        """A filter chain's connection_limit is for all workers, and stays so when other chains of
        its listener change.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.add_listener("l", FRONT, LIMIT)
        self.mesh.listeners.start()
        clients = self.connect(3)
        self.assertEqual([False, False, True], [client.ended for client in clients])
        self.mesh.listeners.add_or_update(self.with_chain("{destination_port: 7}"))
        self.assertTrue(self.mesh.connect().ended)
        clients[0].transport.abortConnection()
        self.mesh.pump()
        self.assertEqual([False, True], [client.ended for client in self.connect(2)])

    def with_chain(self, match: str) -> Any:
        """The listener with another chain for these clients."""
        message = type(next(self.mesh.listeners.messages()))()
        message.CopyFrom(next(self.mesh.listeners.messages()))
        chain = message.filter_chains.add()
        chain.CopyFrom(message.filter_chains[0])
        chain.name = "other"
        chain.filter_chain_match.destination_port.value = 7
        return message

    def test_listener_limit(self) -> None:
        """The runtime's limit of a listener counts the clients of all workers."""
        self.begin()
        key = "envoy.resource_limits.listener.l.connection_limit"
        for worker in self.mesh.workers:
            worker.worker.context.runtime.update({key: entry_of_text("2")})
        ended = [client.ended for client in self.connect(4)]
        self.assertEqual([False, False, True, True], ended)

    def test_blocks_are_used_again(self) -> None:
        """What was removed gives its counts back, once no worker has clients of it any more."""
        self.begin()
        blocks = self.told(SharedBlocks)
        for _ in range(20):
            self.mesh.add_cluster("more", HOST)
            self.mesh.clusters.remove("more")
        later = self.told(SharedBlocks)[len(blocks) :]
        self.assertLess(len({block for each in later for _, block in each.blocks}), 4)


class OutlierTests(WorkersTestCase):
    """Outlier detection decides over what all workers have seen."""

    def begin_with(self, more: str) -> None:
        """One host, that refuses."""
        self.mesh.add_cluster("c", HOST, more=f"outlier_detection: {{{more}}}")
        self.mesh.serve()
        self.mesh.network.refused.add(address_of(HOST))

    def is_out(self) -> bool:
        """Whether the host is ejected."""
        (cluster,) = self.mesh.main.cluster_statuses()
        return "failed_outlier_check" in cluster.hosts[0].health_flags

    def test_failures_in_a_row(self) -> None:
        """Failures count that workers have had in turn, and an ejection holds in all of them."""
        self.begin_with("consecutive_5xx: 4, max_ejection_percent: 100")
        self.connect(3)
        self.assertFalse(self.is_out())
        self.connect(1)
        self.assertTrue(self.is_out())
        for each in self.mesh.workers:
            cluster = each.worker.clusters.get("c")
            assert cluster is not None
            self.assertIn(HealthFlag.failed_outlier_check, cluster.hosts[0].flags)

    def test_success_of_another(self) -> None:
        """A success ends the row, whichever worker has it."""
        self.begin_with("consecutive_5xx: 4, max_ejection_percent: 100")
        for _ in range(3):
            self.connect(1)  # of worker 0 ...
            self.mesh.network.refused.clear()
            self.connect(1)  # ... and of worker 1
            self.mesh.network.refused.add(address_of(HOST))
        self.connect(2)
        self.assertFalse(self.is_out())
        self.assertEqual([HostFails(1, 1)] * 4, self.told(HostFails, 1))

    def test_rates(self) -> None:
        """The rate of successes in an interval is that of all workers: main decides when the last
        one has answered, or at the end of the next interval.
        """
        self.mesh.add_cluster(
            "c",
            HOST,
            OTHER,
            more="outlier_detection: {consecutive_5xx: 1000, interval: 10s, "
            "failure_percentage_minimum_hosts: 2, failure_percentage_request_volume: 8, "
            "failure_percentage_threshold: 60, enforcing_failure_percentage: 100, "
            "max_ejection_percent: 50}",
        )
        self.mesh.serve()
        self.mesh.network.refused.add(address_of(HOST))
        self.connect(20)
        self.mesh.workers[1].is_stuck = True
        self.mesh.advance(10)
        self.assertFalse(self.is_out())
        self.mesh.workers[1].go_on()
        self.assertTrue(self.is_out())


class NamedHostsTests(WorkersTestCase):
    """Hosts that connections name (ORIGINAL_DST)."""

    def setUp(self) -> None:
        """A cluster of what clients wanted."""
        self.mesh = Mesh(1, workers=2)
        self.mesh.upstream(HOST)
        message = cluster_message("c", [])
        message.ClearField("load_assignment")
        message.type = message.ORIGINAL_DST
        message.lb_policy = message.CLUSTER_PROVIDED
        message.cleanup_interval.seconds = 10
        self.mesh.clusters.add_or_update(message)
        more = "use_original_dst: true"
        self.mesh.serve(more=more)

    def hosts(self) -> list[str]:
        """The hosts that there are."""
        (cluster,) = self.mesh.main.cluster_statuses()
        return [host.address for host in cluster.hosts]

    def test_seen_by_two(self) -> None:
        """A host that two workers have seen is one, and it is forgotten when neither uses it."""
        clients = [self.mesh.redirect(HOST) for _ in range(2)]
        self.mesh.advance(1)
        self.assertEqual([HOST], self.hosts())
        for left, client in ((1, clients[0]), (0, clients[1])):
            client.transport.abortConnection()
            self.mesh.pump()
            for _ in range(3):
                self.mesh.advance(10)
            self.assertEqual([HOST] * left, self.hosts())

    def test_answer_that_is_missing(self) -> None:
        """As long as a worker has not answered nothing is known to be unused."""
        self.mesh.redirect(HOST).transport.abortConnection()
        self.mesh.workers[1].is_stuck = True
        for _ in range(3):
            self.mesh.advance(10)
        self.assertEqual([HOST], self.hosts())
        self.mesh.workers[1].go_on()
        self.mesh.advance(10)
        self.assertEqual([], self.hosts())


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


class SlowTests(WorkersTestCase):
    """A worker that does not answer."""

    def setUp(self) -> None:
        """One of two has stopped hearing anything."""
        super().setUp()
        self.begin()
        self.connect(4)
        self.mesh.workers[1].is_stuck = True

    def test_numbers(self) -> None:
        """It is waited for a quarter of a second; what the others have counted is there, and what
        it tells later is added.
        """
        asked = self.mesh.main.numbers()
        self.mesh.advance(PATIENCE - 0.01)
        self.assertNoResult(asked)
        self.mesh.advance(0.01)
        self.successResultOf(asked)
        self.assertEqual(2, self.total())
        self.mesh.workers[1].go_on()
        self.mesh.pump()
        self.assertEqual(4, self.total())

    def total(self) -> int:
        """The clients that the store knows of."""
        counters = {each.name: each.tally for each in self.mesh.store.counters()}
        return counters["listener.127.0.0.1_1.downstream_cx_total"]

    def test_dies(self) -> None:
        """Where it dies nobody waits any longer."""
        asked: list[Deferred[Any]] = [
            self.mesh.main.numbers(),
            self.mesh.main.count_connections(),
            self.mesh.main.live.connections(ConnectionQuery()),
            self.mesh.main.watching.traffic(),
            self.mesh.main.stop(),
        ]
        self.mesh.pump()
        for each in asked:
            self.assertNoResult(each)
        self.mesh.workers[1].die()
        self.mesh.pump()
        for each in asked:
            self.successResultOf(each)


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
