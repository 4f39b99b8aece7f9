"""Clients of a tcp_proxy that go through a proxy of HTTP/1.1."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost

from tcpmesh.testing.recording import RecordingProtocol
from tests.extensions.filters.network.filtered import (
    FilteredTestCase,
    cluster,
    network_filter,
    tcp_proxy,
)

OK = b"HTTP/1.1 200 OK\r\n\r\n"
REFUSED = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
ASKED = b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n"

LOG = (
    "%RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% %BYTES_RECEIVED% %BYTES_SENT% "
    "%DOWNSTREAM_LOCAL_CLOSE_REASON% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"
)
FAILED = "tcp_initializion_failure:0"


class TunnelTestCase(FilteredTestCase):
    """A test of tunnels; the host is the proxy."""

    def tunnel(
        self, tcp: dict[str, Any] | None = None, log: str = LOG, before: Any = (), **more: Any
    ) -> None:
        """Serve clients that go through it."""
        config = {"hostname": "h:1", **more}
        self.serve(*before, tcp_proxy(log, tunneling_config=config, **(tcp or {})))

    def asked(self, number: int = 0) -> Any:
        """The proxy's end of a connection."""
        return self.host.built[number]

    def answer(self, data: bytes, number: int = 0) -> None:
        """The proxy says something."""
        self.asked(number).transport.write(data)
        self.mesh.pump()

    def counted(self, *names: str) -> list[int]:
        """What the cluster has counted."""
        stats = self.mesh.stats("cluster.c.upstream_")
        return [stats[name] for name in names]

    def logged(self) -> list[str]:
        """What the access log says."""
        return [line.rstrip("\n") for line in self.mesh.logged("/log")]


class ConnectTests(TunnelTestCase):
    """CONNECT."""

    def test_opens(self) -> None:
        """A proxy is asked at once, and what a client has sent follows once it has answered."""
        self.tunnel()
        client = self.say(self.connect(), b"hello")
        self.assertEqual(ASKED, self.asked().received)
        self.answer(OK + b"greeting")
        self.assertEqual(ASKED + b"hello", self.asked().received)
        self.assertEqual(b"greeting", client.received)

    def test_pieces(self) -> None:
        """An answer may come byte by byte, and after others that are none yet."""
        self.tunnel()
        client = self.connect()
        for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"ab":
            self.answer(bytes([byte]))
        self.assertEqual(b"ab", client.received)

    def test_refused(self) -> None:
        """Any answer but a 2xx, and what is none, closes the client, and no byte of it arrives."""
        malformed = b"rubbish\r\n\r\n"
        for data, reason, errors in (
            (REFUSED, "tunnel_response:403", 0),
            (b"HTTP/1.1 302 Found\r\n\r\n", "tunnel_response:302", 0),
            (b"HTTP/1.1 101 No\r\n\r\n", "tunnel_response:101", 1),
            (malformed, "-", 1),
            (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "-", 1),
            (b"HTTP/1.1 200 OK\r\na: " + b"b" * 90_000, "-", 1),
        ):
            self.tunnel()
            client = self.connect()
            self.answer(data)
            self.assertEqual((True, b""), (client.ended, bytes(client.received)))
            self.assertEqual([f"UF,URX {reason} 0 0 {FAILED} 1"], self.logged())
            names = ("cx_connect_attempts_exceeded", "cx_protocol_error", "cx_connect_fail")
            self.assertEqual([1, errors, 0], self.counted(*names))
            self.assertEqual([0, 0, 1], self.counted("cx_active", "rq_active", "rq_total"))
            self.assertTrue(self.asked().ended)

    def test_ends_before_the_answer(self) -> None:
        """A proxy that closes or resets the connection instead of answering has refused."""
        for data, end, counted in (
            (b"", "loseConnection", [0, 1, 0]),
            (b"HTTP/1.1 20", "loseConnection", [0, 1, 1]),
            (b"", "abortConnection", [1, 0, 0]),
        ):
            self.tunnel()
            client = self.connect()
            self.answer(data)
            getattr(self.asked().transport, end)()
            self.mesh.pump()
            self.assertTrue(client.ended)
            self.assertEqual([f"UF,URX - 0 0 {FAILED} 1"], self.logged())
            names = ("cx_destroy_remote", "cx_destroy_local", "cx_protocol_error")
            self.assertEqual(counted, self.counted(*names))

    def test_silent(self) -> None:
        """A proxy has 15 seconds for its answer, whatever the connect timeout is."""
        self.tunnel()
        client = self.connect()
        self.mesh.advance(14.9)
        self.assertFalse(client.ended)
        self.mesh.advance(0.2)
        self.assertTrue(client.ended and self.asked().ended)
        self.assertEqual([f"UF,URX - 0 0 {FAILED} 1"], self.logged())

    def test_slow(self) -> None:
        """One that has answered is under no such limit."""
        self.tunnel()
        client = self.connect()
        self.mesh.advance(14)
        self.answer(OK)
        self.mesh.advance(60)
        self.answer(b"late")
        self.assertEqual(b"late", client.received)

    def test_retries(self) -> None:
        """A refusal is a failed attempt, and others may follow."""
        self.tunnel({"max_connect_attempts": 3})
        client = self.say(self.connect(), b"hello")
        self.answer(b"HTTP/1.1 503 Busy\r\n\r\n")
        self.mesh.advance(0)
        self.answer(OK, 1)
        self.assertEqual(ASKED + b"hello", self.asked(1).received)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(["UF tunnel_response:503 5 0 - 2"], self.logged())
        self.assertEqual([2, 2], self.counted("cx_total", "cx_http1_total"))

    def test_backoff(self) -> None:
        """Attempts have the pauses of `backoff_options` between them."""
        backoff = {"base_interval": "1s", "max_interval": "1s"}
        self.tunnel({"max_connect_attempts": 2, "backoff_options": backoff})
        self.connect()
        self.answer(REFUSED)
        self.assertEqual(1, len(self.host.built))
        self.mesh.advance(1)
        self.assertEqual(2, len(self.host.built))

    def test_no_connection(self) -> None:
        """Where there is no connection it is as without a tunnel."""
        self.tunnel()
        self.mesh.network.refused.add(self.mesh.cluster("c").hosts[0].address)  # type: ignore[union-attr]
        client = self.connect()
        self.assertTrue(client.ended)
        self.assertEqual([1, 1], self.counted("cx_connect_fail", "rq_pending_failure_eject"))


