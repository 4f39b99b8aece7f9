"""What Envoy demands of a bootstrap in code, beyond the rules of its schema.

Each check says in its own words what Envoy would refuse, at the line of the field at fault.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from tcpmesh.config.problems import Trail
from tcpmesh.config.report import Report
from tcpmesh.config.types import type_of_url, unpack

_NETWORK = "envoy.extensions.filters.network."

#: Network filters that end a chain: they own the connection's bytes.
TERMINAL = frozenset(
    _NETWORK + name
    for name in (
        "direct_response.v3.Config",
        "dubbo_proxy.v3.DubboProxy",
        "echo.v3.Echo",
        "generic_proxy.v3.GenericProxy",
        "http_connection_manager.v3.HttpConnectionManager",
        "redis_proxy.v3.RedisProxy",
        "tcp_proxy.v3.TcpProxy",
        "thrift_proxy.v3.ThriftProxy",
    )
)

#: The longest path of a unix socket, with the zero byte after it.
PIPE_PATH_BYTES = 108


def check(bootstrap: Bootstrap, report: Report, environ: Mapping[str, str]) -> None:
    """Report all that Envoy's code would refuse."""
    static: Trail = (None, "static_resources")
    names = _check_clusters(bootstrap.static_resources.clusters, (static, "clusters"), report)
    _check_listeners(bootstrap.static_resources.listeners, (static, "listeners"), names, report)
    if bootstrap.HasField("admin") and bootstrap.admin.HasField("address"):
        check_bind_address(bootstrap.admin.address, ((None, "admin"), "address"), report)


# ---------------------------------------------------------------- clusters


def _check_clusters(clusters: Any, trail: Trail, report: Report) -> set[str]:
    """Check each cluster; returns their names."""
    names: dict[str, int] = {}
    for index, cluster in enumerate(clusters):
        here = (trail, index)
        if cluster.name and cluster.name in names:
            first = report.places.at("static_resources", "clusters", names[cluster.name], "name")
            report.error((here, "name"), f"duplicate cluster {cluster.name!r}, the first is at {first}")
        names.setdefault(cluster.name, index)
        _check_endpoints(cluster, here, report)
    return set(names)


def _check_endpoints(cluster: Cluster, trail: Trail, report: Report) -> None:
    in_assignment = (trail, "load_assignment")
    is_static = cluster.WhichOneof("cluster_discovery_type") in (None, "type") and cluster.type == Cluster.STATIC
    for i, locality in enumerate(cluster.load_assignment.endpoints):
        for j, host in enumerate(locality.lb_endpoints):
            here = ((((in_assignment, "endpoints"), i), "lb_endpoints"), j)
            if host.HasField("endpoint"):
                _check_endpoint(host.endpoint, (here, "endpoint"), is_static, report)


def _check_endpoint(endpoint: Any, trail: Trail, is_static: bool, report: Report) -> None:
    if endpoint.address.WhichOneof("address") is None:
        report.absent(trail, ["address"], "an endpoint needs an address")
        return
    address = endpoint.address
    if address.HasField("socket_address") and is_static and not _is_ip(address.socket_address.address):
        text = f"malformed IP address: {address.socket_address.address!r}; a STATIC cluster resolves no names"
        report.error((((trail, "address"), "socket_address"), "address"), text, "use type STRICT_DNS or LOGICAL_DNS for a host name")
    _check_pipe(address, (trail, "address"), report)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- listeners


def check_bind_address(address: Any, trail: Trail, report: Report) -> None:
    """Report an address that cannot be listened on: no IP, a named port, a path that is too long."""
    if address.HasField("socket_address"):
        socket_address, here = address.socket_address, (trail, "socket_address")
        if socket_address.address and not _is_ip(socket_address.address):
            text = f"malformed IP address: {socket_address.address!r}"
            report.error((here, "address"), text, "listen on 127.0.0.1, 0.0.0.0, ::1 or ::")
        if socket_address.HasField("named_port"):
            report.error((here, "named_port"), "a named port cannot be listened on; use port_value")
    _check_pipe(address, trail, report)


