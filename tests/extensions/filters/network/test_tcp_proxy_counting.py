"""What a connection through tcp_proxy moves in the statistics: all of it, and nothing else."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from tcpmesh.testing.harness import Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tests.mesh import MeshTestCase, tcp_proxy

HOST = "127.0.0.2:80"

BUILT = {
    "membership_change": 1,
    "membership_total": 1,
    "membership_healthy": 1,
    "default.total_match_count": 1,
}
"""What a cluster of one host counts before any client."""

ENDED = {
    "upstream_cx_total": 1,
    "upstream_rq_total": 1,
    "upstream_rq_pending_total": 1,
    "upstream_cx_destroy": 1,
    "upstream_cx_destroy_with_active_rq": 1,
}
"""What a connection that was up has counted once it is over, whoever ended it."""


class CountingTestCase(MeshTestCase):
    """A proxy with one cluster of one host."""

    def setUp(self) -> None:
        """The cluster exists, and nothing listens yet."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.upstream: Server | None = None

    def pair(self) -> tuple[RecordingProtocol, RecordingProtocol]:
        """A client and the upstream's end of its connection."""
        if self.upstream is None:
            self.upstream = self.mesh.upstream(HOST)
        client = self.mesh.connect()
        return client, self.upstream.built[-1]

    def assert_cluster(self, **expected: int) -> None:
        """These of the cluster's counters and gauges have moved, to these values, and no others."""
        self.assertEqual({**BUILT, **expected}, self.mesh.moved("cluster.c."))

    def assert_filter(self, **expected: int) -> None:
        """These of the filter's have moved, besides the client itself."""
        self.assertEqual({"downstream_cx_total": 1, **expected}, self.mesh.moved("tcp.t."))

    def assert_listener(self, active: int) -> None:
        """The listener has seen one client, which is active or destroyed."""
        expected = {"downstream_cx_total": 1, "worker_0.downstream_cx_total": 1}
        if active:
            expected |= {"downstream_cx_active": 1, "worker_0.downstream_cx_active": 1}
        else:
            expected |= {"downstream_cx_destroy": 1}
        self.assertEqual(expected, self.mesh.moved("listener.127.0.0.1_1."))