class EndTests(TunnelTestCase):
    """How tunnels end."""

    def open(self) -> RecordingProtocol:
        """A client whose tunnel is open."""
        self.tunnel()
        client: RecordingProtocol = self.connect()
        self.answer(OK)
        return client

    def test_client_ends(self) -> None:
        """The end of a client's stream ends the tunnel, after what it has sent."""
        client = self.open()
        client.transport.write(b"last")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual(ASKED + b"last", self.asked().received)
        self.assertTrue(self.asked().ended and client.ended)
        self.assertEqual(["- - 4 0 - 1"], self.logged())
        self.assertEqual([1, 0], self.counted("cx_destroy_local", "cx_destroy_remote"))

    def test_proxy_ends(self) -> None:
        """So does the end of the proxy's; the client gets what came before."""
        client = self.open()
        self.answer(b"bye")
        self.asked().transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual((b"bye", True), (bytes(client.received), client.ended))
        self.assertTrue(self.asked().ended)
        self.assertEqual([1, 0], self.counted("cx_destroy_local", "cx_destroy_remote"))

    def test_resets(self) -> None:
        """A reset of either side is no more than an end for the other."""
        client = self.open()
        self.asked().transport.abortConnection()
        self.mesh.pump()
        self.assertEqual((True, False), (client.ended, client.lost_to(ConnectionLost)))
        self.assertEqual([0, 1], self.counted("cx_destroy_local", "cx_destroy_remote"))
        client = self.open()
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual((True, False), (self.asked().ended, self.asked().lost_to(ConnectionLost)))

    def test_client_leaves(self) -> None:
        """Who waits for an answer and is closed leaves nothing behind."""
        self.tunnel({"max_downstream_connection_duration": "3s"})
        client = self.connect()
        self.mesh.advance(3)
        self.assertTrue(client.ended and self.asked().ended)
        self.assertEqual(["UF,DT - 0 0 max_connection_duration_reached 1"], self.logged())
        self.assertEqual([0, 0, 1], self.counted("cx_active", "rq_active", "rq_total"))

    def test_idle(self) -> None:
        """The idle timeout counts while a proxy is waited for, too."""
        self.tunnel({"idle_timeout": "2s"})
        client = self.connect()
        for _ in range(10):
            self.mesh.advance(0.3)
        self.assertTrue(client.ended and self.asked().ended)
        self.assertEqual(["UF - 0 0 tcp_session_idle_timeout 1"], self.logged())

    def test_stopped(self) -> None:
        """When the proxy ends, so do those who wait and those who do not."""
        client = self.open()
        other = self.connect()
        self.mesh.listeners.stop()
        self.mesh.pump()
        self.assertTrue(client.ended and other.ended)
        self.assertTrue(self.asked(0).ended and self.asked(1).ended)

    def test_back_pressure(self) -> None:
        """A client is not read while the proxy does not read, nor the proxy while it does not."""
        client = self.open()
        for source, sink in ((client, self.asked()), (self.asked(), client)):
            sink.transport.pauseProducing()
            source.transport.write(bytes(8 << 20))
            self.mesh.pump()
            self.assertGreater(source.transport.buffered, 1 << 20)
            sink.transport.resumeProducing()
            self.mesh.pump()
            self.assertEqual(0, source.transport.buffered)
            self.assertGreaterEqual(len(sink.received), 8 << 20)


