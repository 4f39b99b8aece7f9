"""HTTP health checks over HTTP/2 on the wire."""

from __future__ import annotations

import subprocess
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, PingFrame

from tcpmesh.cluster.health import http2_probe
from tcpmesh.cluster.health.http2_exchange import MOST_SMALL_FRAMES, SMALL_FRAME
from tcpmesh.cluster.health.request_headers import Headers
from tcpmesh.rpc.http2.connection import Http2Connection
from tests.cluster.health.checked import CheckedTestCase

OUT = "failed_active_hc"
OK = ((":status", "200"),)


class Server:
    """An HTTP/2 server of one connection; what it does for each request is `reply`."""

    def __init__(self, test: Http2TestCase) -> None:
        self.test = test
        # It may say what it must not.
        config = H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False
        )
        config.normalize_outbound_headers = False
        self.h2 = H2Connection(config)
        self.h2.initiate_connection()
        self.requests: list[dict[str, str]] = []
        self.body = b""
        self.resets = 0

    def answer(self, asked: bytes) -> bytes:
        """Read, and give what is to be written."""
        raw = b""
        for event in self.h2.receive_data(asked):
            if isinstance(event, RequestReceived):
                self.requests.append({str(name): str(value) for name, value in event.headers or ()})
                if self.test.is_early and event.stream_id:
                    self.test.reply(self, event.stream_id)
            elif isinstance(event, DataReceived):
                self.body += event.data or b""
                if not self.test.is_early:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                assert event.stream_id
                raw = self.test.reply(self, event.stream_id)
            elif isinstance(event, StreamReset):
                self.resets += 1
        return self.h2.data_to_send() + raw


class Http2TestCase(CheckedTestCase):
    """A test of a host that answers requests as it is told."""

    def setUp(self) -> None:
        """A host that says 200."""
        super().setUp()
        self.head: Headers = OK
        self.body = b""
        self.trailers: Headers = ()
        self.raw = b""
        self.is_early = False
        """Whether it answers as soon as it has the header fields."""
        self.servers: list[Server] = []
        self.host_answers = self.answers()

        def answer(asked: bytes) -> bytes:
            if asked.startswith(b"PRI "):
                self.servers.append(Server(self))
            return self.servers[-1].answer(asked)

        self.host_answers.answer = answer

    def reply(self, server: Server, stream: int) -> bytes:
        """The answer; gives what is to be written after it as it is."""
        if self.head:
            server.h2.send_headers(
                stream, self.head, end_stream=not self.body and not self.trailers
            )
        if self.body:
            server.h2.send_data(stream, self.body, end_stream=not self.trailers)
        if self.trailers:
            server.h2.send_headers(stream, self.trailers, end_stream=True)
        return self.raw

    def checked(self, fields: str = "", more: str = "") -> str:
        """The flags of the host after a check with these fields."""
        self.mesh.clusters.remove("c")
        self.servers.clear()
        self.host_answers.lines.clear()
        both = f"path: /h, codec_client_type: HTTP2{', ' if fields else ''}{fields}"
        self.check(f"http_health_check: {{{both}}}", more)
        self.mesh.network.pump()
        return self.health()

    def write(self, data: bytes) -> None:
        """The host speaks unasked."""
        self.host_answers.lines[-1].transport.write(data)
        self.mesh.network.pump()

    def asked(self) -> int:
        """How many connections there were."""
        return len(self.host_answers.lines)


class RequestTests(Http2TestCase):
    """What is asked."""

    def test_plain(self) -> None:
        """A GET of the path, of the cluster as authority, from Envoy/HC, its fields in Envoy's
        order.
        """
        self.assertEqual("", self.checked())
        wanted = {
            ":method": "GET",
            ":authority": "c",
            ":path": "/h",
            ":scheme": "http",
            "user-agent": "Envoy/HC",
        }
        self.assertEqual(list(wanted.items()), list(self.servers[0].requests[0].items()))

    def test_fields(self) -> None:
        """Method, host and header fields as they are given, operators filled in for each
        request.
        """
        add = (
            "{header: {key: X-A, value: '%PROTOCOL% %UPSTREAM_HOST%'}}, {header: {key: x-t, "
            "value: '%START_TIME(%s)%'}}"
        )
        self.patch(http2_probe, "time", self.mesh.clock.seconds)
        self.checked(
            f"host: a, method: HEAD, request_headers_to_add: [{add}], "
            f"request_headers_to_remove: [User-Agent]"
        )
        self.again()
        first, second = self.servers[0].requests
        self.assertEqual(
            ("HEAD", "a", "HTTP/2 127.0.0.2:80"),
            (first[":method"], first[":authority"], first["x-a"]),
        )
        self.assertNotIn("user-agent", first)
        self.assertEqual(10, int(second["x-t"]) - int(first["x-t"]))

    def test_payload(self) -> None:
        """A payload has a length and may be larger than what the host takes at once; without one
        there is no length.
        """
        self.assertEqual("", self.checked(f"method: POST, send: {{text: '{'61' * 70000}'}}"))
        self.assertEqual(
            ("70000", 70000),
            (self.servers[0].requests[0]["content-length"], len(self.servers[0].body)),
        )
        self.checked("method: POST")
        self.assertNotIn("content-length", self.servers[0].requests[0])

    def test_lazy(self) -> None:
        """A proxy with HTTP/1 checks only does not import h2."""
        code = "import sys, tcpmesh.cluster.health.http_probe; sys.exit('h2' in sys.modules)"
        self.assertEqual(0, subprocess.run([sys.executable, "-c", code], check=False).returncode)