def _check_pipe(address: Any, trail: Trail, report: Report) -> None:
    if address.HasField("pipe") and len(address.pipe.path.encode()) >= PIPE_PATH_BYTES:
        text = f"the path of a unix socket must be shorter than {PIPE_PATH_BYTES} bytes"
        report.error(((trail, "pipe"), "path"), text)


def _check_listeners(listeners: Any, trail: Trail, clusters: set[str], report: Report) -> None:
    bound: dict[str, int] = {}
    for index, listener in enumerate(listeners):
        here = (trail, index)
        _check_listener_address(listener, here, bound, index, report)
        if not listener.filter_chains and not listener.HasField("default_filter_chain"):
            report.absent(here, ["filter_chains", "default_filter_chain"], "no filter chain: a listener needs filter_chains")
        for number, chain in enumerate(listener.filter_chains):
            _check_chain(chain, ((here, "filter_chains"), number), clusters, report)
        if listener.HasField("default_filter_chain"):
            _check_chain(listener.default_filter_chain, (here, "default_filter_chain"), clusters, report)


def _check_listener_address(listener: Any, trail: Trail, bound: dict[str, int], index: int, report: Report) -> None:
    if listener.address.WhichOneof("address") is None:
        report.absent(trail, ["address"], "a listener needs an address")
        return
    check_bind_address(listener.address, (trail, "address"), report)
    key = address_key(listener.address)
    if key in bound:
        first = report.places.at("static_resources", "listeners", bound[key], "address")
        report.error((trail, "address"), f"duplicate address {key}, the first listener on it is at {first}")
    bound.setdefault(key, index)


def address_key(address: Any) -> str:
    """An address as text: equal for two addresses that cannot both be bound."""
    if address.HasField("pipe"):
        return str(address.pipe.path)
    socket_address = address.socket_address
    return f"{socket_address.address}:{socket_address.port_value}"


def _check_chain(chain: Any, trail: Trail, clusters: set[str], report: Report) -> None:
    last = len(chain.filters) - 1
    for index, network_filter in enumerate(chain.filters):
        here = ((trail, "filters"), index)
        type_name = type_of_url(network_filter.typed_config.type_url)
        if _is_network_filter(network_filter, type_name, here, report):
            _check_order(network_filter.name, type_name, index == last, here, report)
        if type_name == _NETWORK + "tcp_proxy.v3.TcpProxy":
            _check_tcp_proxy(unpack(network_filter.typed_config), (here, "typed_config"), clusters, report)


def _is_network_filter(network_filter: Any, type_name: str, trail: Trail, report: Report) -> bool:
    if network_filter.HasField("config_discovery"):
        return False
    if not type_name:
        text = f"filter {network_filter.name!r} has no typed_config with an '@type': the name alone chooses nothing"
        report.absent(trail, ["typed_config"], text)
        return False
    if not type_name.startswith(_NETWORK) and type_name.startswith("envoy."):
        report.error(((trail, "typed_config"), "@type"), f"{type_name} is no network filter")
        return False
    return True


def _check_order(name: str, type_name: str, is_last: bool, trail: Trail, report: Report) -> None:
    if not type_name.startswith(_NETWORK):
        return
    if type_name in TERMINAL and not is_last:
        report.error(trail, f"terminal filter named {name} of type {type_name} must be the last of its chain")
    elif is_last and type_name not in TERMINAL:
        report.error(trail, f"non-terminal filter named {name} of type {type_name} is the last of its chain")


def _check_tcp_proxy(proxy: Any, trail: Trail, clusters: set[str], report: Report) -> None:
    if proxy is None:
        return
    if proxy.cluster and proxy.cluster not in clusters:
        _warn_undefined((trail, "cluster"), proxy.cluster, report)
    for index, weighted in enumerate(proxy.weighted_clusters.clusters):
        if weighted.name and weighted.name not in clusters:
            _warn_undefined(((((trail, "weighted_clusters"), "clusters"), index), "name"), weighted.name, report)


def _warn_undefined(trail: Trail, name: str, report: Report) -> None:
    report.warning(trail, f"no cluster is named {name!r}: every connection to it will be closed")
