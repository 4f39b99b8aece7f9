"""A proxy in memory with an overload manager, whose actions and load shed points are active as far
as a test says.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh
from tcpmesh.values.link import OverloadLevels
from tests.mesh import FRONT, address_yaml, tcp_proxy

OTHER = "127.0.0.1:2"
HOST = "127.0.0.2:80"

STOP = "envoy.overload_actions.stop_accepting_connections"
REJECT = "envoy.overload_actions.reject_incoming_connections"
ACCEPT_POINT = "envoy.load_shed_points.tcp_listener_accept"
POOL_POINT = "envoy.load_shed_points.connection_pool_new_connection"
DATA_POINT = "envoy.load_shed_points.tcp_proxy_on_data"
CONNECT_POINT = "envoy.load_shed_points.tcp_proxy_upstream_connect"
LIMIT = "envoy.resource_monitors.global_downstream_max_connections"

_TRIGGERS = "triggers: [{name: r, threshold: {value: 0.5}}]"
_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
_RESOURCE = (
    f'{{"@type": {_MONITORS}.fixed_heap.v3.FixedHeapConfig, max_heap_size_bytes: {1 << 60}}}'
)
_LIMIT = f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig"


def bootstrap(
    points: Iterable[str] = (),
    most: int = 0,
    listener: str = "",
    other: str = "",
    proxy: str = "cluster: c",
    cluster: str = "",
    more: str = "",
) -> str:
    """A tcp_proxy at FRONT and another one at OTHER, in YAML, with an overload manager that has
    these points and the actions above; `listener`, `other` and `cluster` are further fields, with
    a comma before.

    :param most: clients of all listeners, where there is a limit.
    """
    limit = f'{{"@type": {_LIMIT}, max_active_downstream_connections: {most}}}'
    monitors = [f"{{name: r, typed_config: {_RESOURCE}}}"]
    monitors += [f"{{name: {LIMIT}, typed_config: {limit}}}"] * bool(most)
    found = ", ".join(f"{{name: {each}, {_TRIGGERS}}}" for each in points)
    chain = f"filter_chains: [{{filters: {tcp_proxy(proxy)}}}]"
    return f"""
    overload_manager:
      resource_monitors: [{", ".join(monitors)}]
      actions: [{{name: {STOP}, {_TRIGGERS}}}, {{name: {REJECT}, {_TRIGGERS}}}]
      loadshed_points: [{found}]
    {more}
    static_resources:
      listeners:
      - {{name: front, address: {address_yaml(FRONT)}, {chain}{listener}}}
      - {{name: other, address: {address_yaml(OTHER)}, {chain}{other}}}
      clusters:
      - name: c
        type: STATIC
        load_assignment:
          cluster_name: c
          endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address_yaml(HOST)}}}}}]}}]
        {cluster}
    """


class OverloadedTestCase(SynchronousTestCase):
    """A test of such a proxy."""

    mesh: Mesh
    host: Any
    """The factory of the only host."""

    def begin(self, **fields: Any) -> None:
        """Serve this bootstrap."""
        self.mesh = Mesh(bootstrap(**fields))
        self.host = self.mesh.upstream(HOST)

    def tell(self, name: str, level: float) -> None:
        """An action or a point is active as far as that."""
        self.mesh.main._send(OverloadLevels(((name, level),)))
        self.mesh.pump()

    def serves(self, address: str = FRONT) -> bool:
        """Whether the next client comes to the host."""
        before = len(self.host.built)
        self.mesh.connect(address)
        return len(self.host.built) > before