class AnswerTests(Http2TestCase):
    """How the answer is judged."""

    def test_statuses(self) -> None:
        """Only what is expected is well; anything else is an answer, not a failure of the
        network.
        """
        self.head = ((":status", "503"),)
        self.assertEqual((OUT, (0, 1, 0), 1), (self.checked(), self.counted(), self.asked()))
        self.assertEqual("", self.checked("expected_statuses: [{start: 503, end: 504}]"))

    def test_no_status(self) -> None:
        """A status that is none ends the connection."""
        for head in (((":status", "abc"),), (("a", "b"),)):
            self.head = head
            self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))
            self.assertTrue(self.host_answers.lines[-1].lost)

    def test_informational(self) -> None:
        """100 and 103 may come first; 101, which HTTP/2 does not have, ends the connection."""

        def reply(server: Server, stream: int) -> bytes:
            for status in statuses:
                server.h2.send_headers(stream, ((":status", status),))
            server.h2.send_headers(stream, OK, end_stream=True)
            return b""

        self.patch(self, "reply", reply)
        statuses = ["100", "103"]
        self.assertEqual(("", (1, 0, 0)), (self.checked(), self.counted()))
        statuses = ["101"]
        self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))

    def test_body(self) -> None:
        """What is to be received is looked for in the first bytes of the body; trailers may follow
        it.
        """
        self.body, self.trailers = b"hello", (("x", "y"),)
        receive = "receive: [{text: '6865'}, {text: '6f'}]"
        self.assertEqual(
            ["", OUT],
            [self.checked(receive), self.checked("receive: [{text: '6f'}, {text: '68'}]")],
        )
        self.body = b"x" * 1022 + b"hello"
        self.assertEqual(OUT, self.checked(receive))
        self.assertEqual("", self.checked(f"{receive}, response_buffer_size: 0"))

    def test_long_body(self) -> None:
        """A body may be of any length, and is not kept."""

        def reply(server: Server, stream: int) -> bytes:
            server.h2.send_headers(stream, OK)
            return b""

        self.patch(self, "reply", reply)
        self.checked()
        for _ in range(20):
            self.servers[0].h2.send_data(1, b"x" * (1 << 14))
            self.write(self.servers[0].h2.data_to_send())
        self.servers[0].h2.end_stream(1)
        self.write(self.servers[0].h2.data_to_send())
        self.assertEqual((1, 0, 0), self.counted())

    def test_fields(self) -> None:
        """Fields that say how a host is, and what it is, as in HTTP/1."""
        self.head = (
            *OK,
            ("x-envoy-degraded", ""),
            ("x-envoy-upstream-healthchecked-cluster", "a\u00e9"),
        )
        self.assertEqual(
            "degraded_active_hc", self.checked("service_name_matcher: {exact: a\u00e9}")
        )
        self.assertEqual(f"{OUT}", self.checked("service_name_matcher: {exact: b}"))
        self.head = ((":status", "503"), ("x-envoy-immediate-health-check-fail", "1"))
        self.assertIn("excluded_via_immediate_hc_fail", self.checked())

    def test_hop_by_hop(self) -> None:
        """A field that HTTP/2 does not allow ends the connection."""
        self.head = (*OK, ("connection", "close"))
        self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))


