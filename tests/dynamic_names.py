"""Configurations of clients that bring the name of their host along, for tests."""

from __future__ import annotations

from typing import Any

import yaml

from tcpmesh.cluster.names import cache
from tcpmesh.testing.mesh import Mesh
from tests.names import Names

URL = "type.googleapis.com/envoy.extensions."
FRONT = "127.0.0.1:1"
WORDS = (
    "%RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %REQUESTED_SERVER_NAME% "
    "%FILTER_STATE(envoy.upstream.dynamic_port:PLAIN)% [%DOWNSTREAM_LOCAL_CLOSE_REASON%]"
)


def filter_state(key: str, value: str) -> dict[str, Any]:
    """A filter that sets an object of this kind."""
    entry = {
        "object_key": key,
        "factory_key": key,
        "format_string": {"text_format_source": {"inline_string": value}},
    }
    return {
        "name": "set",
        "typed_config": {
            "@type": f"{URL}filters.network.set_filter_state.v3.Config",
            "on_new_connection": [entry],
        },
    }


class Dynamic:
    """A bootstrap whose listener sends its clients to the server that they ask for; to be changed
    before it is served.
    """

    def __init__(self) -> None:
        self.cache: dict[str, Any] = {"name": "c", "dns_lookup_family": "V4_ONLY"}
        self.sni: dict[str, Any] = {
            "@type": f"{URL}filters.network.sni_dynamic_forward_proxy.v3.FilterConfig",
            "port_value": 443,
            "dns_cache_config": self.cache,
        }
        self.cluster: dict[str, Any] = {
            "name": "dynamic",
            "lb_policy": "CLUSTER_PROVIDED",
            "cluster_type": {
                "name": "dynamic",
                "typed_config": {
                    "@type": f"{URL}clusters.dynamic_forward_proxy.v3.ClusterConfig",
                    "dns_cache_config": self.cache,
                },
            },
        }
        log = {
            "name": "log",
            "typed_config": {
                "@type": f"{URL}access_loggers.file.v3.FileAccessLog",
                "path": "/log",
                "log_format": {"text_format_source": {"inline_string": WORDS}},
            },
        }
        proxy = {
            "@type": f"{URL}filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t",
            "cluster": "dynamic",
            "access_log": [log],
        }
        self.filters: list[dict[str, Any]] = [
            {"name": "sni", "typed_config": self.sni},
            {"name": "tcp_proxy", "typed_config": proxy},
        ]
        inspector = f"{URL}filters.listener.tls_inspector.v3.TlsInspector"
        self.listener: dict[str, Any] = {
            "name": "front",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
            "listener_filters": [{"name": "tls", "typed_config": {"@type": inspector}}],
            "filter_chains": [{"filters": self.filters}],
        }
        self.rest: dict[str, Any] = {}

    def text(self) -> str:
        """It in YAML."""
        resources = {"listeners": [self.listener], "clusters": [self.cluster]}
        values: Any = {**self.rest, "static_resources": resources}
        return str(yaml.dump(values, Dumper=_Dumper))

    def serve(self, test: Any, names: Names, workers: int = 1) -> Mesh:
        """The proxy, which asks `names`."""
        test.patch(cache, "resolver_for", lambda message, context: names)
        mesh = Mesh(self.text(), workers=workers)
        test.addCleanup(mesh.main.names.stop)
        return mesh


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
