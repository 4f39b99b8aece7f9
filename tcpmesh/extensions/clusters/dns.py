"""The cluster type `envoy.clusters.dns`: STRICT_DNS and LOGICAL_DNS in one, with its options in a
message of its own.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.clusters.common.dns.v3.dns_pb2 import DnsLookupFamily
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster as DnsClusterMessage

from tcpmesh.cluster.discovery.dns import (
    DnsDiscovery,
    DnsSettings,
    RefreshSettings,
    resolver_for,
    wait_for_warm,
)
from tcpmesh.registry import MainContext, extension
from tcpmesh.values.dns import Family


@extension(DnsClusterMessage)
class DnsCluster:
    """Built from a `DnsCluster`."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self._message = message
        self._context = context

    def discovery(self, cluster: Any) -> DnsDiscovery:
        """What finds the hosts of a `cluster.v3.Cluster` of this type."""
        message = self._message
        family = DnsLookupFamily.Name(message.dns_lookup_family)
        settings = DnsSettings(
            family=Family.AUTO if family == "UNSPECIFIED" else Family[family],
            refresh=RefreshSettings.from_message(message),
            logical=message.all_addresses_in_single_endpoint,
            wait_for_warm=wait_for_warm(cluster),
        )
        return DnsDiscovery(cluster, settings, resolver_for(message, self._context), self._context)