class ConnectionTests(Http2TestCase):
    """What becomes of the connection."""

    def test_kept(self) -> None:
        """It is kept, unless the configuration says otherwise."""
        for more, wanted in (("", 1), ("reuse_connection: false", 40)):
            self.checked(more=more)
            for _ in range(39):
                self.again()
            self.assertEqual((wanted, (40, 0, 0)), (self.asked(), self.counted()))

    def test_reset(self) -> None:
        """A request that is reset, also within its answer, has failed; the connection is kept."""

        def reply(server: Server, stream: int) -> bytes:
            server.h2.send_headers(stream, OK)
            server.h2.reset_stream(stream, ErrorCodes.NO_ERROR)
            return b""

        self.patch(self, "reply", reply)
        self.checked()
        self.again()
        self.assertEqual((1, (0, 2, 2)), (self.asked(), self.counted()))

    def test_timeout(self) -> None:
        """An answer that does not end in time is none."""
        self.patch(self, "reply", lambda server, stream: server.h2.send_headers(stream, OK) or b"")
        self.checked()
        self.mesh.network.advance(1)
        self.assertEqual(
            (f"{OUT}/active_hc_timeout", True), (self.health(), self.host_answers.lines[0].lost)
        )

    def test_goaway(self) -> None:
        """A host that leaves may still answer, unless it says that it will not; the next check has
        a new connection.
        """
        for frame, counted in (
            (GoAwayFrame(last_stream_id=1), (1, 0, 0)),
            (GoAwayFrame(last_stream_id=0), (0, 1, 1)),
            (GoAwayFrame(last_stream_id=1, error_code=2), (0, 1, 1)),
        ):
            self.head = ()
            self.checked()
            self.write(frame.serialize())
            if counted[0]:
                self.servers[0].h2.send_headers(1, OK, end_stream=True)
                self.write(self.servers[0].h2.data_to_send())
            self.assertEqual((counted, True), (self.counted(), self.host_answers.lines[0].lost))
            self.head = OK
            self.again()
            self.assertEqual(2, self.asked())

    def test_early_answer(self) -> None:
        """A host may answer before it has taken the payload: the rest is not sent, and the request
        reset.
        """
        self.is_early = True
        self.assertEqual("", self.checked(f"method: POST, send: {{text: '{'61' * 70000}'}}"))
        self.assertEqual((65535, 1), (len(self.servers[0].body), self.servers[0].resets))
        self.again()
        self.assertEqual((2, (2, 0, 0)), (self.asked(), self.counted()))


class HostileTests(Http2TestCase):
    """What a host may do to us."""

    def test_no_http2(self) -> None:
        """What is no HTTP/2, or not sound, ends the connection at once."""
        for raw in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\0\0\x01\x01\x04\0\0\0\x01\xff",
            b"\xff\xff\xff\0\0\0\0\0\x01",
        ):
            self.head, self.raw = (), raw
            self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()), raw)
            self.assertTrue(self.host_answers.lines[-1].lost)

    def test_too_much(self) -> None:
        """A host that sends what is no answer, and goes on and on, has failed."""
        self.head = ()
        for frame in (PingFrame(opaque_data=b"12345678"), GoAwayFrame(last_stream_id=1)):
            self.raw = frame.serialize() * 5000
            self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))

    def test_small_frames(self) -> None:
        """A host that answers in ever more small frames, or empty ones, has failed soon."""
        read: list[bytes] = []
        take = Http2Connection._read

        def count(connection: Http2Connection, frame: bytes) -> None:
            read.append(frame)
            take(connection, frame)

        self.patch(Http2Connection, "_read", count)
        self.head = ()
        status = HeadersFrame(1, b"\x88", flags=["END_HEADERS"])
        for frame in (
            DataFrame(1),
            DataFrame(1, b"a"),
            DataFrame(1, pad_length=0, flags=["PADDED"]),
        ):
            self.raw = status.serialize() + frame.serialize() * 5000
            del read[:]
            self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))
            self.assertEqual(MOST_SMALL_FRAMES, len(read))

    def test_large_frames(self) -> None:
        """A body may have any number of larger frames."""
        self.head = ()
        data = DataFrame(1, b"x" * SMALL_FRAME).serialize() * 4 * MOST_SMALL_FRAMES
        end = DataFrame(1, flags=["END_STREAM"]).serialize()
        self.raw = HeadersFrame(1, b"\x88", flags=["END_HEADERS"]).serialize() + data + end
        self.assertEqual(("", (1, 0, 0)), (self.checked(), self.counted()))

    def test_data_unasked(self) -> None:
        """Data between two checks is too much at some time."""
        self.checked()
        for _ in range(6):
            self.write(DataFrame(1, b"x" * (1 << 14)).serialize())
        self.again()
        self.assertEqual((2, (2, 0, 0)), (self.asked(), self.counted()))
