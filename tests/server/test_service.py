"""The root service: what it builds, when it serves, and how it ends."""

from __future__ import annotations

import os
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.metrics.v3 import stats_pb2
from zope.interface.verify import verifyObject

from twisted.application.service import IService
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import __version__
from tcpmesh.cluster.balancing import hash_balancer
from tcpmesh.interfaces import IServer
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.logs.levels import Levels
from tcpmesh.net.dns.resolve import ResolutionFailed
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.server import main
from tcpmesh.server.networks import VARIABLE
from tcpmesh.server.service import CannotStart, Server
from tcpmesh.stats.statsd.datagrams import Datagrams
from tcpmesh.testing.harness import Client
from tcpmesh.testing.harness import Server as Upstream
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.wire.names import Found
from tests.mesh import cluster_message, listener_message, parse, tcp_proxy
from tests.names import Names

STATSD = f"type.googleapis.com/{stats_pb2.StatsdSink.DESCRIPTOR.full_name}"
HOST = "127.0.0.2:80"
DNS_CLUSTER = """
name: d
type: STRICT_DNS
load_assignment:
  cluster_name: d
  endpoints:
  - lb_endpoints:
    - endpoint: {address: {socket_address: {address: d.test, port_value: 80}}}
"""


def bootstrap(*listeners: Any, more: str = "{}") -> Any:
    """A configuration with these listeners and the cluster c of one host."""
    made = parse(bootstrap_pb2.Bootstrap, more)
    made.static_resources.listeners.extend(listeners)
    made.static_resources.clusters.append(cluster_message("c", [HOST]))
    return made


class ServerTestCase(SynchronousTestCase):
    """A test with a server on a memory network."""

    def setUp(self) -> None:
        """A network with an upstream, and a reactor that does nothing by itself."""
        self.reactor: Any = MemoryReactorClock()
        self.network = MemoryNetwork(self.reactor)
        self.upstream = Upstream()
        self.network.listen(self.network.bind(Address("127.0.0.2", 80)), self.upstream)

    def server(self, message: Any = None, **options: Any) -> Server:
        """A server of this configuration, by default of one tcp_proxy on port 1."""
        if message is None:
            message = bootstrap(listener_message("l", "127.0.0.1:1", tcp_proxy()))
        self.levels = Levels("info", {})
        return Server(self.reactor, message, ServerOptions(**options), self.levels, self.network)

    def start(self, server: Server) -> None:
        """What twistd does."""
        server.privilegedStartService()
        server.startService()
        self.reactor.running = True

    def connects(self) -> bool:
        """Whether a client is accepted on port 1."""
        factory = Client(RecordingProtocol())
        self.network.connect(Address("127.0.0.1", 1), factory, 10.0)
        self.network.pump()
        return factory.connected

    def value(self, server: Server, name: str) -> int:
        """A counter or gauge."""
        return values_of(server.store)[name]


