"""The statistics under `server.`."""

from __future__ import annotations

import re
from time import time
from typing import Any

from tcpmesh.stats.memory import used_bytes
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration, Store
from tcpmesh.values.lifecycle.restart import DISABLED
from tcpmesh.values.workers import worker_name
from tcpmesh.version import __version__

STATES = {"LIVE": 0, "DRAINING": 1, "PRE_INITIALIZING": 2, "INITIALIZING": 3}

_DAY = 86400

NO_CERTIFICATE = (1 << 32) - 1
"""Days until the first certificate expires where there is none, as Envoy shows it."""

DECLARED = Declaration(
    counters=(
        "debug_assertion_failures",
        "envoy_bug_failures",
        "envoy_notifications",
    ),
)


_WATCHDOG = Declaration(counters=("watchdog_mega_miss", "watchdog_miss"))

ELSEWHERE = {
    "envoy": Declaration(counters=("overload_actions.reset_high_memory_stream.count",)),
    "http.async-client": Declaration(
        counters=(
            *(
                "no_cluster",
                "no_route",
                "rq_direct_response",
                "rq_overload_local_reply",
                "rq_redirect",
                "rq_total",
            ),
            "rq_reset_after_downstream_response_started",
            *(
                f"passthrough_internal_redirect_{why}"
                for why in ("bad_location", "no_route", "predicate", "unsafe_scheme")
            ),
            "passthrough_internal_redirect_too_many_redirects",
        ),
    ),
    "http1": Declaration(
        counters=(
            *("dropped_headers_with_underscores", "metadata_not_supported_error", "response_flood"),
            "requests_rejected_with_underscores_in_headers",
        ),
    ),
    "main_thread": _WATCHDOG,
    "overload": Declaration(histograms=("refresh_interval_delay",)),
    "server.main_thread": _WATCHDOG,
    "workers": _WATCHDOG,
}
"""Names outside of `server.` that every Envoy shows, also where nothing moves them: HTTP never
does, watchdogs only where there are several processes, and an overload manager where there is one.
"""


class ServerStats:
    """What the whole process tells of itself.  As in Envoy, all but `live` change at a flush of the
    statistics.

    :param workers: how many there are.
    """

    def __init__(self, store: Store, server: Any, workers: int = 1) -> None:
        scope = store.scope("server")
        scope.declare(DECLARED)
        for prefix, names in ELSEWHERE.items():
            store.scope(prefix).declare(names)
        for index in range(workers):
            store.scope(f"server.{worker_name(index)}").declare(_WATCHDOG)
        self._server = server
        self._uptime = scope.gauge("uptime", Merge.MAIN)
        self._state = scope.gauge("state", Merge.MAIN)
        self._live = scope.gauge("live", Merge.MAIN)
        self._lookups = scope.gauge("stats_recent_lookups", Merge.SUM)
        self._connections = scope.gauge("total_connections", Merge.SUM)
        self._parent_connections = scope.gauge("parent_connections", Merge.MAIN)
        facts = server.restart_facts
        has_restart = facts.version != DISABLED
        scope.gauge("hot_restart_epoch", Merge.MAIN).set(facts.epoch if has_restart else 0)
        if has_restart:
            scope.gauge("hot_restart_generation", Merge.MAIN).set(facts.generation)
        self._allocated = scope.gauge("memory_allocated", Merge.SUM)
        self._heap = scope.gauge("memory_heap_size", Merge.SUM)
        self._physical = scope.gauge("memory_physical_size", Merge.SUM)
        self._initialization = scope.histogram("initialization_time_ms")
        scope.gauge("compilation_settings.fips_mode", Merge.MAIN).set(0)
        for name in ("dynamic_unknown_fields", "static_unknown_fields", "wip_protos"):
            scope.counter(name).touch()
        self._version = scope.gauge("version", Merge.MAIN)
        self.show_version()
        scope.gauge("concurrency", Merge.MAIN).set(server.options.concurrency)
        self._days = scope.gauge("days_until_first_cert_expiring", Merge.MAIN)
        self._days.set(NO_CERTIFICATE)
        self._ocsp = scope.gauge("seconds_until_first_ocsp_response_expiring", Merge.MAIN)
        self._ocsp.set(0)

    def show_version(self) -> None:
        """Show what the configuration of now says of the version."""
        self._version.set(version_number(self._server.bootstrap))

    def show_live(self, is_live: bool) -> None:
        """Whether the server serves, and is not made to fail its health checks."""
        self._live.set(int(is_live))

    def initialized(self) -> None:
        """The server serves from now on."""
        self.show_live(self._server.state == "LIVE")
        self._initialization.record(self._server.uptime * 1000)
        self.update()

    def update(self) -> None:
        """Bring the numbers up to date: at each flush."""
        self._uptime.set(int(self._server.restart_facts.before + self._server.uptime))
        self._parent_connections.set(self._server.parent_connections)
        self._state.set(STATES[self._server.state])
        self._lookups.set(self._server.store.lookups.count)
        self._connections.set(self._server.open_connections)
        end, ocsp_end = self._server.first_ends
        self._days.set(NO_CERTIFICATE if end is None else max(0, int(end - time())) // _DAY)
        self._ocsp.set(0 if ocsp_end is None else max(0, int(ocsp_end - time())))
        resident = used_bytes(self._server.pids())
        self._allocated.set(resident)
        self._heap.set(resident)
        self._physical.set(resident)


def version_number(bootstrap: Any) -> int:
    """What `server.version` shows: what the configuration says (`stats_server_version_override`),
    or ours as a number, 0x10203 for 1.2.3; Envoy's is a part of a hash.
    """
    if bootstrap.HasField("stats_server_version_override"):
        return int(bootstrap.stats_server_version_override.value)
    parts = [int(part) for part in re.findall(r"\d+", __version__)[:3]]
    return sum(part << shift for part, shift in zip(parts, (16, 8, 0), strict=False))
