"""The fields of access logs."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": {
        "path": YES,
        "format": YES,
        "json_format": YES,
        "typed_json_format": YES,
        "log_format": YES,
    },
    "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter": {
        "expression": YES,
        "cel_config": YES,
    },
    "envoy.extensions.access_loggers.filters.process_ratelimit.v3.ProcessRateLimitFilter": {
        "dynamic_config": YES
    },
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": {"log_format": YES},
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": {"log_format": YES},
}

#: Which connections are written down.
FILTERS: dict[str, Rows] = {
    "envoy.config.accesslog.v3.AccessLogFilter": {
        "status_code_filter": YES,
        "duration_filter": YES,
        "not_health_check_filter": YES,
        "traceable_filter": YES,
        "runtime_filter": YES,
        "and_filter": YES,
        "or_filter": YES,
        "header_filter": YES,
        "response_flag_filter": YES,
        "grpc_status_filter": YES,
        "extension_filter": YES,
        "metadata_filter": YES,
        "log_type_filter": YES,
    },
    "envoy.config.accesslog.v3.ComparisonFilter": {"op": YES, "value": YES},
    "envoy.config.accesslog.v3.StatusCodeFilter": {"comparison": YES},
    "envoy.config.accesslog.v3.DurationFilter": {"comparison": YES},
    "envoy.config.accesslog.v3.NotHealthCheckFilter": {},
    "envoy.config.accesslog.v3.TraceableFilter": {},
    "envoy.config.accesslog.v3.RuntimeFilter": {
        "runtime_key": YES,
        "percent_sampled": YES,
        "use_independent_randomness": YES,
    },
    "envoy.config.accesslog.v3.AndFilter": {"filters": YES},
    "envoy.config.accesslog.v3.OrFilter": {"filters": YES},
    "envoy.config.accesslog.v3.HeaderFilter": {"header": YES},
    "envoy.config.accesslog.v3.ResponseFlagFilter": {"flags": YES},
    "envoy.config.accesslog.v3.GrpcStatusFilter": {"statuses": YES, "exclude": YES},
    "envoy.config.accesslog.v3.MetadataFilter": {"matcher": YES, "match_if_key_not_found": YES},
    "envoy.config.accesslog.v3.LogTypeFilter": {"types": YES, "exclude": YES},
    "envoy.config.accesslog.v3.ExtensionFilter": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.config.core.v3.CelExpressionConfig": {
        "enable_string_conversion": YES,
        "enable_string_concat": no_effect("strings can be joined in any case"),
    },
    "envoy.config.core.v3.ConfigSource": {
        "path": YES,
        "path_config_source": YES,
        "initial_fetch_timeout": no_effect("a file is read at once"),
        "resource_api_version": no_effect("there is one version"),
    },
    "envoy.config.core.v3.PathConfigSource": {
        "path": YES,
        "watched_directory": YES,
        "poll_interval": YES,
    },
    "envoy.extensions.access_loggers.filters.process_ratelimit.v3.DynamicTokenBucket": {
        "resource_name": YES,
        "config_source": YES,
    },
    "envoy.config.core.v3.RuntimeUInt32": {"default_value": YES, "runtime_key": YES},
    "envoy.config.route.v3.HeaderMatcher": {
        "name": YES,
        "exact_match": YES,
        "safe_regex_match": YES,
        "range_match": YES,
        "present_match": YES,
        "prefix_match": YES,
        "suffix_match": YES,
        "contains_match": YES,
        "string_match": YES,
        "invert_match": YES,
        "treat_missing_header_as_empty": YES,
    },
    "envoy.type.matcher.v3.MetadataMatcher": {
        "filter": YES,
        "path": YES,
        "value": YES,
        "invert": no_effect("Envoy does not use it in access logs"),
    },
    "envoy.type.matcher.v3.MetadataMatcher.PathSegment": {"key": YES},
    "envoy.type.matcher.v3.ValueMatcher": {
        "null_match": YES,
        "double_match": YES,
        "string_match": YES,
        "bool_match": YES,
        "present_match": YES,
        "list_match": YES,
        "or_match": YES,
    },
    "envoy.type.matcher.v3.ValueMatcher.NullMatch": {},
    "envoy.type.matcher.v3.DoubleMatcher": {"range": YES, "exact": YES},
    "envoy.type.matcher.v3.ListMatcher": {"one_of": YES},
    "envoy.type.matcher.v3.OrMatcher": {"value_matchers": YES},
    "envoy.type.v3.DoubleRange": {"start": YES, "end": YES},
    "envoy.type.v3.FractionalPercent": {"numerator": YES, "denominator": YES},
}

#: The messages that ask for one.
LOGS: dict[str, Rows] = {
    "envoy.config.accesslog.v3.AccessLog": {
        "name": no_effect("a label: the @type decides"),
        "filter": YES,
        "typed_config": YES,
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions": {
        "access_log_flush_interval": YES,
        "flush_access_log_on_connected": YES,
        "flush_access_log_on_start": YES,
    },
}
