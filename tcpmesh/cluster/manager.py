"""All clusters: added, replaced and removed while traffic flows, and served only once they know
their hosts.

A cluster is *warm* when its discovery has a first result and each host its first health check.
Until the manager has been told to `initialize` clusters are there at once, and the server opens no
listener before all are warm; what comes later takes the place of its predecessor, or is found at
all, when it is warm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.logger import Logger

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.cluster.monitor import HealthMonitor
from tcpmesh.interfaces import IDiscovery
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.registry import Context, build, find_value
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration
from tcpmesh.values.statuses import ClusterStatus, Statuses

log = Logger(namespace="upstream")

DECLARED = Declaration(
    counters=(
        "cluster_updated",
        "cluster_updated_via_merge",
        "update_merge_cancelled",
        "update_out_of_merge_window",
    ),
)


class ClusterEntry:
    """A cluster with all that main does for it."""

    def __init__(
        self, message: Any, context: Context, wheel: TimerWheel, outlier_log: EventLog | None
    ) -> None:
        self.message = message
        self._discovery = discovery_of(message, context)
        try:
            self.cluster = Cluster(message, context, getattr(self._discovery, "balancer", None))
        except Exception:
            self._discovery.stop()
            raise
        self._monitor = HealthMonitor(message, self.cluster, context, wheel, outlier_log)
        self.is_warm = False

    def start(self, warmed: Callable[[ClusterEntry], object]) -> None:
        """Look for hosts; `warmed` is called once, when the cluster can be used, perhaps before
        this call returns.
        """

        def ready(_: object) -> None:
            self.is_warm = True
            self.cluster.warmed()
            warmed(self)

        warm = self._discovery.warm.addCallback(lambda _: self._monitor.first_round()).addCallback(
            ready
        )
        warm.addErrback(
            lambda failure: log.failure(
                "cluster {name} cannot start", failure, name=self.message.name
            )
        )
        self._discovery.start(self._monitor.update_hosts)

    def status(self) -> ClusterStatus:
        """The cluster as the admin interface shows it."""
        return replace(self.cluster.status(), outliers=self._monitor.outliers())

    def stop(self) -> Deferred[None]:
        """Look no more, and keep no connection that is not in use; fires when nothing is under
        way.
        """
        self._monitor.stop()
        self.cluster.close()
        return maybeDeferred(self._discovery.stop)

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        self._monitor.reopen_logs()

    def close(self) -> None:
        """The cluster is not wanted any more; connections in use go on."""
        self.stop()

    def is_used(self) -> bool:
        """Whether there are connections to its hosts."""
        return self.cluster.breakers.connections.own > 0


class ClusterManager:
    """The clusters by name."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._active: dict[str, ClusterEntry] = {}
        self._warming: dict[str, ClusterEntry] = {}
        self._leaving: list[ClusterEntry] = []
        """Those removed, as long as there are connections: their statistics are shown until
        then.
        """
        self._initialized: Deferred[None] | None = None
        self._wheel = TimerWheel(context.network.clock)
        self._outlier_log = EventLog(context.outlier_log) if context.outlier_log else None
        scope = context.store.scope("cluster_manager")
        self._added = scope.counter("cluster_added")
        self._modified = scope.counter("cluster_modified")
        self._removed = scope.counter("cluster_removed")
        self._active_gauge = scope.gauge("active_clusters", Merge.MAIN)
        self._warming_gauge = scope.gauge("warming_clusters", Merge.MAIN)
        threads = [
            context.store.scope(f"thread_local_cluster_manager.{thread}")
            for thread in ("main_thread", "worker_0")
        ]
        self._inflated = [thread.gauge("clusters_inflated", Merge.SUM) for thread in threads]
        scope.declare(DECLARED)
        context.store.add_collector(self._collect)

    def get(self, name: str) -> Cluster | None:
        """The cluster of this name as of now."""
        entry = self._active.get(name)
        return None if entry is None else entry.cluster

    def initialize(self) -> Deferred[None]:
        """All clusters that the proxy begins with have been added; fires when they are warm."""
        self._initialized = Deferred()
        self._check_initialized()
        return self._initialized

    def add_or_update(self, message: Any) -> None:
        """Serve new connections by this `cluster.v3.Cluster`; connections made by its predecessor
        go on untouched.

        :raise LookupError: where nothing of its type or policy is known; what was there stays.
        """
        name = message.name
        known = self._warming.get(name) or self._active.get(name)
        if known is not None and known.message == message:
            return
        entry = ClusterEntry(message, self._context, self._wheel, self._outlier_log)
        if known is not None:
            entry.cluster.was_tried = known.cluster.was_tried
        counter = self._added if known is None else self._modified
        counter.tally += 1
        if self._initialized is not None and self._initialized.called:
            self._replace(self._warming, name, entry)
            entry.start(self._activate)
        else:
            self._replace(self._active, name, entry)
            entry.start(self._warmed)
        self._count()

    def remove(self, name: str) -> None:
        """Forget a cluster, if it is there; connections to its hosts go on."""
        found = [entries.pop(name) for entries in (self._warming, self._active) if name in entries]
        for entry in found:
            entry.close()
        self._leaving += found
        self._let_go()
        if found:
            self._removed.tally += 1
            self._count()
            self._check_initialized()

    def statuses(self) -> Sequence[ClusterStatus]:
        """The clusters as the admin interface shows them."""
        return Statuses([entry.status for entry in self._active.values()])

    def stop(self) -> Deferred[None]:
        """End all discovery and all checks; fires when nothing is under way."""
        stopping = [entry.stop() for entry in (*self._warming.values(), *self._active.values())]
        self._wheel.stop()
        if self._outlier_log is not None:
            self._outlier_log.close()
        return gatherResults(stopping).addCallback(lambda _: None)

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        for entry in (*self._warming.values(), *self._active.values()):
            entry.reopen_logs()
        if self._outlier_log is not None:
            self._outlier_log.reopen()

    def _replace(self, entries: dict[str, ClusterEntry], name: str, entry: ClusterEntry) -> None:
        predecessor = entries.get(name)
        entries[name] = entry
        if predecessor is not None:
            predecessor.close()
            predecessor.cluster.forget()

    def _activate(self, entry: ClusterEntry) -> None:
        name = entry.message.name
        if self._warming.get(name) is entry:
            del self._warming[name]
            self._replace(self._active, name, entry)
            self._count()

    def _warmed(self, entry: ClusterEntry) -> None:
        self._check_initialized()

    def _check_initialized(self) -> None:
        waiting = self._initialized
        if (
            waiting is not None
            and not waiting.called
            and all(entry.is_warm for entry in self._active.values())
        ):
            waiting.callback(None)

    def _let_go(self) -> None:
        """Forget those removed that have no connections any more, or a successor, who goes on with
        their statistics.
        """
        leaving, self._leaving = self._leaving, []
        for entry in leaving:
            if entry.is_used() and self.get(entry.message.name) is None:
                self._leaving.append(entry)
            else:
                entry.cluster.forget()

    def _count(self) -> None:
        for gauge in (self._active_gauge, *self._inflated):
            gauge.set(len(self._active))
        self._warming_gauge.set(len(self._warming))

    def _collect(self) -> Iterator[None]:
        if self._leaving:
            self._let_go()
        for entry in (*self._active.values(), *self._leaving):
            entry.cluster.collect()
            yield


def discovery_of(message: Any, context: Context) -> IDiscovery:
    """What finds the hosts of a `cluster.v3.Cluster`, by its `type` or the extension in its
    `cluster_type`.

    :raise tcpmesh.registry.UnknownExtension: where nothing knows this type.
    """
    custom = (
        message.cluster_type
        if message.WhichOneof("cluster_discovery_type") == "cluster_type"
        else None
    )
    if custom is None:
        kind = message.DiscoveryType.Name(message.type)
    elif custom.HasField("typed_config"):
        return build(custom.typed_config, context).discovery(message)  # type: ignore[no-any-return]
    else:
        kind = custom.name.removeprefix("envoy.cluster.").upper()
    return find_value("clusters", kind)(message, context)  # type: ignore[no-any-return]
