"""The times of tcp_proxy: idle timeout and maximum duration, on a clock that a test tells."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone

from tcpmesh.testing.harness import Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tests.mesh import MeshTestCase

HOST = "127.0.0.2:80"

STEP = 0.125
"""How finely time passes here; a power of two, so that sums of it are exact."""


class TimesTestCase(MeshTestCase):
    """A proxy with one cluster of one host that listens."""

    def setUp(self) -> None:
        """The cluster and its host."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.upstream: Server = self.mesh.upstream(HOST)

    def pair(self) -> tuple[RecordingProtocol, RecordingProtocol]:
        """A client and the upstream's end of its connection."""
        client = self.mesh.connect()
        return client, self.upstream.built[-1]

    def pass_time(self, seconds: float) -> None:
        """Let time pass, step by step."""
        for _ in range(int(seconds / STEP)):
            self.mesh.network.advance(STEP)

    def ends_after(self, client: RecordingProtocol, most: float) -> float:
        """Seconds until the client's connection ends."""
        start = self.mesh.clock.seconds()
        while not client.ended:
            self.mesh.network.advance(STEP)
            self.assertTrue(self.mesh.clock.seconds() - start <= most, "it does not end")
        return self.mesh.clock.seconds() - start


class IdleTests(TimesTestCase):
    """idle_timeout."""

    def test_both_are_closed(self) -> None:
        """A connection on which nothing moves is closed on both sides after the timeout, at most an
        eighth later.
        """
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client, server = self.pair()
        self.assertTrue(8 <= self.ends_after(client, 9) <= 9)
        for recorder in (client, server):
            self.assertEqual(["made", "eof"], recorder.events)
            recorder.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost_to(ConnectionDone) and server.lost_to(ConnectionDone))
        self.assertEqual("-", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.idle_timeout"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_destroy_local_with_active_rq"))

    def test_restarted_by_the_client(self) -> None:
        """Every byte of the client starts the timeout anew."""
        self.restarted(lambda client, server: client)

    def test_restarted_by_the_upstream(self) -> None:
        """Every byte of the upstream starts the timeout anew."""
        self.restarted(lambda client, server: server)

    def restarted(
        self, who: Callable[[RecordingProtocol, RecordingProtocol], RecordingProtocol]
    ) -> None:
        """Let one side send now and then; the timeout runs from the last byte, wherever it falls
        between two looks.
        """
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        for pause in (2.125, 4.5, 7, 7.875):
            client, server = self.pair()
            for _ in range(5):
                self.pass_time(pause)
                self.assertFalse(client.ended or server.ended, pause)
                who(client, server).transport.write(b".")
                self.mesh.network.pump()
            self.assertTrue(8 <= self.ends_after(client, 9) <= 9)

    def test_restarted_by_taking_what_waits(self) -> None:
        """A slow reader that takes bytes now and then keeps its connection, though nobody sends any
        more.
        """
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client, server = self.pair()
        client.transport.pauseProducing()
        server.transport.write(b"x" * 600_000)
        self.mesh.network.pump()
        client.on_data = client.transport.pauseProducing
        for _ in range(5):
            self.pass_time(6)
            self.assertFalse(client.ended)
            client.transport.resumeProducing()
            self.mesh.network.pump()
        self.assertEqual(5 * 65536, len(client.received))

    def test_stuck(self) -> None:
        """Where bytes wait that nobody takes, the idle timeout ends the side that they are for with
        what the kernel has of them.
        """
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client, server = self.pair()
        client.transport.pauseProducing()
        server.transport.write(b"x" * 600_000)
        self.mesh.network.pump()
        self.pass_time(9)
        client.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertTrue(client.ended and not client.lost)
        self.assertTrue(0 < len(client.received) < 600_000)
        self.assertTrue(server.ended)

    def test_counts_from_accept(self) -> None:
        """The timeout runs while the upstream is being connected, and ends the attempt."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.add_cluster("c", HOST, more="connect_timeout: 60s")
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client = self.mesh.connect()
        self.assertTrue(8 <= self.ends_after(client, 9) <= 9)
        self.assertEqual("-", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.idle_timeout"))
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))

    def test_ends_a_pause_between_attempts(self) -> None:
        """A client that waits for a further attempt when it has been idle for too long is closed,
        and there is no attempt.
        """
        self.mesh.network.refused.add(Address("127.0.0.2", 80))
        backoff = "backoff_options: {base_interval: 1000s, max_interval: 1000s}"
        self.mesh.serve(f"cluster: c, idle_timeout: 1s, max_connect_attempts: 2, {backoff}")
        client = self.mesh.connect()
        self.pass_time(1.5)
        self.assertTrue(client.ended)
        self.mesh.network.advance(1000)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))
        self.assertEqual([], self.mesh.clock.getDelayedCalls())

    def test_off(self) -> None:
        """0s is no timeout."""
        self.mesh.serve("cluster: c, idle_timeout: 0s")
        client, _ = self.pair()
        for _ in range(100):
            self.mesh.network.advance(3600)
        self.assertFalse(client.ended)

    def test_default(self) -> None:
        """Without idle_timeout it is an hour."""
        self.mesh.serve()
        client, _ = self.pair()
        for _ in range(59):
            self.mesh.network.advance(60)
        self.assertFalse(client.ended)
        for _ in range(9):
            self.mesh.network.advance(60)
        self.assertTrue(client.ended)

    def test_half_closed(self) -> None:
        """A connection of which one direction has ended is idle like any other."""
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client, _ = self.pair()
        client.transport.loseWriteConnection()
        self.mesh.network.pump()
        self.assertTrue(8 <= self.ends_after(client, 9) <= 9)

    def test_each_for_itself(self) -> None:
        """Connections that share a timeout are idle each for itself."""
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        first, _ = self.pair()
        self.pass_time(4)
        second, server = self.pair()
        self.pass_time(4)
        server.transport.write(b".")
        self.pass_time(1)
        self.assertTrue(first.ended)
        self.assertTrue(6 <= self.ends_after(second, 8.5) <= 8.5)

    def test_nothing_after_the_end(self) -> None:
        """A connection that has ended leaves no timer."""
        self.mesh.serve("cluster: c, idle_timeout: 8s, max_downstream_connection_duration: 20s")
        client, _ = self.pair()
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.pass_time(40)
        self.assertEqual([], self.mesh.clock.getDelayedCalls())
        self.assertEqual(0, self.mesh.stat("tcp.t.idle_timeout"))
        self.assertEqual(0, self.mesh.stat("tcp.t.max_downstream_connection_duration"))

    def test_flush_to_a_stuck_upstream(self) -> None:
        """Where the client has gone, an upstream that takes nothing for the idle timeout is given
        up.
        """
        self.mesh.serve("cluster: c, idle_timeout: 8s")
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 200_000)
        client.transport.loseConnection()
        self.mesh.network.pump()
        client.transport.abortConnection()
        self.pass_time(30)
        self.assertEqual(0, self.mesh.stat("cluster.c.upstream_cx_active"))
        self.assertEqual(1, self.mesh.stat("tcp.t.idle_timeout"))


class DurationTests(TimesTestCase):
    """max_downstream_connection_duration."""

    def test_both_are_closed(self) -> None:
        """A connection is closed on both sides at its maximum duration, whatever moves on it:
        DT.
        """
        self.mesh.serve("cluster: c, max_downstream_connection_duration: 2s")
        client, server = self.pair()
        for _ in range(15):
            self.mesh.network.advance(STEP)
            client.transport.write(b".")
        self.assertFalse(client.ended)
        self.mesh.network.advance(STEP)
        self.assertTrue(client.ended and server.ended)
        self.assertEqual("DT", self.flags())
        self.assertEqual(1, self.mesh.stat("tcp.t.max_downstream_connection_duration"))
        self.assertEqual(0, self.mesh.stat("tcp.t.idle_timeout"))
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_destroy_local_with_active_rq"))

    def test_while_connecting(self) -> None:
        """It ends a client whose upstream is being connected, and the attempt with it."""
        self.mesh.network.silent.add(Address("127.0.0.2", 80))
        self.mesh.serve("cluster: c, max_downstream_connection_duration: 2s")
        client = self.mesh.connect()
        self.assertEqual(2, self.ends_after(client, 3))
        self.assertEqual("DT", self.flags())
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_rq_cancelled"))
        self.mesh.network.advance(60)
        self.assertEqual("DT", self.flags())

    def test_between_attempts(self) -> None:
        """It ends a client that waits for a further attempt, which then is not made."""
        self.mesh.network.refused.add(Address("127.0.0.2", 80))
        backoff = "backoff_options: {base_interval: 1000s, max_interval: 1000s}"
        self.mesh.serve(
            f"cluster: c, max_downstream_connection_duration: 2s, max_connect_attempts: 2, "
            f"{backoff}"
        )
        client = self.mesh.connect()
        self.assertEqual(2, self.ends_after(client, 3))
        self.assertEqual("UF,DT", self.flags())
        self.mesh.network.advance(1000)
        self.assertEqual(1, self.mesh.stat("cluster.c.upstream_cx_total"))

    def test_stuck(self) -> None:
        """A client for whom bytes still wait gets those that the kernel has, and FIN."""
        self.mesh.serve("cluster: c, max_downstream_connection_duration: 2s")
        client, server = self.pair()
        client.transport.pauseProducing()
        server.transport.write(b"x" * 600_000)
        self.pass_time(2)
        client.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertTrue(client.ended and not client.lost)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_during_the_last_flush(self) -> None:
        """It also ends a connection whose two sides have ended and of which only the rest is being
        flushed to the client.
        """
        self.mesh.serve("cluster: c, max_downstream_connection_duration: 2s")
        client, server = self.pair()
        client.transport.pauseProducing()
        client.transport.loseWriteConnection()
        server.transport.write(b"x" * 600_000)
        server.transport.loseWriteConnection()
        self.pass_time(1)
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))
        self.pass_time(1)
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_not_of_a_client_that_has_gone(self) -> None:
        """When the client has gone, what is flushed to the upstream has no maximum duration, and
        none is counted.
        """
        self.mesh.serve("cluster: c, max_downstream_connection_duration: 2s")
        client, server = self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x" * 80_000)
        self.mesh.network.pump()
        client.transport.abortConnection()
        self.pass_time(4)
        self.assertEqual(0, self.mesh.stat("tcp.t.max_downstream_connection_duration"))
        server.transport.resumeProducing()
        self.mesh.network.pump()
        self.assertEqual(80_000, len(server.received))

    def test_jitter(self) -> None:
        """A jitter of 50 % makes durations of 1 to 1.5 times the time given, each connection its
        own.
        """
        self.mesh.serve(
            "cluster: c, max_downstream_connection_duration: 8s, "
            "max_downstream_connection_duration_jitter_percentage: {value: 50}"
        )
        clients = [self.pair()[0] for _ in range(100)]
        self.pass_time(8 - STEP)
        self.assertFalse(any(client.ended for client in clients))
        ended = []
        for _ in range(int(4 / STEP) + 1):
            self.mesh.network.advance(STEP)
            ended.append(sum(client.ended for client in clients))
        self.assertEqual(100, ended[-1])
        quarter, half = ended[len(ended) // 4], ended[len(ended) // 2]
        self.assertTrue(10 < quarter < 40 and 35 < half < 65, ended)
        self.assertEqual(100, self.mesh.stat("tcp.t.max_downstream_connection_duration"))

    def test_jitter_leaves_nothing(self) -> None:
        """A connection with jitter that ends before its time leaves no timer."""
        self.mesh.serve(
            "cluster: c, idle_timeout: 0s, max_downstream_connection_duration: 8s,"
            " max_downstream_connection_duration_jitter_percentage: {value: 50}"
        )
        client, _ = self.pair()
        client.transport.abortConnection()
        self.mesh.network.pump()
        self.assertEqual([], self.mesh.clock.getDelayedCalls())
