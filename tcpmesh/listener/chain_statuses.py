"""What a listener's message says of its filter chains, for people: which clients each takes, and to
which clusters it sends them.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from tcpmesh.values.statuses import ChainStatus


def chain_statuses(message: Any) -> tuple[ChainStatus, ...]:
    """The chains of a `listener.v3.Listener` in order, the default one last."""
    found = [_status(chain) for chain in message.filter_chains]
    if message.HasField("default_filter_chain"):
        found.append(_status(message.default_filter_chain, is_default=True))
    return tuple(found)


def _status(chain: Any, is_default: bool = False) -> ChainStatus:
    clusters: dict[str, None] = {}
    for each in chain.filters:
        proxy = TcpProxy()
        if each.typed_config.Unpack(proxy):
            clusters.update(dict.fromkeys(_clusters(proxy)))
    return ChainStatus(
        chain.name,
        tuple(chain.filter_chain_match.server_names),
        tuple(clusters),
        chain.filters[-1].name if chain.filters else "",
        is_default,
    )


def _clusters(proxy: Any) -> list[str]:
    if proxy.WhichOneof("cluster_specifier") == "cluster":
        return [proxy.cluster]
    return [each.name for each in proxy.weighted_clusters.clusters]
