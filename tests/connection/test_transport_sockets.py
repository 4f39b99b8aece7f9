"""Transport sockets in a proxy: between its clients and its filters, and between it and its
hosts.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3.base_pb2 import HeaderValue
from envoy.config.listener.v3 import listener_components_pb2
from envoy.extensions.filters.network.connection_limit.v3 import connection_limit_pb2

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh import registry
from tcpmesh.cluster.upstream.dialer import dialer_of
from tcpmesh.config.messages import types
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.listener.handshakes import TIMEOUT
from tcpmesh.net.timer_wheel import GAP
from tcpmesh.stats.store import Store
from tcpmesh.testing import mesh
from tcpmesh.testing.harness import Client, Server, pattern
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.wrappers import FramingTransport, WrappingFactory, WrappingNetwork
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import Phase
from tests import transport_sockets
from tests.mesh import FRONT, MeshTestCase, listener_message, parse, tcp_proxy
from tests.transport_sockets import NowhereSocket, socket_yaml

RAW = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
LIMIT = f"type.googleapis.com/{connection_limit_pb2.ConnectionLimit.DESCRIPTOR.full_name}"
A, B = "127.0.0.2:80", "127.0.0.3:80"

CONFIG = """
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains:
    - %s
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: c
  clusters:
  - name: c
    type: STATIC
    %s
    load_assignment:
      cluster_name: c
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.2,
        port_value: 80}}}}]}]
