"""The fields of a cluster, its endpoints, its limits and how it connects."""

from __future__ import annotations

from tcpmesh.config.support.policies import SLOW_START, SUBSET, SUBSET_SELECTOR
from tcpmesh.config.support.rows import (
    HTTP,
    HTTP_ONLY,
    YES,
    Rows,
    default_only,
    no_effect,
    only,
)

CLUSTER: dict[str, Rows] = {
    "envoy.config.cluster.v3.Cluster": {
        "name": YES,
        "alt_stat_name": YES,
        "type": only("STATIC", "STRICT_DNS", "LOGICAL_DNS", "ORIGINAL_DST"),
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
        "original_dst_lb_config": YES,
        "cleanup_interval": YES,
        "load_assignment": YES,
        "health_checks": YES,
        "outlier_detection": YES,
        "close_connections_on_host_health_failure": YES,
        "ignore_health_on_host_removal": YES,
        "circuit_breakers": YES,
        "upstream_bind_config": YES,
        "upstream_connection_options": YES,
        "metadata": YES,
        "transport_socket": YES,
        "max_requests_per_connection": YES,
        "preconnect_policy": YES,
        "connection_pool_per_downstream_connection": YES,
        "upstream_config": default_only(
            "the generic pool of TCP, which Envoy takes unless told otherwise"
        ),
        "track_timeout_budgets": YES,
        "track_cluster_stats": YES,
        "upstream_http_protocol_options": HTTP,
        "common_http_protocol_options": YES,
        "http_protocol_options": HTTP,
        "http2_protocol_options": YES,
        "typed_extension_protocol_options": YES,
        "protocol_selection": HTTP,
    },
    "envoy.config.cluster.v3.Cluster.CustomClusterType": {
        "name": no_effect(
            "a label: the @type decides; without one envoy.cluster.original_dst may be named"
        ),
        "typed_config": YES,
    },
    "envoy.config.cluster.v3.Cluster.RefreshRate": {"base_interval": YES, "max_interval": YES},
    "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate": {
        "base_interval": YES,
        "max_interval": YES,
    },
    "envoy.config.core.v3.TypedExtensionConfig": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.core.v3.DnsResolutionConfig": {"resolvers": YES, "dns_resolver_options": YES},
    "envoy.config.core.v3.DnsResolverOptions": {
        "use_tcp_for_dns_lookups": YES,
        "no_default_search_domain": YES,
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment": {
        "cluster_name": YES,
        "endpoints": YES,
        "policy": YES,
    },
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": {
        "overprovisioning_factor": YES,
        "weighted_priority_health": YES,
        "drop_overloads": HTTP_ONLY,
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
        "close_connections_on_host_set_change": YES,
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
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig": SUBSET,
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector": SUBSET_SELECTOR,
    "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig": {
        "use_http_header": HTTP,
        "http_header_name": HTTP,
        "upstream_port_override": YES,
        "metadata_key": YES,
    },
    "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig": {"slow_start_config": YES},
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": {
        "choice_count": YES,
        "active_request_bias": YES,
        "slow_start_config": YES,
    },
    "envoy.config.cluster.v3.Cluster.SlowStartConfig": SLOW_START,
    "envoy.config.cluster.v3.LoadBalancingPolicy": {"policies": YES},
    "envoy.config.cluster.v3.LoadBalancingPolicy.Policy": {"typed_extension_config": YES},
    "envoy.config.cluster.v3.TrackClusterStats": {
        "timeout_budgets": YES,
        "request_response_sizes": YES,
        "per_endpoint_stats": YES,
    },
    "envoy.config.cluster.v3.Cluster.PreconnectPolicy": {
        "per_upstream_preconnect_ratio": YES,
        "predictive_preconnect_ratio": YES,
    },
    "envoy.config.cluster.v3.UpstreamConnectionOptions": {
        "tcp_keepalive": YES,
        "happy_eyeballs_config": YES,
        "set_local_interface_name_on_upstream_connections": no_effect(
            "no filter of TCP asks for the name"
        ),
    },
    "envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig": {
        "first_address_family_version": YES,
        "first_address_family_count": YES,
    },
    "envoy.config.core.v3.TcpKeepalive": {
        "keepalive_probes": YES,
        "keepalive_time": YES,
        "keepalive_interval": YES,
    },
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
        "type": YES,
    },
    "envoy.config.core.v3.SocketOption.SocketType": {"stream": YES, "datagram": YES},
    "envoy.config.core.v3.SocketOption.SocketType.Stream": {},
    "envoy.config.core.v3.SocketOption.SocketType.Datagram": {},
    "envoy.config.endpoint.v3.Endpoint.AdditionalAddress": {"address": YES},
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget": {
        "budget_percent": HTTP_ONLY,
        "min_retry_concurrency": HTTP_ONLY,
    },
    "envoy.config.cluster.v3.CircuitBreakers": {"thresholds": YES, "per_host_thresholds": YES},
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds": {
        "priority": YES,
        "max_connections": YES,
        "max_pending_requests": YES,
        "track_remaining": YES,
        "max_requests": no_effect(
            "limits HTTP requests; of TCP, rq_open and remaining_rq show the number, as in Envoy"
        ),
        "max_retries": HTTP_ONLY,
        "retry_budget": HTTP_ONLY,
        "max_connection_pools": no_effect(
            "limits the pools of HTTP; of TCP, remaining_cx_pools shows the number, as in Envoy"
        ),
    },
}
