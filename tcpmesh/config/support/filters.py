"""The fields of filters."""

from __future__ import annotations

from tcpmesh.config.support.rows import WHOLE, YES, Rows, no_effect

_RBAC = "envoy.config.rbac.v3"
_RBAC_EXTENSIONS = "envoy.extensions.rbac"
_MATCHER = "envoy.type.matcher.v3"

_REFUSED = no_effect("Envoy refuses it in a network filter")
_UNSENT = no_effect("Envoy's network filter does not send it either")
_HTTP = no_effect("only HTTP has it: it never holds, in Envoy too")

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": {
        "stat_prefix": YES,
        "max_connections": YES,
        "delay": YES,
        "runtime_enabled": YES,
    },
    "envoy.extensions.filters.network.direct_response.v3.Config": {"response": YES},
    "envoy.extensions.formatter.cel.v3.Cel": {},
    "envoy.extensions.formatter.metadata.v3.Metadata": {},
    "envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery": {},
    "envoy.extensions.filters.network.echo.v3.Echo": {},
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig": {
        "pack_trace_reason": no_effect("nothing is traced, which leaves the id as it is in Envoy"),
        "use_request_id_for_trace_sampling": no_effect("nothing is traced"),
    },
    "envoy.extensions.filters.network.set_filter_state.v3.Config": {
        "on_new_connection": YES,
        "on_downstream_tls_handshake": YES,
        "on_downstream_data": YES,
    },
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz": {
        "stat_prefix": YES,
        "grpc_service": YES,
        "failure_mode_allow": YES,
        "include_peer_certificate": YES,
        "transport_api_version": no_effect("there is only V3"),
        "filter_enabled_metadata": YES,
        "bootstrap_metadata_labels_key": YES,
        "include_tls_session": YES,
        "metadata_context_namespaces": YES,
        "shadow_mode": YES,
    },
    "envoy.extensions.filters.network.ratelimit.v3.RateLimit": {
        "stat_prefix": YES,
        "domain": YES,
        "descriptors": YES,
        "timeout": YES,
        "failure_mode_deny": YES,
        "rate_limit_service": YES,
    },
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit": {
        "stat_prefix": YES,
        "token_bucket": YES,
        "runtime_enabled": YES,
        "share_key": YES,
    },
    "envoy.extensions.filters.network.sni_cluster.v3.SniCluster": {},
    "envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig": {
        "dns_cache_config": YES,
        "port_value": YES,
        "save_upstream_address": no_effect("a label: nothing here reads it"),
    },
    "tcpmesh.extensions.filters.network.client_limit.v1.ClientLimit": {
        "stat_prefix": YES,
        "client": YES,
        "ipv4_prefix_len": YES,
        "ipv6_prefix_len": YES,
        "max_connections": YES,
        "new_connections": YES,
        "over_limit": YES,
        "max_wait": YES,
        "max_waiting": YES,
        "exempt": YES,
        "max_entries": YES,
        "share_key": YES,
        "shadow_mode": YES,
        "runtime_enabled": YES,
    },
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector": {},
    "envoy.extensions.filters.listener.local_ratelimit.v3.LocalRateLimit": {
        "stat_prefix": YES,
        "token_bucket": YES,
        "runtime_enabled": YES,
    },
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst": {},
    "envoy.extensions.filters.listener.original_src.v3.OriginalSrc": {
        "bind_port": no_effect("the kernel chooses the port, in Envoy too"),
        "mark": YES,
    },
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol": {
        "rules": YES,
        "allow_requests_without_proxy_protocol": YES,
        "disallowed_versions": YES,
        "stat_prefix": YES,
        "tlv_location": YES,
        "pass_through_tlvs": YES,
    },
    "envoy.extensions.filters.listener.set_filter_state.v3.Config": {"on_accept": YES},
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector": {
        "enable_ja3_fingerprinting": YES,
        "enable_ja4_fingerprinting": YES,
        "initial_read_buffer_size": YES,
        "max_client_hello_size": YES,
        "close_connection_on_client_hello_parsing_errors": YES,
    },
    "envoy.extensions.filters.network.tcp_bandwidth_limit.v3.TcpBandwidthLimit": {
        "stat_prefix": YES,
        "read_limit_kbps": YES,
        "write_limit_kbps": YES,
        "fill_interval": YES,
        "runtime_enabled": YES,
    },
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
        "access_log": YES,
        "access_log_options": YES,
        "access_log_flush_interval": YES,
        "flush_access_log_on_connected": YES,
        "proxy_protocol_tlvs": YES,
        "proxy_protocol_tlv_merge_policy": YES,
        "check_drain_close": YES,
        "tunneling_config": YES,
    },
    "envoy.extensions.filters.network.rbac.v3.RBAC": {
        "rules": YES,
        "matcher": YES,
        "shadow_rules": YES,
        "shadow_matcher": YES,
        "shadow_rules_stat_prefix": YES,
        "stat_prefix": YES,
        "enforcement_type": YES,
        "delay_deny": YES,
    },
    f"{_RBAC_EXTENSIONS}.principals.mtls_authenticated.v3.Config": {
        "san_matcher": YES,
        "any_validated_client_certificate": no_effect(
            "a certificate has to be validated in any case"
        ),
    },
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig": {
        "hostname": YES,
        "use_post": YES,
        "post_path": YES,
        "headers_to_add": YES,
        "propagate_response_headers": YES,
        "propagate_response_trailers": YES,
        "request_id_extension": YES,
        "request_id_header": YES,
        "request_id_metadata_key": YES,
        "formatters": YES,
    },
    "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension": {
        "typed_config": YES
    },
    "envoy.config.ratelimit.v3.RateLimitServiceConfig": {
        "grpc_service": YES,
        "transport_api_version": no_effect("there is only V3"),
    },
    "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor": {
        "entries": YES,
        "limit": _UNSENT,
        "hits_addend": _UNSENT,
        "is_negative_hits": _UNSENT,
    },
    "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry": {"key": YES, "value": YES},
    "envoy.config.core.v3.RuntimeFeatureFlag": {"default_value": YES, "runtime_key": YES},
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule": {
        "tlv_type": YES,
        "on_tlv_present": YES,
    },
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair": {
        "metadata_namespace": YES,
        "key": YES,
        "value_string_encoding": YES,
    },
    "envoy.type.v3.TokenBucket": {
        "max_tokens": YES,
        "tokens_per_fill": YES,
        "fill_interval": YES,
    },
    "envoy.config.core.v3.ProxyProtocolPassThroughTLVs": {"match_type": YES, "tlv_type": YES},
    "envoy.config.core.v3.TlvEntry": {"type": YES, "value": YES, "format_string": YES},
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue": {
        "object_key": YES,
        "factory_key": YES,
        "format_string": YES,
        "read_only": YES,
        "shared_with_upstream": YES,
        "skip_if_empty": YES,
    },
    "envoy.config.core.v3.SubstitutionFormatString": {
        "text_format": YES,
        "text_format_source": YES,
        "json_format": YES,
        "omit_empty_values": YES,
        "formatters": YES,
        "content_type": no_effect("of HTTP replies"),
        "json_format_options": no_effect("keys are sorted in any case"),
    },
    "envoy.config.core.v3.DataSource": {
        "filename": YES,
        "inline_bytes": YES,
        "inline_string": YES,
        "environment_variable": YES,
        "watched_directory": no_effect(
            "a file is read once, as in Envoy; those that secrets of discovery name are looked "
            "after in any case"
        ),
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster": {"clusters": YES},
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": {
        "name": YES,
        "weight": YES,
        "metadata_match": YES,
    },
    f"{_RBAC}.RBAC": {"action": YES, "policies": YES, "audit_logging_options": YES},
    f"{_RBAC}.RBAC.AuditLoggingOptions": {
        "audit_condition": no_effect("there are no loggers for it, nor in Envoy's stock build"),
    },
    f"{_RBAC}.Policy": {
        "permissions": YES,
        "principals": YES,
        "condition": WHOLE,
        "checked_condition": WHOLE,
        "cel_config": YES,
    },
    f"{_RBAC}.Permission": {
        "and_rules": YES,
        "or_rules": YES,
        "any": YES,
        "header": _REFUSED,
        "url_path": _HTTP,
        "destination_ip": YES,
        "destination_port": YES,
        "destination_port_range": YES,
        "metadata": YES,
        "not_rule": YES,
        "requested_server_name": YES,
        "matcher": no_effect("no connection has an upstream host yet: it never holds, as in Envoy"),
        "uri_template": _HTTP,
        "sourced_metadata": YES,
    },
    f"{_RBAC}.Permission.Set": {"rules": YES},
    f"{_RBAC}.Principal": {
        "and_ids": YES,
        "or_ids": YES,
        "any": YES,
        "authenticated": YES,
        "source_ip": YES,
        "direct_remote_ip": YES,
        "remote_ip": YES,
        "header": _REFUSED,
        "url_path": _HTTP,
        "metadata": YES,
        "filter_state": YES,
        "not_id": YES,
        "sourced_metadata": YES,
        "custom": YES,
    },
    f"{_RBAC}.Principal.Set": {"ids": YES},
    f"{_RBAC}.Principal.Authenticated": {"principal_name": YES},
    f"{_RBAC}.SourcedMetadata": {"metadata_matcher": YES, "metadata_source": YES},
    f"{_MATCHER}.FilterStateMatcher": {"key": YES, "string_match": YES, "address_match": YES},
    f"{_MATCHER}.AddressMatcher": {"ranges": YES},
}
