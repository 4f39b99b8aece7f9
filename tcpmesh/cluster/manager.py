"""All clusters: added, replaced and removed while traffic flows."""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.status import ClusterStatus
from tcpmesh.registry import Context, find_value
from tcpmesh.stats.store import Declaration

DECLARED = Declaration(
    counters=("cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled", "update_out_of_merge_window"),
    gauges=("warming_clusters",),
)


class ClusterManager:
    """The clusters by name, with the discovery that feeds each."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clusters: dict[str, Cluster] = {}
        self._discoveries: dict[str, Any] = {}
        scope = context.store.scope("cluster_manager")
        self._added = scope.counter("cluster_added")
        self._modified = scope.counter("cluster_modified")
        self._removed = scope.counter("cluster_removed")
        self._active = scope.gauge("active_clusters")
        scope.declare(DECLARED)
        context.store.add_collector(self._collect)

    def get(self, name: str) -> Cluster | None:
        """The cluster of this name as of now."""
        return self._clusters.get(name)

    def add_or_update(self, message: Any) -> None:
        """Serve new connections by this `cluster.v3.Cluster`; connections made by its predecessor go on untouched."""
        known = self._clusters.get(message.name)
        if known is not None and known.message == message:
            return
        discovery = find_value("clusters", message.DiscoveryType.Name(message.type))(message, self._context)
        cluster = Cluster(message, self._context)
        if known is not None:
            self._discoveries[message.name].stop()
            known.close()
            self._modified.value += 1
        else:
            self._added.value += 1
        self._clusters[message.name] = cluster
        self._discoveries[message.name] = discovery
        self._active.set(len(self._clusters))
        discovery.start(cluster.update_hosts)

    def remove(self, name: str) -> None:
        """Forget a cluster, if it is there; connections to its hosts go on."""
        if name in self._clusters:
            self._discoveries.pop(name).stop()
            self._clusters.pop(name).close()
            self._removed.value += 1
            self._active.set(len(self._clusters))

    def statuses(self) -> list[ClusterStatus]:
        """The clusters as the admin interface shows them."""
        return [cluster.status() for cluster in self._clusters.values()]

    def stop(self) -> None:
        """End all discovery."""
        for discovery in self._discoveries.values():
            discovery.stop()

    def _collect(self) -> None:
        for cluster in self._clusters.values():
            cluster.collect()