class SuccessTests(CountingTestCase):
    """A connection that is made."""

    def setUp(self) -> None:
        """A client connected to an upstream."""
        super().setUp()
        self.mesh.serve()
        self.client, self.server = self.pair()

    def test_open(self) -> None:
        """While it is open, it is one active connection and one active request."""
        self.assert_cluster(
            upstream_cx_total=1,
            upstream_cx_active=1,
            upstream_rq_total=1,
            upstream_rq_active=1,
            upstream_rq_pending_total=1,
        )
        self.assert_filter()
        self.assert_listener(active=1)

    def test_bytes(self) -> None:
        """Bytes are counted while the connection is open, for both sides, and once."""
        self.client.transport.write(b"x" * 300)
        self.server.transport.write(b"y" * 70_000)
        self.mesh.network.pump()
        for _ in range(3):
            self.assert_filter(
                downstream_cx_rx_bytes_total=300, downstream_cx_tx_bytes_total=70_000
            )
            self.assertEqual(70_000, self.mesh.stat("cluster.c.upstream_cx_rx_bytes_total"))
            self.assertEqual(300, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"))
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assert_filter(downstream_cx_rx_bytes_total=300, downstream_cx_tx_bytes_total=70_000)

    def test_client_ends_first(self) -> None:
        """Where the upstream answers the client's FIN with its own, the upstream closed last."""
        self.server.on_eof = self.server.transport.loseConnection
        self.client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assert_cluster(
            **ENDED, upstream_cx_destroy_remote=1, upstream_cx_destroy_remote_with_active_rq=1
        )
        self.assert_listener(active=0)
        self.assertEqual("-", self.flags())

    def test_upstream_ends_first(self) -> None:
        """Where the client answers the upstream's FIN with its own, we closed the upstream."""
        self.client.on_eof = self.client.transport.loseConnection
        self.server.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assert_cluster(
            **ENDED, upstream_cx_destroy_local=1, upstream_cx_destroy_local_with_active_rq=1
        )
        self.assert_listener(active=0)

    def test_half_closed_is_active(self) -> None:
        """A connection of which one direction has ended is still active, and nothing is
        destroyed.
        """
        self.client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_destroy"))
        self.assert_listener(active=1)

    def test_upstream_resets(self) -> None:
        """A reset of the upstream is passed on and flagged UR; the upstream closed."""
        self.server.transport.abortConnection()
        self.mesh.network.pump()
        self.assertTrue(self.client.lost_to(ConnectionLost))
        self.assertEqual("UR", self.flags())
        self.assert_cluster(
            **ENDED, upstream_cx_destroy_remote=1, upstream_cx_destroy_remote_with_active_rq=1
        )

    def test_client_resets(self) -> None:
        """A reset of the client is passed on and has no flag; we closed the upstream."""
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertTrue(self.server.lost_to(ConnectionLost))
        self.assertEqual("-", self.flags())
        self.assert_cluster(
            **ENDED, upstream_cx_destroy_local=1, upstream_cx_destroy_local_with_active_rq=1
        )

    def test_times(self) -> None:
        """The time to connect and the life of both connections are recorded, in milliseconds."""
        self.mesh.network.advance(1.5)
        self.assertEqual((1, 0), self.mesh.times("cluster.c.upstream_cx_connect_ms"))
        self.assertEqual((0, 0), self.mesh.times("cluster.c.upstream_cx_length_ms"))
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual((1, 1500), self.mesh.times("cluster.c.upstream_cx_length_ms"))
        self.assertEqual((1, 1500), self.mesh.times("listener.127.0.0.1_1.downstream_cx_length_ms"))

    def test_host(self) -> None:
        """The host counts its own connections and requests."""
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual({"cx_active": 1, "rq_active": 1, "rq_pending_active": 0}, host.gauges)
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual({"cx_active": 0, "rq_active": 0, "rq_pending_active": 0}, host.gauges)
        self.assertEqual(
            (1, 1, 0),
            tuple(host.counters[name] for name in ("cx_total", "rq_total", "cx_connect_fail")),
        )

    def test_many(self) -> None:
        """When the last of several clients has left, no gauge is left above 0."""
        others = [self.pair()[0] for _ in range(4)]
        self.assertEqual(5, self.mesh.stat("cluster.c.upstream_cx_active"))
        for client in (self.client, *others):
            client.transport.write(b"bye")
            client.transport.loseConnection()
        for server in list(self.upstream.built if self.upstream else ()):
            server.transport.loseConnection()
        self.mesh.network.pump()
        self.mesh.network.pump()
        self.mesh.store.collect()
        gauges = {
            gauge.name: gauge.tally for gauge in self.mesh.store.gauges() if "active" in gauge.name
        }
        del (
            gauges["cluster_manager.active_clusters"],
            gauges["listener_manager.total_listeners_active"],
        )
        self.assertEqual([0], sorted(set(gauges.values())), gauges)
        self.assertEqual(15, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))


