"""LOGICAL_DNS clusters: one name is one host, whichever addresses it has at the time.

Meant for names with very many or ever different addresses: the first one is connected to, the
others are tried in the same attempt.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.discovery.dns import DnsDiscovery, cluster_settings, resolver_for
from tcpmesh.registry import MainContext, enum_value


@enum_value("clusters", "LOGICAL_DNS")
class LogicalDnsCluster(DnsDiscovery):
    """The discovery of a `cluster.v3.Cluster` of this type."""

    def __init__(self, message: Any, context: MainContext) -> None:
        super().__init__(
            message,
            cluster_settings(message, logical=True),
            resolver_for(message, context),
            context,
        )
