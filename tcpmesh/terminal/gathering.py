"""What a proxy does now, asked of its admin interface, with rates where it tells counts.

Only what is going to be shown is asked for.  Rates of clusters, hosts and listeners are what their
counters have grown by since the look before; those of connections the proxy tells itself.  A proxy
that is Envoy has no connections to show, and all the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from time import monotonic
from typing import Any, NamedTuple

from tcpmesh.facts import dataclass
from tcpmesh.terminal.client import AdminClient, NoSuchPath
from tcpmesh.terminal.filters import Filter, Row, having

VIEWS = ("overview", "listeners", "clusters", "hosts", "connections", "closes")

TOLD = ("connections", "closes")
"""The views that the proxy itself filters."""

SHOWN = 100
"""Rows of connections that are asked for, of which a screen has fewer."""

SEARCHED = 1000
"""... where words are to be found in them."""

KEPT = 60.0
"""Seconds that a counter is remembered after it was looked at."""

STATS = (
    r"^(listener\..*\.downstream_cx_(active|total)|cluster\..*\.(membership_(healthy|total)|"
    r"upstream_cx_(active|total|connect_fail|rx_bytes_total|tx_bytes_total)))$"
)
"""The statistics that are shown."""

_STAT = re.compile(
    r"(listener|cluster)\.(.+)\.((?:downstream_cx|membership|upstream_cx)_[a-z_]+)", re.DOTALL
)
_PARTS = re.compile(r".*\.(worker_\d+|main_thread)|admin", re.DOTALL)
"""Of a listener's statistics, those of a thread, and the admin interface."""


class Wanted(NamedTuple):
    """What somebody wants to see."""

    view: str = "overview"
    filter: Filter = Filter()
    sort: str = "-received_rate"
    """The field that connections are put in order by, after a minus for the largest first."""

    limit: int = SHOWN


@dataclass(frozen=True)
class Snapshot:
    """A proxy at one moment."""

    server: Row = field(default_factory=dict)
    tables: Mapping[str, list[Row]] = field(default_factory=dict)
    """The rows by view."""

    notes: Mapping[str, str] = field(default_factory=dict)
    """By view, what is to be said of its rows."""


