"""sni_cluster: names the cluster of a client after the server that it has asked for (SNI).

A listener filter has to look for that name, as tls_inspector does; a client without one goes where
tcp_proxy says.  Nothing of Envoy's is left out.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.sni_cluster.v3 import sni_cluster_pb2

from tcpmesh.connection.filters import FilterManager, ReadFilter
from tcpmesh.connection.state_objects import TCP_PROXY_CLUSTER, ClusterName
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.filter_status import FilterStatus


@extension(sni_cluster_pb2.SniCluster)
class SniCluster(ReadFilter):
    """What a chain's `SniCluster` message says: nothing."""

    serves_many_chains = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        """There are no settings."""

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        """Leave the name, in lower case, for tcp_proxy."""
        info = manager.connection.stream_info
        name = info.hello.server_name.lower()
        if name:
            info.set_filter_state(TCP_PROXY_CLUSTER, ClusterName(name))
        return FilterStatus.CONTINUE
