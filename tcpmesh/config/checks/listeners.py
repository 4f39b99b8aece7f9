"""Listeners and what a connection passes on its way: addresses, filter chains, the order of
filters, the TCP proxy.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from tcpmesh.config.fields.addresses import check_bind_address
from tcpmesh.config.fields.values import nanoseconds
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import extension_type, unpack
from tcpmesh.config.text.problems import FieldPath, path_of

_NETWORK = "envoy.extensions.filters.network."
_OWN = "tcpmesh.extensions.filters.network."
_LEAST_FILL = 50_000_000

#: Network filters that end a chain: they own the connection's bytes.
TERMINAL = frozenset(
    _NETWORK + name
    for name in (
        "direct_response.v3.Config",
        "dubbo_proxy.v3.DubboProxy",
        "echo.v3.Echo",
        "generic_proxy.v3.GenericProxy",
        "http_connection_manager.v3.HttpConnectionManager",
        "kafka_mesh.v3alpha.KafkaMesh",
        "redis_proxy.v3.RedisProxy",
        "reverse_tunnel.v3.DrainAwareHttpConnectionManager",
        "reverse_tunnel.v3.ReverseTunnel",
        "rocketmq_proxy.v3.RocketmqProxy",
        "sip_proxy.v3alpha.SipProxy",
        "tcp_proxy.v3.TcpProxy",
        "thrift_proxy.v3.ThriftProxy",
    )
)

#: Those that may end one, and the field that says whether they do.
_TERMINAL_FIELDS = {
    f"{_NETWORK}dynamic_modules.v3.DynamicModuleNetworkFilter": "terminal_filter",
    f"{_NETWORK}golang.v3alpha.Config": "is_terminal_filter",
}


def _check_listener(listener: Any, field_path: FieldPath, report: Report) -> None:
    if listener.HasField("api_listener"):
        return
    if not listener.HasField("internal_listener"):
        _check_addresses(listener, field_path, report)
    _check_chains(listener, field_path, report)


def _check_addresses(listener: Any, field_path: FieldPath, report: Report) -> None:
    if not listener.HasField("address"):
        report.absent(field_path, ["address"], "a listener needs an address")
    check_bind_address(listener.address, (field_path, "address"), report)
    for index, more in enumerate(listener.additional_addresses):
        place = ((field_path, "additional_addresses"), index)
        if not more.HasField("address"):
            report.absent(place, ["address"], "an additional address needs an address")
        check_bind_address(more.address, (place, "address"), report)
    if listener.address.HasField("envoy_internal_address"):
        text = "a listener in this process is declared by internal_listener, not by an address"
        report.error(((field_path, "address"), "envoy_internal_address"), text)
    _check_places(listener, field_path, report)


def _check_chains(listener: Any, field_path: FieldPath, report: Report) -> None:
    if _is_udp(listener):
        if listener.filter_chains:
            report.error(
                (field_path, "filter_chains"),
                "a UDP listener has no connections and so no filter chains",
            )
    elif not listener.filter_chains and not listener.HasField("default_filter_chain"):
        report.absent(
            field_path,
            ["filter_chains", "default_filter_chain"],
            "no filter chains specified: a listener needs filter_chains",
        )


def _check_places(listener: Any, field_path: FieldPath, report: Report) -> None:
    """Report addresses that the listener cannot have with its other fields."""
    places = [(listener.address, field_path)]
    for index, more in enumerate(listener.additional_addresses):
        places.append((more.address, ((field_path, "additional_addresses"), index)))
    for address, place in places:
        inet = address.socket_address
        if inet.ipv4_compat and not _takes_ipv4(inet.address):
            text = "only IPv6 address '::' or valid IPv4-mapped IPv6 address can set ipv4_compat"
            report.error(
                (((place, "address"), "socket_address"), "ipv4_compat"), f"{text}: {inet.address}"
            )
        if inet.protocol != listener.address.socket_address.protocol:
            report.error(
                (((place, "address"), "socket_address"), "protocol"),
                "has different socket type. The listener only support same socket type for all "
                "the addresses",
            )
        if listener.enable_mptcp and not address.HasField("socket_address"):
            text = "enable_mptcp can only be used with IP addresses"
            report.error((field_path, "enable_mptcp"), text)


def _takes_ipv4(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return True  # which is said elsewhere
    return ip.version == 6 and (ip.is_unspecified or ip.ipv4_mapped is not None)


def _check_namespace(address: Any, field_path: FieldPath, report: Report) -> None:
    """A network namespace is entered to listen there, and for nothing else yet."""
    path = path_of(field_path)
    if not address.network_namespace_filepath or path[0] == "admin" or "listeners" in path:
        return
    if "load_assignment" in path:
        text = "hosts cannot specify network namespaces with their address"
    else:
        text = "Envoy enters a network namespace here, tcpmesh does so only to listen"
    report.error((field_path, "network_namespace_filepath"), text)


def _is_udp(listener: Any) -> bool:
    address = listener.address.socket_address
    return bool(address.protocol == type(address).UDP)


def _check_chain(chain: Any, field_path: FieldPath, report: Report) -> None:
    last = len(chain.filters) - 1
    for index, network_filter in enumerate(chain.filters):
        type_name = extension_type(network_filter.typed_config)
        if type_name.startswith((_NETWORK, _OWN)):
            _check_order(network_filter, index == last, ((field_path, "filters"), index), report)


def _check_order(network_filter: Any, is_last: bool, field_path: FieldPath, report: Report) -> None:
    name, type_name = network_filter.name, extension_type(network_filter.typed_config)
    is_terminal = _is_terminal(type_name, network_filter.typed_config)
    if is_terminal and not is_last:
        report.error(
            field_path,
            f"terminal filter named {name} of type {type_name} must be the last of its chain",
        )
    elif is_last and not is_terminal:
        report.error(
            field_path,
            f"non-terminal filter named {name} of type {type_name} is the last of its chain",
        )


def _is_terminal(type_name: str, typed_config: Any) -> bool:
    says_so = _TERMINAL_FIELDS.get(type_name)
    if says_so is None:
        return type_name in TERMINAL
    return bool(getattr(unpack(typed_config), says_so, False))


def _check_tcp_proxy(proxy: Any, field_path: FieldPath, report: Report) -> None:
    if proxy.cluster:
        _check_cluster_exists(proxy.cluster, (field_path, "cluster"), report)
    for index, weighted in enumerate(proxy.weighted_clusters.clusters):
        _check_cluster_exists(
            weighted.name,
            ((((field_path, "weighted_clusters"), "clusters"), index), "name"),
            report,
        )
    options = proxy.backoff_options
    if options.HasField("max_interval") and nanoseconds(options.max_interval) < nanoseconds(
        options.base_interval
    ):
        report.error(
            ((field_path, "backoff_options"), "max_interval"),
            "max_interval must not be below base_interval",
        )
    if proxy.upstream_connect_mode and not proxy.HasField("max_early_data_bytes"):
        text = "max_early_data_bytes must be set where upstream_connect_mode is not IMMEDIATE"
        report.error((field_path, "upstream_connect_mode"), text)


def _check_cluster_exists(name: str, field_path: FieldPath, report: Report) -> None:
    """Envoy accepts a cluster that nobody defines and closes each connection; discovery may still
    bring the cluster.
    """
    if name and name not in report.cluster_names and not report.has_cluster_discovery:
        report.warning(
            field_path,
            f"no cluster is named {name!r}: every connection for it will be closed",
            report.near_cluster(name),
        )


def _check_proxy_protocol(config: Any, field_path: FieldPath, report: Report) -> None:
    if {0, 1} <= set(config.disallowed_versions):
        report.error(
            (field_path, "disallowed_versions"), "all versions of the PROXY protocol are disallowed"
        )


def _check_local_ratelimit(limit: Any, field_path: FieldPath, report: Report) -> None:
    bucket = limit.token_bucket
    if 0 < nanoseconds(bucket.fill_interval) < _LEAST_FILL:
        text = "the fill_interval of a local rate limit is 50 ms at least"
        report.error(((field_path, "token_bucket"), "fill_interval"), text)


def _check_tlv(entry: Any, field_path: FieldPath, report: Report) -> None:
    is_formatted = entry.HasField("format_string")
    if entry.value and is_formatted:
        text = "an extension has either a value or a format_string"
        report.error((field_path, "format_string"), text)
    elif not entry.value and not is_formatted:
        text = "an extension needs a value of one byte at least, or a format_string"
        report.absent(field_path, ["value", "format_string"], text)


CHECKS = {
    "envoy.config.core.v3.TlvEntry": _check_tlv,
    "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit": _check_local_ratelimit,
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit": _check_local_ratelimit,
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol": _check_proxy_protocol,
    "envoy.config.listener.v3.Listener": _check_listener,
    "envoy.config.core.v3.SocketAddress": _check_namespace,
    "envoy.config.listener.v3.FilterChain": _check_chain,
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": _check_tcp_proxy,
}
