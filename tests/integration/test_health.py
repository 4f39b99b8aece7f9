"""Health checks and outlier detection in a real process with real sockets, over each kind of
transports.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for
from tests.integration.test_serve import PATIENCE, bootstrap, listener, received, tcp
from tests.net.uring.available import uring

if TYPE_CHECKING:
    TestCase = SynchronousTestCase
else:
    TestCase = object

CHECK = (
    "timeout: 2s, interval: 0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 1, "
    "healthy_threshold: 1, "
    "always_log_health_check_failures: true"
)
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = (
    f"typed_extension_protocol_options: {{{HTTP_OPTIONS}: {{'@type': "
    f"type.googleapis.com/{HTTP_OPTIONS}, "
    "explicit_http_config: {http2_protocol_options: {}}}}"
)
HTTP_200 = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Backend:
    """An upstream that says its name to whoever says nothing, and answers HTTP requests."""

    def __init__(self, name: str, port: int = 0) -> None:
        self._name = name.encode()
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self.reply = HTTP_200
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Refuse from now on."""
        if self._socket.fileno() >= 0:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            client.settimeout(PATIENCE)
            try:
                while request := client.recv(1000):
                    client.sendall(self.reply if request.startswith(b"GET ") else self._name)
            except OSError:
                return


class GrpcServer:
    """A gRPC server that says how it is, by the bytes of its messages."""

    def __init__(self) -> None:
        self.status = 1
        self.asked: list[bytes] = []
        self.peers: set[str] = set()
        method = grpc.unary_unary_rpc_method_handler(self._check)
        self._server = grpc.server(ThreadPoolExecutor(1))
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method}),)
        )
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        """Leave at once."""
        self._server.stop(None).wait()

    def _check(self, request: bytes, context: Any) -> bytes:
        self.asked.append(request)
        self.peers.add(context.peer())
        return bytes([8, self.status])


