"""The logger that streams to an access log service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envoy.config.core.v3 import base_pb2
from envoy.extensions.access_loggers.grpc.v3 import als_pb2
from envoy.service.accesslog.v3 import als_pb2 as service_pb2

from tcpmesh.accesslog.collectors.log_stream import MOST_WAITING
from tcpmesh.extensions.access_loggers.grpc import METHOD, HttpGrpcAccessLog, TcpGrpcAccessLog
from tcpmesh.logs.reachability import STEADY
from tcpmesh.wire.grpc import MessageReader
from tests.accesslog.collectors.connections import LATER, served
from tests.mesh import parse
from tests.rpc.called import Call, RpcTestCase
from tests.told import told_in

COMMON = "log_name: %s, grpc_service: {envoy_grpc: {cluster_name: c}}, %s"
STATS = "access_logs.grpc_access_log."


def messages(call: Call) -> list[Any]:
    """What a service was sent."""
    raw = MessageReader(1 << 24).feed(bytes(call.body))
    return [service_pb2.StreamAccessLogsMessage.FromString(data) for _, data in raw]


class TcpGrpcAccessLogTests(RpcTestCase):
    """With a service that does as it is told."""

    def setUp(self) -> None:
        """A service that takes all and never answers."""
        super().setUp()
        self.server.reply = lambda call: None

    def make(self, more: str = "", name: str = "n") -> TcpGrpcAccessLog:
        """A logger of a worker."""
        text = f"common_config: {{{COMMON % (name, more)}}}"
        message = parse(als_pb2.TcpGrpcAccessLogConfig, text)
        return TcpGrpcAccessLog(message, self.mesh.worker.context)

    def log(self, logger: TcpGrpcAccessLog, times: int = 1) -> None:
        """Record a connection, so many times."""
        for _ in range(times):
            logger.log(served(), LATER)
        self.pump()

    def stats(self) -> dict[str, int]:
        """What the logger has counted that is not 0."""
        return {name: value for name, value in self.mesh.stats(STATS).items() if value}

    def test_records_are_streamed(self) -> None:
        """After the interval they are sent together; the first message says who sends."""
        logger = self.make()
        self.log(logger, 2)
        self.assertEqual(self.server.calls, [])
        self.mesh.advance(1.0)
        self.log(logger)
        self.mesh.advance(1.0)
        (call,) = self.server.calls
        first, second = messages(call)
        self.assertEqual(call.fields[":path"], METHOD)
        self.assertEqual(first.identifier.log_name, "n")
        self.assertFalse(second.HasField("identifier"))
        self.assertEqual([len(each.tcp_logs.log_entry) for each in (first, second)], [2, 1])
        self.assertEqual(first.tcp_logs.log_entry[0].common_properties.upstream_cluster, "db")
        self.assertEqual(self.stats(), {"grpc_entries_flushed": 3})

    def test_node(self) -> None:
        """Where this proxy is a node, the first message has it."""
        context = replace(self.mesh.worker.context, node=base_pb2.Node(id="n", cluster="web"))
        text = f"common_config: {{{COMMON % ('n', '')}}}"
        logger = TcpGrpcAccessLog(parse(als_pb2.TcpGrpcAccessLogConfig, text), context)
        self.log(logger)
        self.mesh.advance(1.0)
        (message,) = messages(self.server.calls[0])
        self.assertEqual(message.identifier.node, context.node)

    def test_the_logger_of_http(self) -> None:
        """To it a connection is a request without header fields, as in Envoy; its stream is another
        one than that of the logger of TCP.
        """
        text = f"common_config: {{{COMMON % ('n', '')}}}"
        message = parse(als_pb2.HttpGrpcAccessLogConfig, text)
        http = HttpGrpcAccessLog(message, self.mesh.worker.context)
        http.log(served(), LATER)
        self.log(self.make())
        self.mesh.advance(1.0)
        (first,), (second,) = (messages(call) for call in self.server.calls)
        self.assertTrue(second.HasField("tcp_logs"))
        (entry,) = first.http_logs.log_entry
        self.assertEqual(entry.common_properties.upstream_cluster, "db")
        sizes = entry.request.request_body_bytes, entry.response.response_body_bytes
        self.assertEqual(sizes, (5, 8))
        self.assertEqual(self.stats(), {"grpc_entries_flushed": 2, "logs_written": 1})

    def test_a_full_buffer_is_sent_at_once(self) -> None:
        """`buffer_size_bytes` and `buffer_flush_interval` are those of the configuration."""
        logger = self.make("buffer_size_bytes: 1000, buffer_flush_interval: 60s")
        self.log(logger, 20)
        sent = [len(each.tcp_logs.log_entry) for each in messages(self.server.calls[0])]
        self.assertGreater(len(sent), 1)
        self.assertLess(sum(sent), 20)
        self.mesh.advance(60.0)
        sent = [len(each.tcp_logs.log_entry) for each in messages(self.server.calls[0])]
        self.assertEqual(sum(sent), 20)

    def test_loggers_of_one_configuration_share_a_stream(self) -> None:
        """As in Envoy; another log name is another stream, and the last to close ends it."""
        one, two, other = self.make(), self.make(), self.make(name="o")
        for logger in (one, two, other):
            self.log(logger)
        self.mesh.advance(1.0)
        self.assertEqual(
            [len(messages(call)[0].tcp_logs.log_entry) for call in self.server.calls], [2, 1]
        )
        one.close()
        self.pump()
        self.assertFalse(self.server.calls[0].is_ended)
        two.close()
        self.pump()
        self.assertTrue(self.server.calls[0].is_ended)

    def test_a_service_that_is_down(self) -> None:
        """Nothing waits for it, what is kept is bounded, what is lost is counted, and once it is
        back records come through; the log says once that it is lost, and that it is back.
        """
        told = told_in(self, "filter")
        self.add(hosts=("127.0.0.9:9",))
        logger = self.make()
        for _ in range(30):
            self.log(logger, 20)
            self.mesh.advance(0.5)
        lost = self.stats()["logs_dropped"]
        self.assertGreater(lost, 300)
        self.assertLessEqual(lost, 600)
        self.add()
        self.mesh.advance(2.0)
        self.log(logger)
        self.mesh.advance(2.0)
        (call,) = self.server.calls
        records = sum(len(each.tcp_logs.log_entry) for each in messages(call))
        self.assertEqual(records + self.stats()["logs_dropped"], 601)
        self.mesh.advance(STEADY)
        self.log(logger)
        self.mesh.advance(2.0)
        gone, back = told.lines
        self.assertIn("the access log service of cluster 'c' is lost: UNAVAILABLE: ", gone)
        self.assertEqual("the access log service of cluster 'c' is back", back)

    def test_a_service_that_does_not_read(self) -> None:
        """What waits for it is bounded; then records are dropped and counted."""
        self.server.takes = False
        logger = self.make("buffer_flush_interval: 0.1s")
        for _ in range(60):
            self.log(logger, 100)
            self.mesh.advance(0.1)
        self.assertGreater(self.stats()["logs_dropped"], 0)
        self.assertGreater(self.stats()["grpc_entries_flush_failed"], 0)
        stream: Any = logger.sender._stream._stream
        self.assertLess(stream.buffered, MOST_WAITING + 40000)

    def test_a_service_that_ends_its_streams(self) -> None:
        """Whether it says OK or fails: the next records go out on another."""
        logger = self.make()
        for fields in ((("grpc-status", "0"),), (("grpc-status", "13"),)):
            self.log(logger)
            self.mesh.advance(1.0)
            self.server.calls[-1].head(ended=False)
            self.server.calls[-1].end(fields)
            self.pump()
        self.log(logger)
        self.mesh.advance(1.0)
        self.assertEqual(len(self.server.calls), 3)
        self.assertEqual(self.stats(), {"grpc_entries_flushed": 3})

    def test_what_a_closed_logger_has_left(self) -> None:
        """At the end what waits is sent, and the statistics stay."""
        logger = self.make()
        self.log(logger)
        logger.close()
        self.pump()
        (call,) = self.server.calls
        self.assertEqual(len(messages(call)[0].tcp_logs.log_entry), 1)
        self.assertTrue(call.is_ended)
        self.assertEqual(self.stats(), {"grpc_entries_flushed": 1})
