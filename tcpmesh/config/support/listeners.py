"""The fields of a listener and its filter chains."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect, only

LISTENER: dict[str, Rows] = {
    "envoy.config.listener.v3.Listener": {
        "name": YES,
        "address": YES,
        "additional_addresses": YES,
        "stat_prefix": YES,
        "access_log": YES,
        "filter_chains": YES,
        "default_filter_chain": YES,
        "per_connection_buffer_limit_bytes": YES,
        "metadata": YES,
        "traffic_direction": no_effect(
            "read only by the admin command that drains inbound listeners, which is not "
            "supported yet"
        ),
        "enable_reuse_port": YES,
        "stats_matcher": YES,
        "tcp_backlog_size": YES,
        "ignore_global_conn_limit": YES,
        "max_connections_to_accept_per_socket_event": YES,
        "socket_options": YES,
        "listener_filters": YES,
        "listener_filters_timeout": YES,
        "continue_on_listener_filters_timeout": YES,
        "bind_to_port": YES,
        "deprecated_v1": YES,
        "use_original_dst": YES,
        "transparent": only(False),
        "freebind": only(False),
    },
    "envoy.config.listener.v3.AdditionalAddress": {"address": YES, "socket_options": YES},
    "envoy.config.listener.v3.Listener.DeprecatedV1": {"bind_to_port": YES},
    "envoy.config.listener.v3.ListenerFilter": {
        "name": YES,
        "typed_config": YES,
        "filter_disabled": YES,
    },
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate": {
        "or_match": YES,
        "and_match": YES,
        "not_match": YES,
        "any_match": YES,
        "destination_port_range": YES,
    },
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet": {"rules": YES},
    "envoy.type.v3.Int32Range": {"start": YES, "end": YES},
    "envoy.config.listener.v3.FilterChain": {
        "name": YES,
        "filter_chain_match": YES,
        "filters": YES,
        "use_proxy_proto": YES,
        "metadata": YES,
        "transport_socket": YES,
        "transport_socket_connect_timeout": YES,
    },
    "envoy.config.listener.v3.FilterChainMatch": {
        "destination_port": YES,
        "prefix_ranges": YES,
        "server_names": YES,
        "transport_protocol": YES,
        "application_protocols": YES,
        "direct_source_prefix_ranges": YES,
        "source_type": YES,
        "source_prefix_ranges": YES,
        "source_ports": YES,
    },
    "envoy.config.core.v3.CidrRange": {"address_prefix": YES, "prefix_len": YES},
    "envoy.config.listener.v3.Filter": {"name": YES, "typed_config": YES},
}
