"""STRICT_DNS clusters: each address of each name is a host."""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.discovery.dns import DnsDiscovery, cluster_settings, resolver_for
from tcpmesh.registry import MainContext, enum_value


@enum_value("clusters", "STRICT_DNS")
class StrictDnsCluster(DnsDiscovery):
    """The discovery of a `cluster.v3.Cluster` of this type."""

    def __init__(self, message: Any, context: MainContext) -> None:
        super().__init__(
            message,
            cluster_settings(message, logical=False),
            resolver_for(message, context),
            context,
        )
