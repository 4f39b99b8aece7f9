"""What the proxy is configured to, and how that changes.

Some listeners and clusters are never touched: their clients must notice nothing at all.  Others
turn: with each reload, or change of a file of discovery, some of them get other fields, other hosts
or other filters, come or go.  The first configuration is also the last one.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

TYPES = "type.googleapis.com/envoy"
TURNING = 4
"""Listeners that the bootstrap has and that turn, with a cluster each."""

FOUND = 2
"""The same of those that discovery brings."""

IDLE = 6
"""Clusters that nobody is sent to, and that come and go."""

VARIANTS = 12
"""What a listener or cluster may be, beside what it was at first."""

WATCHDOG = {"miss_timeout": "0.2s", "megamiss_timeout": "0.6s", "kill_timeout": "2s"}


@dataclass(frozen=True)
class Place:
    """Where clients get in."""

    name: str
    host: str
    """An address, or a path."""

    port: int = 0

    @property
    def uses_paths(self) -> bool:
        """Whether its clients, or the hosts that they get to, are at a path."""
        return not self.port or self.name == "steady6"

    @property
    def json(self) -> dict[str, Any]:
        """The address as a configuration has it."""
        return at(self.host, self.port) if self.port else {"pipe": {"path": self.host}}


def at(host: str, port: int) -> dict[str, Any]:
    """An address."""
    return {"socket_address": {"address": host, "port_value": port}}


def typed(kind: str, **fields: Any) -> dict[str, Any]:
    """An extension."""
    return {
        "name": kind.partition(".")[2],
        "typed_config": {"@type": f"{TYPES}.extensions.{kind}", **fields},
    }


class Configuration:
    """That of one proxy, in files.

    :param places: where clients get in, by the names of listeners.
    :param backends: the ports of hosts.
    """

    def __init__(
        self, folder: Path, places: list[Place], backends: list[int], unix: Path, admin: int
    ) -> None:
        self._folder = folder
        self.places = {each.name: each for each in places}
        self._backends = backends
        self._unix = unix
        self._admin = admin
        self.variants = dict.fromkeys(self._turning(), 0)
        """What each listener and cluster is that turns; 0 is what it was at first."""
        self.absent = {f"idle{number}" for number in range(IDLE)}
        """Those that are not there."""

    def _turning(self) -> list[str]:
        names = [f"turning{number}" for number in range(TURNING)]
        names += [f"found{number}" for number in range(FOUND)]
        clusters = [f"to-{name}" for name in names] + [f"idle{number}" for number in range(IDLE)]
        return names + clusters

    def reset(self) -> None:
        """All is what it was at first."""
        self.variants = dict.fromkeys(self.variants, 0)
        self.absent = {f"idle{number}" for number in range(IDLE)}

    def turn(self, random: Random, discovered: bool) -> list[str]:
        """Change some of what there is; what is other now, and how.

        :param discovered: whether it is what files of discovery have.
        """
        names = [name for name in self.variants if ("found" in name) is discovered]
        told = []
        for name in random.sample(names, random.randint(1, min(4, len(names)))):
            may_go = name.startswith("idle") or (name in self.places and random.random() < 0.3)
            if may_go and name not in self.absent:
                self.absent.add(name)
                told.append(f"-{name}")
            else:
                self.absent.discard(name)
                self.variants[name] = random.randrange(VARIANTS)
                told.append(f"{name}={self.variants[name]}")
        return told

    # Files

    @property
    def path(self) -> Path:
        """Of the bootstrap."""
        return self._folder / "envoy.json"

    def write(self) -> None:
        """All files have what is wanted now."""
        self.put(self.path, self.bootstrap())
        self.write_found()

    def write_found(self) -> None:
        """The files of discovery have."""
        names = [f"found{number}" for number in range(FOUND)]
        clusters = [self._cluster(f"to-{name}") for name in names]
        for each in clusters:
            assignment = each.pop("load_assignment")
            self.put(
                self._folder / f"{each['name']}.json", self._response("endpoint", [assignment])
            )
        self.put(self._folder / "cds.json", self._response("cluster", clusters))
        listeners = [self._listener(name) for name in names if name not in self.absent]
        self.put(self._folder / "lds.json", self._response("listener", listeners))

    def put(self, path: Path, content: Any) -> None:
        """Move a new file to a path, as discovery wants it."""
        new = path.with_suffix(".new")
        new.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        os.replace(new, path)

    def _response(self, kind: str, resources: list[dict[str, Any]]) -> dict[str, Any]:
        name = {"endpoint": "ClusterLoadAssignment"}.get(kind, kind.title())
        url = f"{TYPES}.config.{kind}.v3.{name}"
        return {"resources": [{"@type": url, **each} for each in resources]}

    def bootstrap(self) -> dict[str, Any]:
        """The bootstrap."""
        steady = [name for name in self.places if name not in self.variants]
        turning = [f"turning{number}" for number in range(TURNING)]
        idle = [f"idle{number}" for number in range(IDLE)]
        listeners = [*steady, *(name for name in turning if name not in self.absent)]
        clusters = [f"to-{name}" for name in (*steady, *turning)]
        clusters += [name for name in idle if name not in self.absent]
        return {
            "admin": {"address": at("127.0.0.1", self._admin)},
            "node": {"id": "soaked", "cluster": "soak"},
            "watchdogs": {"worker_watchdog": WATCHDOG},
            "dynamic_resources": {
                "cds_config": self._source("cds.json"),
                "lds_config": self._source("lds.json"),
            },
            "static_resources": {
                "listeners": [self._listener(name) for name in listeners],
                "clusters": [self._cluster(name) for name in clusters],
            },
        }

    def _source(self, name: str) -> dict[str, Any]:
        path = {"path": str(self._folder / name)}
        return {"resource_api_version": "V3", "path_config_source": path}

    def _listener(self, name: str) -> dict[str, Any]:
        variant = self.variants.get(name, 0)
        logs = [self._log(f"{name}.log")] if variant % 3 == 1 else []
        fields: dict[str, Any] = {"access_log": logs} if logs else {}
        filters = []
        if variant % 4 == 2:
            limit = {"stat_prefix": name, "max_connections": 10_000}
            filters.append(typed("filters.network.connection_limit.v3.ConnectionLimit", **limit))
        if variant % 4 == 3:
            fields["idle_timeout"] = "9s"
        cluster = {"stat_prefix": name, "cluster": f"to-{name}", **fields}
        filters.append(typed("filters.network.tcp_proxy.v3.TcpProxy", **cluster))
        made: dict[str, Any] = {
            "name": name,
            "address": self.places[name].json,
            "filter_chains": [{"filters": filters}],
        }
        if variant > VARIANTS // 2:  # else only the chains are others, and it stays
            made["per_connection_buffer_limit_bytes"] = 65_536 + variant
        return made

    def _log(self, name: str) -> dict[str, Any]:
        return typed("access_loggers.file.v3.FileAccessLog", path=str(self._folder / name))

    def _cluster(self, name: str) -> dict[str, Any]:
        variant = self.variants.get(name, 0)
        count = len(self._backends)
        ports = [self._backends[(variant + each) % count] for each in range(1 + variant % count)]
        hosts = [at("127.0.0.1", port) for port in ports]
        if name == "to-steady6":
            hosts = [{"pipe": {"path": str(self._unix)}}]
        lb_endpoints = [{"endpoint": {"address": each}} for each in hosts]
        made: dict[str, Any] = {
            "name": name,
            "connect_timeout": f"{5 + variant}s",
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": lb_endpoints}],
            },
            "circuit_breakers": {
                "thresholds": [{"max_connections": 4096, "max_pending_requests": 4096}]
            },
            **CLUSTER_FIELDS[variant % len(CLUSTER_FIELDS)],
        }
        if "found" in name:
            made["type"] = "EDS"
            made["eds_cluster_config"] = {"eds_config": self._source(f"{name}.json")}
        return made


CHECK = {
    "timeout": "2s",
    "interval": "0.5s",
    "unhealthy_threshold": 3,
    "healthy_threshold": 1,
    "tcp_health_check": {},
}

CLUSTER_FIELDS: tuple[dict[str, Any], ...] = (
    {},
    {"health_checks": [CHECK], "common_lb_config": {"healthy_panic_threshold": {"value": 100}}},
    {"lb_policy": "MAGLEV"},
    {"lb_policy": "LEAST_REQUEST", "outlier_detection": {"consecutive_5xx": 1000}},
    {"lb_policy": "RING_HASH"},
    {"track_cluster_stats": {"per_endpoint_stats": True}},
)