class LifeTests(ServerTestCase):
    """From bound to stopped."""

    def test_interfaces(self) -> None:
        """It is a service, and what the admin interface asks."""
        verifyObject(IServer, self.server())
        verifyObject(IService, self.server())

    def test_states(self) -> None:
        """Only when it is started it is live and accepts clients."""
        server = self.server()
        self.assertEqual("PRE_INITIALIZING", server.state)
        server.privilegedStartService()
        self.assertEqual("PRE_INITIALIZING", server.state)
        self.assertFalse(self.connects())
        server.startService()
        self.assertEqual("LIVE", server.state)
        self.assertTrue(self.connects())
        self.assertEqual(1, len(self.upstream.built))

    def waiting(self) -> tuple[Server, Names]:
        """A started server with a second cluster, whose name nobody has resolved yet."""
        message = bootstrap(listener_message("l", "127.0.0.1:1", tcp_proxy()))
        message.static_resources.clusters.append(parse(cluster_pb2.Cluster, DNS_CLUSTER))
        names = Names()
        names.held = []
        self.patch(main, "named_resolver", lambda message, context: names)
        server = self.server(message)
        self.start(server)
        return server, names

    def test_waits_for_clusters(self) -> None:
        """Until all clusters are warm it is not live and accepts nobody."""
        server, names = self.waiting()
        self.assertEqual("PRE_INITIALIZING", server.state)
        self.assertFalse(self.connects())
        assert names.held is not None
        names.held[0].callback((Found("127.0.0.3"),))
        self.assertEqual("LIVE", server.state)
        self.assertTrue(self.connects())

    def test_waits_for_tables(self) -> None:
        """Until the hash table of each cluster is built it is not live and accepts nobody."""
        self.patch(hash_balancer, "FIRST_AT_ONCE", 5000)
        message = bootstrap(listener_message("l", "127.0.0.1:1", tcp_proxy()))
        fields = "{lb_policy: MAGLEV, maglev_lb_config: {table_size: 65537}}"
        message.static_resources.clusters.append(
            cluster_message("m", [HOST, "127.0.0.3:80"], fields)
        )
        server = self.server(message)
        self.start(server)
        self.assertEqual("PRE_INITIALIZING", server.state)
        self.assertFalse(self.connects())
        self.reactor.pump([0] * 1000)
        self.assertEqual("LIVE", server.state)
        self.assertTrue(self.connects())

    def test_failure_is_a_result(self) -> None:
        """A name that cannot be resolved does not keep it from starting."""
        server, names = self.waiting()
        assert names.held is not None
        names.held[0].errback(ResolutionFailed("no server"))
        self.assertEqual("LIVE", server.state)

    def test_stop_while_waiting(self) -> None:
        """Stopped before its clusters were warm it never opens."""
        server, _ = self.waiting()
        server.stopService()
        self.assertEqual("PRE_INITIALIZING", server.state)
        self.assertFalse(self.connects())

    def test_cannot_open_later(self) -> None:
        """Who waits for it to be live is told of an address that is lost while clusters warm
        up.
        """
        server, names = self.waiting()

        def start() -> None:
            raise BindError("taken", Address("127.0.0.1", 1))

        self.patch(server._proxy.main, "start_workers", start)  # type: ignore[union-attr]
        assert names.held is not None
        names.held[0].callback(())
        self.assertIn("taken", str(self.failureResultOf(server.live, CannotStart).value))
        self.assertNotEqual("LIVE", server.state)

    def test_stop_twice(self) -> None:
        """Whoever stops it while it stops is told when that is done, too."""
        server = self.server()
        self.start(server)
        self.assertTrue(self.connects())
        stops = [server.stopService(), server.stopService()]
        for stop in stops:
            self.assertNoResult(stop)
        self.network.pump()
        for stop in (*stops, server.stopService()):
            self.successResultOf(stop)

    def test_stop(self) -> None:
        """Stopped it accepts nobody, those connected are closed, and no timer is left."""
        server = self.server()
        self.start(server)
        self.assertTrue(self.connects())
        stopped = server.stopService()
        self.network.pump()
        self.successResultOf(stopped)
        self.assertEqual(0, server.open_connections)
        self.assertFalse(self.connects())
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_stop_before_start(self) -> None:
        """A server that was bound but never started can be stopped."""
        server = self.server()
        server.privilegedStartService()
        server.stopService()
        self.assertFalse(self.connects())

    def test_no_such_transport(self) -> None:
        """Transports that are not there keep it from starting, and are told which there are."""
        server = self.server()
        self.patch(server, "_network", None)
        self.patch(os, "environ", {VARIABLE: "magic"})
        failure = self.assertRaises(CannotStart, server.privilegedStartService)
        self.assertIn("is 'magic'; there are", str(failure))

    def test_extension_that_fails(self) -> None:
        """An extension of another package that cannot be built, or that is not there, keeps it
        from starting too, and is named.
        """
        for error in (BrokenExtension("its own trouble"), UnknownExtension("some.Type")):

            def build(manager: ListenerManager, messages: Any, error: Exception = error) -> None:
                raise error

            self.patch(ListenerManager, "add_static", build)
            failure = self.assertRaises(CannotStart, self.server().privilegedStartService)
            self.assertIn(str(error), str(failure))

    def test_node_arguments(self) -> None:
        """What the command line says of the node counts for load balancing; the bootstrap stays as
        it was written.
        """
        server = self.server(
            bootstrap(more="{node: {id: a, locality: {region: r, zone: a}}}"),
            service_zone="z",
            service_node="n",
        )
        server.privilegedStartService()
        self.addCleanup(server.stopService)
        self.assertEqual(
            ("n", "r", "z"),
            (server.node.id, server.node.locality.region, server.node.locality.zone),
        )
        self.assertEqual(server.node, server._proxy.worker.context.node)  # type: ignore[union-attr]
        self.assertEqual("a", server.bootstrap.node.id)

    def test_address_in_use(self) -> None:
        """An address that cannot be bound keeps it from starting, and is named; no other address
        stays bound.
        """
        self.network.bind(Address("127.0.0.1", 2))
        server = self.server(
            bootstrap(*(listener_message(f"l{port}", f"127.0.0.1:{port}") for port in (1, 2)))
        )
        failure = self.assertRaises(CannotStart, server.privilegedStartService)
        self.assertIn("127.0.0.1:2", str(failure))
        self.network.bind(Address("127.0.0.1", 1))

    def test_quit(self) -> None:
        """Whoever made it is told that it is to quit."""
        told: list[bool] = []
        server = self.server()
        server.quit()
        server.on_quit = lambda: told.append(True)
        server.quit()
        self.assertEqual([True], told)

    def test_started_without_privileges(self) -> None:
        """A program that only calls startService, as `twist` does, has it bind then."""
        server = self.server()
        server.startService()
        self.addCleanup(server.stopService)
        self.assertTrue(self.connects())


