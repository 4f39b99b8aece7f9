"""What a client sends before its upstream is connected: upstream_connect_mode and
max_early_data_bytes.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpmesh.testing.harness import Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tests.mesh import MeshTestCase

HOST = "127.0.0.2:80"
AT = Address("127.0.0.2", 80)

ON_DATA = "cluster: c, upstream_connect_mode: ON_DOWNSTREAM_DATA, max_early_data_bytes: %d"
AT_ONCE = "cluster: c, max_early_data_bytes: %d"


class EarlyTestCase(MeshTestCase):
    """A proxy with one cluster of one host that listens."""

    def setUp(self) -> None:
        """The cluster and its host."""
        super().setUp()
        self.mesh.add_cluster("c", HOST, more="connect_timeout: 1s")
        self.upstream: Server = self.mesh.upstream(HOST)

    def send(self, client: RecordingProtocol, data: bytes) -> None:
        """Let a client send, and all happen that follows at once."""
        client.transport.write(data)
        self.mesh.network.pump()

    def assert_empty(self) -> None:
        """Nobody is connected any more, and nothing is left that time would bring."""
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_rq_pending_active"))
        self.mesh.network.advance(10_000)
        self.assertEqual([], self.mesh.clock.getDelayedCalls())


class OnDataTests(EarlyTestCase):
    """ON_DOWNSTREAM_DATA: no connection for a client that says nothing."""

    def test_first_byte_connects(self) -> None:
        """The upstream is connected with the client's first bytes, which go first; those that
        follow come after.
        """
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.send(client, b"early")
        self.send(client, b" and late")
        (server,) = self.upstream.built
        self.assertEqual(b"early and late", bytes(server.received))
        self.assertEqual(1, self.mesh.stat("tcp.t.early_data_received_count_total"))
        self.assertEqual(14, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))
        self.assertEqual(14, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))

    def test_answer(self) -> None:
        """The upstream's bytes flow as ever."""
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        self.send(client, b"?")
        self.upstream.built[0].transport.write(b"!")
        self.mesh.network.pump()
        self.assertEqual(b"!", bytes(client.received))

    def test_end_without_data(self) -> None:
        """A client that sends FIN and nothing else is closed, with no connection made for it."""
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertIn("eof", client.events)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(ConnectionDone))
        self.assertEqual("-", self.flags())
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assert_empty()

    def test_reset_without_data(self) -> None:
        """A client that resets before it has said anything is gone at once."""
        self.mesh.serve(ON_DATA % 1000)
        self.mesh.connect().transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assert_empty()

    def test_data_and_end(self) -> None:
        """A FIN that comes with the data follows it to the upstream, whose answer still arrives."""
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        client.transport.write(b"all")
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        (server,) = self.upstream.built
        self.assertEqual((b"all", True), (bytes(server.received), "eof" in server.events))
        self.assertEqual(1, self.mesh.stat("tcp.t.early_data_received_count_total"))
        server.transport.write(b"answer")
        server.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((b"answer", True), (bytes(client.received), "eof" in client.events))
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(ConnectionDone))
        self.assert_empty()

    def test_idle(self) -> None:
        """idle_timeout runs from the start and ends a client that says nothing."""
        self.mesh.serve(ON_DATA % 1000 + ", idle_timeout: 8s")
        client = self.mesh.connect()
        for _ in range(10):
            self.mesh.network.advance(1)
        self.assertTrue(client.ended)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("tcp.t.idle_timeout"))
        self.assert_empty()

    def test_no_cluster(self) -> None:
        """What the client may not have is found out with its first bytes: NC."""
        self.mesh.serve(ON_DATA.replace("cluster: c", "cluster: nowhere") % 1000)
        client = self.mesh.connect()
        self.assertFalse(client.ended)
        self.send(client, b"x")
        self.assertTrue(client.ended)
        self.assertEqual("NC", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))

    def test_nothing_early(self) -> None:
        """With a limit of 0 the first read still connects, and the rest follows."""
        self.mesh.serve(ON_DATA % 0)
        self.send(self.mesh.connect(), b"hello")
        self.assertEqual(b"hello", bytes(self.upstream.built[0].received))


