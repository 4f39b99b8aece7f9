"""The discoveries that a bootstrap asks for: in its `dynamic_resources`, and in runtime layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.config.resources import CLUSTER, LISTENER, RUNTIME, Resources, load_resources
from tcpmesh.interfaces import INetwork
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.runtime.layers import Layers
from tcpmesh.server.discovery.runtime import RuntimeDiscovery, with_values
from tcpmesh.server.discovery.updates import Discovery, Manager
from tcpmesh.stats.store import Store
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import NO_DYNAMIC_RESOURCES, DynamicResources
from tcpmesh.xds.stats import SubscriptionStats, unknown_fields
from tcpmesh.xds.subscription import FileSubscription, Load


class Discoveries:
    """Those of one proxy: clusters first, as in Envoy, for listeners name them."""

    def __init__(
        self,
        bootstrap: Any,
        clusters: ClusterManager,
        listeners: ListenerManager,
        layers: Layers,
        store: Store,
        network: INetwork,
        options: ServerOptions,
    ) -> None:
        self._bootstrap = bootstrap
        self._store = store
        self._network = network
        self._options = options
        self._count_unknown = unknown_fields(store, options)
        dynamic = bootstrap.dynamic_resources
        self.clusters = self.listeners = None
        """The `Discovery` of each; `None` where there is none."""
        self._subscriptions: dict[str, FileSubscription] = {}
        self._runtime: list[FileSubscription] = []
        self.on_change: Callable[[], object] = lambda: None
        """Called when listeners or clusters have changed."""
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
                listeners.prepare,
            )
            self.listeners = self._follow(
                dynamic.lds_config, LISTENER, manager, "listener_manager.lds"
            )
        for layer in bootstrap.layered_runtime.layers:
            if layer.HasField("rtds_layer"):
                self._follow_runtime(layer, layers)

    def start_runtime(self) -> None:
        """Bring the runtime layers.

        :raise tcpmesh.net.moves.CannotWatch: where the directory of a file is not there.
        """
        for each in self._runtime:
            each.start()

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
        for each in (*self._runtime, *self._subscriptions.values()):
            each.stop()

    def _start(self, kind: str) -> None:
        if kind in self._subscriptions:
            self._subscriptions[kind].start()

    def _follow(self, source: Any, kind: str, manager: Manager, prefix: str) -> Discovery:
        stats = SubscriptionStats(self._store, prefix, counts_reloads=kind == CLUSTER)
        discovery = Discovery(
            manager, stats, self._network.clock, self._count_unknown, lambda: self.on_change()
        )
        self._subscriptions[kind] = FileSubscription(
            source, self._network, self._load(kind), discovery.update
        )
        return discovery

    def _follow_runtime(self, message: Any, layers: Layers) -> None:
        """A `bootstrap.v3.RuntimeLayer`."""
        stats = SubscriptionStats(self._store, "runtime")
        rtds = message.rtds_layer
        discovery = RuntimeDiscovery(
            message.name, rtds.name, layers, stats, self._network.clock, self._count_unknown
        )
        load = with_values(self._load(RUNTIME))
        self._runtime.append(
            FileSubscription(rtds.rtds_config, self._network, load, discovery.update)
        )

    def _load(self, kind: str) -> Load:
        def load(path: str) -> Resources:
            return load_resources(
                path,
                kind,
                self._bootstrap,
                allow_unknown_fields=not self._options.reject_unknown_dynamic_fields,
                allow_unsupported=self._options.allow_unsupported,
            )

        return load


def _shown(discovery: Discovery | None) -> DynamicResources:
    if discovery is None:
        return NO_DYNAMIC_RESOURCES
    return DynamicResources(discovery.version, discovery.statuses())
