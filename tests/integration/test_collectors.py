"""What leaves a running proxy for collectors: gRPC's own library, a small fluentd and an HTTP
server get it, and collectors that misbehave hold up nobody.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.metrics.v3 import metrics_service_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as otlp_metrics_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for
from tests.wire.unpacking import unpacked

TYPES = "type.googleapis.com/"
LOGGERS = f"{TYPES}envoy.extensions.access_loggers."
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

STREAMS = {
    "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs": (
        als_pb2.StreamAccessLogsMessage
    ),
    "/envoy.service.metrics.v3.MetricsService/StreamMetrics": (
        metrics_service_pb2.StreamMetricsMessage
    ),
}
CALLS = {
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": (
        logs_service_pb2.ExportLogsServiceRequest
    ),
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": (
        otlp_metrics_pb2.ExportMetricsServiceRequest
    ),
}


class GrpcCollector(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.pool = ThreadPoolExecutor(8)
        self.server = grpc.server(self.pool, handlers=(self,))
        self.port: int = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        if details.method in STREAMS:
            return grpc.stream_unary_rpc_method_handler(
                self._stream, STREAMS[details.method].FromString
            )
        return grpc.unary_unary_rpc_method_handler(self._call, CALLS[details.method].FromString)

    def _stream(self, messages: Iterator[Any], context: Any) -> bytes:
        with contextlib.suppress(grpc.RpcError):
            self.got.extend(messages)
        return b""

    def _call(self, request: Any, context: Any) -> bytes:
        self.got.append(request)
        return b""

    def of(self, kind: Any) -> list[Any]:
        """What it was sent of a type."""
        return [each for each in self.got if isinstance(each, kind)]

    def close(self) -> None:
        """Stop."""
        self.server.stop(0).wait()
        self.pool.shutdown()


class TcpServer:
    """Does something with each connection, in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._connections.append(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)

    def close(self) -> None:
        """Stop."""
        for each in (self._socket, *self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def echo(connection: socket.socket) -> None:
    """Send back what comes."""
    while data := connection.recv(4096):
        connection.sendall(data)
    connection.close()


def exchange(port: int) -> None:
    """One connection through the proxy, which has to serve it."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def cluster(name: str, port: int, http2: bool = False) -> dict[str, Any]:
    """A cluster of one port."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    assignment = {"endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}
    made: dict[str, Any] = {
        "name": name,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, **assignment},
    }
    if http2:
        options = {
            "@type": TYPES + HTTP_OPTIONS,
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        made["typed_extension_protocol_options"] = {HTTP_OPTIONS: options}
    return made


def log(kind: str, **fields: Any) -> dict[str, Any]:
    """An access log."""
    return {"name": "x", "typed_config": {"@type": LOGGERS + kind, **fields}}


def als(service: str) -> dict[str, Any]:
    """An access log for a service."""
    common = {
        "log_name": "n",
        "grpc_service": {"envoy_grpc": {"cluster_name": service}},
        "buffer_flush_interval": "0.1s",
        "buffer_size_bytes": 2000,
    }
    return log("grpc.v3.TcpGrpcAccessLogConfig", common_config=common)


def fluentd(name: str) -> dict[str, Any]:
    """An access log for fluentd."""
    return log(
        "fluentd.v3.FluentdAccessLogConfig",
        cluster=name,
        tag="t",
        stat_prefix=name,
        record={"rx": "%BYTES_RECEIVED%"},
        buffer_flush_interval="0.1s",
        buffer_size_bytes=500,
    )


def otel(prefix: str, **service: Any) -> dict[str, Any]:
    """An access log for OpenTelemetry."""
    return log(
        "open_telemetry.v3.OpenTelemetryAccessLogConfig",
        stat_prefix=prefix,
        body={"string_value": "rx %BYTES_RECEIVED%"},
        buffer_flush_interval="0.1s",
        buffer_size_bytes=2000,
        **service,
    )


def http_service(name: str) -> dict[str, Any]:
    """A service over HTTP."""
    uri = {"uri": "http://otel/v1/logs", "cluster": name, "timeout": "1s"}
    return {"http_service": {"http_uri": uri}}


class CollectorsTests(SynchronousTestCase):
    """A proxy with one listener, and a backend that echoes."""

    def setUp(self) -> None:
        """The backend."""
        self.port = free_port()
        self.clusters: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.sinks: list[dict[str, Any]] = []
        self.add("backend", self.serve(echo).port)

    def serve(self, serve: Callable[[socket.socket], object]) -> TcpServer:
        """A server, until the end of the test."""
        made = TcpServer(serve)
        self.addCleanup(made.close)
        return made

    def add(self, name: str, port: int, http2: bool = False) -> None:
        """A cluster."""
        self.clusters.append(cluster(name, port, http2))

    def grpc_collector(self, name: str) -> GrpcCollector:
        """A collector and its cluster."""
        made = GrpcCollector()
        self.addCleanup(made.close)
        self.add(name, made.port, http2=True)
        return made

    def start(self) -> Child:
        """The proxy."""
        proxy = {
            "@type": f"{TYPES}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t",
            "cluster": "backend",
            "access_log": self.logs,
        }
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        listener = {
            "name": "l",
            "address": address,
            "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
        }
        bootstrap = {
            "node": {"id": "i", "cluster": "c"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": [listener], "clusters": self.clusters},
            "stats_sinks": self.sinks,
            "stats_flush_interval": "0.2s",
        }
        child = Child(json.dumps(bootstrap))
        self.addCleanup(child.stop)
        child.wait_ready()
        return child

    def test_collectors_get_all(self) -> None:
        """Each connection is told to an access log service, to OpenTelemetry both ways and to
        fluentd, and statistics to a metrics service and to OpenTelemetry.
        """
        collector = self.grpc_collector("grpc")
        posted: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                posted.append(logs_service_pb2.ExportLogsServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        self.addCleanup(web.server_close)
        self.addCleanup(web.shutdown)
        self.add("web", web.server_address[1])
        forwarded = bytearray()

        def keep(connection: socket.socket) -> None:
            while data := connection.recv(4096):
                forwarded.extend(data)

        self.add("fluentd", self.serve(keep).port)
        service = {"grpc_service": {"envoy_grpc": {"cluster_name": "grpc"}}}
        self.logs = [
            als("grpc"),
            otel("calls", **service),
            otel("posts", **http_service("web")),
            fluentd("fluentd"),
        ]
        sinks = (
            "envoy.config.metrics.v3.MetricsServiceConfig",
            "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig",
        )
        self.sinks = [
            {"name": "s", "typed_config": {"@type": TYPES + sink, **service}} for sink in sinks
        ]
        child = self.start()
        exchange(self.port)
        exchange(self.port)
        child.wait_stat("access_logs.grpc_access_log.grpc_entries_flushed", 2)
        for prefix in ("calls", "posts"):
            child.wait_stat(f"access_logs.open_telemetry_access_log.{prefix}.logs_written", 2)

        def entries() -> list[Any]:
            streamed = collector.of(als_pb2.StreamAccessLogsMessage)
            return [entry for each in streamed for entry in each.tcp_logs.log_entry]

        wait_for(lambda: len(entries()) == 2, "two entries")
        self.assertEqual(entries()[0].common_properties.upstream_cluster, "backend")
        self.assertEqual(entries()[0].connection_properties.received_bytes, 5)

        def bodies(requests: list[Any]) -> list[str]:
            logs = (each.resource_logs[0].instrumentation_library_logs[0] for each in requests)
            return [record.body.string_value for each in logs for record in each.logs]

        called = collector.of(logs_service_pb2.ExportLogsServiceRequest)
        self.assertEqual(bodies(called), ["rx 5", "rx 5"])
        self.assertEqual(bodies(posted), ["rx 5", "rx 5"])

        def records() -> list[Any]:
            with contextlib.suppress(IndexError):
                found = unpacked(bytes(forwarded))
                return [record for _, entries in found for _, record in entries]
            return []

        wait_for(lambda: records() == [{"rx": 5}] * 2, "two records")
        wait_for(
            lambda: any(
                family.name == "tcp.t.downstream_cx_total" and family.metric[0].counter.value == 2
                for message in collector.of(metrics_service_pb2.StreamMetricsMessage)
                for family in message.envoy_metrics
            ),
            "metrics of two connections",
        )
        wait_for(lambda: collector.of(otlp_metrics_pb2.ExportMetricsServiceRequest), "OTLP metrics")

    def test_collectors_that_misbehave(self) -> None:
        """One that is dead, one that never reads, one that resets, one that talks nonsense, of each
        kind: connections are served as ever, what is lost is counted, and the proxy ends in time.
        """
        forever = threading.Event()
        self.addCleanup(forever.set)

        def reset(connection: socket.socket) -> None:
            connection.recv(10)
            linger = b"\1\0\0\0\0\0\0\0"
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

        def talk(connection: socket.socket) -> None:
            while True:
                connection.sendall(b"\0\0\4nonsense\r\n\r\n" * 100)

        def silent(connection: socket.socket) -> None:
            forever.wait()

        for name, serve in (("silent", silent), ("reset", reset), ("talk", talk), ("dead", None)):
            port = self.serve(serve).port if serve is not None else free_port()
            self.add(f"{name}-grpc", port, http2=True)
            self.add(name, port)
            target = {"cluster_name": f"{name}-grpc"}
            service = {"grpc_service": {"envoy_grpc": target, "timeout": "1s"}}
            self.logs += [
                als(f"{name}-grpc"),
                otel(f"{name}-calls", **service),
                otel(f"{name}-posts", **http_service(name)),
                fluentd(name),
            ]
        child = self.start()
        for _ in range(100):
            exchange(self.port)
        lost = "access_logs.fluentd.dead.entries_lost"
        child.wait(lambda: child.stat(lost) > 0, lost)
        for name in ("silent", "reset", "talk", "dead"):
            for way in ("calls", "posts"):
                stat = f"access_logs.open_telemetry_access_log.{name}-{way}.logs_dropped"
                child.wait(lambda stat=stat: child.stat(stat) > 0, stat)  # type: ignore[misc]
        exchange(self.port)
        self.assertEqual(child.stop(), 0)
        self.assertNotIn("Traceback", child.output)
