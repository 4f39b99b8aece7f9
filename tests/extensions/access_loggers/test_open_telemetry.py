"""The logger that exports to an OpenTelemetry collector, by calls and by requests."""

from __future__ import annotations

from typing import Any

from envoy.extensions.access_loggers.open_telemetry.v3 import logs_service_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service_pb2

from tcpmesh.accesslog.collectors.exports import MOST_UNDER_WAY, TIMEOUT
from tcpmesh.accesslog.collectors.otlp import records_of
from tcpmesh.accesslog.collectors.otlp_transport import USER_AGENT, host_and_path, rejected
from tcpmesh.extensions.access_loggers.open_telemetry import METHOD, OpenTelemetryAccessLog
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.wire.grpc import MessageReader, framed
from tests.accesslog.collectors.connections import LATER, served
from tests.mesh import parse
from tests.rpc.called import HEAD, HOST, OK, Call, RpcTestCase
from tests.told import told_in

GRPC = "grpc_service: {envoy_grpc: {cluster_name: c}}"
HTTP = "http_service: {http_uri: {uri: 'http://otel:4318/v1/logs', cluster: h, timeout: 2s}, %s}"
WEB = "127.0.0.4:4318"
STATS = "access_logs.open_telemetry_access_log."


class OpenTelemetryTestCase(RpcTestCase):
    """Loggers of a worker."""

    def make(self, more: str) -> OpenTelemetryAccessLog:
        """One with these fields."""
        message = parse(logs_service_pb2.OpenTelemetryAccessLogConfig, f"{{{more}}}")
        return OpenTelemetryAccessLog(message, self.mesh.worker.context)

    def log(self, logger: OpenTelemetryAccessLog, times: int = 1) -> None:
        """Record a connection, so many times."""
        for _ in range(times):
            logger.log(served(), LATER)
        self.pump()

    def stats(self) -> dict[str, int]:
        """What loggers have counted that is not 0."""
        return {name: value for name, value in self.mesh.stats(STATS).items() if value}


class GrpcTests(OpenTelemetryTestCase):
    """Over gRPC."""

    def records(self, call: Call) -> int:
        """How many records a call brought."""
        ((_, data),) = MessageReader(1 << 24).feed(bytes(call.body))
        return len(records_of(service_pb2.ExportLogsServiceRequest.FromString(data)))

    def answer(self, call: Call, data: bytes = b"") -> None:
        """All of an answer."""
        call.head(HEAD)
        call.data(framed(data))
        call.end(OK)

    def test_records_are_exported(self) -> None:
        """They go together, a call for each batch, and count as written once it is answered."""
        self.server.reply = self.answer
        logger = self.make(GRPC)
        self.log(logger, 3)
        self.mesh.advance(1.0)
        (call,) = self.server.calls
        self.assertEqual((call.fields[":path"], self.records(call)), (METHOD, 3))
        self.assertEqual(self.stats(), {"logs_written": 3})
        self.log(logger)
        self.mesh.advance(1.0)
        self.assertEqual(self.records(self.server.calls[1]), 1)

    def test_the_old_place_of_the_service(self) -> None:
        """`common_config` may have it, and a prefix tells the statistics of loggers apart."""
        self.server.reply = self.answer
        common = f"common_config: {{log_name: n, {GRPC}}}"
        for prefix in ("pre", "post."):
            self.log(self.make(f"{common}, stat_prefix: {prefix}"))
        self.mesh.advance(1.0)
        self.assertEqual(self.stats(), {"post.logs_written": 1, "pre.logs_written": 1})

    def test_what_a_collector_rejects(self) -> None:
        """An answer may say that some records were not taken; these count as dropped."""
        self.server.reply = lambda call: self.answer(call, b"\x0a\x02\x08\x02")
        logger = self.make(GRPC)
        self.log(logger, 3)
        self.mesh.advance(1.0)
        self.assertEqual(self.stats(), {"logs_written": 1, "logs_dropped": 2})

    def test_an_error(self) -> None:
        """What a collector fails on is dropped, and the log says why."""
        told = told_in(self, "filter")
        self.server.reply = lambda call: call.end((*HEAD, ("grpc-status", "13")))
        logger = self.make(GRPC)
        self.log(logger, 3)
        self.mesh.advance(1.0)
        self.assertEqual(self.stats(), {"logs_dropped": 3})
        (lost,) = told.lines
        self.assertIn("collector of logs of cluster 'c' is lost: INTERNAL;", lost)

    def test_a_collector_that_does_not_answer(self) -> None:
        """So many calls wait for it, then records are dropped; and each waits for the timeout."""
        self.server.reply = lambda call: None
        logger = self.make(f"{GRPC}, buffer_size_bytes: 1")
        self.log(logger, MOST_UNDER_WAY + 5)
        self.assertEqual(len(self.server.calls), MOST_UNDER_WAY)
        self.assertEqual(self.stats(), {"logs_dropped": 4})
        self.mesh.advance(TIMEOUT)
        self.assertEqual(self.stats(), {"logs_dropped": MOST_UNDER_WAY + 4})
        self.mesh.advance(1.0)
        self.assertEqual(len(self.server.calls), MOST_UNDER_WAY + 1)

    def test_statistics(self) -> None:
        """There are the statistics that Envoy has for each way to a collector."""
        http = {"logs_written", "logs_dropped"}
        for way, names in (
            (HTTP % "", http),
            (GRPC, http | {"grpc_entries_flushed", "grpc_entries_flush_failed"}),
        ):
            self.make(way)
            self.assertEqual(names, set(self.mesh.stats(STATS)))

    def test_the_end_of_the_connection(self) -> None:
        """The connection to a target of its own is closed once the last answer has come."""
        self.server.reply = lambda call: None
        logger = self.make(
            f"grpc_service: {{google_grpc: {{target_uri: '{HOST}', stat_prefix: g}}}}"
        )
        self.log(logger)
        logger.close()
        self.pump()
        (line,) = self.server.connections
        self.assertFalse(line.lost)
        self.answer(self.server.calls[0])
        self.pump()
        self.assertTrue(line.lost)

    def test_close(self) -> None:
        """What waits is exported, and the answer is waited for."""
        self.server.reply = lambda call: None
        logger = self.make(GRPC)
        self.log(logger)
        logger.close()
        self.pump()
        self.answer(self.server.calls[0])
        self.pump()
        self.assertEqual(self.stats(), {"logs_written": 1})


