"""The transport socket tcp_stats: what is counted of the connections below another."""

from __future__ import annotations

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2
from envoy.extensions.transport_sockets.tcp_stats.v3 import tcp_stats_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.testing import mesh
from tcpmesh.values.address import Address
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tests import transport_sockets
from tests.connection.test_transport_sockets import CONFIG
from tests.mesh import FRONT
from tests.transport_sockets import socket_yaml

URL = "type.googleapis.com/"
TYPE = URL + tcp_stats_pb2.Config.DESCRIPTOR.full_name
RAW = URL + raw_buffer_pb2.RawBuffer.DESCRIPTOR.full_name
HEADER = URL + upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport.DESCRIPTOR.full_name
PLAIN = f"transport_socket: {{name: raw, typed_config: {{'@type': {RAW}}}}}"
UP, DOWN = "cluster.c.tcp_stats.", "listener.127.0.0.1_1.tcp_stats."

FIRST = TcpFacts(100, 1, 0.0, 50, 2, 3000, 10, 8, 4, 3, 4000, 3500)
SECOND = FIRST._replace(rtt=200, retransmits=3, unacked=1, data_segments_sent=8, bytes_sent=9000)

COUNTED = {
    "cx_tx_segments": 10,
    "cx_rx_segments": 8,
    "cx_tx_data_segments": 4,
    "cx_rx_data_segments": 3,
    "cx_tx_bytes_sent": 4000,
    "cx_rx_bytes_received": 3500,
}


def header(inner: str) -> str:
    """The field `transport_socket` that writes a PROXY header before `inner`."""
    return f"transport_socket: {{name: p, typed_config: {{'@type': {HEADER}, {inner}}}}}"


def counted(inner: str = PLAIN, period: str = "update_period: 1s") -> str:
    """The field `transport_socket`, around `inner`."""
    more = f", {period}" if period else ""
    return f"transport_socket: {{name: t, typed_config: {{'@type': {TYPE}, {inner}{more}}}}}"


class TcpStatsTests(SynchronousTestCase):
    """Connections to a host, and of clients, of which a test tells the numbers."""

    def setUp(self) -> None:
        """Wrappers are installed, to stand within."""
        transport_sockets.install(self)

    def serve(self, downstream: str, upstream: str) -> None:
        """A client, connected through a proxy to a host."""
        self.mesh = mesh.Mesh(CONFIG % (downstream, upstream))
        server = self.mesh.upstream("127.0.0.2:80")
        self.client = self.mesh.connect(FRONT)
        self.host = server.built[0]
        self.near, self.upward = self.client.transport.far, self.host.transport.far

    def end(self) -> None:
        """The client goes."""
        self.client.transport.loseConnection()
        self.host.transport.loseConnection()
        self.mesh.pump()

    def test_end(self) -> None:
        """Without a period all is counted at the end, when nothing waits any more."""
        self.serve(counted(period=""), counted(period=""))
        self.near.facts, self.upward.facts = FIRST, SECOND
        self.mesh.advance(3600)
        self.assertEqual({}, self.mesh.moved(UP))
        self.end()
        self.assertEqual(COUNTED | {"cx_tx_retransmitted_segments": 1}, self.mesh.moved(DOWN))
        self.assertEqual(
            COUNTED
            | {
                "cx_tx_retransmitted_segments": 3,
                "cx_tx_data_segments": 8,
                "cx_tx_bytes_sent": 9000,
            },
            self.mesh.moved(UP),
        )
        self.assertEqual((1, 200.0), self.mesh.times(UP + "cx_rtt_us"))
        self.assertEqual((1, 50.0), self.mesh.times(DOWN + "cx_rtt_variance_us"))

    def test_period(self) -> None:
        """With a period what is new is counted at each, and gauges tell what waits in the kernel
        of all connections together.
        """
        self.serve("name: x", counted())
        self.upward.facts = FIRST
        self.mesh.advance(0.9)
        self.assertEqual({}, self.mesh.moved(UP))
        self.mesh.advance(0.2)
        waiting = {"cx_tx_unsent_bytes": 3000, "cx_tx_unacked_segments": 2}
        first = COUNTED | {"cx_tx_retransmitted_segments": 1}
        self.assertEqual(first | waiting, self.mesh.moved(UP))
        self.upward.facts = SECOND
        self.mesh.advance(1)
        self.assertEqual(1, self.mesh.stat(UP + "cx_tx_unacked_segments"))
        self.assertEqual(9000, self.mesh.stat(UP + "cx_tx_bytes_sent"))
        self.assertEqual((2, 300.0), self.mesh.times(UP + "cx_rtt_us"))
        # One of four segments was sent again, and then two of four.
        name = "cx_tx_percent_retransmitted_segments"
        self.assertEqual((2, 0.75), self.mesh.times(UP + name))
        self.mesh.advance(1)
        self.assertEqual((2, 0.75), self.mesh.times(UP + name))
        self.end()
        self.assertEqual(0, self.mesh.stat(UP + "cx_tx_unsent_bytes"))
        self.assertEqual(0, self.mesh.stat(UP + "cx_tx_unacked_segments"))
        looks = self.mesh.times(UP + "cx_rtt_us")
        self.mesh.advance(10)
        self.assertEqual(looks, self.mesh.times(UP + "cx_rtt_us"))

    def test_failed_attempts(self) -> None:
        """An attempt to connect that fails is counted, behind a PROXY header as well; what one that
        succeeds has sent is counted once, with its connection.
        """
        for upstream in (counted(), header(counted())):
            self.mesh = mesh.Mesh(CONFIG % ("name: x", upstream))
            self.mesh.network.facts_of_attempts = FIRST
            self.mesh.network.refused.add(Address("127.0.0.2", 80))
            self.mesh.connect(FRONT)
            self.assertEqual(COUNTED | {"cx_tx_retransmitted_segments": 1}, self.mesh.moved(UP))
            self.assertEqual((1, 100.0), self.mesh.times(UP + "cx_rtt_us"))
            self.mesh.network.refused.clear()
            host = self.mesh.upstream("127.0.0.2:80")
            client = self.mesh.connect(FRONT)
            host.built[0].transport.far.facts = FIRST
            client.transport.loseConnection()
            host.built[0].transport.loseConnection()
            self.mesh.pump()
            self.assertEqual(20, self.mesh.stat(UP + "cx_tx_segments"))

    def test_nothing_told(self) -> None:
        """A connection of which the system tells nothing is not counted."""
        self.serve(counted(), counted())
        self.mesh.advance(2)
        self.end()
        self.assertEqual({}, self.mesh.moved(UP) | self.mesh.moved(DOWN))

    def test_inner(self) -> None:
        """What is within makes its handshake as ever, on both sides, and is counted below; a PROXY
        header may be written within, or around.
        """
        framing = socket_yaml("framing")
        self.serve(counted(framing), counted(framing))
        self.end()
        for socket in (
            counted(header(PLAIN)),
            header(counted()),
        ):
            self.serve("name: x", socket)
            self.upward.facts = FIRST
            self.client.transport.write(b"hi")
            self.mesh.pump()
            self.assertTrue(self.host.received.startswith(b"PROXY TCP4"), self.host.received)
            self.assertTrue(self.host.received.endswith(b"hi"))
            self.end()
            self.assertEqual(10, self.mesh.stat(UP + "cx_tx_segments"))

    def test_sides(self) -> None:
        """It cannot stand where the inner transport socket cannot."""
        self.assertRaises(ConfigError, mesh.Mesh, CONFIG % (counted(header(PLAIN)), "name: x"))
