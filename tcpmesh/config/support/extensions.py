"""The fields of all other extensions: clusters, resolvers, transport sockets and sinks."""

from __future__ import annotations

from tcpmesh.config.support.rows import (
    HTTP,
    WHOLE,
    YES,
    Rows,
    no_effect,
    refused,
)

_NAMES = "envoy.extensions.common.dynamic_forward_proxy.v3."
SOCKETS = no_effect("limits how long a socket is shared by questions; each has its own here")

_MONITORS = "envoy.extensions.resource_monitors."
_OVERLOAD = "envoy.config.overload.v3."
_SCALE = no_effect("every timer is in milliseconds already")
_DATAGRAMS: Rows = {"address": WHOLE, "prefix": YES, "max_bytes_per_datagram": YES}

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer": {},
    "envoy.extensions.transport_sockets.tcp_stats.v3.Config": {
        "transport_socket": YES,
        "update_period": YES,
    },
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport": {
        "config": YES,
        "transport_socket": YES,
        "allow_unspecified_address": YES,
        "tlv_as_pool_key": YES,
    },
    "envoy.extensions.bootstrap.internal_listener.v3.InternalListener": {"buffer_size_kb": YES},
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport": {
        "passthrough_metadata": YES,
        "transport_socket": YES,
    },
    "envoy.extensions.upstreams.tcp.generic.v3.GenericConnectionPoolProto": {},
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink": {
        "event_log_path": YES
    },
    "envoy.config.metrics.v3.StatsdSink": {
        "address": WHOLE,
        "tcp_cluster_name": YES,
        "prefix": YES,
        "scale_histogram_units_to_milliseconds": _SCALE,
    },
    "envoy.config.metrics.v3.DogStatsdSink": {
        **_DATAGRAMS,
        "scale_histogram_units_to_milliseconds": _SCALE,
    },
    "envoy.extensions.stat_sinks.graphite_statsd.v3.GraphiteStatsdSink": _DATAGRAMS,
    "envoy.extensions.clusters.aggregate.v3.ClusterConfig": {"clusters": YES},
    "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig": {
        "dns_cache_config": YES,
        "sub_clusters_config": refused(
            "it makes a cluster for each name, which only requests of HTTP can wait for: use "
            "dns_cache_config"
        ),
        "allow_insecure_cluster_options": HTTP,
        "allow_coalesced_connections": HTTP,
    },
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
        "udp_max_queries": SOCKETS,
        "max_udp_channel_duration": SOCKETS,
        "reinit_channel_on_timeout": SOCKETS,
    },
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig": {
        "num_retries": YES,
        "num_resolver_threads": no_effect("lookups run in the reactor's own pool of threads"),
    },
    f"{_MONITORS}fixed_heap.v3.FixedHeapConfig": {
        "max_heap_size_bytes": YES,
        "max_heap_size_bytes_runtime": YES,
    },
    f"{_MONITORS}cgroup_memory.v3.CgroupMemoryConfig": {"max_memory_bytes": YES},
    f"{_MONITORS}cpu_utilization.v3.CpuUtilizationConfig": {"mode": YES},
    f"{_MONITORS}downstream_connections.v3.DownstreamConnectionsConfig": {
        "max_active_downstream_connections": YES
    },
    f"{_MONITORS}injected_resource.v3.InjectedResourceConfig": {"filename": YES},
    f"{_OVERLOAD}ScaleTimersOverloadActionConfig": {"timer_scale_factors": YES},
    f"{_OVERLOAD}ShrinkHeapConfig": {
        "timer_interval": YES,
        "max_unfreed_memory_bytes": YES,
    },
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    f"{_NAMES}DnsCacheConfig": {
        "name": YES,
        "dns_lookup_family": YES,
        "dns_refresh_rate": YES,
        "dns_min_refresh_rate": YES,
        "host_ttl": YES,
        "max_hosts": YES,
        "disable_dns_refresh_on_failure": YES,
        "dns_failure_refresh_rate": YES,
        "dns_cache_circuit_breaker": YES,
        "use_tcp_for_dns_lookups": YES,
        "dns_resolution_config": YES,
        "typed_dns_resolver_config": YES,
        "preresolve_hostnames": YES,
        "dns_query_timeout": YES,
        "key_value_config": refused("names are looked up anew by a proxy that starts"),
    },
    f"{_NAMES}DnsCacheCircuitBreakers": {"max_pending_requests": YES},
    "envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"
    ".MetadataValueSource": {"kind": YES, "name": YES},
    "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions": {"idle_timeout": YES},
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "common_http_protocol_options": YES,
        "explicit_http_config": YES,
    },
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig": {
        "http_protocol_options": YES,
        "http2_protocol_options": YES,
    },
    "envoy.type.v3.HashPolicy": {"source_ip": YES, "filter_state": YES},
    "envoy.type.v3.HashPolicy.SourceIp": {},
    "envoy.type.v3.HashPolicy.FilterState": {"key": YES},
}
