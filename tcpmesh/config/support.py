"""What tcpmesh does with each field that Envoy knows: the one place that says so.

Envoy's schema is far larger than what tcpmesh acts on, and a field that is read and then forgotten is worse than an error: a limit
that limits nothing, an access list that lets everybody in.  So every message type in reach of the fields below has a row for each
field that may be set.  What has no row is refused, with its line, in the words "tcpmesh does not support it yet".

To support a field, give it a row here in the change that reads it; `docs/supported.md` is generated from these rows.

- `YES`: the field works as in Envoy.
- `only(...)`: these values work, as in Envoy; others are refused.
- `default_only(reason)`: may be written, but says nothing beyond the default: the rows of its own message type see to that.
- `no_effect(reason)`: accepted, and nothing happens, because nothing would for TCP in Envoy, or nothing that a connection notices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Support:
    """A row: how a field is treated; `values` are the only ones supported, where there are any."""

    level: str
    reason: str = ""
    values: tuple[str | int | bool, ...] = ()


#: The field works as in Envoy.
YES = Support("supported")


def only(*values: str | int | bool) -> Support:
    """These values work as in Envoy; the names of enum values, or plain values (also of a wrapper such as BoolValue)."""
    return Support("supported", values=values)


def default_only(reason: str) -> Support:
    """The field may be set to what it is when it is not set, and nothing reads it."""
    return Support("default only", reason)


def no_effect(reason: str) -> Support:
    """The field is accepted and nothing reads it."""
    return Support("no effect", reason)


Rows = Mapping[str, Support]

_HTTP = no_effect("for HTTP; Envoy does not use it for TCP")
_HTTP2 = no_effect("for HTTP; that it is there is what Envoy demands for gRPC health checks")
_HTTP_ONLY = no_effect("counts HTTP requests; Envoy does not use it for TCP")
_SOCKETS = no_effect("limits how long a socket is shared by questions; each has its own here")
_NO_RUNTIME = no_effect("tcpmesh has no runtime values yet, so the default counts")
_LABEL = no_effect("a label: only filters, matchers and load balancers that are not supported yet read it")

_BOOTSTRAP: dict[str, Rows] = {
    "envoy.config.bootstrap.v3.Bootstrap": {
        "node": YES,
        "static_resources": YES,
        "cluster_manager": YES,
        "stats_flush_interval": YES,
        "typed_dns_resolver_config": YES,
        "dns_resolution_config": YES,
        "use_tcp_for_dns_lookups": YES,
        "admin": YES,
    },
    "envoy.config.bootstrap.v3.ClusterManager": {
        "upstream_bind_config": YES,
        "local_cluster_name": YES,
        "outlier_detection": YES,
    },
    "envoy.config.bootstrap.v3.ClusterManager.OutlierDetection": {"event_log_path": YES},
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": {
        "listeners": YES,
        "clusters": YES,
    },
    "envoy.config.bootstrap.v3.Admin": {
        "address": YES,
        "access_log_path": only("/dev/null"),
        "profile_path": no_effect("a file that only a CPU profiler would write, and there is none"),
    },
    "envoy.config.core.v3.Node": {
        "id": YES,
        "cluster": YES,
        "metadata": YES,
        "locality": YES,
    },
}

_CORE: dict[str, Rows] = {
    "envoy.config.core.v3.Locality": {"region": YES, "zone": YES, "sub_zone": YES},
    "envoy.config.core.v3.Address": {"socket_address": YES, "pipe": YES},
    "envoy.config.core.v3.SocketAddress": {
        "protocol": only("TCP"),
        "address": YES,
        "port_value": YES,
    },
    "envoy.config.core.v3.Metadata": {
        "filter_metadata": YES,
        "typed_filter_metadata": no_effect("a label: nothing reads metadata of a type"),
    },
    "envoy.config.core.v3.Pipe": {"path": YES, "mode": YES},
    "envoy.config.core.v3.BackoffStrategy": {"base_interval": YES, "max_interval": YES},
    "envoy.config.core.v3.TransportSocket": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.core.v3.RuntimeDouble": {"default_value": YES, "runtime_key": _NO_RUNTIME},
    "envoy.type.v3.Percent": {"value": YES},
}

_LISTENER: dict[str, Rows] = {
    "envoy.config.listener.v3.Listener": {
        "name": YES,
        "address": YES,
        "stat_prefix": YES,
        "filter_chains": YES,
        "default_filter_chain": YES,
        "per_connection_buffer_limit_bytes": YES,
        "metadata": _LABEL,
        "traffic_direction": no_effect("read only by the admin command that drains inbound listeners, which is not supported yet"),
        "enable_reuse_port": YES,
        "tcp_backlog_size": YES,
        "max_connections_to_accept_per_socket_event": YES,
        "socket_options": YES,
        "bind_to_port": only(True),
        "use_original_dst": only(False),
        "transparent": only(False),
        "freebind": only(False),
    },
    "envoy.config.listener.v3.FilterChain": {
        "name": YES,
        "filter_chain_match": default_only("an empty one, which matches all connections"),
        "filters": YES,
        "metadata": _LABEL,
        "transport_socket": default_only("raw_buffer, plain TCP"),
    },
    "envoy.config.listener.v3.FilterChainMatch": {},
    "envoy.config.listener.v3.Filter": {"name": YES, "typed_config": YES},
}

_SUBSET = {
    "fallback_policy": YES,
    "default_subset": YES,
    "subset_selectors": YES,
    "locality_weight_aware": YES,
    "scale_locality_weight": YES,
    "panic_mode_any": YES,
    "list_as_any": YES,
    "metadata_fallback_policy": YES,
}
_SUBSET_SELECTOR = {
    "keys": YES,
    "single_host_per_subset": YES,
    "fallback_policy": YES,
    "fallback_keys_subset": YES,
}
_SLOW_START = {"slow_start_window": YES, "aggression": YES, "min_weight_percent": YES}

_CLUSTER: dict[str, Rows] = {
    "envoy.config.cluster.v3.Cluster": {
        "name": YES,
        "alt_stat_name": YES,
        "type": only("STATIC", "STRICT_DNS", "LOGICAL_DNS"),
        "cluster_type": YES,
        "dns_refresh_rate": YES,
        "dns_failure_refresh_rate": YES,
        "respect_dns_ttl": YES,
        "dns_jitter": YES,
        "dns_lookup_family": YES,
        "typed_dns_resolver_config": YES,
        "dns_resolution_config": YES,
        "dns_resolvers": YES,
        "use_tcp_for_dns_lookups": YES,
        "wait_for_warm_on_init": YES,
        "connect_timeout": YES,
        "per_connection_buffer_limit_bytes": YES,
        "lb_policy": only(
            "ROUND_ROBIN",
            "LEAST_REQUEST",
            "RANDOM",
            "RING_HASH",
            "MAGLEV",
            "CLUSTER_PROVIDED",
            "LOAD_BALANCING_POLICY_CONFIG",
        ),
        "load_balancing_policy": YES,
        "common_lb_config": YES,
        "lb_subset_config": YES,
        "ring_hash_lb_config": YES,
        "maglev_lb_config": YES,
        "round_robin_lb_config": YES,
        "least_request_lb_config": YES,
        "load_assignment": YES,
        "health_checks": YES,
        "outlier_detection": YES,
        "close_connections_on_host_health_failure": YES,
        "ignore_health_on_host_removal": YES,
        "circuit_breakers": YES,
        "upstream_bind_config": YES,
        "upstream_connection_options": YES,
        "metadata": _LABEL,
        "transport_socket": default_only("raw_buffer, plain TCP"),
        "max_requests_per_connection": _HTTP_ONLY,
        "common_http_protocol_options": _HTTP,
        "http_protocol_options": _HTTP,
        "http2_protocol_options": _HTTP2,
        "typed_extension_protocol_options": default_only("explicit_http_config, which gRPC health checks demand"),
        "protocol_selection": _HTTP,
    },
    "envoy.config.cluster.v3.Cluster.CustomClusterType": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.cluster.v3.Cluster.RefreshRate": {"base_interval": YES, "max_interval": YES},
    "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate": {"base_interval": YES, "max_interval": YES},
    "envoy.config.core.v3.TypedExtensionConfig": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.core.v3.DnsResolutionConfig": {"resolvers": YES, "dns_resolver_options": YES},
    "envoy.config.core.v3.DnsResolverOptions": {"use_tcp_for_dns_lookups": YES, "no_default_search_domain": YES},
    "envoy.config.endpoint.v3.ClusterLoadAssignment": {
        "cluster_name": YES,
        "endpoints": YES,
        "policy": YES,
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": {
        "overprovisioning_factor": YES,
        "weighted_priority_health": YES,
        "drop_overloads": _HTTP_ONLY,
    },
    "envoy.config.endpoint.v3.LocalityLbEndpoints": {
        "locality": YES,
        "lb_endpoints": YES,
        "load_balancing_weight": YES,
        "priority": YES,
    },
    "envoy.config.endpoint.v3.LbEndpoint": {
        "endpoint": YES,
        "health_status": YES,
        "load_balancing_weight": YES,
        "metadata": YES,
    },
    "envoy.config.endpoint.v3.Endpoint": {
        "address": YES,
        "hostname": YES,
        "additional_addresses": YES,
        "health_check_config": YES,
    },
    "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig": {
        "port_value": YES,
        "hostname": YES,
        "address": YES,
        "disable_active_health_check": YES,
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig": {
        "healthy_panic_threshold": YES,
        "zone_aware_lb_config": YES,
        "locality_weighted_lb_config": YES,
        "update_merge_window": YES,
        "ignore_new_hosts_until_first_hc": YES,
        "consistent_hashing_lb_config": YES,
        "override_host_status": no_effect("for hosts named by an HTTP header or cookie"),
        "close_connections_on_host_set_change": no_effect(
            "closes connections that wait in a pool; those in use stay, in Envoy too"
        ),
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig": {
        "routing_enabled": YES,
        "min_cluster_size": YES,
        "fail_traffic_on_panic": YES,
    },
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig": {},
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig": {
        "use_hostname_for_hashing": YES,
        "hash_balance_factor": YES,
    },
    "envoy.config.cluster.v3.Cluster.RingHashLbConfig": {
        "minimum_ring_size": YES,
        "maximum_ring_size": YES,
        "hash_function": YES,
    },
    "envoy.config.cluster.v3.Cluster.MaglevLbConfig": {"table_size": YES},
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig": _SUBSET,
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector": _SUBSET_SELECTOR,
    "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig": {"slow_start_config": YES},
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": {
        "choice_count": YES,
        "active_request_bias": YES,
        "slow_start_config": YES,
    },
    "envoy.config.cluster.v3.Cluster.SlowStartConfig": _SLOW_START,
    "envoy.config.cluster.v3.LoadBalancingPolicy": {"policies": YES},
    "envoy.config.cluster.v3.LoadBalancingPolicy.Policy": {"typed_extension_config": YES},
    "envoy.config.cluster.v3.UpstreamConnectionOptions": {"tcp_keepalive": YES, "happy_eyeballs_config": YES},
    "envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig": {
        "first_address_family_version": YES,
        "first_address_family_count": YES,
    },
    "envoy.config.core.v3.TcpKeepalive": {"keepalive_probes": YES, "keepalive_time": YES, "keepalive_interval": YES},
    "envoy.config.core.v3.BindConfig": {
        "source_address": YES,
        "freebind": YES,
        "socket_options": YES,
        "extra_source_addresses": YES,
    },
    "envoy.config.core.v3.ExtraSourceAddress": {"address": YES, "socket_options": YES},
    "envoy.config.core.v3.SocketOptionsOverride": {"socket_options": YES},
    "envoy.config.core.v3.SocketOption": {
        "description": no_effect("a comment"),
        "level": YES,
        "name": YES,
        "int_value": YES,
        "buf_value": YES,
        "state": YES,
    },
    "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": {"address": YES},
    "envoy.config.cluster.v3.CircuitBreakers": {"thresholds": YES, "per_host_thresholds": YES},
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": {
        "priority": YES,
        "max_connections": YES,
        "max_pending_requests": YES,
        "track_remaining": YES,
        "max_requests": _HTTP_ONLY,
        "max_retries": _HTTP_ONLY,
    },
}

_HEALTH: dict[str, Rows] = {
    "envoy.config.core.v3.HealthCheck": {
        "timeout": YES,
        "interval": YES,
        "initial_jitter": YES,
        "interval_jitter": YES,
        "interval_jitter_percent": YES,
        "unhealthy_threshold": YES,
        "healthy_threshold": YES,
        "alt_port": no_effect("Envoy 1.40 does not act on it either: the health_check_config of an endpoint has a port"),
        "reuse_connection": YES,
        "http_health_check": YES,
        "tcp_health_check": YES,
        "grpc_health_check": YES,
        "no_traffic_interval": YES,
        "no_traffic_healthy_interval": YES,
        "unhealthy_interval": YES,
        "unhealthy_edge_interval": YES,
        "healthy_edge_interval": YES,
        "event_log_path": YES,
        "event_logger": YES,
        "always_log_health_check_failures": YES,
        "always_log_health_check_success": YES,
    },
    "envoy.config.core.v3.HealthCheck.Payload": {"text": YES},
    "envoy.config.core.v3.HealthCheck.TcpHealthCheck": {"send": YES, "receive": YES, "proxy_protocol_config": YES},
    "envoy.config.core.v3.ProxyProtocolConfig": {"version": YES},
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck": {
        "host": YES,
        "path": YES,
        "send": YES,
        "receive": YES,
        "response_buffer_size": YES,
        "request_headers_to_add": YES,
        "request_headers_to_remove": YES,
        "expected_statuses": YES,
        "retriable_statuses": YES,
        "codec_client_type": only("HTTP1"),
        "service_name_matcher": YES,
        "method": YES,
    },
    "envoy.config.core.v3.HealthCheck.GrpcHealthCheck": {"service_name": YES, "authority": YES, "initial_metadata": YES},
    "envoy.config.core.v3.HeaderValueOption": {"header": YES, "append_action": YES, "keep_empty_value": YES},
    "envoy.config.core.v3.HeaderValue": {"key": YES, "value": YES},
    "envoy.type.v3.Int64Range": {"start": YES, "end": YES},
    "envoy.type.matcher.v3.StringMatcher": {"exact": YES, "prefix": YES, "suffix": YES, "contains": YES, "ignore_case": YES},
    "envoy.config.cluster.v3.OutlierDetection": {
        "consecutive_5xx": YES,
        "interval": YES,
        "base_ejection_time": YES,
        "max_ejection_percent": YES,
        "enforcing_consecutive_5xx": YES,
        "enforcing_success_rate": YES,
        "success_rate_minimum_hosts": YES,
        "success_rate_request_volume": YES,
        "success_rate_stdev_factor": YES,
        "consecutive_gateway_failure": YES,
        "enforcing_consecutive_gateway_failure": YES,
        "split_external_local_origin_errors": YES,
        "consecutive_local_origin_failure": YES,
        "enforcing_consecutive_local_origin_failure": YES,
        "enforcing_local_origin_success_rate": YES,
        "failure_percentage_threshold": YES,
        "enforcing_failure_percentage": YES,
        "enforcing_failure_percentage_local_origin": YES,
        "failure_percentage_minimum_hosts": YES,
        "failure_percentage_request_volume": YES,
        "max_ejection_time": YES,
        "max_ejection_time_jitter": YES,
        "successful_active_health_check_uneject_host": YES,
        "always_eject_one_host": YES,
    },
}

#: What an `@type` may name: each extension with its fields.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy": {
        "stat_prefix": YES,
        "cluster": YES,
        "weighted_clusters": YES,
        "idle_timeout": YES,
        "max_connect_attempts": YES,
        "metadata_match": YES,
        "hash_policy": YES,
        "upstream_connect_mode": YES,
        "max_early_data_bytes": YES,
        "backoff_options": YES,
        "max_downstream_connection_duration": YES,
        "max_downstream_connection_duration_jitter_percentage": YES,
    },
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin": {"slow_start_config": YES, "locality_lb_config": YES},
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest": {
        "choice_count": YES,
        "active_request_bias": YES,
        "slow_start_config": YES,
        "locality_lb_config": YES,
        "enable_full_scan": YES,
        "selection_method": YES,
    },
    "envoy.extensions.load_balancing_policies.random.v3.Random": {"locality_lb_config": YES},
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash": {
        "hash_function": YES,
        "minimum_ring_size": YES,
        "maximum_ring_size": YES,
        "use_hostname_for_hashing": YES,
        "hash_balance_factor": YES,
        "consistent_hashing_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev": {
        "table_size": YES,
        "consistent_hashing_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.subset.v3.Subset": {
        **_SUBSET,
        "allow_redundant_keys": YES,
        "subset_lb_policy": YES,
    },
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost": {
        "override_host_sources": YES,
        "fallback_policy": YES,
    },
    "envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst": {"shuffle_address_list": YES},
    "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality": {"endpoint_picking_policy": YES},
    "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided": {},
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": {},
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": {"event_log_path": YES},
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": {"clusters": YES},
    "envoy.extensions.clusters.dns.v3.DnsCluster": {
        "dns_refresh_rate": YES,
        "dns_failure_refresh_rate": YES,
        "respect_dns_ttl": YES,
        "dns_jitter": YES,
        "typed_dns_resolver_config": YES,
        "dns_lookup_family": YES,
        "all_addresses_in_single_endpoint": YES,
    },
    "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig": {
        "resolvers": YES,
        "use_resolvers_as_fallback": YES,
        "dns_resolver_options": YES,
        "query_timeout_seconds": YES,
        "query_tries": YES,
        "rotate_nameservers": YES,
        "edns0_max_payload_size": YES,
        "udp_max_queries": _SOCKETS,
        "max_udp_channel_duration": _SOCKETS,
        "reinit_channel_on_timeout": _SOCKETS,
    },
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig": {
        "num_retries": YES,
        "num_resolver_threads": no_effect("lookups run in the reactor's own pool of threads"),
    },
}

_EXTENSION_PARTS: dict[str, Rows] = {
    "envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector": _SUBSET_SELECTOR,
    "envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost.OverrideHostSource": {
        "header": no_effect("a TCP connection has no headers"),
        "metadata": YES,
    },
    "envoy.type.metadata.v3.MetadataKey": {"key": YES, "path": YES},
    "envoy.type.metadata.v3.MetadataKey.PathSegment": {"key": YES},
    "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig": {
        "use_hostname_for_hashing": YES,
        "hash_balance_factor": YES,
    },
    "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig": _SLOW_START,
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig": {
        "zone_aware_lb_config": YES,
        "locality_weighted_lb_config": YES,
    },
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig": {
        "routing_enabled": YES,
        "min_cluster_size": YES,
        "fail_traffic_on_panic": YES,
        "force_locality_direct_routing": YES,
        "force_local_zone": YES,
        "locality_basis": YES,
    },
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone": {"min_size": YES},
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig": {},
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster": {"clusters": YES},
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": {
        "name": YES,
        "weight": YES,
        "metadata_match": YES,
    },
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "common_http_protocol_options": _HTTP,
        "explicit_http_config": default_only("HTTP/1.1, or HTTP/2 for gRPC health checks"),
    },
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": {
        "http_protocol_options": _HTTP,
        "http2_protocol_options": _HTTP2,
    },
    "envoy.type.v3.HashPolicy": {"source_ip": YES},
    "envoy.type.v3.HashPolicy.SourceIp": {},
}

#: Every message type that may be set, with its fields.
TABLE: Mapping[str, Rows] = {**_BOOTSTRAP, **_CORE, **_LISTENER, **_CLUSTER, **_HEALTH, **EXTENSIONS, **_EXTENSION_PARTS}


def as_written(value: object) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
