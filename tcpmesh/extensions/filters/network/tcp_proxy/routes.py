"""Where a client of a tcp_proxy goes: to which cluster, and to which of its hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from random import Random
from typing import Any

from tcpmesh.cluster.hosts.metadata import NAMESPACE, criteria, plain_of
from tcpmesh.connection.state_objects import TCP_PROXY_CLUSTER, ClusterName
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE
from tcpmesh.values.stream.stream_info import NO_METADATA, StreamInfo

Route = tuple[str, "Mapping[str, Any] | None"]
"""The name of a cluster, and the criteria that its hosts' metadata is to match."""

FindRoute = Callable[[StreamInfo], Route]
"""Where the next attempt for a client goes."""


def route_finder(message: Any, random: Random) -> FindRoute:
    """How each attempt of a `TcpProxy` finds its cluster; a client's dynamic metadata under
    `envoy.lb` goes before `metadata_match`.
    """
    if message.WhichOneof("cluster_specifier") != "cluster":
        draw = _weighted(message, random)
        return lambda info: _with_metadata(info, draw())
    always: Route = (message.cluster, criteria(message.metadata_match) or None)

    def route(info: StreamInfo) -> Route:
        if info.filter_state is NO_FILTER_STATE and info.metadata is NO_METADATA:
            return always
        return _with_metadata(info, _named(info, always))

    return route


def _weighted(message: Any, random: Random) -> Callable[[], Route]:
    """Draws a cluster by weight.

    The criteria of a weighted entry go before those of the whole filter where both name a key.
    """
    common = criteria(message.metadata_match)
    entries = message.weighted_clusters.clusters
    drawn: list[Route] = [
        (entry.name, {**common, **criteria(entry.metadata_match)} or None) for entry in entries
    ]
    # Summed up beforehand, so that a draw is one search.
    bounds = list(accumulate(entry.weight for entry in entries))
    return lambda: random.choices(drawn, cum_weights=bounds)[0]


def _with_metadata(info: StreamInfo, found: Route) -> Route:
    """What a client's metadata says goes before the criteria of its route."""
    if NAMESPACE not in info.metadata:
        return found
    own = {name: plain_of(value) for name, value in info.metadata[NAMESPACE].items()}
    return found[0], {**(found[1] or {}), **own} or None


def _named(info: StreamInfo, always: Route) -> Route:
    """The cluster that filters have chosen for a client, if they have."""
    named = info.filter_state.get(TCP_PROXY_CLUSTER)
    return (named.value, always[1]) if isinstance(named, ClusterName) else always