class HealthSuite(TestCase):
    """What is seen of it from outside."""

    transport = ""

    def start(self, hosts: list[int], more: str, manager: str = "") -> None:
        """A proxy with one cluster of these ports."""
        self.port = free_port()
        endpoints = ", ".join(
            f"{{endpoint: {{address: {tcp('127.0.0.1', port)}}}}}" for port in hosts
        )
        assignment = f"{{cluster_name: c, endpoints: [{{lb_endpoints: [{endpoints}]}}]}}"
        fields = (
            f"common_lb_config: {{update_merge_window: 0s, healthy_panic_threshold: "
            f"{{value: 0}}}}, {more}"
        )
        clusters = f"  - {{name: c, load_assignment: {assignment}, {fields}}}\n"
        text = (
            bootstrap(listener("l", tcp("127.0.0.1", self.port), "cluster: c"), clusters) + manager
        )
        self.proxy = Child(text, environ={"TCPMESH_TRANSPORT": self.transport})
        self.addCleanup(self.proxy.stop)
        self.proxy.wait_ready()

    def who(self) -> bytes:
        """Who answers a client; empty where nobody does."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as client:
            try:
                client.sendall(b"?")
                client.shutdown(socket.SHUT_WR)
                return received(client)
            except OSError:  # reset; ENOTCONN, which is no ConnectionError, if before the shutdown
                return b""

    def flags(self, port: int) -> str:
        """The health flags of the host at a port."""
        (found,) = re.findall(
            rf"c::127\.0\.0\.1:{port}::health_flags::(.*)", self.proxy.admin("/clusters")[1]
        )
        return str(found)

    def backend(self, name: str, port: int = 0) -> Backend:
        """An upstream that is closed with the test at the latest."""
        backend = Backend(name, port)
        self.addCleanup(backend.close)
        return backend

    def test_tcp(self) -> None:
        """A host that goes gets no more clients, and gets them again when it is back."""
        a, b = self.backend("a"), self.backend("b")
        log = Path(self.mktemp()).absolute()
        self.start(
            [a.port, b.port],
            f"health_checks: [{{{CHECK}, tcp_health_check: {{}}, event_log_path: {log}}}]",
        )
        self.assertEqual({b"a", b"b"}, {self.who() for _ in range(4)})
        b.close()
        wait_for(lambda: self.flags(b.port) == "/failed_active_hc", "the host to be out")
        self.assertEqual({b"a"}, {self.who() for _ in range(4)})
        self.backend("b", b.port)
        wait_for(lambda: self.flags(b.port) == "healthy", "the host to be back")
        self.assertEqual({b"a", b"b"}, {self.who() for _ in range(4)})
        events = [json.loads(line) for line in log.read_text().splitlines()]
        changes = [
            key
            for event in events
            for key in event
            if key in ("add_healthy_event", "eject_unhealthy_event")
        ]
        self.assertEqual(
            ["add_healthy_event"] * 2 + ["eject_unhealthy_event", "add_healthy_event"], changes
        )

    def test_http(self) -> None:
        """A host that answers 503 is out until it answers 200."""
        a, b = self.backend("a"), self.backend("b")
        self.start(
            [a.port, b.port], f"health_checks: [{{{CHECK}, http_health_check: {{path: /}}}}]"
        )
        b.reply = HTTP_200.replace(b"200", b"503")
        wait_for(lambda: self.flags(b.port) == "/failed_active_hc", "the host to be out")
        self.assertEqual({b"a"}, {self.who() for _ in range(4)})
        b.reply = HTTP_200
        wait_for(lambda: self.flags(b.port) == "healthy", "the host to be back")

    def test_grpc(self) -> None:
        """A gRPC server is in while it says SERVING of the service, over one connection; one that
        ends is out.
        """
        server = GrpcServer()
        self.addCleanup(server.stop)
        check = (
            f"health_checks: [{{{CHECK}, grpc_health_check: {{service_name: s.T, authority: "
            f"a}}}}], {HTTP2}"
        )
        self.start([server.port], check)
        wait_for(
            lambda: self.flags(server.port) == "healthy" and len(server.asked) > 2, "several checks"
        )
        server.status = 2
        wait_for(lambda: self.flags(server.port) == "/failed_active_hc", "the host to be out")
        server.status = 1
        wait_for(lambda: self.flags(server.port) == "healthy", "the host to be back")
        self.assertEqual((1, {b"\x0a\x03s.T"}), (len(server.peers), set(server.asked)))
        server.stop()
        wait_for(lambda: self.flags(server.port) == "/failed_active_hc", "the host to be out again")

    def test_outliers(self) -> None:
        """A host that refuses clients is out for a while; the log says so."""
        a, gone = self.backend("a"), self.backend("gone")
        gone.close()
        log = Path(self.mktemp()).absolute()
        more = (
            "outlier_detection: {consecutive_5xx: 2, max_ejection_percent: 50, interval: "
            "0.05s, base_ejection_time: 0.2s}"
        )
        self.start(
            [a.port, gone.port],
            more,
            f"cluster_manager: {{outlier_detection: {{event_log_path: {log}}}}}\n",
        )
        self.assertEqual([b"", b"", b"a", b"a"], sorted(self.who() for _ in range(4)))
        wait_for(lambda: len(log.read_text().splitlines()) == 2, "the host to be out and back")
        self.assertEqual(
            ["EJECT", "UNEJECT"],
            [json.loads(line)["action"] for line in log.read_text().splitlines()],
        )
        self.assertEqual("healthy", self.flags(gone.port))


class EpollTests(HealthSuite, SynchronousTestCase):
    """The fast transports."""

    transport = "epoll"


@uring
class UringTests(HealthSuite, SynchronousTestCase):
    """The transports of io_uring."""

    transport = "uring-only"


class StockTests(HealthSuite, SynchronousTestCase):
    """Twisted's own transports."""

    transport = "stock"