"""


class ConfiguredTests(SynchronousTestCase):
    """A configuration that names the transport socket of an installed package."""

    def setUp(self) -> None:
        """The package is installed."""
        transport_sockets.install(self)

    def test_listener_and_cluster(self) -> None:
        """Bytes go both ways through the sockets of a filter chain and of a cluster, and so do the
        ends.
        """
        for name in ("identity", "delaying"):
            made = mesh.Mesh(CONFIG % (socket_yaml(name), socket_yaml(name)))
            server = made.upstream(A)
            client = made.connect(FRONT)
            client.transport.write(pattern(0, 300_000))
            client.transport.loseWriteConnection()
            made.pump()
            server.built[0].transport.write(pattern(5, 300_000))
            server.built[0].transport.loseConnection()
            made.pump()
            self.assertTrue(pattern(0, 300_000) == server.built[0].received)
            self.assertTrue(pattern(5, 300_000) == client.received)
            client.transport.loseConnection()
            made.pump()
            self.assertTrue(client.lost_to(ConnectionDone))
            self.assertEqual(0, made.stat("listener.127.0.0.1_1.downstream_cx_active"))
            self.assertEqual(0, made.stat("cluster.c.upstream_cx_active"))
            self.assertEqual(300_000, made.stat("cluster.c.upstream_cx_tx_bytes_total"))

    def test_failing(self) -> None:
        """A client whose handshake fails at once is closed and counted as any other, and no filter
        sees it; a host whose handshake fails could not be connected to.
        """
        made = mesh.Mesh(CONFIG % (socket_yaml("failing"), ""))
        server = made.upstream(A)
        client = made.connect(FRONT)
        self.assertEqual(["made", "eof"], client.events)
        self.assertEqual([], server.built)
        self.assertEqual(1, made.stat("listener.127.0.0.1_1.downstream_cx_destroy"))
        made = mesh.Mesh(CONFIG % ("name: x", socket_yaml("failing")))
        made.upstream(A)
        client = made.connect(FRONT)
        self.assertEqual(["made", "eof"], client.events)
        self.assertEqual(1, made.stat("cluster.c.upstream_cx_connect_fail"))

    def test_raw_buffer(self) -> None:
        """raw_buffer is accepted where it says nothing, and wraps nothing."""
        raw = f'transport_socket: {{name: raw, typed_config: {{"@type": {RAW}}}}}'
        made = mesh.Mesh(CONFIG % (raw, raw))
        made.upstream(A)
        made.connect(FRONT)
        accepted = made.network.transports[1].protocol
        self.assertIs(made.network.transports[1], accepted.source)

    def test_unknown(self) -> None:
        """A transport socket that nobody has is an error of the configuration."""
        self.patch(types, "entry_points", lambda group: [])
        self.assertRaises(ConfigError, mesh.Mesh, CONFIG % (socket_yaml("identity"), ""))


class SocketTestCase(MeshTestCase):
    """A test of a proxy whose transport sockets are those of `tests.transport_sockets`."""

    def setUp(self) -> None:
        super().setUp()
        transport_sockets.install(self)
        self.network: Any = WrappingNetwork(self.mesh.network, FramingTransport)
        """Where clients make handshakes."""

    def serve(self, socket: str = "framing", more: str = "") -> None:
        """A listener with a transport socket."""
        self.serve_filters(tcp_proxy(), socket, more)

    def serve_filters(self, filters: str, socket: str, more: str = "") -> None:
        """A listener with these filters behind a transport socket."""
        message = listener_message("l", FRONT, filters)
        chain = parse(listener_components_pb2.FilterChain, f"{{{socket_yaml(socket)}{more}}}")
        message.filter_chains[0].MergeFrom(chain)
        self.mesh.listeners.add_or_update(message)
        self.mesh.listeners.start()

    def wrapped_upstream(self, address: str) -> Server:
        """A host that makes handshakes."""
        server = Server()
        self.mesh.upstream(address, WrappingFactory(server, self.mesh.clock, FramingTransport))
        return server

    def wrapped_client(self) -> Client:
        """A client that makes handshakes."""
        client = Client(RecordingProtocol())
        self.network.connect(address_of(FRONT), client, 10.0)
        self.mesh.pump()
        return client


class DownstreamTests(SocketTestCase):
    """Clients of a filter chain with a transport socket."""

    def stat(self, name: str) -> int:
        """One of the listener's statistics."""
        return self.mesh.stat(f"listener.127.0.0.1_1.{name}")

    def test_handshake(self) -> None:
        """A client with a handshake is served, and told in which order its upstream spoke."""
        self.serve()
        self.mesh.add_cluster("c", A)
        server = self.mesh.upstream(A)
        client = self.wrapped_client().given
        client.transport.write(b"question")
        self.mesh.pump()
        server.built[0].transport.write(b"answer")
        server.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual((b"question", b"answer"), (server.built[0].received, client.received))
        self.assertEqual(["made", "data", "eof"], client.events)

    def test_upstream_at_once(self) -> None:
        """The upstream is connected while the handshake goes on, as in Envoy; what it says waits,
        and bounds how much is read of it.
        """
        self.serve("silent")
        self.mesh.add_cluster("c", A)
        server = self.mesh.upstream(A)
        client = self.mesh.connect()
        self.assertEqual(1, len(server.built))
        server.built[0].transport.write(bytes(8 << 20))
        client.transport.write(b"not a handshake")
        self.mesh.pump()
        self.assertEqual((b"", b""), (client.received, server.built[0].received))
        self.assertGreater(server.built[0].transport.buffered, 4 << 20)
        wrapper = self.mesh.connections[0].transport
        self.assertEqual(1 << 20, wrapper.high_watermark)
        self.assertEqual(1 << 19, wrapper.below.high_watermark)

    def test_timeout(self) -> None:
        """A client whose handshake takes longer than 15 s is closed with FIN, and counted; so is
        its upstream.
        """
        self.serve("silent")
        self.mesh.add_cluster("c", A)
        server = self.mesh.upstream(A)
        client = self.mesh.connect()
        self.mesh.advance(TIMEOUT - 0.1)
        self.assertEqual(["made"], client.events)
        self.assertEqual(0, self.stat("downstream_cx_transport_socket_connect_timeout"))
        self.mesh.advance(0.2)
        self.assertEqual(["made", "eof"], client.events)
        self.assertEqual(["made", "eof"], server.built[0].events)
        self.assertEqual(1, self.stat("downstream_cx_transport_socket_connect_timeout"))
        server.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(0, self.stat("downstream_cx_active"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_why_late(self) -> None:
        """After a timeout it is known why the connection ended, in Envoy's words too."""
        self.serve("silent")
        self.mesh.add_cluster("c", A)
        self.mesh.upstream(A)
        self.mesh.connect()
        self.mesh.advance(TIMEOUT + 0.1)
        late = self.mesh.connections[-1].stream_info
        reason = CloseReason(EndedBy.PROXY, Phase.RELAYING, Cause.HANDSHAKE_TIMEOUT)
        self.assertEqual(reason, late.close_reason)
        self.assertEqual("transport_socket_timeout", late.local_close_reason)
        self.assertEqual("transport socket timeout was reached", late.termination_details)

    def test_why_failed(self) -> None:
        """After a handshake that failed it is known why the connection ended."""
        self.serve()
        self.mesh.add_cluster("c", A)
        self.mesh.upstream(A)
        self.mesh.connect().transport.write(b"GET / HTTP/1.0\r\n\r\n")
        self.mesh.pump()
        bad = self.mesh.connections[-1].stream_info.close_reason
        assert bad is not None
        self.assertEqual(
            (EndedBy.DOWNSTREAM, Cause.HANDSHAKE_FAILED, True),
            (bad.by, bad.cause, bool(bad.detail)),
        )

    def test_timeout_as_configured(self) -> None:
        """transport_socket_connect_timeout is the time, and 0 means none."""
        for given, waited, expected in (("2s", 2.1, 1), ("2s", 1.9, 0), ("0s", 3600.0, 0)):
            self.setUp()
            self.serve("silent", f", transport_socket_connect_timeout: {given}")
            self.mesh.add_cluster("c", A)
            self.mesh.upstream(A)
            self.mesh.connect()
            self.mesh.advance(waited)
            name = "downstream_cx_transport_socket_connect_timeout"
            self.assertEqual(expected, self.stat(name), given)

    def test_in_time(self) -> None:
        """A client that was in time is never closed for that."""
        self.serve()
        self.mesh.add_cluster("c", A)
        self.mesh.upstream(A)
        client = self.wrapped_client().given
        self.mesh.advance(2 * TIMEOUT)
        self.assertEqual(["made"], client.events)
        self.assertEqual(0, self.stat("downstream_cx_transport_socket_connect_timeout"))

    def test_garbage(self) -> None:
        """A client that says something else is closed, and its upstream gets FIN and no byte."""
        self.serve()
        self.mesh.add_cluster("c", A)
        server = self.mesh.upstream(A)
        client = self.mesh.connect()
        client.transport.write(b"GET / HTTP/1.0\r\n\r\n")
        self.mesh.pump()
        self.assertTrue(client.ended)
        self.assertEqual(["made", "eof"], server.built[0].events)
        self.mesh.advance(2 * TIMEOUT)
        self.assertEqual(0, self.stat("downstream_cx_transport_socket_connect_timeout"))

    def test_leaving(self) -> None:
        """A client that leaves in its handshake, with FIN or a reset, is no connection any more;
        its upstream hears the same.
        """
        for end in ("loseConnection", "abortConnection"):
            self.setUp()
            self.serve("silent")
            self.mesh.add_cluster("c", A)
            server = self.mesh.upstream(A)
            client = self.mesh.connect()
            getattr(client.transport, end)()
            self.mesh.pump()
            upstream = server.built[0]
            if end == "loseConnection":
                self.assertEqual(["made", "eof"], upstream.events)
                upstream.transport.loseConnection()
                self.mesh.pump()
            else:
                self.assertTrue(upstream.lost_to(ConnectionLost), upstream.reason)
            self.assertEqual(0, self.stat("downstream_cx_active"))
            self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_read_filters(self) -> None:
        """Filters before the last one see plain bytes only, and may close a client whose handshake
        goes on.
        """
        limit = (
            f'{{name: l, typed_config: {{"@type": {LIMIT}, stat_prefix: x, max_connections: 1}}}}'
        )
        self.serve_filters(tcp_proxy().replace("[", f"[{limit}, ", 1), "framing")
        self.mesh.add_cluster("c", A)
        self.mesh.upstream(A)
        first, second = self.wrapped_client(), self.wrapped_client()
        self.assertEqual(["made"], first.given.events)
        self.assertTrue(second.failure or second.given.ended)

    def test_closed_with_its_chain(self) -> None:
        """The factory is closed with its filter chain, once."""
        self.serve()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual(["framing"], transport_sockets.closed)


class UpstreamTests(SocketTestCase):
    """Connections to the hosts of a cluster with a transport socket."""

    def cluster(self, *hosts: str, more: str = "", socket: str = "framing") -> None:
        """A cluster with a transport socket, and a listener for it."""
        self.mesh.add_cluster("c", *hosts, more=f"{{{socket_yaml(socket)}{more}}}")
        self.mesh.serve()

    def moved(self) -> dict[str, int]:
        """The statistics of upstream connections that are not 0."""
        stats = self.mesh.moved("cluster.c.upstream_")
        return {name: value for name, value in stats.items() if name.startswith("cx_")}

    def test_handshake(self) -> None:
        """The client's bytes go through the host's handshake."""
        server = self.wrapped_upstream(A)
        self.cluster(A)
        client = self.mesh.connect()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        upstream = server.built[0]
        upstream.transport.write(b"answer")
        upstream.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual((b"question", b"answer"), (upstream.received, client.received))
        self.assertEqual(["made", "data", "eof"], upstream.events[:3])

    def test_timeout(self) -> None:
        """connect_timeout runs on until the handshake is over, and then it is a timeout of the
        connection, as Envoy counts it.
        """
        self.mesh.upstream(A)
        self.cluster(A, more=", connect_timeout: 1s")
        client = self.mesh.connect()
        self.mesh.advance(0.9)
        self.assertEqual(["made"], client.events)
        self.mesh.advance(0.2)
        self.assertEqual(["made", "eof"], client.events)
        self.assertEqual("UF,URX", self.flags())
        self.assertEqual(
            {
                "cx_total": 1,
                "cx_connect_fail": 1,
                "cx_connect_timeout": 1,
                "cx_connect_attempts_exceeded": 1,
                "cx_destroy": 1,
                "cx_destroy_local": 1,
            },
            self.moved(),
        )

    def test_refused(self) -> None:
        """A host that refuses has done so once: when the time for connecting is over nothing more
        happens.
        """
        self.cluster(A, more=", connect_timeout: 1s")
        client = self.mesh.connect()
        self.assertEqual("UF,URX", self.flags())
        self.assertTrue(client.ended)
        moved = self.moved()
        self.assertEqual(1, moved["cx_connect_fail"])
        self.mesh.advance(2)
        self.assertEqual(moved, self.moved())
        self.assertNotIn("cx_connect_timeout", moved)

    def test_failure(self) -> None:
        """A host that ends the handshake, or says something else, could not be connected to: as
        Envoy counts it, the host ended it.
        """
        for said in (b"", b"garbage that is no handshake"):
            self.setUp()
            server = RecordingProtocol()
            server.on_made = partial(_say_and_close, server, said)
            self.mesh.upstream(A, Server(server))
            self.cluster(A)
            client = self.mesh.connect()
            self.assertEqual(["made", "eof"], client.events)
            self.assertEqual(
                {
                    "cx_total": 1,
                    "cx_connect_fail": 1,
                    "cx_connect_attempts_exceeded": 1,
                    "cx_destroy": 1,
                    "cx_destroy_remote": 1,
                },
                self.moved(),
            )

    def test_outlier(self) -> None:
        """Handshakes that fail count for outlier detection as connections that fail."""
        self.mesh.upstream(A, Server(make=Closer))
        more = (
            ", outlier_detection: {split_external_local_origin_errors: true, "
            "consecutive_local_origin_failure: 2, enforcing_consecutive_local_origin_failure: 100,"
            " max_ejection_percent: 100}"
        )
        self.cluster(A, more=more)
        for _ in range(2):
            self.mesh.connect()
        name = "outlier_detection.ejections_enforced_consecutive_local_origin_failure"
        self.assertEqual(1, self.mesh.stat(f"cluster.c.{name}"))

    def test_client_gone(self) -> None:
        """A client that leaves while its host's handshake goes on takes that connection with it."""
        server = self.mesh.upstream(A)
        self.cluster(A)
        client = self.mesh.connect()
        client.transport.abortConnection()
        self.mesh.advance(6)
        self.assertTrue(server.built[0].ended or server.built[0].lost)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_happy_eyeballs(self) -> None:
        """A race is won by the first address whose handshake is over, not by the first that
        accepts.
        """
        self.mesh.upstream(A)
        server = self.wrapped_upstream(B)
        self.cluster(A)
        message = cluster_pb2.Cluster()
        message.CopyFrom(self.mesh.clusters.get("c").message)  # type: ignore[union-attr]
        endpoint = message.load_assignment.endpoints[0].lb_endpoints[0].endpoint
        more = endpoint.additional_addresses.add().address.socket_address
        more.address, more.port_value = B.split(":")[0], 80
        self.mesh.clusters.add_or_update(message)
        client = self.mesh.connect()
        self.mesh.advance(0.2)
        self.assertEqual([], server.built)
        self.mesh.advance(0.2)
        client.transport.write(b"x")
        self.mesh.pump()
        self.assertEqual(b"x", server.built[0].received)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))

    def test_pools(self) -> None:
        """A connection that is made ahead has its handshake behind it when a client gets it."""
        server = self.wrapped_upstream(A)
        self.cluster(A, more=", preconnect_policy: {per_upstream_preconnect_ratio: 2.0}")
        self.mesh.connect()
        self.assertEqual(2, len(server.built))
        second = self.mesh.connect()
        second.transport.write(b"x")
        self.mesh.pump()
        self.assertEqual([b"", b"x"], sorted(bytes(each.received) for each in server.built[:2]))

    def test_health_checks(self) -> None:
        """A health check makes the handshake, be it to see whether a connection can be made or to
        ask something: a host that only accepts is not healthy.
        """
        for question in ("{}", '{send: {text: "00"}, receive: [{text: "01"}]}'):
            self.setUp()
            self.mesh.upstream(A)
            server = Server(make=Yes)
            self.mesh.upstream(B, WrappingFactory(server, self.mesh.clock, FramingTransport))
            check = (
                "{timeout: 1s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1, "
                f"tcp_health_check: {question}}}"
            )
            self.cluster(A, B, more=f", health_checks: [{check}]")
            self.mesh.advance(GAP)
            self.mesh.advance(2)
            stats = self.mesh.moved("cluster.c.health_check.")
            self.assertEqual((2, 1, 1), tuple(stats[n] for n in ("attempt", "success", "failure")))
            self.assertEqual(1, self.mesh.stat("cluster.c.membership_healthy"))

    def test_closed_with_its_cluster(self) -> None:
        """The worker's factory is closed with the cluster, and main's, which is there where hosts
        are checked.
        """
        check = (
            "{timeout: 1s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1, "
            "tcp_health_check: {}}"
        )
        for more, factories in (("", 1), (f", health_checks: [{check}]", 2)):
            transport_sockets.closed.clear()
            self.cluster(A, more=more)
            self.mesh.clusters.remove("c")
            self.mesh.pump()
            self.assertEqual(["framing"] * factories, transport_sockets.closed)


def _say_and_close(server: RecordingProtocol, said: bytes) -> None:
    server.transport.write(said)
    server.transport.loseConnection()


class Closer(RecordingProtocol):
    """Closes at once."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.transport.loseConnection()


class Yes(RecordingProtocol):
    """Says yes to everything."""

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self.transport.write(b"\1")


class WrongSideTests(SynchronousTestCase):
    """A transport socket that cannot stand where it is named."""

    def test_wrong_side(self) -> None:
        """It is an error that names the type and the place."""
        self.patch(registry, "_by_type", {transport_sockets.TYPE: (HeaderValue, NowhereSocket)})
        context = registry.MainContext(MemoryNetwork(), Store())
        message = parse(cluster_pb2.Cluster, f"{{{socket_yaml('x')}}}")
        error = self.assertRaises(ValueError, dialer_of, message, context)
        self.assertEqual(
            "envoy.config.core.v3.HeaderValue is no transport socket of a cluster", str(error)
        )
