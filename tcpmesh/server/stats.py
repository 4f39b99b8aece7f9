"""The statistics under `server.`."""

from __future__ import annotations

import resource
from typing import Any

from tcpmesh.stats.store import Declaration, Store

STATES = {"LIVE": 0, "DRAINING": 1, "PRE_INITIALIZING": 2, "INITIALIZING": 3}

NO_CERTIFICATE = (1 << 32) - 1
"""Days until the first certificate expires where there is none, as Envoy shows it."""

DECLARED = Declaration(
    counters=(
        "debug_assertion_failures",
        "dropped_stat_flushes",
        "dynamic_unknown_fields",
        "envoy_bug_failures",
        "envoy_notifications",
        "static_unknown_fields",
        "wip_protos",
    ),
    gauges=(
        "compilation_settings.fips_mode",
        "hot_restart_epoch",
        "hot_restart_generation",
        "parent_connections",
        "seconds_until_first_ocsp_response_expiring",
        "stats_recent_lookups",
        "version",
    ),
)


class ServerStats:
    """What the whole process tells of itself.  As in Envoy, all but `live` change at a flush of the statistics."""

    def __init__(self, store: Store, server: Any) -> None:
        scope = store.scope("server")
        scope.declare(DECLARED)
        self._server = server
        self._store = store
        self._uptime = scope.gauge("uptime")
        self._state = scope.gauge("state")
        self._live = scope.gauge("live")
        self._connections = scope.gauge("total_connections")
        self._allocated = scope.gauge("memory_allocated")
        self._heap = scope.gauge("memory_heap_size")
        self._physical = scope.gauge("memory_physical_size")
        self._initialization = scope.histogram("initialization_time_ms")
        scope.gauge("concurrency").set(server.options.concurrency)
        scope.gauge("days_until_first_cert_expiring").set(NO_CERTIFICATE)

    def initialized(self) -> None:
        """The server serves from now on."""
        self._live.set(1)
        self._initialization.record(self._server.uptime * 1000)
        self.flush()

    def flush(self) -> None:
        """Bring the numbers up to date."""
        self._uptime.set(int(self._server.uptime))
        self._state.set(STATES[self._server.state])
        self._connections.set(self._open_connections())
        resident = resident_bytes()
        self._allocated.set(resident)
        self._heap.set(resident)
        self._physical.set(resident)

    def _open_connections(self) -> int:
        return sum(
            gauge.value
            for gauge in self._store.gauges()
            if gauge.name.startswith("listener.") and gauge.name.endswith(".worker_0.downstream_cx_active")
        )


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
