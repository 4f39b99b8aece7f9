"""Clients of a tcp_proxy that go through a proxy of HTTP/2."""

from __future__ import annotations

from typing import Any

from h2.settings import SettingCodes

from twisted.internet.error import ConnectionLost

from tcpmesh.testing.mesh import address_of
from tcpmesh.values.hosts import HealthFlag
from tests.mesh import MeshTestCase
from tests.rpc.called import HOST, HTTP2, Call, Server

OK = ((":status", "200"),)
FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
LOG = (
    f"access_log: [{{name: f, typed_config: {{'@type': {FILE}, path: /log, log_format: "
    "{text_format_source: {inline_string: '%s'}}}}]"
)
WORDS = "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"
CANCEL, CONNECT_ERROR, REFUSED = 8, 10, 7


class Http2TestCase(MeshTestCase):
    """A test of tunnels; the host of cluster c is the proxy."""

    def setUp(self) -> None:
        """A proxy that answers when it is told to."""
        super().setUp()
        self.proxy = Server(self)  # type: ignore[arg-type]
        self.proxy.reply = lambda call: None

    def tunnel(
        self, more: str = "", tcp: str = "", options: str = "", cluster: str = "", log: str = WORDS
    ) -> None:
        """Serve clients that go through it."""
        self.mesh.add_cluster("c", HOST, more=f"{HTTP2 % options}\n{cluster}")
        config = f"tunneling_config: {{hostname: 'h:1', {more}}}"
        self.mesh.serve(f"cluster: c, {config}, {LOG % log}, {tcp}")

    def client(self, data: bytes = b"") -> Any:
        """A client, who says something."""
        client = self.mesh.connect()
        if data:
            client.transport.write(data)
        self.mesh.pump()
        return client

    def opened(self, data: bytes = b"") -> tuple[Any, Call]:
        """A client with a tunnel."""
        client = self.client(data)
        call = self.proxy.calls[-1]
        call.head(OK)
        self.mesh.pump()
        return client, call

    def pump(self) -> None:
        """Do all that can be done."""
        self.mesh.pump()

    def logged(self) -> list[str]:
        """What the access log says."""
        return self.mesh.logged("/log")

    def counted(self, *names: str) -> list[int]:
        """What the cluster has counted."""
        stats = self.mesh.stats("cluster.c.")
        return [stats[name] for name in names]


class RequestTests(Http2TestCase):
    """What a proxy is asked."""

    def test_connect(self) -> None:
        """CONNECT has an authority and no path, and what a client has sent follows the answer."""
        self.tunnel(
            "headers_to_add: [{header: {key: X-A, value: '%DOWNSTREAM_LOCAL_PORT%'}}, "
            "{header: {key: connection, value: close}}]"
        )
        client = self.client(b"hello")
        (call,) = self.proxy.calls
        self.assertEqual({":method": "CONNECT", ":authority": "h:1", "x-a": "1"}, call.fields)
        self.assertEqual(b"", call.body)
        call.head(OK)
        call.data(b"greeting")
        self.pump()
        self.assertEqual((b"hello", b"greeting"), (call.body, client.received))

    def test_post(self) -> None:
        """POST has a path and a scheme too."""
        self.tunnel("use_post: true, post_path: /p")
        self.client()
        want = {":method": "POST", ":authority": "h:1", ":path": "/p", ":scheme": "http"}
        self.assertEqual(want, self.proxy.calls[0].fields)