class RequestTests(TunnelTestCase):
    """What a proxy is asked."""

    def head(self, **config: Any) -> list[str]:
        """The lines of a request."""
        self.tunnel(**config)
        self.connect()
        return bytes(self.asked().received).decode().split("\r\n")[:-2]

    def test_operators(self) -> None:
        """The hostname and the values of header fields may have operators; what these do not find
        is nothing in a value.
        """
        fields = [
            {"header": {"key": "X-From", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}},
            {"header": {"key": "X-Nothing", "value": "(%REQUESTED_SERVER_NAME%)"}},
            {"header": {"key": "X-Empty", "value": "%REQUESTED_SERVER_NAME%"}},
            {"header": {"key": "X-Kept", "value": ""}, "keep_empty_value": True},
        ]
        host = "%DOWNSTREAM_LOCAL_PORT%.test:%UPSTREAM_REQUEST_ATTEMPT_COUNT%"
        self.assertEqual(
            [
                *("CONNECT 1.test:1 HTTP/1.1", "host: 1.test:1"),
                *("x-from: 127.0.0.1", "x-nothing: ()", "x-kept: "),
            ],
            self.head(hostname=host, headers_to_add=fields),
        )

    def test_no_injection(self) -> None:
        """Nothing that an operator finds ends a line."""
        state = network_filter(
            "set_filter_state.v3.Config",
            on_new_connection=[
                {
                    "object_key": "k",
                    "factory_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": "a b\r\nx: y"}},
                }
            ],
        )
        found = "%FILTER_STATE(k:PLAIN)%"
        self.tunnel(
            before=[state],
            hostname=found,
            headers_to_add=[{"header": {"key": "z", "value": found}}],
        )
        self.connect()
        self.assertEqual(
            b"CONNECT abx:y HTTP/1.1\r\nhost: abx:y\r\nz: a b  x: y\r\n\r\n", self.asked().received
        )

    def test_post(self) -> None:
        """With `use_post` the client's bytes are the body of a POST, and the tunnel ends with the
        body of the answer.
        """
        self.tunnel(use_post=True, post_path="/p?q")
        client = self.say(self.connect(), b"hello")
        head = b"POST /p?q HTTP/1.1\r\nhost: h:1\r\ntransfer-encoding: chunked\r\n\r\n"
        self.assertEqual(head, self.asked().received)
        self.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        self.assertEqual(head + b"5\r\nhello\r\n", self.asked().received)
        self.assertEqual(b"ab", client.received)
        self.answer(b"0\r\n\r\n")
        self.assertTrue(client.ended and self.asked().ended)

    def test_post_ends(self) -> None:
        """The end of the client's stream is the end of a POST's body, and of the tunnel."""
        self.tunnel(use_post=True)
        client = self.connect()
        self.answer(OK)
        client.transport.write(b"a")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertTrue(bytes(self.asked().received).endswith(b"\r\n\r\n1\r\na\r\n0\r\n\r\n"))
        self.assertTrue(client.ended and self.asked().ended)

    def test_post_is_refused(self) -> None:
        """An answer to POST that is over with its head opens nothing."""
        self.tunnel(use_post=True)
        client = self.connect()
        self.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(client.ended)
        self.assertEqual([f"UF,URX tunnel_response:200 0 0 {FAILED} 1"], self.logged())

    def test_post_goes_wrong(self) -> None:
        """A body that breaks the rules ends the tunnel."""
        self.tunnel(use_post=True)
        client = self.connect()
        self.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n")
        self.assertTrue(client.ended and self.asked().ended)

    def test_request_id(self) -> None:
        """With a `request_id_extension` each request has an id, which dynamic metadata keep."""
        kind = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
        ids = {"typed_config": {"@type": kind}}
        named = {"request_id_header": "X-T", "request_id_metadata_key": "k"}
        default: dict[str, str] = {}
        for more, header, key in (
            (default, "x-request-id", "tunnel_request_id"),
            (named, "x-t", "k"),
        ):
            log = f"%DYNAMIC_METADATA(envoy.filters.network.tcp_proxy:{key})%"
            self.tunnel(None, log, request_id_extension=ids, **more)
            client = self.connect()
            name, _, value = bytes(self.asked().received).decode().split("\r\n")[2].partition(": ")
            self.assertEqual((header, 36), (name, len(value)))
            client.transport.abortConnection()
            self.answer(OK)
            self.assertEqual([value], self.logged())

    def test_not_for_all(self) -> None:
        """A client whose filter state says so has no tunnel."""
        state = network_filter(
            "set_filter_state.v3.Config",
            on_new_connection=[
                {
                    "object_key": "envoy.tcp_proxy.disable_tunneling",
                    "format_string": {"text_format_source": {"inline_string": "true"}},
                }
            ],
        )
        self.tunnel(before=[state])
        self.say(self.connect(), b"plain")
        self.assertEqual(b"plain", self.asked().received)


