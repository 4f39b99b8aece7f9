"""An admin interface that answers what a test says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tcpmesh.terminal.client import AdminClient, NoAnswer, NoSuchPath

INFO = {"state": "LIVE", "uptime_current_epoch": "7s", "version": "1"}


def connection(number: int, **fields: Any) -> dict[str, Any]:
    """A row of /connections."""
    row = {
        "id": number,
        "worker": 0,
        "client": f"10.0.0.{number}:40000",
        "cluster": "db",
        "host": "10.1.0.1:5432",
        "listener": "front",
        "sni": "",
        "phase": "relaying",
        "age": 10.0,
        "received_rate": 100.0 * number,
        "sent_rate": 0.0,
    }
    return {**row, **fields}


def close(number: int, **fields: Any) -> dict[str, Any]:
    """A row of /closes."""
    row = {
        "id": number,
        "worker": 0,
        "when": "2026-11-30T03:35:37.120Z",
        "client": f"10.0.0.{number}:40000",
        "cluster": "db",
        "host": "10.1.0.1:5432",
        "by": "upstream",
        "flags": "-",
        "reason": "the host has reset the connection",
    }
    return {**row, **fields}


class FakeAdmin(AdminClient):
    """Answers paths with what `answers` has for them."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1:9901")
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        self.failure: str = ""
        self.stats: dict[str, int] = {
            "listener.127.0.0.1_80.downstream_cx_total": 10,
            "listener.127.0.0.1_80.downstream_cx_active": 2,
            "listener.127.0.0.1_80.worker_0.downstream_cx_total": 10,
            "listener.admin.downstream_cx_total": 3,
            "listener.admin.main_thread.downstream_cx_total": 3,
            "cluster.db.membership_healthy": 1,
            "cluster.db.membership_total": 2,
            "cluster.db.upstream_cx_active": 2,
            "cluster.db.upstream_cx_total": 9,
            "cluster.db.upstream_cx_connect_fail": 1,
            "cluster.db.upstream_cx_rx_bytes_total": 1000,
            "cluster.db.upstream_cx_tx_bytes_total": 2000,
        }
        self.listeners: list[Any] = [listener("front", "127.0.0.1", 80)]
        self.hosts: list[Any] = [
            host("10.1.0.1", 5432),
            host("10.1.0.2", 5432, "failed_active_health_check"),
        ]
        self.connections: list[Any] | None = [connection(1), connection(2), connection(3)]
        self.closes: list[Any] = [close(9)]

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """As it would be asked."""
        self.asked.append((path, parameters or {}))
        if self.failure:
            raise NoAnswer(self.failure)
        if path in ("/connections", "/closes") and self.connections is None:
            raise NoSuchPath("no such path")
        return {
            "/server_info": INFO,
            "/stats": {
                "stats": [{"name": n, "value": v} for n, v in self.stats.items()]
                + [{"histograms": {}}]
            },
            "/listeners": {"listener_statuses": self.listeners},
            "/clusters": {"cluster_statuses": [{"name": "db", "host_statuses": self.hosts}]},
            "/connections": {"connections": self.connections, "matched": 3, "total": 7},
            "/closes": {"closes": self.closes},
        }[path]

    def post(self, path: str, parameters: Mapping[str, str]) -> str:
        """Likewise."""
        self.asked.append((path, parameters))
        if self.failure:
            raise NoAnswer(self.failure)
        return "closed 1 connection"


def listener(name: str, address: str, port: int) -> dict[str, Any]:
    """A status of /listeners."""
    place = {"socket_address": {"address": address, "port_value": port}}
    return {"name": name, "local_address": place}


def host(address: str, port: int, *flags: str) -> dict[str, Any]:
    """A status of /clusters, with these health flags."""
    return {
        "address": {"socket_address": {"address": address, "port_value": port}},
        "stats": [{"name": "cx_total", "value": "5"}, {"name": "cx_connect_fail"}],
        "health_status": {"eds_health_status": "HEALTHY", **dict.fromkeys(flags, True)},
    }
