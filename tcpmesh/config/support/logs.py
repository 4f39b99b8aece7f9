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
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": {"log_format": YES},
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": {"log_format": YES},
}

#: The messages that ask for one.
LOGS: dict[str, Rows] = {
    "envoy.config.accesslog.v3.AccessLog": {
        "name": no_effect("a label: the @type decides"),
        "typed_config": YES,
    },
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions": {
        "access_log_flush_interval": YES,
        "flush_access_log_on_connected": YES,
        "flush_access_log_on_start": YES,
    },
}
