"""What an attack is, what a proxy may suffer by it, and the bootstrap that it is played against."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20

TYPES = "type.googleapis.com/envoy.extensions"


@dataclass(frozen=True)
class Limits:
    """What a proxy may suffer by an attack."""

    wait: float = 20.0
    """Milliseconds that an echo may wait."""

    busy_wait: float = 30.0
    """The same on a machine whose processors have other work too, whose caches that work uses."""

    peak: int = 64 * MIB
    """Bytes that memory may grow meanwhile."""

    kept: int = 16 * MIB
    """Bytes that may be left of that."""

    descriptors: int = 64
    """Descriptors that may be left open: pipes are kept for the next bulk."""


@dataclass(frozen=True)
class Target:
    """The proxy as an attacker sees it."""

    ports: Mapping[str, int]
    """Of its listeners, by name, and of `admin`."""

    pid: int


Strike = Callable[[Target, float], object]
"""Attacks for about so many seconds.  What it returns, if anything, says what was wrong."""


@dataclass(frozen=True)
class Attack:
    """Something that a hostile peer may do."""

    name: str
    what: str
    """One sentence: what the peer does."""

    strike: Strike = field(repr=False)
    seconds: float = 2.0
    limits: Limits = Limits()
    fresh: bool = True
    """Whether new connections are served meanwhile; not where the attack uses up what they need."""


@dataclass(frozen=True)
class Figures:
    """What a proxy suffered."""

    echoes: int
    longest: float
    longest_fresh: float
    longest_wall: float
    lost: int
    is_busy: bool
    peak: int
    kept: int
    descriptors: int
    told: tuple[str, ...] = ()
    """What else was wrong."""

    def flaws(self, attack: Attack) -> list[str]:
        """Which limits were not kept."""
        limits = attack.limits
        most = limits.busy_wait if self.is_busy else limits.wait
        found = list(self.told)
        if self.echoes == 0:
            found.append("no echo")
        if self.longest > most:
            found.append(f"an echo waited {self.longest:g} ms")
        # A new connection takes some turns: accepting it, connecting to the upstream, an echo.
        if attack.fresh and self.longest_fresh > 2 * most:
            found.append(f"a new connection waited {self.longest_fresh:g} ms")
        if attack.fresh and self.lost:
            found.append(f"{self.lost} echoes lost")
        if self.peak > limits.peak:
            found.append(f"memory grew by {self.peak // MIB} MiB")
        if self.kept > limits.kept:
            found.append(f"{self.kept // MIB} MiB are left")
        if self.descriptors > limits.descriptors:
            found.append(f"{self.descriptors} descriptors are left")
        return found


class Bootstrap:
    """A bootstrap with a listener `probe` for echoes, to which a scene adds what it needs."""

    def __init__(self, echo_port: int) -> None:
        self.listeners: list[dict[str, Any]] = []
        self.clusters: list[dict[str, Any]] = []
        self.layers: list[dict[str, Any]] = []
        """Of runtime values."""
        self.open_files: int | None = None
        """How many files the proxy may have open, where that is to be few."""

        self.add_cluster("echo", [echo_port])
        self.add_listener("probe", "echo")

    def add_listener(
        self,
        name: str,
        cluster: str,
        *,
        filters: Iterable[Mapping[str, Any]] = (),
        tcp_proxy: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Add a listener on a free port, with filters before its tcp_proxy."""
        proxy = {
            "name": "tcp_proxy",
            "typed_config": {
                "@type": f"{TYPES}.filters.network.tcp_proxy.v3.TcpProxy",
                "stat_prefix": name,
                "cluster": cluster,
                **(tcp_proxy or {}),
            },
        }
        chain = {"filters": [*filters, proxy]}
        self.listeners.append(
            {"name": name, "address": address(0), "filter_chains": [chain], **fields}
        )

    def add_cluster(self, name: str, ports: Iterable[int], **fields: Any) -> None:
        """Add a cluster of hosts on these ports."""
        many = {"max_connections": 1 << 20, "max_pending_requests": 1 << 20}
        hosts = [{"endpoint": {"address": address(port)}} for port in ports]
        self.clusters.append(
            {
                "name": name,
                "connect_timeout": "1s",
                "circuit_breakers": {"thresholds": [many]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]},
                **fields,
            }
        )

    def text(self) -> str:
        """The bootstrap in JSON, which is YAML too."""
        resources = {"listeners": self.listeners, "clusters": self.clusters}
        return json.dumps(
            {
                "admin": {"address": address(0)},
                "static_resources": resources,
                "layered_runtime": {"layers": self.layers},
            }
        )


def address(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    """The address of a TCP socket on loopback."""
    return {"socket_address": {"address": host, "port_value": port}}


def listener_filter(name: str) -> dict[str, Any]:
    """A listener filter without fields, by the name of its package."""
    types = {
        "http_inspector": "HttpInspector",
        "proxy_protocol": "ProxyProtocol",
        "tls_inspector": "TlsInspector",
    }
    return {
        "name": name,
        "typed_config": {"@type": f"{TYPES}.filters.listener.{name}.v3.{types[name]}"},
    }


Scene = Callable[[ExitStack, Bootstrap], Iterable[Attack]]
"""Adds to the bootstrap what some attacks need, starts their servers, which the stack is to end,
and says which attacks they are."""
