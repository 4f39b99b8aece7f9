"""The fields of what calls gRPC servers, and of HTTP/2 to them."""

from __future__ import annotations

from tcpmesh.config.support.rows import HTTP, HTTP_COUNTED, YES, Rows, no_effect

CODEC = no_effect("a limit of Envoy's codec; tcpmesh has limits of its own")
XDS = no_effect("for streams of xDS, which tcpmesh does not have yet")

GRPC: dict[str, Rows] = {
    "envoy.config.core.v3.GrpcService": {
        "envoy_grpc": YES,
        "google_grpc": YES,
        "timeout": YES,
        "initial_metadata": YES,
        "retry_policy": XDS,
    },
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": {
        "cluster_name": YES,
        "authority": YES,
        "max_receive_message_length": YES,
        "skip_envoy_headers": YES,
        "retry_policy": XDS,
    },
    "envoy.config.core.v3.GrpcService.GoogleGrpc": {"target_uri": YES, "stat_prefix": YES},
    "envoy.config.core.v3.Http2ProtocolOptions": {
        "hpack_table_size": YES,
        "max_concurrent_streams": YES,
        "initial_stream_window_size": YES,
        "initial_connection_window_size": YES,
        "connection_keepalive": YES,
        "allow_connect": HTTP,
        "allow_metadata": HTTP,
        "max_outbound_frames": CODEC,
        "max_outbound_control_frames": CODEC,
        "max_consecutive_inbound_frames_with_empty_payload": CODEC,
        "max_inbound_priority_frames_per_stream": CODEC,
        "max_inbound_window_update_frames_per_data_frame_sent": CODEC,
        "stream_error_on_invalid_http_messaging": HTTP,
        "override_stream_error_on_invalid_http_message": HTTP,
        "use_oghttp2_codec": CODEC,
        "max_metadata_size": HTTP,
    },
    "envoy.config.core.v3.KeepaliveSettings": {
        "interval": YES,
        "timeout": YES,
        "interval_jitter": YES,
        "connection_idle_interval": YES,
    },
    "envoy.config.core.v3.Http1ProtocolOptions": {
        "allow_absolute_url": HTTP,
        "accept_http_10": HTTP,
        "default_host_for_http_10": HTTP,
        "header_key_format": YES,
        "enable_trailers": HTTP,
        "allow_chunked_length": no_effect(
            "an answer to CONNECT with both a length and chunks is refused"
        ),
        "override_stream_error_on_invalid_http_message": HTTP,
        "send_fully_qualified_url": HTTP,
        "use_balsa_parser": CODEC,
        "allow_custom_methods": CODEC,
        "ignore_http_11_upgrade": HTTP,
    },
    "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat": {"proper_case_words": YES},
    "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords": {},
    "envoy.config.core.v3.HttpProtocolOptions": {
        "idle_timeout": YES,
        "max_connection_duration": HTTP_COUNTED,
        "max_headers_count": YES,
        "max_response_headers_kb": YES,
        "max_stream_duration": HTTP,
        "headers_with_underscores_action": HTTP,
        "max_requests_per_connection": HTTP_COUNTED,
    },
}
