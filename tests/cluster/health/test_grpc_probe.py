"""gRPC health checks on the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from hyperframe.frame import GoAwayFrame, PingFrame

from tcpmesh.cluster.health.request_headers import Headers
from tcpmesh.wire.grpc import framed
from tests.cluster.health.checked import HOST, Answers, CheckedTestCase

GRPC = ((":status", "200"), ("content-type", "application/grpc"))
OUT = "failed_active_hc"


SERVING = framed(b"\x08\x01")


class Server:
    """A gRPC server of one connection, scripted: what it does for each call is `reply`."""

    def __init__(self, test: GrpcTestCase) -> None:
        self.test = test
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.calls: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: list[int] = []

    def answer(self, asked: bytes) -> bytes:
        """Read, and give what is to be written."""
        raw = b""
        for event in self.h2.receive_data(asked):
            if isinstance(event, RequestReceived):
                assert event.stream_id and event.headers
                self.calls[event.stream_id] = {
                    str(name): str(value) for name, value in event.headers
                }
            elif isinstance(event, DataReceived):
                assert event.stream_id
                self.bodies[event.stream_id] = event.data or b""
                raw = self.test.reply(self, event.stream_id)
            elif isinstance(event, StreamReset):
                assert event.stream_id
                self.resets.append(event.stream_id)
        return self.h2.data_to_send() + raw


class GrpcTestCase(CheckedTestCase):
    """A test of a host that answers calls as it is told."""

    def setUp(self) -> None:
        """A host that says SERVING."""
        super().setUp()
        self.head: Headers = GRPC
        self.body = SERVING
        self.trailers: Headers | None = (("grpc-status", "0"),)
        self.raw = b""
        self.servers: list[Server] = []
        self.host_answers: Answers = self.answers()
        made = self.host_answers

        def answer(asked: bytes) -> bytes:
            if asked.startswith(b"PRI "):
                self.servers.append(Server(self))
            return self.servers[-1].answer(asked)

        made.answer = answer

    def reply(self, server: Server, stream: int) -> bytes:
        """The answer to a call; gives what is to be written after it as it is."""
        if self.head:
            server.h2.send_headers(
                stream, self.head, end_stream=not self.body and not self.trailers
            )
        if self.body:
            server.h2.send_data(stream, self.body, end_stream=self.trailers is None)
        if self.trailers:
            server.h2.send_headers(stream, self.trailers, end_stream=True)
        return self.raw

    def checked(self, fields: str = "", more: str = "") -> str:
        """The flags of the host after a check with these fields."""
        self.mesh.clusters.remove("c")
        self.servers.clear()
        self.check(f"grpc_health_check: {{{fields}}}", more)
        return self.health()

    def write(self, data: bytes) -> None:
        """The host speaks unasked."""
        self.host_answers.lines[-1].transport.write(data)
        self.mesh.network.pump()


class CallTests(GrpcTestCase):
    """What is asked."""

    def test_plain(self) -> None:
        """The call of the health service, without a service, of the cluster as authority."""
        self.assertEqual("", self.checked())
        wanted = {
            ":method": "POST",
            ":scheme": "http",
            ":path": "/grpc.health.v1.Health/Check",
            ":authority": "c",
            "te": "trailers",
            "content-type": "application/grpc",
            "user-agent": "Envoy/HC",
            "grpc-timeout": "1000m",
        }
        self.assertEqual(
            (wanted, framed(b"")), (self.servers[0].calls[1], self.servers[0].bodies[1])
        )

    def test_fields(self) -> None:
        """Service, authority and metadata as they are given."""
        self.checked(
            "service_name: s.T, authority: a, initial_metadata: [{header: {key: X-A, value: b}}]"
        )
        call = self.servers[0].calls[1]
        self.assertEqual(
            ("a", "b", framed(b"\x0a\x03s.T")),
            (call[":authority"], call["x-a"], self.servers[0].bodies[1]),
        )

    def test_event(self) -> None:
        """The event log names the kind of check."""
        path = self.mktemp()
        self.body = framed(b"\x08\x02")
        self.checked(more=f"event_log_path: {path}")
        (event,) = [json.loads(line) for line in Path(path).read_text().splitlines()]
        self.assertEqual("GRPC", event["health_checker_type"])

    def test_lazy(self) -> None:
        """A proxy without gRPC checks does not import h2."""
        code = "import sys, tcpmesh.cluster.manager, tcpmesh.tap; sys.exit('h2' in sys.modules)"
        self.assertEqual(0, subprocess.run([sys.executable, "-c", code], check=False).returncode)


class AnswerTests(GrpcTestCase):
    """How the answer is judged."""

    def test_statuses(self) -> None:
        """Only SERVING is well; fields that are not known are skipped."""
        for message, flags in (
            (b"\x08\x01", ""),
            (b"\x12\x01a\x08\x01", ""),
            (b"\x08\x02", OUT),
            (b"\x08\x03", OUT),
            (b"\x08", OUT),
        ):
            self.body = framed(message)
            self.assertEqual(flags, self.checked(), message)

    def test_not_one_message(self) -> None:
        """No message, an empty one, two, one that is compressed or not complete: all are no
        answer.
        """
        for body in (
            b"",
            framed(b""),
            SERVING * 2,
            b"\1" + SERVING[1:],
            SERVING[:-1],
            framed(b"")[:3],
        ):
            self.body = body
            self.assertEqual((OUT, (0, 1, 0)), (self.checked(), self.counted()), body)

    def test_pieces(self) -> None:
        """A message may come in pieces."""
        self.body = b""
        self.trailers = None
        self.head = ()
        self.checked()
        server = self.servers[0]
        server.h2.send_headers(1, GRPC)
        server.h2.send_data(1, SERVING[:3])
        server.h2.send_data(1, SERVING[3:])
        server.h2.send_headers(1, (("grpc-status", "0"),), end_stream=True)
        for byte in server.h2.data_to_send():
            self.write(bytes([byte]))
        self.assertEqual(("", (1, 0, 0)), (self.health(), self.counted()))

    def test_grpc_status(self) -> None:
        """A status other than 0, or none or an empty one, is a failure whatever the message
        says.
        """
        for trailers in ((("grpc-status", "5"),), (("a", "b"),), (("grpc-status", ""),), None):
            self.trailers = trailers
            self.assertEqual((OUT, (0, 1, 0)), (self.checked(), self.counted()), trailers)

    def test_trailers_only(self) -> None:
        """A call that is refused at once has a status and no message."""
        self.head, self.body, self.trailers = (*GRPC, ("grpc-status", "12")), b"", None
        self.assertEqual((OUT, (0, 1, 0)), (self.checked(), self.counted()))

    def test_no_grpc(self) -> None:
        """Another content type or status is a failure, and the call is reset; a variety of gRPC is
        well.
        """
        kinds = {"application/grpc+proto": "", "application/grpc-web": OUT, "text/html": OUT}
        for kind, flags in kinds.items():
            self.head = ((":status", "200"), ("content-type", kind))
            self.assertEqual(flags, self.checked(), kind)
        self.head = ((":status", "503"), GRPC[1])
        self.trailers = None
        self.body = b""
        self.assertEqual((OUT, (0, 1, 0)), (self.checked(), self.counted()))

    def test_reset_by_us(self) -> None:
        """A call that is judged before its end is reset, and the connection kept."""
        self.head, self.body, self.trailers = (
            ((":status", "200"), ("content-type", "a")),
            b"",
            (("b", "c"),),
        )
        self.reply_head_only()
        self.checked()
        self.mesh.network.pump()
        self.assertEqual(([1], 1), (self.servers[0].resets, len(self.host_answers.lines)))

    def reply_head_only(self) -> None:
        """The host sends nothing after the header fields."""
        self.patch(
            self, "reply", lambda server, stream: server.h2.send_headers(stream, self.head) or b""
        )

    def test_threshold(self) -> None:
        """An answer takes a host out whatever the threshold is."""
        self.checked(more="unhealthy_threshold: 2")
        self.body = framed(b"\x08\x02")
        self.again()
        self.assertEqual(OUT, self.health())


class ConnectionTests(GrpcTestCase):
    """What becomes of the connection."""

    def connections(self) -> int:
        """How many there were."""
        return len(self.host_answers.lines)

    def test_kept(self) -> None:
        """It is kept for as long as the host likes, and read from all the time."""
        self.checked()
        for _ in range(40):
            self.again()
        self.assertEqual((1, (41, 0, 0)), (self.connections(), self.counted()))

    def test_not_kept(self) -> None:
        """Without reuse_connection each check has its own."""
        self.checked(more="reuse_connection: false")
        self.assertTrue(self.host_answers.lines[0].lost)
        self.again()
        self.assertEqual((2, (2, 0, 0)), (self.connections(), self.counted()))

    def test_closed_between(self) -> None:
        """A host may close it between two checks."""
        self.checked()
        self.host_answers.lines[0].transport.loseConnection()
        self.again()
        self.assertEqual(("", (2, 0, 0)), (self.health(), self.counted()))

    def test_lost(self) -> None:
        """A connection that ends before the answer is a failure of the network."""
        self.head, self.body, self.trailers = (), b"", None
        self.checked()
        self.host_answers.lines[0].transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((OUT, (0, 1, 1)), (self.health(), self.counted()))

    def test_reset(self) -> None:
        """So is a call that the host resets, but the connection is kept."""
        self.patch(
            self,
            "reply",
            lambda server, stream: server.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM) or b"",
        )
        self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))
        self.again()
        self.assertEqual((1, (0, 2, 2)), (self.connections(), self.counted()))

    def test_timeout(self) -> None:
        """An answer that comes too late is none."""
        self.head, self.body, self.trailers = (), b"", None
        self.checked()
        self.mesh.network.advance(1)
        self.assertEqual(
            (f"{OUT}/active_hc_timeout", True), (self.health(), self.host_answers.lines[0].lost)
        )

    def test_goaway(self) -> None:
        """A host that leaves in an orderly way may answer first; the next check has a new
        connection.
        """
        self.head, self.body, self.trailers = (), b"", None
        self.checked()
        self.write(GoAwayFrame(last_stream_id=2**31 - 1).serialize())
        self.assertEqual((0, 0, 0), self.counted())
        server = self.servers[0]
        server.h2.send_headers(1, GRPC)
        server.h2.send_data(1, SERVING)
        server.h2.send_headers(1, (("grpc-status", "0"),), end_stream=True)
        self.write(server.h2.data_to_send())
        self.assertEqual(((1, 0, 0), True), (self.counted(), self.host_answers.lines[0].lost))
        self.again()
        self.assertEqual(2, self.connections())

    def test_goaway_unanswered(self) -> None:
        """One that leaves with an error, or does not answer this call, has failed."""
        self.head, self.body, self.trailers = (), b"", None
        for frame in (GoAwayFrame(last_stream_id=1, error_code=2), GoAwayFrame(last_stream_id=0)):
            self.checked()
            self.write(frame.serialize())
            self.assertEqual(
                (OUT, (0, 1, 1), True),
                (self.health(), self.counted(), self.host_answers.lines[-1].lost),
            )

    def test_goaway_between(self) -> None:
        """Between two checks it only ends the connection."""
        self.checked()
        self.write(GoAwayFrame(last_stream_id=1).serialize())
        self.again()
        self.assertEqual((2, (2, 0, 0)), (self.connections(), self.counted()))

    def test_refused(self) -> None:
        """Without a connection the host is out, as for every check."""
        self.check("grpc_health_check: {}", host="127.0.0.3:80")
        self.assertEqual((0, 1, 1), self.counted())

    def test_removed_meanwhile(self) -> None:
        """A cluster that goes while an answer is awaited closes the connection and leaves no call
        behind.
        """
        self.head, self.body, self.trailers = (), b"", None
        self.checked()
        self.mesh.clusters.remove("c")
        self.mesh.clusters.stop()
        self.mesh.network.advance(2)
        self.assertEqual(
            ([], True), (self.mesh.clock.getDelayedCalls(), self.host_answers.lines[0].lost)
        )


class HostileTests(GrpcTestCase):
    """What a host may do to us."""

    def test_no_http2(self) -> None:
        """What is no HTTP/2, or not sound, ends the connection at once."""
        for raw in (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"\0\0\x01\x01\x04\0\0\0\x01\xff",
            b"\0\0\x05\x06\0\0\0\0\0hello",
            b"\xff\xff\xff\0\0\0\0\0\x01",
            b"\0\0\x04\x07\0\0\0\0\0\0\0\0\x01",
        ):
            self.head, self.body, self.trailers, self.raw = (), b"", None, raw
            self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()), raw)
            self.assertTrue(self.host_answers.lines[-1].lost)

    def test_too_much(self) -> None:
        """A host that goes on and on has failed, be it with pings that want to be answered."""
        self.head, self.body, self.trailers = (), b"", None
        self.raw = PingFrame(opaque_data=b"12345678").serialize() * 1000
        self.assertEqual((OUT, (0, 1, 1)), (self.checked(), self.counted()))

    def test_too_much_between(self) -> None:
        """Between two checks the connection ends, which is no failure."""
        self.checked()
        for _ in range(10):
            self.write(PingFrame(opaque_data=b"12345678").serialize() * 100)
        self.again()
        self.assertEqual((2, (2, 0, 0)), (self.connections_made(), self.counted()))

    def connections_made(self) -> int:
        """How many there were."""
        return len(self.host_answers.lines)

    def test_no_room(self) -> None:
        """A host that allows no calls has failed."""
        self.checked()
        self.write(b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\0")
        self.again()
        self.assertEqual((1, 1, 1), self.counted())
        self.assertEqual(HOST, self.host().address)
