"""What is legal, in Envoy too, and surely not meant: nothing is refused here, only said.

A proxy of which a part does nothing starts as well as any other, so whoever wrote the part looks
for the mistake elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from tcpmesh.config.fields.addresses import address_key
from tcpmesh.config.fields.values import binds_to_port
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type
from tcpmesh.config.text.problems import FieldPath

_WITH_ENDPOINTS = frozenset((Cluster.STATIC, Cluster.STRICT_DNS, Cluster.LOGICAL_DNS))


def _check_bootstrap(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    listeners = bootstrap.static_resources.listeners
    if not listeners and not bootstrap.dynamic_resources.HasField("lds_config"):
        report.warning(field_path, "there is no listener: no client will be served")
    report.listener_addresses.update(
        (address_key(listener.address), listener.name)
        for listener in listeners
        if binds_to_port(listener)
    )
    report.listener_addresses.pop("", None)
    report.circular_clusters.update(_circular(bootstrap.static_resources, report))


def _circular(resources: Any, report: Report) -> Iterator[str]:
    """The names of clusters whose hosts are listeners that send their clients to them again, or to
    others that do.
    """
    leads = {
        cluster.name: {
            name
            for endpoint, _ in _endpoints(cluster, None)
            if (name := _listener_at(endpoint.endpoint.address, report)) is not None
        }
        for cluster in resources.clusters
        if cluster.type == Cluster.STATIC and not cluster.HasField("cluster_type")
    }
    reached = set().union(*leads.values())
    sends = {each.name: _sent_to(each) for each in resources.listeners if each.name in reached}
    for cluster, listeners in leads.items():
        seen: set[str] = set()
        waiting = list(listeners)
        while waiting:
            listener = waiting.pop()
            if listener not in seen:
                seen.add(listener)
                for each in sends[listener]:
                    waiting += leads.get(each, ())
        if any(cluster in sends[listener] for listener in seen):
            yield cluster


def _sent_to(listener: Any) -> set[str]:
    """The clusters that the tcp_proxy filters of a listener name."""
    found: set[str] = set()
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for each in chain.filters:
            proxy = TcpProxy()
            if each.typed_config.Unpack(proxy):
                found.add(proxy.cluster)
                found.update(each.name for each in proxy.weighted_clusters.clusters)
    return found


def _check_cluster(cluster: Any, field_path: FieldPath, report: Report) -> None:
    if cluster.HasField("cluster_type") or cluster.type not in _WITH_ENDPOINTS:
        return
    if not any(locality.lb_endpoints for locality in cluster.load_assignment.endpoints):
        report.warning(field_path, "this cluster has no endpoints: it will serve nobody")
    for endpoint, here in _endpoints(cluster, field_path):
        address = endpoint.endpoint.address
        socket = address.socket_address
        if address.HasField("socket_address") and not (socket.port_value or socket.named_port):
            report.warning((here, "socket_address"), "nothing can be reached at port 0")
        listener = (
            _listener_at(address, report) if cluster.name in report.circular_clusters else None
        )
        if listener is not None:
            report.warning(
                here, f"this is where the listener {listener!r} is: clients would go in circles"
            )


def _listener_at(address: Any, report: Report) -> str | None:
    """The name of the listener that has this address; of one on all addresses it is known here only
    that the loopback ones are among them.
    """
    key = address_key(address)
    name = report.listener_addresses.get(key)
    if name is None and key and address.HasField("socket_address"):
        ip = ip_address(address.socket_address.address)
        if ip.is_loopback:
            anywhere = "[::]" if ip.version == 6 else "0.0.0.0"
            port = address.socket_address.port_value
            name = report.listener_addresses.get(f"{anywhere}:{port}")
    return name


def _endpoints(cluster: Any, field_path: FieldPath) -> Iterator[tuple[Any, FieldPath]]:
    """The endpoints of a cluster, each with the path of its address."""
    localities: FieldPath = ((field_path, "load_assignment"), "endpoints")
    for i, locality in enumerate(cluster.load_assignment.endpoints):
        for j, each in enumerate(locality.lb_endpoints):
            host = (((localities, i), "lb_endpoints"), j)
            yield each, ((host, "endpoint"), "address")


def _check_chain(chain: Any, field_path: FieldPath, report: Report) -> None:
    if not chain.filters:
        report.warning(
            (field_path, "filters"), "no filter: every connection is closed once it is accepted"
        )


# ---------------------------------------------------------------- clusters that nobody names


def check_unused(report: Report) -> None:
    """Say of each static cluster that nothing names it.  To be called when all else was checked."""
    if report.has_cluster_discovery or report.has_listener_discovery or report.chooses_clusters:
        return
    for index, cluster in enumerate(report.bootstrap.static_resources.clusters):
        if cluster.name and cluster.name not in report.used_clusters:
            here: FieldPath = (((None, "static_resources"), "clusters"), index)
            report.warning((here, "name"), f"nothing sends anybody to the cluster {cluster.name!r}")


def _names(*fields: str) -> Callable[[Any, FieldPath, Report], None]:
    """A check that takes note of the clusters that these fields name."""

    def check(message: Any, field_path: FieldPath, report: Report) -> None:
        for field in fields:
            value = getattr(message, field)
            report.used_clusters.update((value,) if isinstance(value, str) else value)

    return check


def _check_tcp_proxy(proxy: Any, field_path: FieldPath, report: Report) -> None:
    report.used_clusters.add(proxy.cluster)
    report.used_clusters.update(each.name for each in proxy.weighted_clusters.clusters)


def _check_filter(network_filter: Any, field_path: FieldPath, report: Report) -> None:
    name = extension_type(network_filter.typed_config)
    if not name.startswith(_CHOOSING_NONE):
        report.chooses_clusters = True


_FILTERS = "envoy.extensions.filters."
_CHOOSING_NONE = tuple(
    _FILTERS + name
    for name in (
        "listener.http_inspector.",
        "listener.local_ratelimit.",
        "listener.original_dst.",
        "listener.original_src.",
        "listener.proxy_protocol.",
        "listener.tls_inspector.",
        "network.connection_limit.",
        "network.direct_response.",
        "network.echo.",
        "network.local_ratelimit.",
        "network.rbac.",
        "network.tcp_bandwidth_limit.",
        "network.sni_dynamic_forward_proxy.",
        "network.tcp_proxy.",
    )
)
"""Filters that send nobody to a cluster that their configuration does not name."""

CHECKS = {
    "envoy.config.bootstrap.v3.Bootstrap": _check_bootstrap,
    "envoy.config.bootstrap.v3.ClusterManager": _names("local_cluster_name"),
    "envoy.config.core.v3.ApiConfigSource": _names("cluster_names"),
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": _names("cluster_name"),
    "envoy.config.core.v3.HttpUri": _names("cluster"),
    "envoy.config.metrics.v3.StatsdSink": _names("tcp_cluster_name"),
    "envoy.config.listener.v3.Filter": _check_filter,
    "envoy.config.listener.v3.ListenerFilter": _check_filter,
    "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig": _names("cluster"),
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": _names("clusters"),
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_tcp_proxy,
    "envoy.config.cluster.v3.Cluster": _check_cluster,
    "envoy.config.listener.v3.FilterChain": _check_chain,
}
