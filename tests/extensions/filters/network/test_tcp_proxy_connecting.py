"""How tcp_proxy finds an upstream for a client, and what becomes of the client where it does
not.
"""

from __future__ import annotations

from random import Random

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from zope.interface.verify import verifyObject

from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpmesh.extensions.filters.network.tcp_proxy import TcpProxy
from tcpmesh.extensions.filters.network.tcp_proxy.settings import settings_of
from tcpmesh.interfaces import INetworkFilter
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.address import Address
from tests.mesh import MeshTestCase, parse

HOST = "127.0.0.2:80"
OTHER = "127.0.0.3:80"


class NowhereTests(MeshTestCase):
    """A client for whom there is no upstream is closed, and the reason is told and counted."""

    def assert_closed(self, flags: str, reason: type[Exception] = ConnectionDone) -> None:
        """A new client is closed, for this reason, with these flags."""
        client = self.mesh.connect()
        self.assertEqual(["made", "eof"], client.events)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(reason))
        self.assertEqual(flags, self.flags())

    def test_unknown_cluster(self) -> None:
        """A cluster that nobody defines closes the client: NC, counted by the filter and by nobody
        else.
        """
        self.mesh.serve()
        self.assert_closed("NC")
        self.assertEqual(
            {"downstream_cx_total": 1, "downstream_cx_no_route": 1}, self.mesh.moved("tcp.t.")
        )
        self.assertEqual({}, self.mesh.moved("cluster."))

    def test_cluster_that_comes_later(self) -> None:
        """The cluster is looked up for each client, so one that is added later serves the next."""
        self.mesh.serve()
        self.assert_closed("NC")
        self.mesh.add_cluster("c", HOST)
        upstream = self.mesh.upstream(HOST)
        self.mesh.connect()
        self.assertEqual(1, len(upstream.built))

    def test_no_host(self) -> None:
        """A cluster without hosts closes the client: UH."""
        self.mesh.add_cluster("c")
        self.mesh.serve()
        self.assert_closed("UH")
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_none_healthy"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_total"))

    def test_breaker(self) -> None:
        """Above max_connections a client is closed without an attempt: UO."""
        self.mesh.add_cluster(
            "c", HOST, more="circuit_breakers: {thresholds: [{max_connections: 1}]}"
        )
        self.mesh.upstream(HOST)
        self.mesh.serve()
        first = self.mesh.connect()
        self.assertEqual(1, self.mesh.stat("cluster.c.circuit_breakers.default.cx_open"))
        self.assert_closed("UO")
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_overflow"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        first.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(0, self.mesh.stat("cluster.c.circuit_breakers.default.cx_open"))
        self.assertFalse(self.mesh.connect().ended)

    def test_breaker_counts_attempts(self) -> None:
        """A connection in the making counts as one towards max_connections."""
        self.mesh.add_cluster(
            "c", HOST, more="circuit_breakers: {thresholds: [{max_connections: 1}]}"
        )
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        self.mesh.connect()
        self.assert_closed("UO")

    def test_breaker_before_hosts(self) -> None:
        """The breaker is asked before a host is looked for: where both fail, it is UO."""
        self.mesh.add_cluster("c", more="circuit_breakers: {thresholds: [{max_connections: 0}]}")
        self.mesh.serve()
        self.assert_closed("UO")

    def test_attempts_before_breaker_and_hosts(self) -> None:
        """Used-up attempts are noticed before an open breaker and before missing hosts: UF,URX."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, backoff_options: {base_interval: 1s}, max_connect_attempts: 1")
        client = self.mesh.dial().given
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.network.pump()
        self.mesh.add_cluster("c", more="circuit_breakers: {thresholds: [{max_connections: 0}]}")
        self.mesh.clock.advance(5)
        self.mesh.network.pump()
        self.assertTrue(client.ended)
        self.assertEqual("UF,URX", self.flags())
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_connect_attempts_exceeded"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_overflow"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_none_healthy"))

    def test_cluster_before_attempts(self) -> None:
        """A cluster that went away during the last attempt is noticed before the attempts are
        counted: UF,NC.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        self.mesh.connect()
        self.mesh.clusters.remove("c")
        self.mesh.network.advance(5)
        self.assertEqual("UF,NC", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_no_route"))

    def test_flags_in_order(self) -> None:
        """Flags are told as they came about: a failed attempt, then a cluster that has lost its
        hosts.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, backoff_options: {base_interval: 1s}, max_connect_attempts: 2")
        self.mesh.connect()
        self.mesh.add_cluster("c")
        self.mesh.network.advance(1)
        self.assertEqual("UF,UH", self.flags())

    def test_refused(self) -> None:
        """A refused connection closes the client: UF,URX, also where one attempt is all there
        is.
        """
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve()
        self.assert_closed("UF,URX")

    def test_refused_with_unread_bytes(self) -> None:
        """A client whose bytes nobody read gets a reset, as from any closed socket."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, backoff_options: {base_interval: 1s}, max_connect_attempts: 2")
        client = self.mesh.connect()
        client.transport.write(b"hello")
        self.mesh.network.advance(1)
        self.assertTrue(client.lost_to(ConnectionLost))
        self.assertEqual("UF,URX", self.flags())


