"""Internal listeners and the clusters whose hosts they are: what they cannot have, and circles
that have no way out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type
from tcpmesh.config.text.problems import FieldPath

_EXTENSION = "envoy.extensions.bootstrap.internal_listener.v3.InternalListener"
_BY_NAME = (Cluster.STRICT_DNS, Cluster.LOGICAL_DNS)

#: What only a listener with a socket can have, if it is set at all, and if it is true.
_SET = ("enable_reuse_port", "tcp_fast_open_queue_length", "tcp_backlog_size")
_TRUE = ("freebind", "transparent")


def _check_listener(listener: Any, field_path: FieldPath, report: Report) -> None:
    if not listener.HasField("internal_listener"):
        return
    extensions = report.bootstrap.bootstrap_extensions
    if not any(extension_type(each.typed_config) == _EXTENSION for each in extensions):
        text = (
            "an internal listener needs the bootstrap extension envoy.bootstrap.internal_listener"
        )
        report.error((field_path, "internal_listener"), text)
    if listener.HasField("api_listener"):
        text = "api_listener and internal_listener cannot be both set"
        report.error((field_path, "api_listener"), text)
    for name in ("address", "additional_addresses"):
        if _is_set(listener, name):
            report.error((field_path, name), "an internal listener has no address")
    if listener.socket_options:
        report.error((field_path, "socket_options"), "an internal listener has no socket")
    wanted = [name for name in _SET if listener.HasField(name)]
    wanted += [name for name in _TRUE if getattr(listener, name).value]
    wanted += ["enable_mptcp"] if listener.enable_mptcp else []
    wanted += (
        ["connection_balance_config"] if listener.HasField("connection_balance_config") else []
    )
    for name in wanted:
        report.error((field_path, name), "an internal listener has no socket that could have this")


def _is_set(message: Any, name: str) -> bool:
    return any(field.name == name for field, _ in message.ListFields())


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    for endpoint, here in _internal_endpoints(cluster, field_path):
        if endpoint.health_check_config.port_value:
            report.error(
                ((here, "health_check_config"), "port_value"),
                "an internal listener has no port, nor can its health checks have one",
            )
        if cluster.health_checks and not endpoint.health_check_config.HasField("address"):
            report.warning(
                (here, "address"),
                "health checks cannot reach an internal listener: the host will be unhealthy",
                "give its health_check_config an address, or disable_active_health_check",
            )
        if not cluster.HasField("cluster_type") and cluster.type in _BY_NAME:
            text = "an internal listener has no name to resolve: the cluster will have no such host"
            report.warning((here, "address"), text, "use type STATIC")
        else:
            _check_name(endpoint, (here, "address"), report)


def _check_name(endpoint: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy accepts the name of a listener that nobody defines; discovery may still bring it."""
    name = endpoint.address.envoy_internal_address.server_listener_name
    listeners = report.bootstrap.static_resources.listeners
    if not report.has_listener_discovery and not any(
        each.name == name and each.HasField("internal_listener") for each in listeners
    ):
        text = f"no internal listener is named {name!r}: every connection to it will fail"
        report.warning((field_path, "envoy_internal_address"), text)


def _internal_endpoints(cluster: Any, field_path: FieldPath) -> Iterator[tuple[Any, FieldPath]]:
    localities: FieldPath = ((field_path, "load_assignment"), "endpoints")
    for i, locality in enumerate(cluster.load_assignment.endpoints):
        for j, each in enumerate(locality.lb_endpoints):
            if each.endpoint.address.HasField("envoy_internal_address"):
                yield each.endpoint, ((((localities, i), "lb_endpoints"), j), "endpoint")


def _check_bootstrap(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    if bootstrap.admin.address.HasField("envoy_internal_address"):
        admin: FieldPath = ((field_path, "admin"), "address")
        report.error((admin, "envoy_internal_address"), "the admin interface needs a socket")
    resources = bootstrap.static_resources
    endless = _endless(resources)
    for index, cluster in enumerate(resources.clusters):
        if cluster.name in endless:
            here: FieldPath = (((field_path, "static_resources"), "clusters"), index)
            report.error(
                ((here, "load_assignment"), "endpoints"),
                "clients would go in circles through internal listeners, and nowhere else",
            )


def _endless(resources: Any) -> set[str]:
    """The names of clusters whose hosts are internal listeners alone that send all their clients to
    such clusters again.
    """
    sends = {
        each.name: _sent_to(each)
        for each in resources.listeners
        if each.HasField("internal_listener")
    }
    leads = {
        each.name: names
        for each in resources.clusters
        if each.type == Cluster.STATIC and not each.HasField("cluster_type")
        if (names := _listeners_of(each)) and names <= sends.keys()
    }
    endless = set(leads)
    while True:
        out = {
            name
            for name in endless
            if any(not sends[each] or not sends[each] <= endless for each in leads[name])
        }
        if not out:
            return endless
        endless -= out


def _listeners_of(cluster: Any) -> set[str]:
    """The internal listeners that are its hosts; none where there are other hosts too."""
    found: set[str] = set()
    for locality in cluster.load_assignment.endpoints:
        for each in locality.lb_endpoints:
            address = each.endpoint.address
            if not address.HasField("envoy_internal_address") or each.endpoint.additional_addresses:
                return set()
            found.add(address.envoy_internal_address.server_listener_name)
    return found


def _sent_to(listener: Any) -> set[str]:
    """The clusters that its clients go to; none where some of them may go elsewhere."""
    found: set[str] = set()
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        if not chain.filters and chain is listener.default_filter_chain:
            continue
        proxy = TcpProxy()
        if len(chain.filters) != 1 or not chain.filters[0].typed_config.Unpack(proxy):
            return set()
        if not proxy.cluster:
            return set()
        found.add(proxy.cluster)
    return found


def _check_upstream(socket: Any, field_path: FieldPath, report: Report) -> None:
    for index, source in enumerate(socket.passthrough_metadata):
        kind = source.kind.WhichOneof("kind")
        if kind in ("request", "route"):
            here = (((field_path, "passthrough_metadata"), index), "kind")
            report.error((here, kind), f"the metadata of a {kind} cannot be passed on here")


CHECKS = {
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport": (
        _check_upstream
    ),
    "envoy.config.bootstrap.v3.Bootstrap": _check_bootstrap,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.listener.v3.Listener": _check_listener,
}