class FailureTests(CountingTestCase):
    """Attempts that fail."""

    def test_refused(self) -> None:
        """Each refused attempt is a connection that the upstream destroyed; giving up counts
        once.
        """
        self.mesh.serve("cluster: c, max_connect_attempts: 3")
        self.mesh.connect()
        self.assert_cluster(
            upstream_cx_total=3,
            upstream_cx_connect_fail=3,
            upstream_rq_pending_total=3,
            upstream_rq_pending_failure_eject=3,
            upstream_cx_destroy=3,
            upstream_cx_destroy_remote=3,
            upstream_cx_connect_attempts_exceeded=1,
        )
        self.assert_filter()
        self.assert_listener(active=0)
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual(
            (3, 3, 0),
            tuple(host.counters[name] for name in ("cx_total", "cx_connect_fail", "rq_total")),
        )
        self.assertEqual({"cx_active": 0, "rq_active": 0, "rq_pending_active": 0}, host.gauges)

    def test_pending(self) -> None:
        """A connection in the making is active and pending, and not yet a request."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        self.mesh.connect()
        self.assert_cluster(
            upstream_cx_total=1,
            upstream_cx_active=1,
            upstream_rq_pending_total=1,
            upstream_rq_pending_active=1,
        )
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual(1, host.gauges["cx_active"])

    def test_timeout(self) -> None:
        """An attempt that timed out is a failure, a timeout, and a connection that we destroyed."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        self.mesh.connect()
        self.mesh.network.advance(5)
        self.assert_cluster(
            upstream_cx_total=1,
            upstream_cx_connect_fail=1,
            upstream_cx_connect_timeout=1,
            upstream_rq_pending_total=1,
            upstream_rq_pending_failure_eject=1,
            upstream_cx_destroy=1,
            upstream_cx_destroy_local=1,
            upstream_cx_connect_attempts_exceeded=1,
        )
        self.assert_listener(active=0)

    def test_times(self) -> None:
        """A failed attempt has a length, and no time to connect."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve()
        self.mesh.connect()
        self.mesh.network.advance(5)
        self.assertEqual((1, 5000), self.mesh.times("cluster.c.upstream_cx_length_ms"))
        self.assertEqual((0, 0), self.mesh.times("cluster.c.upstream_cx_connect_ms"))

    def test_given_up(self) -> None:
        """An attempt that we give up is cancelled and destroyed by us, and is no failure."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve("cluster: c, idle_timeout: 1s")
        self.mesh.connect()
        self.mesh.network.advance(0.5)
        for _ in range(8):
            self.mesh.network.advance(0.125)
        self.assert_cluster(
            upstream_cx_total=1,
            upstream_rq_pending_total=1,
            upstream_rq_cancelled=1,
            upstream_cx_destroy=1,
            upstream_cx_destroy_local=1,
        )
        (host,) = self.mesh.clusters.statuses()[0].hosts
        self.assertEqual((0, 0), (host.gauges["cx_active"], host.counters["cx_connect_fail"]))
        self.mesh.network.advance(60)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))


