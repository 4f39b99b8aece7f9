"""What to write in place of the fields that Envoy has deprecated.

Its schema says only that they are; the warning of one is worth more with what has come after it.
"""

from __future__ import annotations

from collections.abc import Mapping

DEPRECATED = "Envoy has deprecated this field"
"""The warning of a field that its schema calls so."""

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_HEADERS = "envoy.config.route.v3.HeaderMatcher"
_FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_VALIDATION = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext"
_POLICIES = "envoy.extensions.load_balancing_policies"

_DNS_CLUSTER = "use 'cluster_type' with envoy.extensions.clusters.dns.v3.DnsCluster"
_NAMES = "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig"
_RESOLVER = "use 'typed_dns_resolver_config'"
_HTTP = (
    "use 'typed_extension_protocol_options' with "
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)
_HASHING = "use 'consistent_hashing_lb_config'"
_RBAC = "envoy.config.rbac.v3"
_RE2 = "leave it out: RE2 is the only engine"

INSTEAD: Mapping[str, str] = {
    "envoy.config.bootstrap.v3.Admin.access_log_path": "use 'access_log'",
    "envoy.config.bootstrap.v3.Bootstrap.dns_resolution_config": _RESOLVER,
    "envoy.config.bootstrap.v3.Bootstrap.use_tcp_for_dns_lookups": _RESOLVER,
    "envoy.config.bootstrap.v3.Bootstrap.watchdog": "use 'watchdogs'",
    f"{_CLUSTER}.dns_refresh_rate": _DNS_CLUSTER,
    f"{_CLUSTER}.dns_failure_refresh_rate": _DNS_CLUSTER,
    f"{_CLUSTER}.respect_dns_ttl": _DNS_CLUSTER,
    f"{_CLUSTER}.dns_jitter": _DNS_CLUSTER,
    f"{_CLUSTER}.dns_resolution_config": _RESOLVER,
    f"{_CLUSTER}.dns_resolvers": _RESOLVER,
    f"{_CLUSTER}.use_tcp_for_dns_lookups": _RESOLVER,
    f"{_NAMES}.dns_resolution_config": _RESOLVER,
    f"{_NAMES}.use_tcp_for_dns_lookups": _RESOLVER,
    f"{_CLUSTER}.max_requests_per_connection": _HTTP,
    f"{_CLUSTER}.track_timeout_budgets": "use 'track_cluster_stats'",
    f"{_CLUSTER}.upstream_http_protocol_options": _HTTP,
    f"{_CLUSTER}.common_http_protocol_options": _HTTP,
    f"{_CLUSTER}.http_protocol_options": _HTTP,
    f"{_CLUSTER}.http2_protocol_options": _HTTP,
    f"{_CLUSTER}.protocol_selection": _HTTP,
    "envoy.config.core.v3.ConfigSource.path": "use 'path_config_source'",
    "envoy.config.core.v3.HealthCheck.event_log_path": "use 'event_logger'",
    "envoy.config.core.v3.HeaderValueOption.append": "use 'append_action'",
    "envoy.config.core.v3.Http1ProtocolOptions.use_balsa_parser": (
        "leave it out: there is one parser"
    ),
    "envoy.config.core.v3.Http2ProtocolOptions.stream_error_on_invalid_http_messaging": (
        "use 'override_stream_error_on_invalid_http_message'"
    ),
    "envoy.config.core.v3.SubstitutionFormatString.text_format": "use 'text_format_source'",
    "envoy.config.listener.v3.FilterChain.use_proxy_proto": (
        "use the listener filter envoy.filters.listener.proxy_protocol"
    ),
    "envoy.config.listener.v3.Listener.deprecated_v1": "use 'bind_to_port'",
    "envoy.config.listener.v3.Listener.reuse_port": "use 'enable_reuse_port'",
    f"{_RBAC}.Permission.metadata": "use 'sourced_metadata'",
    f"{_RBAC}.Principal.metadata": "use 'sourced_metadata'",
    f"{_RBAC}.Principal.source_ip": "use 'direct_remote_ip' or 'remote_ip'",
    f"{_HEADERS}.exact_match": "use 'string_match'",
    f"{_HEADERS}.safe_regex_match": "use 'string_match'",
    f"{_HEADERS}.prefix_match": "use 'string_match'",
    f"{_HEADERS}.suffix_match": "use 'string_match'",
    f"{_HEADERS}.contains_match": "use 'string_match'",
    f"{_FILE_LOG}.format": "use 'log_format' with 'text_format_source'",
    f"{_FILE_LOG}.json_format": "use 'log_format', which has a 'json_format'",
    f"{_FILE_LOG}.typed_json_format": "use 'log_format', which has a 'json_format'",
    f"{_TCP_PROXY}.access_log_flush_interval": "use 'access_log_options'",
    f"{_TCP_PROXY}.flush_access_log_on_connected": "use 'access_log_options'",
    f"{_POLICIES}.common.v3.LocalityLbConfig.ZoneAwareLbConfig.force_locality_direct_routing": (
        "use 'force_local_zone'"
    ),
    f"{_POLICIES}.least_request.v3.LeastRequest.enable_full_scan": "use 'selection_method'",
    f"{_POLICIES}.ring_hash.v3.RingHash.use_hostname_for_hashing": _HASHING,
    f"{_POLICIES}.ring_hash.v3.RingHash.hash_balance_factor": _HASHING,
    f"{_VALIDATION}.match_subject_alt_names": "use 'match_typed_subject_alt_names'",
    "envoy.type.matcher.v3.RegexMatcher.google_re2": _RE2,
    "envoy.type.matcher.v3.RegexMatcher.GoogleRE2.max_program_size": _RE2,
}
"""By full name, for each that tcpmesh knows."""
