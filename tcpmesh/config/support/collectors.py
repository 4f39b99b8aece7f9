"""The fields of what sends to collectors: access logs, stats sinks, and what both of them ask."""

from __future__ import annotations

from tcpmesh.config.support.rows import HTTP, WHOLE, YES, Rows, no_effect

_V3 = no_effect("V3 is the only version there is")

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig": {"common_config": YES},
    "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig": {
        "common_config": YES,
        "additional_request_headers_to_log": HTTP,
        "additional_response_headers_to_log": HTTP,
        "additional_response_trailers_to_log": HTTP,
    },
    "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig": {
        "common_config": YES,
        "grpc_service": YES,
        "http_service": YES,
        "log_name": YES,
        "buffer_flush_interval": YES,
        "buffer_size_bytes": YES,
        "filter_state_objects_to_log": YES,
        "custom_tags": YES,
        "disable_builtin_labels": YES,
        "resource_attributes": WHOLE,
        "body": WHOLE,
        "attributes": WHOLE,
        "stat_prefix": YES,
        "formatters": YES,
    },
    "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig": {
        "cluster": YES,
        "tag": YES,
        "stat_prefix": YES,
        "buffer_flush_interval": YES,
        "buffer_size_bytes": YES,
        "record": YES,
        "retry_options": YES,
        "formatters": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config": {
        "stat_prefix": YES,
        "histograms": YES,
        "counters": YES,
        "gauges": YES,
    },
    "envoy.config.metrics.v3.MetricsServiceConfig": {
        "grpc_service": YES,
        "transport_api_version": _V3,
        "report_counters_as_deltas": YES,
        "emit_tags_as_labels": YES,
        "histogram_emit_mode": YES,
        "batch_size": YES,
    },
    "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig": {
        "grpc_service": YES,
        "http_service": YES,
        "report_counters_as_deltas": YES,
        "report_histograms_as_deltas": YES,
        "emit_tags_as_attributes": YES,
        "use_tag_extracted_name": YES,
        "prefix": YES,
        "max_data_points_per_request": YES,
    },
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    "envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig": {
        "log_name": YES,
        "grpc_service": YES,
        "transport_api_version": _V3,
        "buffer_flush_interval": YES,
        "buffer_size_bytes": YES,
        "filter_state_objects_to_log": YES,
        "grpc_stream_retry_policy": YES,
        "custom_tags": YES,
    },
    "envoy.extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig.RetryOptions": {
        "max_connect_attempts": YES,
        "backoff_options": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config.Histogram": {
        "stat": YES,
        "unit": YES,
        "value_format": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config.Counter": {
        "stat": YES,
        "value_format": YES,
        "value_fixed": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config.Gauge": {
        "stat": YES,
        "value_format": YES,
        "value_fixed": YES,
        "add_subtract": YES,
        "set": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config.Gauge.PairedAddSubtract": {
        "add_log_type": YES,
        "sub_log_type": YES,
    },
    "envoy.extensions.access_loggers.stats.v3.Config.Gauge.Set": {"log_type": YES},
    "envoy.extensions.access_loggers.stats.v3.Config.Stat": {"name": YES, "tags": YES},
    "envoy.extensions.access_loggers.stats.v3.Config.Tag": {"name": YES, "value_format": YES},
    "envoy.config.core.v3.RetryPolicy": {
        "num_retries": YES,
        "retry_back_off": YES,
        "retry_on": no_effect("a stream is begun anew where it could not be made, as in Envoy"),
        "retry_priority": no_effect("the host is picked anew, by the usual priorities"),
        "retry_host_predicate": no_effect("the host is picked anew, whichever it was"),
        "host_selection_retry_max_attempts": no_effect("the host is picked anew"),
    },
    "envoy.config.core.v3.BackoffStrategy": {"base_interval": YES, "max_interval": YES},
    "envoy.config.core.v3.HttpService": {
        "http_uri": YES,
        "request_headers_to_add": YES,
        "formatters": YES,
    },
    "envoy.config.core.v3.HttpUri": {"uri": YES, "cluster": YES, "timeout": YES},
    "envoy.type.tracing.v3.CustomTag": {
        "tag": YES,
        "literal": YES,
        "environment": YES,
        "request_header": YES,
        "metadata": YES,
        "value": YES,
        "value_type": no_effect("for traces; a log has texts only"),
    },
    "envoy.type.tracing.v3.CustomTag.Literal": {"value": YES},
    "envoy.type.tracing.v3.CustomTag.Environment": {"name": YES, "default_value": YES},
    "envoy.type.tracing.v3.CustomTag.Header": {
        "name": no_effect("a connection has no header fields: the default is the value"),
        "default_value": YES,
    },
    "envoy.type.tracing.v3.CustomTag.Metadata": {
        "kind": YES,
        "metadata_key": YES,
        "default_value": YES,
    },
    "envoy.type.metadata.v3.MetadataKind": {
        "request": YES,
        "route": no_effect("for HTTP: the default is the value"),
        "cluster": YES,
        "host": YES,
    },
    "envoy.type.metadata.v3.MetadataKind.Request": {},
    "envoy.type.metadata.v3.MetadataKind.Route": {},
    "envoy.type.metadata.v3.MetadataKind.Cluster": {},
    "envoy.type.metadata.v3.MetadataKind.Host": {},
    "envoy.type.metadata.v3.MetadataKey": {"key": YES, "path": YES},
    "envoy.type.metadata.v3.MetadataKey.PathSegment": {"key": YES},
}
