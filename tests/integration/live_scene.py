"""A proxy with something to look at: hosts that answer, reset and fall ill, and clients.

For the tests of the live page and for its pictures.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from tcpmesh.testing.child import Child, free_port
from tests.attacks.attack import TYPES, address

TCP_PROXY = f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy"
TLS_INSPECTOR = f"{TYPES}.filters.listener.tls_inspector.v3.TlsInspector"

RESET = struct.pack("ii", 1, 0)
"""With this SO_LINGER, closing a socket resets the connection."""


class _Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        """Until the client has sent all."""
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class _Resetting(socketserver.BaseRequestHandler):
    """Resets the connection at the first byte."""

    def handle(self) -> None:
        """Once."""
        with contextlib.suppress(OSError):
            self.request.recv(1)
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.request.close()


class _Server(socketserver.ThreadingTCPServer):
    """Its threads end with the process."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client is gone."""


class Host:
    """One of the hosts, by default on a port of its own."""

    def __init__(self, resets: bool = False, ip: str = "127.0.0.1", port: int = 0) -> None:
        self._resets = resets
        self._ip = ip
        self._server = self._listen(port)
        self.port = int(self._server.server_address[1])

    def _listen(self, port: int) -> _Server:
        server = _Server((self._ip, port), _Resetting if self._resets else _Echo)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def stop(self) -> None:
        """Nobody listens there any more."""
        self._server.shutdown()
        self._server.server_close()

    def start(self) -> None:
        """Listen again."""
        self._server = self._listen(self.port)


def cluster(name: str, ports: Iterable[int], **more: Any) -> dict[str, Any]:
    """A cluster of hosts on these ports."""
    endpoints = [{"endpoint": {"address": address(port)}} for port in ports]
    load = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "connect_timeout": "1s", "load_assignment": load, **more}


def checks(interval: str) -> dict[str, Any]:
    """Health checks by connecting, so often."""
    return {
        "timeout": "1s",
        "interval": interval,
        "no_traffic_interval": interval,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "tcp_health_check": {},
    }


def chain(to: str, *server_names: str, **more: Any) -> dict[str, Any]:
    """A filter chain that leads to a cluster."""
    config = {"@type": TCP_PROXY, "stat_prefix": "p", "cluster": to}
    match = {"filter_chain_match": {"server_names": [*server_names]}} if server_names else {}
    return {**match, **more, "filters": [{"name": "tcp_proxy", "typed_config": config}]}


def listener(
    name: str, port: int, chains: list[dict[str, Any]], inspects: bool = False
) -> dict[str, Any]:
    """A listener with these chains."""
    made: dict[str, Any] = {"name": name, "address": address(port), "filter_chains": chains}
    if inspects:
        inspector = {"name": "tls", "typed_config": {"@type": TLS_INSPECTOR}}
        made["listener_filters"] = [inspector]
    return made


class Scene:
    """A proxy of these listeners and clusters, with its clients.

    :param more: further fields of the bootstrap.
    """

    def __init__(
        self, listeners: list[dict[str, Any]], clusters: list[dict[str, Any]], **more: Any
    ) -> None:
        self.clients: list[socket.socket] = []
        config = {
            "admin": {"address": address(0)},
            "static_resources": {"listeners": listeners, "clusters": clusters},
            **more,
        }
        self.proxy = Child(json.dumps(config))

    def __enter__(self) -> Scene:
        self.proxy.wait_ready()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all of it."""
        for client in self.clients:
            client.close()
        self.proxy.stop()

    @property
    def url(self) -> str:
        """Of the live page."""
        where = (self.proxy.path / "admin.address").read_text().strip()
        return f"http://{where}/"

    def connect(self, port: int, first: bytes = b"") -> socket.socket:
        """A client that sends this, and gets it back where the host is one that answers."""
        client = socket.create_connection(("127.0.0.1", port), 10.0)
        self.clients.append(client)
        if first:
            client.sendall(first)
        return client


def name_of(client: socket.socket) -> str:
    """The client as the proxy sees it."""
    host, port = client.getsockname()
    return f"{host}:{port}"


def ports(count: int) -> list[int]:
    """Free ones."""
    return [free_port() for _ in range(count)]