class Rates:
    """How fast counters grow.

    :param now: tells the time, in seconds.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._before: dict[Any, tuple[float, float]] = {}
        self._seen: dict[Any, tuple[float, float]] = {}

    def turn(self) -> None:
        """All counters that are shown were looked at once: those of other views are kept for a
        while, as somebody may go back to them.
        """
        oldest = self._now() - KEPT
        kept = {key: each for key, each in self._before.items() if each[0] >= oldest}
        self._before, self._seen = {**kept, **self._seen}, {}

    def rate(self, key: Any, value: float) -> float | None:
        """What a counter has grown by in a second since the look before; `None` where there was
        none, or where it began anew.
        """
        now = self._now()
        when, before = self._before.get(key, (now, value))
        self._seen[key] = (now, value)
        if now <= when or value < before:
            return None
        return (value - before) / (now - when)


class Gatherer:
    """Asks one proxy, again and again."""

    def __init__(self, client: AdminClient, now: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._rates = Rates(now)

    def gather(self, wanted: Wanted) -> Snapshot:
        """What is there now.

        :raise tcpmesh.terminal.client.NoAnswer: where that cannot be asked.
        """
        server = self._server()
        tables: dict[str, list[Row]] = {}
        notes: dict[str, str] = {}
        asked = VIEWS[1:] if wanted.view == "overview" else (wanted.view,)
        if {"overview", "listeners", "clusters"} & {wanted.view}:
            tables["listeners"], tables["clusters"] = self._counted()
        if "hosts" in asked:
            tables["hosts"] = self._hosts()
        for view in TOLD:
            if view in asked:
                try:
                    told = self.told(view, wanted)
                    tables[view], notes[view] = told[view], _note(view, told)
                except NoSuchPath:
                    tables[view], notes[view] = [], f"this proxy has no /{view}"
        self._rates.turn()
        return Snapshot(server, tables, notes)

    def close(self, connection: int) -> str:
        """Close a connection; what the proxy says.

        :raise tcpmesh.terminal.client.NoAnswer: where it does not.
        """
        return self._client.post("/connections/close", {"id": str(connection)})

    def told(self, view: str, wanted: Wanted) -> dict[str, Any]:
        """What `/connections` or `/closes` answers, with the rows that all words are in.

        :raise tcpmesh.terminal.client.NoAnswer: where it does not answer.
        """
        limit = max(wanted.limit, SEARCHED) if wanted.filter.words else wanted.limit
        parameters = {"format": "json", "limit": str(limit), **wanted.filter.fields}
        if wanted.sort and view == "connections":
            parameters["sort"] = wanted.sort
        told: dict[str, Any] = self._client.get(f"/{view}", parameters)
        told[view] = having(told.get(view, ()), wanted.filter.words)[: wanted.limit]
        return told

    def _server(self) -> Row:
        info = self._client.get("/server_info")
        return {
            "state": info.get("state", "LIVE"),
            "uptime": float(str(info.get("uptime_current_epoch", "0s")).rstrip("s") or 0),
            "version": info.get("version", ""),
        }

    def _counted(self) -> tuple[list[Row], list[Row]]:
        """Listeners and clusters, by their statistics."""
        # Only what was ever written to: of ten thousand clusters that is a hundredth, and the rest
        # is 0.
        asked = {"format": "json", "usedonly": "", "filter": STATS}
        told = self._client.get("/stats", asked)
        found: dict[tuple[str, str], dict[str, int]] = {}
        for each in told.get("stats", ()):
            stat = _STAT.fullmatch(str(each.get("name", "")))
            if stat is not None:
                found.setdefault((stat[1], stat[2]), {})[stat[3]] = int(each.get("value", 0))
        statuses = self._client.get("/listeners", {"format": "json"})
        names = _listener_names(statuses.get("listener_statuses", ()))
        listeners = [
            self._listener(name, names.get(name, (name, "")), values)
            for (kind, name), values in found.items()
            if kind == "listener" and not _PARTS.fullmatch(name)
        ]
        used = {row["listener"] for row in listeners}
        idle = {known[0]: known for known in names.values() if known[0] not in used}
        listeners += [self._listener(name, known, {}) for name, known in idle.items()]
        clusters = [
            self._cluster(name, values)
            for (kind, name), values in found.items()
            if kind == "cluster"
        ]
        return listeners, clusters

    def _listener(self, prefix: str, known: tuple[str, str], values: Mapping[str, int]) -> Row:
        total = values.get("downstream_cx_total", 0)
        return {
            "listener": known[0],
            "address": known[1],
            "active": values.get("downstream_cx_active", 0),
            "total": total,
            "total_rate": self._rates.rate(("listener", prefix), total),
        }

    def _cluster(self, name: str, values: Mapping[str, int]) -> Row:
        row: dict[str, Any] = {
            "cluster": name,
            "healthy": values.get("membership_healthy", 0),
            "hosts": values.get("membership_total", 0),
            "active": values.get("upstream_cx_active", 0),
        }
        for key, stat in (
            ("total", "upstream_cx_total"),
            ("failed", "upstream_cx_connect_fail"),
            ("received", "upstream_cx_rx_bytes_total"),
            ("sent", "upstream_cx_tx_bytes_total"),
        ):
            row[key] = values.get(stat, 0)
            row[f"{key}_rate"] = self._rates.rate((name, stat), row[key])
        return row

    def _hosts(self) -> list[Row]:
        told = self._client.get("/clusters", {"format": "json"})
        return [
            self._host(str(cluster.get("name", "")), host)
            for cluster in told.get("cluster_statuses", ())
            for host in cluster.get("host_statuses", ())
        ]

    def _host(self, cluster: str, told: Mapping[str, Any]) -> Row:
        stats = {each.get("name"): int(each.get("value", 0)) for each in told.get("stats", ())}
        address = _address(told.get("address", {}))
        total, failed = stats.get("cx_total", 0), stats.get("cx_connect_fail", 0)
        return {
            "cluster": cluster,
            "host": address,
            "health": _health(told.get("health_status", {})),
            "active": stats.get("cx_active", 0),
            "total": total,
            "total_rate": self._rates.rate((cluster, address, "total"), total),
            "failed": failed,
            "failed_rate": self._rates.rate((cluster, address, "failed"), failed),
        }


def _note(view: str, told: Mapping[str, Any]) -> str:
    """How many of how many are there."""
    count = len(told[view])
    return f"the last {count}" if view == "closes" else f"{count} of {told.get('total', count)}"


def _address(told: Mapping[str, Any]) -> str:
    """An address of Envoy's admin messages."""
    if "pipe" in told:
        return str(told["pipe"].get("path", ""))
    own = told.get("socket_address", {})
    host, port = str(own.get("address", "")), own.get("port_value", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listener_names(statuses: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Name and address of each listener, by what its statistics may be called by."""
    found: dict[str, tuple[str, str]] = {}
    for status in statuses:
        name, address = str(status.get("name", "")), _address(status.get("local_address", {}))
        any_port = f"{address.rpartition(':')[0]}:0"
        for prefix in (address, any_port):
            found.setdefault(prefix.replace(":", "_"), (name, address))
        found.setdefault(name, (name, address))
    return found


HEALTH = {
    "failed_active_health_check": "DOWN",
    "failed_outlier_check": "EJECTED",
    "failed_active_degraded_check": "DEGRADED",
    "pending_dynamic_removal": "LEAVING",
    "pending_active_hc": "PENDING",
    "excluded_via_immediate_hc_fail": "EXCLUDED",
    "active_hc_timeout": "TIMEOUT",
}
"""In one word, what each flag of a host says."""


def _health(told: Mapping[str, Any]) -> str:
    """What is the matter with a host; `ok` where nothing is."""
    words = [word for flag, word in HEALTH.items() if told.get(flag)]
    eds = told.get("eds_health_status", "HEALTHY")
    if eds not in ("HEALTHY", "UNKNOWN"):
        words.append(str(eds))
    return ",".join(words) or "ok"