class LimitTests(TunnelTestCase):
    """Circuit breakers, of a cluster p of the same proxy."""

    def limited(self, **fields: Any) -> None:
        """Serve with these."""
        proxied = tcp_proxy(LOG, "p", tunneling_config={"hostname": "h:1"})
        self.serve(proxied, clusters=(cluster("p", **fields),))

    def test_requests(self) -> None:
        """`max_requests` keeps clients out that would be one tunnel too many."""
        self.limited(circuit_breakers={"thresholds": [{"max_requests": 1}]})
        self.connect()
        self.answer(OK)
        self.assertTrue(self.connect().ended)
        self.assertEqual([f"URX - 0 0 {FAILED} 1"], self.logged())
        self.assertEqual(1, self.mesh.stat("cluster.p.upstream_rq_active_overflow"))

    def test_per_host(self) -> None:
        """Where each host may have so many connections the next client waits for one."""
        self.limited(circuit_breakers={"per_host_thresholds": [{"max_connections": 1}]})
        client = self.connect()
        self.answer(OK)
        waits = self.say(self.connect(), b"later")
        self.assertEqual((1, False), (len(self.host.built), waits.ended))
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(ASKED, self.asked(1).received)
        self.answer(OK, 1)
        self.assertEqual(ASKED + b"later", self.asked(1).received)

    def test_ahead(self) -> None:
        """A connection that was made ahead is asked for a tunnel once it has a client."""
        self.limited(preconnect_policy={"per_upstream_preconnect_ratio": 2})
        self.connect()
        self.assertEqual(2, len(self.host.built))
        self.answer(OK)
        client = self.connect()
        self.assertEqual(ASKED, self.asked(1).received)
        self.answer(OK + b"x", 1)
        self.assertEqual(b"x", client.received)


