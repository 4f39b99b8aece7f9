"""The far end of tunnels: an Envoy that is asked by CONNECT, in HTTP/1.1 or HTTP/2, and connects to
the backends.  It costs more than the proxies that ask it, so rates of tunnels are its own.

Where a server ends first it resets the stream of HTTP/2 before all has been sent, so that nobody
can download through it: the client must be who ends.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import tools
from benchmarks.backends import Backends
from benchmarks.process import Child, Ports, wait_for_ports

_HTTP = "envoy.extensions.filters"
_MANAGER = f"type.googleapis.com/{_HTTP}.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"type.googleapis.com/{_HTTP}.http.router.v3.Router"
_CONNECT = "CONNECT"


def authority(name: str) -> str:
    """What a tunnel to the web backends, or to the bulk peer, asks for."""
    return f"{name}.example:80"


def _host(name: str) -> dict[str, Any]:
    upgrade = {"upgrade_type": _CONNECT, "connect_config": {}}
    route = {"cluster": name, "timeout": "0s", "upgrade_configs": [upgrade]}
    return {
        "name": name,
        "domains": [authority(name)],
        "routes": [{"match": {"connect_matcher": {}}, "route": route}],
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, ports: tuple[int, ...]) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    return {
        "name": name,
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000}]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def configuration(port: int, backends: Backends) -> str:
    """Its bootstrap."""
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "connect",
        "http2_protocol_options": {"allow_connect": True},
        "upgrade_configs": [{"upgrade_type": _CONNECT}],
        "route_config": {"virtual_hosts": [_host("web"), _host("bulk")]},
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    listener = {
        "name": "connect",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [_cluster("web", backends.web), _cluster("bulk", (backends.bulk,))]
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})


def start_terminator(stack: ExitStack, directory: Path, ports: Ports, backends: Backends) -> int:
    """Start it, until `stack` ends; returns its port."""
    port, path = ports.take(), directory / "terminator.json"
    path.write_text(configuration(port, backends))
    command = [tools.envoy(), "-c", str(path), "--log-level", "error"]
    command += ["--disable-hot-restart", "--concurrency", "1"]
    wait_for_ports(stack.enter_context(Child(command, directory, "terminator")), [port])
    return port