class AttemptTests(MeshTestCase):
    """max_connect_attempts, backoff and the choice made for each attempt."""

    def test_first_success(self) -> None:
        """Attempts go to the next host, and the first that connects serves the client, who keeps
        the flag UF.
        """
        self.mesh.add_cluster("c", HOST, OTHER)
        upstream = self.mesh.upstream(OTHER)
        self.mesh.serve("cluster: c, max_connect_attempts: 2")
        clients = [self.mesh.connect() for _ in range(2)]
        self.assertEqual(2, len(upstream.built))
        self.assertFalse(any(client.ended for client in clients))
        failed = self.mesh.stat("cluster.c.upstream_cx_connect_fail")
        self.assertTrue(failed)
        self.assertEqual(
            failed,
            [str(connection.stream_info.flags) for connection in self.mesh.connections].count("UF"),
        )

    def test_number_of_attempts(self) -> None:
        """max_connect_attempts is the number of all attempts, the first included."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, max_connect_attempts: 3")
        self.mesh.connect()
        self.assertEqual(3, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assertEqual("UF,URX", self.flags())

    def test_weight_decides_each_attempt(self) -> None:
        """With weighted clusters each attempt draws anew, so that a further one may go
        elsewhere.
        """
        self.mesh.add_cluster("a", HOST)
        self.mesh.add_cluster("b", HOST)
        self.mesh.serve(
            "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 1}]}, "
            "max_connect_attempts: 30"
        )
        self.mesh.connect()
        a, b = (self.mesh.stat(f"cluster.{name}.upstream_cx_total") for name in "ab")
        self.assertEqual(30, a + b)
        self.assertTrue(a > 5 and b > 5, (a, b))

    def test_weights(self) -> None:
        """Clusters get clients in proportion to their weights."""
        for name in "abc":
            self.mesh.add_cluster(name, HOST)
        self.mesh.serve(
            "weighted_clusters: {clusters: [{name: a, weight: 1}, {name: b, weight: 9}, {name: "
            "c, weight: 30}]}"
        )
        for _ in range(800):
            self.mesh.connect()
        a, b, c = (self.mesh.stat(f"cluster.{name}.upstream_cx_total") for name in "abc")
        self.assertEqual(800, a + b + c)
        for got, expected in ((a, 20), (b, 180), (c, 600)):
            self.assertTrue(abs(got - expected) < 4 * expected**0.5, (a, b, c))

    def test_connect_timeout(self) -> None:
        """An upstream that does not answer within connect_timeout fails the attempt: UF,URX."""
        self.mesh.add_cluster("c", HOST, more="connect_timeout: 0.25s")
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        client = self.mesh.connect()
        self.mesh.network.advance(0.24)
        self.assertFalse(client.ended)
        self.mesh.network.advance(0.01)
        self.assertTrue(client.ended)
        self.assertEqual("UF,URX", self.flags())

    def test_default_connect_timeout(self) -> None:
        """Without a connect_timeout an attempt has 5 seconds."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        client = self.mesh.connect()
        self.mesh.network.advance(4.9)
        self.assertFalse(client.ended)
        self.mesh.network.advance(0.1)
        self.assertTrue(client.ended)

    def test_each_attempt_has_the_whole_timeout(self) -> None:
        """After a timeout the next host gets the whole connect_timeout again."""
        self.mesh.add_cluster("c", HOST, OTHER, more="connect_timeout: 1s")
        self.mesh.network.silent |= {Address("127.0.0.2", 80), Address("127.0.0.3", 80)}
        self.mesh.serve("cluster: c, max_connect_attempts: 2")
        client = self.mesh.connect()
        self.mesh.network.advance(1)
        self.mesh.network.advance(0.9)
        self.assertFalse(client.ended)
        self.mesh.network.advance(0.1)
        self.assertTrue(client.ended)
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_connect_timeout"))

    def test_backoff_waits(self) -> None:
        """With backoff_options a further attempt comes after a pause, and not without one."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, max_connect_attempts: 2, backoff_options: {base_interval: 1s}")
        client = self.mesh.connect()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.mesh.upstream(HOST)
        self.mesh.network.advance(1)
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assertFalse(client.ended)

    def test_no_pause_after_the_last_attempt(self) -> None:
        """When no attempt is left the client is closed at once, without a pause."""
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, backoff_options: {base_interval: 1s}")
        self.assertTrue(self.mesh.connect().ended)


class BackoffTests(MeshTestCase):
    """The pause before a further attempt."""

    def pauses(self, options: str, failures: int) -> list[float]:
        """Many pauses after so many failures."""
        message = parse(tcp_proxy_pb2.TcpProxy, f"backoff_options: {options}")
        backoff = settings_of(message).backoff
        assert backoff is not None
        return [backoff.pause(failures, self.mesh.worker.context.random) for _ in range(400)]

    def assert_range(self, pauses: list[float], most: float) -> None:
        """The pauses are spread over all of 0 to this many seconds."""
        self.assertTrue(
            0 <= min(pauses) < 0.1 * most and 0.9 * most < max(pauses) <= most,
            (min(pauses), max(pauses)),
        )

    def test_doubles(self) -> None:
        """The range begins with base_interval and doubles with each failure."""
        for failures, most in ((1, 0.5), (2, 1), (3, 2), (4, 4)):
            self.assert_range(
                self.pauses("{base_interval: 0.5s, max_interval: 100s}", failures), most
            )

    def test_most(self) -> None:
        """The range ends at max_interval, however many failures there were."""
        for failures in (4, 60, 5000):
            self.assert_range(self.pauses("{base_interval: 0.5s, max_interval: 3s}", failures), 3)

    def test_default_most(self) -> None:
        """Without a max_interval the range ends at ten times base_interval."""
        self.assert_range(self.pauses("{base_interval: 0.5s}", 100), 5)


class ClientWhileConnectingTests(MeshTestCase):
    """A client is not read before its upstream is connected, so nothing it does is noticed until
    then.
    """

    def setUp(self) -> None:
        """A proxy whose first attempt fails and whose second comes within a second."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.mesh.serve("cluster: c, max_connect_attempts: 2, backoff_options: {base_interval: 1s}")

    def test_bytes(self) -> None:
        """What a client sends meanwhile waits, and is delivered first."""
        client = self.mesh.connect()
        client.transport.write(b"early ")
        self.mesh.network.pump()
        self.assertTrue(self.mesh.connections[0].transport.paused)
        upstream = self.mesh.upstream(HOST)
        self.mesh.network.advance(1)
        client.transport.write(b"late")
        self.mesh.network.pump()
        self.assertEqual(b"early late", upstream.built[0].received)

    def test_end_of_stream(self) -> None:
        """A client's FIN goes unnoticed; bytes and FIN are delivered once connected, and the answer
        comes back.
        """
        client = self.mesh.connect()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        upstream = self.mesh.upstream(HOST)
        self.mesh.network.advance(1)
        server = upstream.built[0]
        self.assertEqual((b"question", ["made", "data", "eof"]), (server.received, server.events))
        server.transport.write(b"answer")
        server.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(b"answer", client.received)
        self.assertTrue(client.lost_to(ConnectionDone) or client.ended)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_reset(self) -> None:
        """A client's reset goes unnoticed until the upstream is connected, which then is reset
        too.
        """
        client = self.mesh.connect()
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        upstream = self.mesh.upstream(HOST)
        self.mesh.network.advance(1)
        self.assertTrue(upstream.built[0].lost_to(ConnectionLost))
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_gone_and_no_upstream(self) -> None:
        """A client that has left is forgotten when the last attempt fails, and counted like any
        other.
        """
        client = self.mesh.connect()
        client.transport.abortConnection()
        self.mesh.network.advance(1)
        self.assertEqual("UF,URX", self.flags())
        self.assertEqual(
            {
                "downstream_cx_total": 1,
                "downstream_cx_destroy": 1,
                "worker_0.downstream_cx_total": 1,
            },
            self.mesh.moved("listener.127.0.0.1_1."),
        )


class FilterTests(MeshTestCase):
    """The filter as the chain sees it."""

    def test_interface(self) -> None:
        """It is a network filter, and ends its chain."""
        message = parse(tcp_proxy_pb2.TcpProxy, "{stat_prefix: t, cluster: c}")
        context = WorkerContext(MemoryNetwork(), Store(), lambda name: None, Random(1))
        made = TcpProxy(message, context)
        verifyObject(INetworkFilter, made)
        self.assertTrue(made.terminal)