class OptionsTests(TunnelTestCase):
    """What the `HttpProtocolOptions` of the cluster say of it."""

    def serve_with(self, **options: Any) -> Any:
        """A client whose tunnel is asked for of a cluster with these."""
        name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        url = f"type.googleapis.com/{name}"
        options.setdefault("explicit_http_config", {"http_protocol_options": {}})
        typed_options = {name: {"@type": url, **options}}
        proxied = tcp_proxy(LOG, "p", tunneling_config={"hostname": "h:1"})
        more = cluster("p", typed_extension_protocol_options=typed_options)
        self.serve(proxied, clusters=(more,))
        return self.connect()

    def test_limits(self) -> None:
        """`max_headers_count` and `max_response_headers_kb` are those of the answer."""
        some = b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 150 + b"\r\n"
        large = b"HTTP/1.1 200 OK\r\na: " + b"b" * 3000 + b"\r\n\r\n"
        for options, data, opens in (
            ({"max_headers_count": 200}, some, True),
            ({"max_headers_count": 100}, some, False),
            ({"max_response_headers_kb": 4}, large, True),
            ({"max_response_headers_kb": 2}, large, False),
        ):
            client = self.serve_with(common_http_protocol_options=options)
            self.answer(data)
            self.assertEqual(opens, not client.ended, options)

    def test_names(self) -> None:
        """With `proper_case_words` names of fields begin with capitals."""
        proper: dict[str, Any] = {"header_key_format": {"proper_case_words": {}}}
        self.serve_with(explicit_http_config={"http_protocol_options": proper})
        self.assertEqual(ASKED.replace(b"host", b"Host"), self.asked().received)


class AnswerTests(TunnelTestCase):
    """What is kept of an answer, and counted."""

    def test_headers(self) -> None:
        """The header fields of the last answer are in the filter state, where that is wanted, be it
        a refusal.
        """
        key = "envoy.tcp_proxy.propagate_response_headers"
        log = f"%FILTER_STATE({key})% %FILTER_STATE({key}:PLAIN)%"
        for data, status in ((OK, "200"), (REFUSED, "403")):
            self.tunnel(None, log, propagate_response_headers=True)
            client = self.connect()
            self.answer(data.replace(b"\r\n", b"\r\nX-Hop: one\r\n", 1))
            client.transport.abortConnection()
            self.mesh.pump()
            (line,) = self.logged()
            self.assertIn(f'[{{"key":":status","value":"{status}"}}', line)
            self.assertIn('{"key":"x-hop","value":"one"}', line)
            self.assertTrue(line.endswith(" -"))

    def test_not_kept(self) -> None:
        """Elsewhere they are not."""
        self.tunnel(log="%FILTER_STATE(envoy.tcp_proxy.propagate_response_headers)%")
        client = self.connect()
        self.answer(OK)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(["-"], self.logged())

    def test_bytes(self) -> None:
        """The cluster's bytes have the request and the answer in them, the client's have not."""
        self.tunnel()
        self.say(self.connect(), b"hello")
        self.answer(OK + b"abc")
        self.assertEqual(
            [len(ASKED) + 5, len(OK) + 3], self.counted("cx_tx_bytes_total", "cx_rx_bytes_total")
        )
        tcp = self.mesh.stats("tcp.t.downstream_cx_")
        self.assertEqual((5, 3), (tcp["rx_bytes_total"], tcp["tx_bytes_total"]))

    def test_bytes_at_the_end(self) -> None:
        """Also of a tunnel that nobody has looked at before it was over."""
        self.tunnel()
        client = self.say(self.connect(), b"hello")
        self.answer(OK + b"abc")
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(
            [len(ASKED) + 5, len(OK) + 3], self.counted("cx_tx_bytes_total", "cx_rx_bytes_total")
        )

    def test_upstream_close(self) -> None:
        """Why a tunnel was closed from this side is told of the client alone."""
        log = "%DOWNSTREAM_LOCAL_CLOSE_REASON% %UPSTREAM_LOCAL_CLOSE_REASON%"
        self.tunnel({"max_downstream_connection_duration": "1s"}, log)
        self.connect()
        self.answer(OK)
        self.mesh.advance(1)
        self.assertEqual(["max_connection_duration_reached -"], self.logged())

    def test_closes(self) -> None:
        """A proxy that says that its connection is for this tunnel alone is counted."""
        self.tunnel()
        self.connect()
        self.answer(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        self.assertEqual([1], self.counted("cx_close_notify"))