class FlowTests(CountingTestCase):
    """Buffers that fill up, pauses, and what is flushed when one side has gone."""

    def setUp(self) -> None:
        """Small buffers on both sides."""
        super().setUp()
        self.mesh.add_cluster("c", HOST, more="per_connection_buffer_limit_bytes: 1000")
        self.mesh.serve(more="per_connection_buffer_limit_bytes: 2000")
        self.client, self.server = self.pair()

    def test_slow_upstream(self) -> None:
        """An upstream that does not read pauses its client, and lets it go on at half its buffer's
        limit; both are counted.
        """
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 200_000)
        self.mesh.network.pump()
        moved = self.mesh.moved("tcp.t.")
        self.assertEqual(1, moved["downstream_flow_control_paused_reading_total"])
        self.assertNotIn("downstream_flow_control_resumed_reading_total", moved)
        waiting = moved["downstream_cx_rx_bytes_buffered"]
        self.assertTrue(1000 < waiting <= 2000, waiting)
        self.assertEqual(waiting, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_buffered"))
        self.assertEqual(
            moved["downstream_cx_rx_bytes_total"] - waiting,
            self.mesh.stat("cluster.c.upstream_cx_tx_bytes_total"),
        )
        self.server.transport.resumeProducing()
        self.mesh.network.pump()
        moved = self.mesh.moved("tcp.t.")
        self.assertEqual(200_000, moved["downstream_cx_rx_bytes_total"])
        self.assertEqual(200_000, len(self.server.received))
        self.assertEqual(
            moved["downstream_flow_control_paused_reading_total"],
            moved["downstream_flow_control_resumed_reading_total"],
        )
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_tx_bytes_buffered"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_flow_control_paused_reading_total"))

    def test_slow_client(self) -> None:
        """A client that does not read pauses its upstream; the cluster counts that."""
        self.client.transport.pauseProducing()
        self.server.transport.write(b"x" * 200_000)
        self.mesh.network.pump()
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_flow_control_paused_reading_total"))
        waiting = self.mesh.stat("tcp.t.downstream_cx_tx_bytes_buffered")
        self.assertTrue(2000 < waiting <= 4000, waiting)
        self.assertEqual(waiting, self.mesh.stat("cluster.c.upstream_cx_rx_bytes_buffered"))
        self.client.transport.resumeProducing()
        self.mesh.network.pump()
        moved = self.mesh.moved("cluster.c.")
        self.assertEqual(
            moved["upstream_flow_control_paused_reading_total"],
            moved["upstream_flow_control_resumed_reading_total"],
        )
        self.assertEqual(200_000, self.mesh.stat("tcp.t.downstream_cx_tx_bytes_total"))
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_flow_control_paused_reading_total"))

    def test_buffers_of_the_gone(self) -> None:
        """What a connection held is in no gauge once it is gone."""
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 200_000)
        self.mesh.network.pump()
        self.server.transport.abortConnection()
        self.mesh.network.pump()
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        for name in (
            "cluster.c.upstream_cx_tx_bytes_buffered",
            "tcp.t.downstream_cx_rx_bytes_buffered",
        ):
            self.assertEqual(0, self.mesh.stat(name), name)

    def test_flush_to_the_upstream(self) -> None:
        """Once both have sent all, the client is gone, and what the upstream still has to take is a
        flush, active until done.
        """
        self.server.transport.loseWriteConnection()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 66_000)
        self.client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual(
            (1, 1),
            (
                self.mesh.stat("tcp.t.upstream_flush_total"),
                self.mesh.stat("tcp.t.upstream_flush_active"),
            ),
        )
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.server.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(66_000, len(self.server.received))
        self.assertEqual(
            (1, 0),
            (
                self.mesh.stat("tcp.t.upstream_flush_total"),
                self.mesh.stat("tcp.t.upstream_flush_active"),
            ),
        )
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_flush_to_the_client(self) -> None:
        """What is left of an upstream that is gone is bytes to write to the client, and none that
        were read of the upstream.
        """
        self.client.transport.pauseProducing()
        self.server.transport.write(b"x" * 66_000)
        self.server.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(self.mesh.stat("tcp.t.downstream_cx_tx_bytes_buffered"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_rx_bytes_buffered"))

    def test_flush_that_is_reset(self) -> None:
        """An upstream that resets what is flushed to it has closed its connection itself."""
        self.server.transport.loseWriteConnection()
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 66_000)
        self.client.transport.loseConnection()
        self.mesh.network.pump()
        self.server.transport.abortConnection()
        self.mesh.network.pump()
        moved = self.mesh.moved("cluster.c.")
        self.assertEqual(1, moved["upstream_cx_destroy_remote_with_active_rq"])
        self.assertNotIn("upstream_cx_destroy_local", moved)

    def test_a_reset_is_no_flush(self) -> None:
        """What a client sent before its reset still goes to the upstream, but Envoy has no name for
        that, and none is counted.
        """
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 66_000)
        self.mesh.network.pump()
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual(
            (0, 0),
            (
                self.mesh.stat("tcp.t.upstream_flush_total"),
                self.mesh.stat("tcp.t.upstream_flush_active"),
            ),
        )
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.server.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(66_000, len(self.server.received))

    def test_pauses_end_with_the_sink(self) -> None:
        """The side that was paused for another that has gone counts as resumed."""
        self.client.transport.pauseProducing()
        self.server.transport.write(b"x" * 200_000)
        self.mesh.network.pump()
        self.client.transport.abortConnection()
        self.mesh.network.pump()
        moved = self.mesh.moved("cluster.c.")
        self.assertEqual(1, moved["upstream_flow_control_paused_reading_total"])
        self.assertEqual(1, moved["upstream_flow_control_resumed_reading_total"])

    def test_pauses_and_the_idle_timeout(self) -> None:
        """A timeout closes the client first: an upstream paused for it counts as resumed, a client
        paused for its upstream not.
        """
        self.mesh.listeners.remove("l")
        self.mesh.serve(
            "cluster: c, idle_timeout: 8s", more="per_connection_buffer_limit_bytes: 2000"
        )
        for stuck, sender in ((0, 1), (1, 0)):
            pair = self.pair()
            pair[stuck].transport.pauseProducing()
            pair[sender].transport.write(b"x" * 200_000)
            for _ in range(40):
                self.mesh.network.advance(0.25)
        self.assertEqual(2, self.mesh.stat("tcp.t.idle_timeout"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_flow_control_resumed_reading_total"))
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_flow_control_paused_reading_total"))
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_flow_control_resumed_reading_total"))

    def test_pauses_end_with_the_upstream(self) -> None:
        """The same of a client that was paused for an upstream which then resets."""
        self.server.transport.pauseProducing()
        self.client.transport.write(b"x" * 200_000)
        self.mesh.network.pump()
        self.server.transport.abortConnection()
        self.mesh.network.pump()
        moved = self.mesh.moved("tcp.t.")
        self.assertEqual(1, moved["downstream_flow_control_paused_reading_total"])
        self.assertEqual(1, moved["downstream_flow_control_resumed_reading_total"])

    def test_unlimited(self) -> None:
        """A buffer limit of 0 is none: nobody is paused."""
        self.mesh.add_cluster("d", HOST, more="per_connection_buffer_limit_bytes: 0")
        self.mesh.listeners.remove("l")
        self.mesh.serve("cluster: d")
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 4_000_000)
        self.mesh.network.pump()
        self.assertEqual(4_000_000, self.mesh.stat("tcp.t.downstream_cx_rx_bytes_total"))
        self.assertEqual(0, self.mesh.stat("tcp.t.downstream_flow_control_paused_reading_total"))

    def test_default_limit(self) -> None:
        """Without a limit configured each side buffers about 1 MiB."""
        self.mesh.add_cluster("d", HOST)
        self.mesh.listeners.remove("l")
        self.mesh.serve("cluster: d")
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 4_000_000)
        self.mesh.network.pump()
        waiting = self.mesh.stat("tcp.t.downstream_cx_rx_bytes_buffered")
        self.assertTrue(1 << 20 < waiting <= (1 << 20) + (1 << 18), waiting)