class LimitTests(EarlyTestCase):
    """What is held for an upstream that takes its time."""

    def setUp(self) -> None:
        """The host does not answer at first."""
        super().setUp()
        self.mesh.network.silent.add(AT)

    def answer(self) -> None:
        """Let the host answer the next attempt."""
        self.mesh.network.silent.clear()
        self.mesh.network.advance(1)

    def test_held(self) -> None:
        """All that comes while connecting fails and is tried again is kept, in order."""
        self.mesh.serve(ON_DATA % 1000 + ", max_connect_attempts: 2")
        client = self.mesh.connect()
        for data in (b"a", b"b", b"c"):
            self.send(client, data)
        self.assertEqual(3, self.mesh.stat("tcp.t.early_data_received_count_total"))
        self.assertEqual(3, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))
        self.answer()
        self.assertEqual(b"abc", bytes(self.upstream.built[0].received))
        self.assertEqual(3, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))

    def test_limit(self) -> None:
        """After the read that reaches the limit the client is not read, and nothing is dropped: it
        all arrives in the end.
        """
        for mode in (ON_DATA, AT_ONCE):
            self.setUp()
            self.mesh.serve(mode % 1000 + ", max_connect_attempts: 2")
            client = self.mesh.connect()
            data = bytes(range(256)) * 1000
            self.send(client, data)
            taken = self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total")
            self.assertTrue(1000 <= taken <= 65536, taken)
            self.assertEqual(taken, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_buffered"))
            self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_buffered"))
            self.assertTrue(client.transport.buffered)
            self.answer()
            self.assertEqual(data, bytes(self.upstream.built[0].received))

    def test_buffer_limit(self) -> None:
        """A read takes no more than the buffer limit of the listener, but at least 16 KiB, whatever
        the early limit is.
        """
        for limit, read in ((1000, 16384), (20_000, 20_000)):
            self.setUp()
            self.mesh.serve(ON_DATA % 0, more=f"per_connection_buffer_limit_bytes: {limit}")
            self.send(self.mesh.connect(), bytes(100_000))
            self.assertEqual(read, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))

    def test_upstream_cannot_take_it(self) -> None:
        """Early data above the upstream's buffer limit stops the client as any other data does,
        until the upstream has read.
        """
        self.mesh.add_cluster(
            "c", HOST, more="connect_timeout: 1s\nper_connection_buffer_limit_bytes: 1000"
        )
        self.mesh.serve(ON_DATA % 500_000 + ", max_connect_attempts: 2")
        client = self.mesh.connect()
        self.send(client, b"x" * 300_000)
        made = self.upstream.buildProtocol

        def reading_nothing(addr: object) -> RecordingProtocol:
            server: RecordingProtocol = made(addr)
            server.on_made = lambda: server.transport.pauseProducing()
            return server

        self.patch(self.upstream, "buildProtocol", reading_nothing)
        self.answer()
        self.send(client, b"y" * 300_000)
        self.assertTrue(client.transport.buffered)
        self.upstream.built[0].transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(b"x" * 300_000 + b"y" * 300_000, bytes(self.upstream.built[0].received))

    def test_end_while_connecting(self) -> None:
        """A FIN while connecting is passed on after the data, once connected."""
        self.mesh.serve(ON_DATA % 1000 + ", max_connect_attempts: 2")
        client = self.mesh.connect()
        self.send(client, b"all")
        self.assertEqual(3, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_buffered"))
        self.mesh.network.advance(0)
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertEqual(2, self.mesh.stat("tcp.t.early_data_received_count_total"))
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_buffered"))
        self.answer()
        (server,) = self.upstream.built
        self.assertEqual((b"all", True), (bytes(server.received), "eof" in server.events))

    def test_reset_while_connecting(self) -> None:
        """A client that resets while its upstream is connected ends the attempt at once."""
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        self.send(client, b"x")
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_rq_cancelled"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_destroy_local"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        self.assertEqual("-", self.flags())
        self.assert_empty()

    def test_reset_between_attempts(self) -> None:
        """A client that resets during the pause before the next attempt is forgotten, and so is
        that attempt.
        """
        self.mesh.serve(
            ON_DATA % 1000 + ", max_connect_attempts: 9, backoff_options: {base_interval: 1000s}"
        )
        client = self.mesh.connect()
        self.send(client, b"x")
        self.mesh.network.advance(1)
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assert_empty()

    def test_no_upstream(self) -> None:
        """Where no attempt succeeds the client is closed, and what it sent with it."""
        self.mesh.serve(ON_DATA % 1000)
        client = self.mesh.connect()
        self.send(client, b"x")
        self.mesh.network.advance(1)
        self.assertTrue(client.ended)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual("UF,URX", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))
        self.assert_empty()


class ImmediateTests(EarlyTestCase):
    """The modes that connect at once."""

    def test_greeting(self) -> None:
        """An upstream that speaks first is heard by a client that says nothing, in every mode but
        ON_DOWNSTREAM_DATA.
        """
        for mode in (
            AT_ONCE % 9,
            AT_ONCE % 9 + ", upstream_connect_mode: ON_DOWNSTREAM_TLS_HANDSHAKE",
        ):
            self.setUp()
            self.mesh.serve(mode)
            client = self.mesh.connect()
            self.upstream.built[0].transport.write(b"hello")
            self.mesh.network.pump()
            self.assertEqual(b"hello", bytes(client.received))

    def test_end_is_noticed(self) -> None:
        """With early data a client's reset while connecting is noticed; without, only once
        connected.
        """
        for mode, active in ((AT_ONCE % 9, 0), ("cluster: c", 1)):
            self.setUp()
            self.mesh.network.silent.add(AT)
            self.mesh.serve(mode)
            self.mesh.connect().transport.abortConnection()
            self.mesh.network.pump()
            self.assertEqual(active, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_end_without_data(self) -> None:
        """A client that only sends FIN is connected all the same, and its FIN passed on."""
        self.mesh.serve(AT_ONCE % 9)
        client = self.mesh.connect()
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertIn("eof", self.upstream.built[0].events)

    def test_reset_is_passed_on(self) -> None:
        """After early data a reset is passed on as ever."""
        self.mesh.serve(AT_ONCE % 9)
        client = self.mesh.connect()
        self.send(client, b"x")
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertTrue(self.upstream.built[0].lost_to(ConnectionLost))
        self.assert_empty()