class AskedTests(ServerTestCase):
    """What the admin interface is told."""

    def test_before_anything(self) -> None:
        """Before it is bound it has nothing to show."""
        server = self.server()
        self.assertEqual(([], []), (server.cluster_statuses(), server.listener_statuses()))

    def test_statuses(self) -> None:
        """Clusters and listeners are told in order of the configuration."""
        names = ("b", "a")
        server = self.server(
            bootstrap(
                *(listener_message(name, f"127.0.0.1:{port}") for port, name in enumerate(names, 1))
            )
        )
        self.start(server)
        self.assertEqual(list(names), [status.name for status in server.listener_statuses()])
        self.assertEqual(["c"], [status.name for status in server.cluster_statuses()])

    def test_uptime(self) -> None:
        """The uptime counts from when the server was made."""
        server = self.server()
        self.reactor.advance(2.5)
        self.assertEqual(2.5, server.uptime)

    def test_levels(self) -> None:
        """Its log levels are those that it was given."""
        self.assertIs(self.server().log_levels, self.levels)


class NamesTests(ServerTestCase):
    """Statistics that operators know of Envoy."""

    def test_shown(self) -> None:
        """What every Envoy shows is there at 0, though nothing moves it; what it shows with hot
        restart alone is not.
        """
        server = self.server()
        self.start(server)
        self.addCleanup(server.stopService)
        values = values_of(server.store)
        for name in (
            "http1.response_flood",
            "filesystem.write_completed",
            "main_thread.watchdog_miss",
            "server.worker_0.watchdog_mega_miss",
        ):
            self.assertEqual(0, values[name])
        self.assertNotIn("server.hot_restart_generation", values)

    def test_clusters_of_threads(self) -> None:
        """Each thread's clusters are counted."""
        server = self.server()
        self.start(server)
        self.addCleanup(server.stopService)
        self.assertEqual(
            1, self.value(server, "thread_local_cluster_manager.worker_0.clusters_inflated")
        )


