"""Configurations with internal listeners, for tests."""

from __future__ import annotations

from typing import Any

import yaml

URL = "type.googleapis.com/envoy.extensions."
FRONT = "127.0.0.1:1"
BACK = "127.0.0.2:80"
WORDS = (
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% "
    "[%DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID%] "
    "%UPSTREAM_HOST% %RESPONSE_FLAGS% %UPSTREAM_TRANSPORT_FAILURE_REASON% "
    "%FILTER_STATE(key:PLAIN)% %DYNAMIC_METADATA(names)% [%DOWNSTREAM_REMOTE_PORT%] "
    "%DOWNSTREAM_CX_RTT%"
)


def tcp_proxy(cluster: str) -> dict[str, Any]:
    """A filter that relays to a cluster, and logs under the cluster's name."""
    log = {
        "name": "log",
        "typed_config": {
            "@type": f"{URL}access_loggers.file.v3.FileAccessLog",
            "path": f"/{cluster}",
            "log_format": {"text_format_source": {"inline_string": WORDS}},
        },
    }
    return {
        "name": "tcp_proxy",
        "typed_config": {
            "@type": f"{URL}filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": cluster,
            "cluster": cluster,
            "access_log": [log],
        },
    }


def filter_state(value: str, sharing: str, key: str = "key") -> dict[str, Any]:
    """A filter that sets an object."""
    entry = {
        "object_key": key,
        "factory_key": "envoy.string" if key == "key" else key,
        "format_string": {"text_format_source": {"inline_string": value}},
        "shared_with_upstream": sharing,
    }
    return {
        "name": "set",
        "typed_config": {
            "@type": f"{URL}filters.network.set_filter_state.v3.Config",
            "on_new_connection": [entry],
        },
    }


def internal_upstream(*sources: tuple[str, str]) -> dict[str, Any]:
    """A transport socket that passes on the metadata of (kind, name)."""
    return {
        "name": "internal_upstream",
        "typed_config": {
            "@type": f"{URL}transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
            "passthrough_metadata": [{"kind": {kind: {}}, "name": name} for kind, name in sources],
            "transport_socket": {
                "name": "raw",
                "typed_config": {"@type": f"{URL}transport_sockets.raw_buffer.v3.RawBuffer"},
            },
        },
    }


def cluster(name: str, *listeners: str, **more: Any) -> dict[str, Any]:
    """A cluster whose hosts are internal listeners; an id may follow a name after a slash."""
    hosts = [
        {"server_listener_name": each.partition("/")[0], "endpoint_id": each.partition("/")[2]}
        for each in listeners
    ]
    return _cluster(name, [{"envoy_internal_address": each} for each in hosts], **more)


def _cluster(name: str, addresses: list[Any], **more: Any) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": each}} for each in addresses]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "load_assignment": assignment, **more}


def internal(name: str, *filters: Any, **more: Any) -> dict[str, Any]:
    """An internal listener."""
    return {
        "name": name,
        "internal_listener": {},
        "filter_chains": [{"filters": list(filters)}],
        **more,
    }


class Proxy:
    """A bootstrap whose listener sends its clients to the cluster `inner`, of the internal listener
    `inner`, which sends them to the cluster `back`; to be changed before it is written.
    """

    def __init__(self) -> None:
        self.outer: dict[str, Any] = {
            "name": "outer",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
            "filter_chains": [{"filters": [tcp_proxy("inner")]}],
        }
        self.inner = internal("inner", tcp_proxy("back"))
        self.listeners = [self.outer, self.inner]
        self.to_inner = cluster("inner", "inner")
        socket = {"socket_address": {"address": "127.0.0.2", "port_value": 80}}
        self.to_back = _cluster("back", [socket])
        self.clusters = [self.to_inner, self.to_back]
        self.rest: dict[str, Any] = {
            "bootstrap_extensions": [
                {
                    "name": "internal",
                    "typed_config": {
                        "@type": f"{URL}bootstrap.internal_listener.v3.InternalListener"
                    },
                }
            ]
        }

    def text(self) -> str:
        """It in YAML."""
        resources = {"listeners": self.listeners, "clusters": self.clusters}
        return str(yaml.safe_dump({**self.rest, "static_resources": resources}))
