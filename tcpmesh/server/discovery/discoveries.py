"""The discoveries that a bootstrap asks for in its `dynamic_resources`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.config.resources import CLUSTER, LISTENER, Resources, load_resources
from tcpmesh.interfaces import INetwork
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.server.discovery.updates import Discovery, Manager
from tcpmesh.stats.store import Store
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import NO_DYNAMIC_RESOURCES, DynamicResources
from tcpmesh.xds.stats import SubscriptionStats
from tcpmesh.xds.subscription import FileSubscription


class Discoveries:
    """Those of one proxy: clusters first, as in Envoy, for listeners name them."""

    def __init__(
        self,
        bootstrap: Any,
        clusters: ClusterManager,
        listeners: ListenerManager,
        store: Store,
        network: INetwork,
        options: ServerOptions,
    ) -> None:
        self._bootstrap = bootstrap
        self._store = store
        self._network = network
        self._options = options
        dynamic = bootstrap.dynamic_resources
        self.clusters = self.listeners = None
        """The `Discovery` of each; `None` where there is none."""
        self._subscriptions: dict[str, FileSubscription] = {}
        if dynamic.HasField("cds_config"):
            manager = Manager(
                "cluster",
                partial(clusters.add_or_update, added_via_api=True),
                clusters.remove,
                lambda: {each.name for each in self._static.clusters},
            )
            self.clusters = self._follow(
                dynamic.cds_config, CLUSTER, manager, "cluster_manager.cds"
            )
        if dynamic.HasField("lds_config"):
            manager = Manager(
                "listener",
                listeners.add_or_update,
                listeners.remove,
                lambda: {each.name for each in self._static.listeners},
            )
            self.listeners = self._follow(
                dynamic.lds_config, LISTENER, manager, "listener_manager.lds"
            )

    def start_clusters(self) -> None:
        """Bring the clusters.

        :raise tcpmesh.net.moves.CannotWatch: where the directory of the file is not there.
        """
        self._start(CLUSTER)

    def start_listeners(self) -> None:
        """Bring the listeners.

        :raise tcpmesh.net.moves.CannotWatch: where the directory of the file is not there.
        """
        self._start(LISTENER)

    @property
    def _static(self) -> Any:
        return self._bootstrap.static_resources

    def follow_bootstrap(self, bootstrap: Any) -> None:
        """This is the configuration from now on: what is its own, is not what discovery has
        brought.
        """
        self._bootstrap = bootstrap
        for discovery, messages in (
            (self.clusters, self._static.clusters),
            (self.listeners, self._static.listeners),
        ):
            if discovery is not None:
                for each in messages:
                    discovery.forget(each.name)

    def look_again(self, before: Any) -> None:
        """Names may be no longer the bootstrap's own, as in the one before: files may have them."""
        self._look_again(CLUSTER, before.static_resources.clusters, self._static.clusters)
        self._look_again(LISTENER, before.static_resources.listeners, self._static.listeners)

    def _look_again(self, kind: str, before: Iterable[Any], after: Iterable[Any]) -> None:
        subscription = self._subscriptions.get(kind)
        if subscription is None:
            return
        if {each.name for each in before} - {each.name for each in after}:
            subscription.look()

    def of_listeners(self) -> DynamicResources:
        """What discovery has brought of listeners."""
        return _shown(self.listeners)

    def of_clusters(self) -> DynamicResources:
        """... and of clusters."""
        return _shown(self.clusters)

    def stop(self) -> None:
        """No more updates."""
        for each in self._subscriptions.values():
            each.stop()

    def _start(self, kind: str) -> None:
        if kind in self._subscriptions:
            self._subscriptions[kind].start()

    def _follow(self, source: Any, kind: str, manager: Manager, prefix: str) -> Discovery:
        unknown = self._store.counter("server.dynamic_unknown_fields")

        def count(fields: int) -> None:
            if not self._options.ignore_unknown_dynamic_fields:
                unknown.tally += fields

        def load(path: str) -> Resources:
            return load_resources(
                path,
                kind,
                self._bootstrap,
                allow_unknown_fields=not self._options.reject_unknown_dynamic_fields,
                allow_unsupported=self._options.allow_unsupported,
            )

        stats = SubscriptionStats(self._store, prefix, counts_reloads=kind == CLUSTER)
        discovery = Discovery(manager, stats, self._network.clock, count)
        self._subscriptions[kind] = FileSubscription(source, self._network, load, discovery.update)
        return discovery


def _shown(discovery: Discovery | None) -> DynamicResources:
    if discovery is None:
        return NO_DYNAMIC_RESOURCES
    return DynamicResources(discovery.version, discovery.statuses())