class NamesTests(CountingTestCase):
    """The names that are there before anything has happened."""

    def test_filter(self) -> None:
        """Every statistic that Envoy has for a tcp_proxy is there at 0, before the first client."""
        self.mesh.serve()
        expected = (
            "downstream_cx_total downstream_cx_no_route downstream_cx_rx_bytes_total "
            "downstream_cx_tx_bytes_total"
            " downstream_flow_control_paused_reading_total "
            "downstream_flow_control_resumed_reading_total"
            " early_data_received_count_total idle_timeout max_downstream_connection_duration "
            "upstream_flush_total"
            " downstream_cx_drain_close downstream_cx_overload_close route_delayed_total "
            "downstream_cx_rx_bytes_buffered"
            " downstream_cx_tx_bytes_buffered upstream_flush_active"
        )
        self.assertEqual(dict.fromkeys(expected.split(), 0), self.mesh.stats("tcp.t."))

    def test_prefix(self) -> None:
        """Filters of one stat_prefix share their statistics; a colon in it is an underscore."""
        self.mesh.clusters.remove("c")
        for port in (1, 2):
            self.mesh.add_listener(
                f"l{port}", f"127.0.0.1:{port}", tcp_proxy("cluster: c", "'a:b'")
            )
        self.mesh.listeners.start()
        self.mesh.connect("127.0.0.1:1")
        self.mesh.connect("127.0.0.1:2")
        self.assertEqual(2, self.mesh.stat("tcp.a_b.downstream_cx_no_route"))
