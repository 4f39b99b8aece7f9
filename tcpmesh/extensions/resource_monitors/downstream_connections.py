"""downstream_connections: how many clients all listeners may have together.

Unlike other resources this one acts by itself: a listener closes what is one too many as soon as it
is accepted (`downstream_global_cx_overflow`), unless it has `ignore_global_conn_limit`.  So it is
not asked for a pressure, and no trigger can go by it; as in Envoy its gauge `pressure` stays 0.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.resource_monitors.downstream_connections.v3 import downstream_connections_pb2

from tcpmesh.registry import MainContext, extension


@extension(downstream_connections_pb2.DownstreamConnectionsConfig)
class DownstreamConnections:
    """The limit, which listeners keep."""

    def __init__(self, message: Any, context: MainContext) -> None:
        self.most_connections: int = message.max_active_downstream_connections
