"""What `--allow-unsupported` leaves an error: what may be ignored is only what protects nobody.

With that switch a configuration runs although parts of it are not acted on.  Then nothing may pass
in plain text that was meant to be encrypted, reach a host or come from a client that the
configuration shuts out, or be served in a way that was not asked for. So these stay errors: every
part that encrypts, filters, authenticates or selects traffic, and every extension or value that
stands for code which is not there, for nothing could run in its place.
"""

from __future__ import annotations

#: Message types of which every field counts: what encrypts, what filters, what matches.
_PACKAGES = (
    "envoy.config.listener.v3.FilterChainMatch",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate",
    "envoy.config.rbac.",
    "envoy.extensions.common.",
    "envoy.extensions.filters.",
    "envoy.extensions.transport_sockets.",
    "envoy.type.matcher.",
    "xds.",
)

#: Types from those packages whose fields only say how to serve those who were let in; what guards
#: in them is in `_FIELDS`.
_SERVING = (
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
)

_FIELDS = frozenset(
    {
        "envoy.config.bootstrap.v3.Admin.allow_paths",
        "envoy.config.cluster.v3.Cluster.filters",
        "envoy.config.cluster.v3.Cluster.lb_subset_config",
        "envoy.config.cluster.v3.Cluster.transport_socket",
        "envoy.config.cluster.v3.Cluster.transport_socket_matcher",
        "envoy.config.cluster.v3.Cluster.transport_socket_matches",
        "envoy.config.cluster.v3.Cluster.upstream_config",
        "envoy.config.core.v3.Address.envoy_internal_address",
        "envoy.config.core.v3.GrpcService.GoogleGrpc.call_credentials",
        "envoy.config.core.v3.GrpcService.GoogleGrpc.call_credentials_plugin",
        "envoy.config.core.v3.GrpcService.GoogleGrpc.channel_credentials",
        "envoy.config.core.v3.GrpcService.GoogleGrpc.channel_credentials_plugin",
        "envoy.config.core.v3.GrpcService.GoogleGrpc.credentials_factory_name",
        "envoy.config.core.v3.HealthCheck.tls_options",
        "envoy.config.core.v3.HealthCheck.transport_socket_match_criteria",
        "envoy.config.core.v3.SocketAddress.network_namespace_filepath",
        "envoy.config.listener.v3.Filter.config_discovery",
        "envoy.config.listener.v3.FilterChain.transport_socket",
        "envoy.config.listener.v3.FilterChain.use_proxy_proto",
        "envoy.config.listener.v3.Listener.api_listener",
        "envoy.config.listener.v3.Listener.filter_chain_matcher",
        "envoy.config.listener.v3.Listener.internal_listener",
        "envoy.config.listener.v3.Listener.listener_filters",
        "envoy.config.listener.v3.Listener.udp_listener_config",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.metadata_match",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.upstream_connect_mode",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight.metadata_match",
    }
)

#: Fields of which another value than the supported ones may be ignored.
_HARMLESS_VALUES = frozenset(
    {
        "envoy.config.cluster.v3.CircuitBreakers.Thresholds.priority",
    }
)


def guards_field(full_name: str) -> bool:
    """Whether a field, given with its message type, must not be ignored."""
    if full_name in _FIELDS:
        return True
    return full_name.startswith(_PACKAGES) and not full_name.startswith(_SERVING)


def guards_value(full_name: str) -> bool:
    """Whether a value of a field, given with its message type, must not be replaced by the
    default.
    """
    return full_name not in _HARMLESS_VALUES