class AnswerTests(Http2TestCase):
    """What the proxy answers."""

    def test_refused(self) -> None:
        """Any answer but 200 closes the client, and the stream is reset."""
        for fields, ended, reason in (
            (((":status", "403"),), False, "tunnel_response:403"),
            (((":status", "403"),), True, "tunnel_response:403"),
            (((":status", "201"),), False, "tunnel_response:201"),
            (OK, True, "tunnel_response:200"),
            ((*OK, *((f"x{i}", "a") for i in range(120))), False, "-"),
        ):
            with self.subTest(reason=reason):
                self.setUp()
                self.tunnel()
                client = self.client()
                (call,) = self.proxy.calls
                call.head(fields, ended=ended)
                self.pump()
                self.assertTrue(client.ended)
                self.assertEqual(b"", client.received)
                self.assertEqual(CANCEL, call.reset)
                self.assertEqual([f"UF,URX {reason} 1"], self.logged())
                names = ("upstream_cx_active", "upstream_rq_active", "http2.streams_active")
                self.assertEqual([1, 0, 0], self.counted(*names))
                names = ("upstream_rq_tx_reset", "http2.tx_reset", "upstream_rq_total")
                self.assertEqual([1, 1, 1], self.counted(*names))
                self.assertNotIn("cluster.c.upstream_rq_403", self.mesh.stats())

    def test_interim(self) -> None:
        """Interim answers are waited beyond."""
        self.tunnel()
        client = self.client(b"a")
        (call,) = self.proxy.calls
        call.head(((":status", "103"), ("link", "x")))
        self.pump()
        self.assertEqual((b"", False), (call.body, client.ended))
        call.head(OK)
        self.pump()
        self.assertEqual(b"a", call.body)

    def test_length(self) -> None:
        """A length in the answer has no meaning."""
        self.tunnel()
        client = self.client()
        (call,) = self.proxy.calls
        call.head((*OK, ("content-length", "3")))
        call.data(b"abcdef")
        self.pump()
        self.assertEqual(b"abcdef", client.received)

    def test_silent(self) -> None:
        """A proxy has 15 seconds for its answer."""
        self.tunnel()
        client = self.client()
        self.mesh.advance(14.9)
        self.assertFalse(client.ended)
        self.mesh.advance(0.2)
        self.assertTrue(client.ended)
        self.assertEqual((CANCEL, ["UF,URX - 1"]), (self.proxy.calls[0].reset, self.logged()))

    def test_retries(self) -> None:
        """A refusal is a failed attempt, be it an answer or a reset; the connection stays."""
        self.tunnel(tcp="max_connect_attempts: 4")
        client = self.client(b"hello")
        self.proxy.calls[0].head(((":status", "503"),), ended=True)
        self.mesh.advance(0)
        self.reset(self.proxy.calls[1], REFUSED)
        self.mesh.advance(0)
        self.reset(self.proxy.calls[2], CANCEL)
        self.mesh.advance(0)
        self.proxy.calls[3].head(OK)
        self.pump()
        self.assertEqual((b"hello", False), (self.proxy.calls[3].body, client.ended))
        self.assertEqual([1, 4, 1], self.counted(*RESETS))
        self.assertEqual([2], self.counted("http2.rx_reset"))

    def reset(self, call: Call, code: int) -> None:
        """The proxy resets a stream."""
        call.server.h2.reset_stream(call.number, code)
        call.server.flush()
        self.pump()

    def test_no_connection(self) -> None:
        """Where there is no connection the reason is as without a tunnel."""
        self.tunnel()
        self.mesh.network.refused.add(address_of(HOST))
        client = self.client()
        self.assertTrue(client.ended)
        self.assertEqual(["UF,URX delayed_connect_error:_Connection_refused 1"], self.logged())
        names = ("upstream_cx_connect_fail", "upstream_rq_pending_failure_eject")
        self.assertEqual([1, 1], self.counted(*names))

    def test_garbage(self) -> None:
        """A proxy that does not speak HTTP/2 is hung up on."""
        self.tunnel()
        client = self.client()
        self.proxy.connections[0].write(b"HTTP/1.1 200 OK\r\n\r\n" * 10)
        self.pump()
        self.assertTrue(client.ended)
        self.assertEqual(["UF,URX - 1"], self.logged())
        self.assertEqual([1, 0], self.counted("upstream_cx_protocol_error", "upstream_cx_active"))

    def test_data_first(self) -> None:
        """Nor is one that sends bytes before its answer listened to."""
        self.tunnel()
        client = self.client()
        (call,) = self.proxy.calls
        call.server.write(b"\0\0\3\0\0" + call.number.to_bytes(4, "big") + b"abc")
        self.pump()
        self.assertEqual((True, b""), (client.ended, bytes(client.received)))
        self.assertEqual([1], self.counted("upstream_cx_protocol_error"))

    def test_late(self) -> None:
        """What a proxy says after its client has left goes nowhere, and the connection stays."""
        self.tunnel(tcp="max_downstream_connection_duration: 1s")
        self.client()
        self.mesh.advance(1)
        (call,) = self.proxy.calls
        frame = b"\0\0\1\1\4" + call.number.to_bytes(4, "big") + b"\x88"
        call.server.write(frame + b"\0\0\3\0\0" + call.number.to_bytes(4, "big") + b"abc")
        self.pump()
        self.opened()
        self.assertEqual([1, 0], self.counted("upstream_cx_total", "upstream_cx_protocol_error"))

    def test_state(self) -> None:
        """The fields of the answer, and those after its last byte, are kept where that is
        wanted.
        """
        key = "envoy.tcp_proxy.propagate_response_"
        self.tunnel(
            "propagate_response_headers: true, propagate_response_trailers: true",
            log=f"%FILTER_STATE({key}headers)% %FILTER_STATE({key}trailers)%",
        )
        client = self.client()
        (call,) = self.proxy.calls
        call.head((*OK, ("x-a", "b")))
        call.end((("x-t", "u"),))
        self.pump()
        client.transport.loseConnection()
        self.pump()
        one = '{"headers":[{"key":":status","value":"200"},{"key":"x-a","value":"b"}]}'
        two = '{"headers":[{"key":"x-t","value":"u"}]}'
        self.assertEqual([f"{one} {two}"], self.logged())


