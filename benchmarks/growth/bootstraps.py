"""Bootstraps with much of one thing; in JSON, which every parser reads fast, but for those whose
reading is what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.config import bootstrap

_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"

HASHING = ("RING_HASH", "MAGLEV")
"""Policies that go by a hash of the client's address."""


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def loopback(count: int) -> Iterator[str]:
    """So many addresses of the loopback network, none of which is 127.0.0.1."""
    return (f"127.{1 + i // 60000}.{1 + i // 250 % 240}.{1 + i % 250}" for i in range(count))


def _tcp_proxy(policy: str = "ROUND_ROBIN") -> dict[str, Any]:
    config: dict[str, Any] = {"@type": _TCP_PROXY, "stat_prefix": "web", "cluster": "web"}
    if policy in HASHING:
        config["hash_policy"] = [{"source_ip": {}}]
    return {"name": "tcp", "typed_config": config}


def cluster(hosts: Sequence[tuple[str, int]], policy: str = "ROUND_ROBIN") -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(host, port)}} for host, port in hosts]
    return {
        "name": "web",
        "connect_timeout": "5s",
        "lb_policy": policy,
        "circuit_breakers": {"thresholds": [{"max_connections": 100_000}]},
        "load_assignment": {
            "cluster_name": "web",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }


def _written(admin: int, listener: dict[str, Any], cluster: dict[str, Any]) -> str:
    return json.dumps(
        {
            "admin": {"address": _address("127.0.0.1", admin)},
            "static_resources": {"listeners": [listener], "clusters": [cluster]},
        }
    )


def of_hosts(
    admin: int, port: int, hosts: Sequence[tuple[str, int]], policy: str = "ROUND_ROBIN"
) -> str:
    """A listener before a cluster of these hosts."""
    listener = {
        "name": "web",
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [_tcp_proxy(policy)]}],
    }
    return _written(admin, listener, cluster(hosts, policy))


def of_sources(admin: int, port: int, count: int, hosts: Sequence[tuple[str, int]]) -> str:
    """A listener with so many filter chains, each for clients of one address; the last one is for
    those of 127.0.0.1.
    """
    chains = [
        {
            "filter_chain_match": {
                "source_prefix_ranges": [{"address_prefix": source, "prefix_len": 32}]
            },
            "filters": [_tcp_proxy()],
        }
        for source in (*loopback(count - 1), "127.0.0.1")
    ]
    listener = {
        "name": "web",
        "address": _address("127.0.0.1", port),
        "filter_chains": chains,
    }
    return _written(admin, listener, cluster(hosts))


def server_name(number: int) -> str:
    """Whom a client asks for by SNI."""
    return f"host-{number}.example"


def of_server_names(admin: int, port: int, count: int, hosts: Sequence[tuple[str, int]]) -> str:
    """A listener with so many filter chains, each for one server name; TLS is passed through."""
    chains = [
        {
            "filter_chain_match": {"server_names": [server_name(number)]},
            "filters": [_tcp_proxy()],
        }
        for number in range(count)
    ]
    listener = {
        "name": "web",
        "address": _address("127.0.0.1", port),
        "listener_filters": [{"name": "tls", "typed_config": {"@type": _INSPECTOR}}],
        "filter_chains": chains,
    }
    return _written(admin, listener, cluster(hosts))


def of_clusters(admin: int, count: int) -> str:
    """So many clusters, in YAML, as users write it."""
    return (
        f"admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {admin}}}}}}}\n"
        + bootstrap(count, listeners=0)
    )