class StatsTests(ServerTestCase):
    """The statistics under `server.`."""

    def test_live(self) -> None:
        """`live` is 0 until the server is live."""
        server = self.server()
        self.assertEqual(0, self.value(server, "server.live"))
        self.start(server)
        self.assertEqual(
            (1, 0), (self.value(server, "server.live"), self.value(server, "server.state"))
        )

    def test_concurrency(self) -> None:
        """`concurrency` is what was asked for."""
        self.assertEqual(3, self.value(self.server(concurrency=3), "server.concurrency"))

    def test_flush(self) -> None:
        """Uptime, connections and memory change at a flush, every 5 seconds."""
        server = self.server()
        self.start(server)
        self.assertTrue(self.connects())
        self.reactor.advance(4)
        self.assertEqual(
            (0, 0),
            (self.value(server, "server.uptime"), self.value(server, "server.total_connections")),
        )
        self.reactor.advance(1)
        self.assertEqual(
            (5, 1),
            (self.value(server, "server.uptime"), self.value(server, "server.total_connections")),
        )
        self.assertTrue(1 << 20 < self.value(server, "server.memory_allocated") < 1 << 40)

    def test_version(self) -> None:
        """server.version is what the configuration says, or else ours as a number."""
        wanted = sum(int(part) << 16 - 8 * n for n, part in enumerate(__version__.split(".")))
        self.assertEqual(wanted, self.value(self.server(), "server.version"))
        said = bootstrap(more="stats_server_version_override: 7")
        self.assertEqual(7, self.value(self.server(said), "server.version"))

    def test_stats_config(self) -> None:
        """stats_config and the tags of the command line hold for all statistics."""
        more = "stats_config: {stats_matcher: {inclusion_list: {patterns: [{prefix: server.l}]}}}"
        server = self.server(bootstrap(more=more), stats_tag=("a:b",))
        self.start(server)
        self.assertEqual({"server.live": 1}, values_of(server.store))
        self.assertEqual(("server.live", (("a", "b"),)), server.store.tagger.tag("server.live"))

    def test_sinks(self) -> None:
        """A sink is given each flush, and one more at the end, before the clusters stop."""
        lines: list[bytes] = []
        self.patch(Datagrams, "write", lambda writer, line: lines.append(line))
        self.patch(Datagrams, "flush", lambda writer: lines.append(b""))
        typed = f"{{'@type': {STATSD}, address: {{pipe: {{path: /x}}}}}}"
        message = bootstrap(
            listener_message("l", "127.0.0.1:1", tcp_proxy()),
            more=f"stats_sinks: [{{name: s, typed_config: {typed}}}]",
        )
        server = self.server(message)
        self.start(server)
        self.assertTrue(self.connects())
        self.reactor.advance(5)
        name = b"envoy.listener.127.0.0.1_1.downstream_cx_total"
        self.assertIn(name + b":1|c", lines)
        server.stopService()
        self.assertIn(name + b":0|c", lines)
        self.assertEqual(2, lines.count(b""))

    def test_flush_interval(self) -> None:
        """stats_flush_interval says how often."""
        server = self.server(bootstrap(more="stats_flush_interval: 1s"))
        self.start(server)
        self.reactor.advance(1)
        self.assertEqual(1, self.value(server, "server.uptime"))

    def test_flush_merges_histograms(self) -> None:
        """A flush makes visible what histograms have seen."""
        server = self.server()
        self.start(server)
        histogram = next(
            each
            for each in server.store.histograms()
            if each.name == "server.initialization_time_ms"
        )
        self.assertEqual(0, histogram.cumulative.count)
        self.reactor.advance(5)
        self.assertEqual(1, histogram.cumulative.count)

    def test_names(self) -> None:
        """Every statistic that Envoy has for a server without workers' watchdogs is there."""
        server = self.server()
        names = set(values_of(server.store))
        expected = (
            "uptime live state version concurrency total_connections parent_connections "
            "hot_restart_epoch"
            " memory_allocated memory_heap_size memory_physical_size days_until_first_cert_expiring"
            " seconds_until_first_ocsp_response_expiring stats_recent_lookups "
            "debug_assertion_failures envoy_bug_failures"
            " envoy_notifications static_unknown_fields dynamic_unknown_fields wip_protos "
            "dropped_stat_flushes"
            " compilation_settings.fips_mode"
        )
        self.assertEqual(set(), {f"server.{name}" for name in expected.split()} - names)