RESETS = ("upstream_rq_rx_reset", "upstream_rq_total", "upstream_cx_active")


class EndTests(Http2TestCase):
    """How tunnels end."""

    def test_client_ends_first(self) -> None:
        """A client that has sent all still gets what comes."""
        self.tunnel()
        client, call = self.opened(b"all")
        client.transport.loseWriteConnection()
        self.pump()
        self.assertEqual((b"all", True), (call.body, call.is_ended))
        call.data(b"late", ended=True)
        self.pump()
        self.assertEqual((b"late", True), (client.received, client.lost or client.ended))
        self.assertEqual([0, 0, 1], self.counted(*ACTIVE))
        self.assertEqual([0, 0], self.counted("http2.tx_reset", "http2.rx_reset"))

    def test_proxy_ends_first(self) -> None:
        """So does the proxy."""
        self.tunnel()
        client, call = self.opened()
        call.data(b"bye", ended=True)
        self.pump()
        self.assertEqual((b"bye", True), (client.received, client.ended))
        client.transport.write(b"more")
        client.transport.loseConnection()
        self.pump()
        self.assertEqual((b"more", True, None), (call.body, call.is_ended, call.reset))
        self.assertEqual([0, 0, 1], self.counted(*ACTIVE))
        self.assertEqual([0, 0], self.counted("http2.tx_reset", "http2.rx_reset"))

    def test_client_resets(self) -> None:
        """A client's reset is one of its stream alone."""
        self.tunnel()
        client, call = self.opened()
        other, _ = self.opened()
        client.transport.abortConnection()
        self.pump()
        self.assertEqual((CANCEL, False), (call.reset, other.ended))

    def test_proxy_resets(self) -> None:
        """A reset of the stream is one of the client, unless it only says that there is no
        connection behind the proxy.
        """
        self.tunnel()
        for code, resets, flag in (
            (CANCEL, True, "UR"),
            (0, True, "UR"),
            (CONNECT_ERROR, False, "-"),
        ):
            client, call = self.opened()
            call.data(b"bye")
            call.server.h2.reset_stream(call.number, code)
            call.server.flush()
            self.pump()
            self.assertEqual(b"bye", client.received)
            self.assertEqual(
                (True, resets), (client.ended or client.lost, client.lost_to(ConnectionLost))
            )
            client.transport.abortConnection()
            self.pump()
            self.assertEqual(f"{flag} - 1", self.logged()[-1])
        self.assertEqual([2, 3, 1], self.counted(*RESETS))

    def test_connection_lost(self) -> None:
        """A connection that is lost is the end of all tunnels on it."""
        self.tunnel()
        clients = [self.opened()[0] for _ in range(3)]
        self.proxy.connections[0].transport.abortConnection()
        self.pump()
        self.assertEqual(
            [(True, False)] * 3, [(c.ended, c.lost_to(ConnectionLost)) for c in clients]
        )
        self.assertEqual([0, 0, 0], self.counted(*ACTIVE))

    def test_goaway(self) -> None:
        """A proxy that leaves keeps the tunnels it serves, and gets no more."""
        self.tunnel()
        client, call = self.opened()
        line = self.proxy.connections[0]
        line.write(b"\0\0\x08\x07\0\0\0\0\0" + bytes(3) + b"\1" + bytes(4))
        self.pump()
        client.transport.write(b"still")
        self.opened()
        self.assertEqual(b"still", call.body)
        self.assertEqual(2, len(self.proxy.connections))
        client.transport.loseConnection()
        self.pump()
        call.data(b"", ended=True)
        self.pump()
        self.assertTrue(line.ended)
        self.assertEqual([1], self.counted("upstream_cx_close_notify"))

    def test_waits(self) -> None:
        """Who is closed while the proxy is asked leaves nothing behind."""
        self.tunnel(tcp="max_downstream_connection_duration: 3s")
        client = self.client()
        self.mesh.advance(3)
        self.assertTrue(client.ended)
        self.assertEqual(CANCEL, self.proxy.calls[0].reset)
        self.assertEqual(["UF,DT - 1"], self.logged())
        self.assertEqual([0, 0, 1], self.counted(*ACTIVE))

    def test_waits_for_a_connection(self) -> None:
        """So does who is closed before there is a connection."""
        self.tunnel(tcp="max_downstream_connection_duration: 0.5s")
        self.mesh.network.silent.add(address_of(HOST))
        client = self.client()
        self.mesh.advance(0.5)
        self.assertTrue(client.ended)
        names = ("upstream_rq_pending_active", "upstream_rq_cancelled", "upstream_rq_total")
        self.assertEqual([0, 1, 0], self.counted(*names))

    def test_unhealthy(self) -> None:
        """Where a cluster closes the connections of hosts that fail, tunnels are closed."""
        self.tunnel(cluster="close_connections_on_host_health_failure: true")
        client, _ = self.opened()
        self.mesh.set_flags("c", HOST, HealthFlag.failed_active_hc)
        self.pump()
        self.assertTrue(client.ended)

    def test_cluster_removed(self) -> None:
        """A tunnel outlives its cluster."""
        self.tunnel()
        client, call = self.opened()
        self.mesh.clusters.remove("c")
        self.pump()
        client.transport.write(b"still")
        self.pump()
        self.assertEqual((b"still", False), (call.body, client.ended))
        client.transport.loseConnection()
        self.pump()
        call.data(b"", ended=True)
        self.pump()
        self.assertTrue(self.proxy.connections[0].ended)

    def test_idle(self) -> None:
        """A connection without tunnels is kept for the idle timeout."""
        self.tunnel()
        client, call = self.opened()
        client.transport.loseConnection()
        self.pump()
        call.data(b"", ended=True)
        self.pump()
        self.mesh.advance(3599)
        self.assertEqual([1], self.counted("upstream_cx_active"))
        self.mesh.advance(1)
        self.assertEqual([0, 1], self.counted("upstream_cx_active", "upstream_cx_idle_timeout"))