class HttpTests(OpenTelemetryTestCase):
    """Over HTTP."""

    def setUp(self) -> None:
        """A cluster h of one host."""
        super().setUp()
        self.served: list[RecordingProtocol] = []
        self.mesh.upstream(WEB).make = self._serve
        self.mesh.add_cluster("h", WEB)

    def _serve(self) -> RecordingProtocol:
        self.served.append(RecordingProtocol())
        return self.served[-1]

    def answer(self, status: str) -> None:
        """The collector says this."""
        text = f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"
        self.served[-1].transport.write(text.encode())
        self.pump()

    def exported(self, more: str = "") -> tuple[list[str], Any]:
        """The lines of the first request's head, and its message."""
        logger = self.make(HTTP % more)
        self.log(logger, 2)
        self.mesh.advance(1.0)
        head, _, body = bytes(self.served[0].received).partition(b"\r\n\r\n")
        message = service_pb2.ExportLogsServiceRequest.FromString(body)
        lines = head.decode().split("\r\n")
        self.assertEqual(lines[-1], f"content-length: {len(body)}")
        return lines, message

    def test_a_request(self) -> None:
        """Records are posted to the path of the URI, as OpenTelemetry wants it."""
        lines, message = self.exported()
        self.assertEqual(
            lines[:-1],
            [
                "POST /v1/logs HTTP/1.1",
                "host: otel:4318",
                "content-type: application/x-protobuf",
                f"user-agent: {USER_AGENT}",
            ],
        )
        self.assertEqual(len(records_of(message)), 2)
        self.answer("200 OK")
        self.assertEqual(self.stats(), {"logs_written": 2})

    def test_further_header_fields(self) -> None:
        """They are added, or take the place of others; an empty one is left out."""
        lines, _ = self.exported(
            "request_headers_to_add: ["
            "{header: {key: Authorization, value: Bearer x}},"
            "{header: {key: X-None, value: '%PROTOCOL%'}},"
            "{header: {key: x-empty, value: ''}, keep_empty_value: true},"
            "{header: {key: user-agent, value: me}, append_action: OVERWRITE_IF_EXISTS_OR_ADD},"
            "{header: {key: x-new, value: n}, append_action: OVERWRITE_IF_EXISTS},"
            "{header: {key: host, value: h}, append_action: ADD_IF_ABSENT}]"
        )
        self.assertEqual(
            lines[1:-1],
            [
                "host: otel:4318",
                "content-type: application/x-protobuf",
                "user-agent: me",
                "authorization: Bearer x",
                "x-empty: ",
            ],
        )

    def test_a_cluster_of_http_2(self) -> None:
        """It is asked in HTTP/2."""
        self.server.reply = lambda call: call.head(((":status", "200"),), ended=True)
        logger = self.make((HTTP % "").replace("cluster: h", "cluster: c"))
        self.log(logger, 2)
        self.mesh.advance(1.0)
        (call,) = self.server.calls
        self.assertEqual(
            (call.fields[":path"], call.fields[":authority"]), ("/v1/logs", "otel:4318")
        )
        request = service_pb2.ExportLogsServiceRequest.FromString(bytes(call.body))
        self.assertEqual(len(records_of(request)), 2)
        self.assertEqual(self.stats(), {"logs_written": 2})

    def test_another_status(self) -> None:
        """Anything but 200 means that the records are lost."""
        self.exported()
        self.answer("202 Accepted")
        self.assertEqual(self.stats(), {"logs_dropped": 2})

    def test_no_answer(self) -> None:
        """After the timeout of the URI the records are lost."""
        self.exported()
        self.mesh.advance(2.0)
        self.assertEqual(self.stats(), {"logs_dropped": 2})

    def test_no_cluster(self) -> None:
        """Then records are lost too."""
        logger = self.make(HTTP % "")
        self.mesh.clusters.remove("h")
        self.log(logger, 2)
        self.mesh.advance(1.0)
        self.assertEqual(self.stats(), {"logs_dropped": 2})

    def test_uris(self) -> None:
        """A URI is taken apart as Envoy does it."""
        for uri, parts in {
            "http://a:1/b?c": ("a:1", "/b?c"),
            "https://a": ("a", "/"),
            "a/b": ("a", "/b"),
            "": ("", "/"),
        }.items():
            self.assertEqual(host_and_path(uri), parts)

    def test_answers_that_say_something_else(self) -> None:
        """What is no count of rejected records counts as none."""
        for data in (b"", b"\x08\x05", b"\x0a\x00", b"\x0a\x02\x10\x02", b"\x0a\x03\x12\x01x"):
            self.assertEqual(rejected(service_pb2.ExportLogsServiceResponse.FromString(data)), 0)