ACTIVE = ("upstream_rq_active", "http2.streams_active", "upstream_cx_active")


class SharingTests(Http2TestCase):
    """Several tunnels on one connection."""

    def test_streams(self) -> None:
        """Clients share a connection, and get each their own bytes."""
        self.tunnel()
        made = [self.opened(b"%d" % i) for i in range(5)]
        for i, (client, call) in enumerate(made):
            call.data(b"to %d" % i)
            self.pump()
            self.assertEqual((b"%d" % i, b"to %d" % i), (call.body, client.received))
        self.assertEqual(
            [1, 1, 5],
            self.counted("upstream_cx_total", *("upstream_cx_http2_total", "upstream_rq_total")),
        )

    def test_more_connections(self) -> None:
        """A connection takes as many as the proxy says."""
        self.proxy.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
        self.tunnel()
        for _ in range(5):
            self.opened()
        self.assertEqual([2, 2, 1], [len(each.calls) for each in self.proxy.connections])
        self.assertEqual([3], self.counted("http2.nghttp2_upstream_connections"))

    def test_no_more(self) -> None:
        """Circuit breakers keep further clients out: by requests, and by connections."""
        for limit, flag in (("max_requests", "URX"), ("max_connections", "UO")):
            self.setUp()
            self.tunnel(cluster=f"circuit_breakers: {{thresholds: [{{{limit}: 1}}]}}")
            self.opened()
            client = self.client()
            self.assertTrue(client.ended)
            self.assertEqual(flag, self.logged()[0].split()[0])

    def test_waiting(self) -> None:
        """`max_pending_requests` is for those who wait for a connection, and for nobody else."""
        self.tunnel(cluster="circuit_breakers: {thresholds: [{max_pending_requests: 1}]}")
        self.mesh.network.silent.add(address_of(HOST))
        first, second = self.mesh.connect(), self.mesh.connect()
        self.assertEqual([False, True], [first.ended, second.ended])
        self.assertEqual(["URX - 1"], self.logged())
        self.assertEqual([1], self.counted("upstream_rq_pending_overflow"))
        self.mesh.network.silent.clear()
        self.mesh.advance(5)
        self.opened()
        self.mesh.network.silent.add(address_of(HOST))
        self.opened()
        self.assertEqual([1], self.counted("upstream_rq_pending_overflow"))

    def test_client_of_its_own(self) -> None:
        """With `connection_pool_per_downstream_connection` each has its own."""
        self.tunnel(cluster="connection_pool_per_downstream_connection: true")
        for _ in range(3):
            self.opened()
        self.assertEqual(3, len(self.proxy.connections))

    def test_slow_client(self) -> None:
        """What a client does not take the proxy may not send: no more than the window of its
        stream, and others are not held up.
        """
        self.tunnel(options="initial_stream_window_size: 65535")
        slow, call = self.opened()
        slow.transport.pauseProducing()
        sent = self.send_all(call)
        self.assertLess(sent, 4 << 20)
        quick, other = self.opened()
        for _ in range(200):
            other.data(bytes(16_000))
            self.pump()
        self.assertEqual(200 * 16_000, len(quick.received))
        slow.transport.resumeProducing()
        self.pump()
        self.assertEqual(sent, len(slow.received))
        self.assertGreater(call.server.h2.local_flow_control_window(call.number), 40_000)

    def send_all(self, call: Call) -> int:
        """Send until the stream's window is full; how many bytes."""
        sent, h2 = 0, call.server.h2
        while (size := min(16384, h2.local_flow_control_window(call.number))) > 0:
            call.data(bytes(size))
            self.pump()
            sent += size
        return sent

    def test_slow_proxy(self) -> None:
        """What a proxy does not take its client may not send."""
        self.proxy.takes = False
        self.tunnel(cluster="per_connection_buffer_limit_bytes: 100000")
        client, call = self.opened()
        client.transport.write(bytes(4 << 20))
        self.pump()
        self.assertEqual(65535, len(call.body))
        self.assertGreater(client.transport.buffered, 1 << 20)
        self.proxy.takes = True
        call.server.h2.acknowledge_received_data(65535, call.number)
        call.server.flush()
        self.pump()
        self.assertEqual((4 << 20, 0), (len(call.body), client.transport.buffered))

    def test_small_frames(self) -> None:
        """Bytes may come in any number of small frames."""
        self.tunnel()
        client, call = self.opened()
        for i in range(5000):
            call.server.h2.send_data(call.number, b"%d" % (i % 10))
        call.server.flush()
        self.pump()
        self.assertEqual(5000, len(client.received))

    def test_empty_frames(self) -> None:
        """But not without end in frames that have none."""
        self.tunnel()
        client, call = self.opened()
        for _ in range(5000):
            call.server.h2.send_data(call.number, b"")
        call.server.flush()
        self.pump()
        self.assertTrue(client.ended)
        self.assertEqual([1], self.counted("upstream_cx_protocol_error"))
