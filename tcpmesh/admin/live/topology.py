"""The map: listeners, their filter chains, the clusters these send clients to, and the hosts there.

Of ten thousand clusters nobody can see all: there are those where something goes on, or wrong, and
those whose name or hosts somebody searches for.  So a map has a largest size, whatever the
configuration.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappush, heappushpop
from typing import Any

from tcpmesh.admin.live.names import cut
from tcpmesh.interfaces import IServer
from tcpmesh.values.live.traffic import Flow
from tcpmesh.values.statuses import ChainStatus, ClusterStatus, HostStatus, ListenerStatus

MOST_CLUSTERS = 40
MOST_HOSTS = 12
"""Of a cluster."""

MOST_LISTENERS = 20
MOST_CHAINS = 12
"""Of a listener."""

MOST_NAMES = 4
"""Names of servers that a chain takes, and clusters it sends to."""

STEP = 20
"""Clusters or listeners that are looked at in one step."""

_COUNTED = ("clusters", "found", "trouble", "hosts", "unhealthy")


class Topology:
    """One map.

    :param flows: what is connected to what.
    :param search: a part of names or addresses; without it, what matters most.
    """

    def __init__(self, server: IServer, flows: Mapping[Flow, int], search: str = "") -> None:
        self._server = server
        self._flows = flows
        self._search = search.lower()
        self._clusters: list[ClusterStatus] = []
        self._counts = dict.fromkeys(_COUNTED, 0)

    def steps(self) -> Iterator[None]:
        """Make it; to be gone through before it is read."""
        yield from self._choose_clusters()

    def pieces(self) -> Iterator[str]:
        """The map as JSON."""
        shown = {cluster.name for cluster in self._clusters}
        yield '{"clusters": ['
        for number, cluster in enumerate(self._clusters):
            yield (", " if number else "") + json.dumps(_cluster(cluster))
        yield '], "listeners": ['
        number = 0
        for listener in self._listeners(shown):
            if listener is not None:
                yield (", " if number else "") + json.dumps(listener)
                number += 1
            else:
                yield ""
        listeners = len(self._server.listener_statuses())
        rest = {
            "flows": [[*map(cut, names), count] for names, count in self._shown_flows(shown)],
            "counts": {"listeners": listeners, **self._counts},
        }
        yield "], " + json.dumps(rest)[1:]

    # Which clusters

    def _choose_clusters(self) -> Iterator[None]:
        """Those that matter most, in order of configuration."""
        active: dict[str, int] = {}
        for (_, _, name, _), count in self._flows.items():
            active[name] = active.get(name, 0) + count
        best: list[tuple[int, int, ClusterStatus]] = []
        for index, cluster in enumerate(self._server.cluster_statuses()):
            if index % STEP == STEP - 1:
                yield
            self._count(cluster)
            if not self._is_wanted(cluster):
                continue
            self._counts["found"] += 1
            weight = 2 * active.get(cluster.name, 0) + (1 if _is_in_trouble(cluster) else 0)
            entry = (weight, -index, cluster)
            if len(best) < MOST_CLUSTERS:
                heappush(best, entry)
            else:
                heappushpop(best, entry)
        best.sort(key=lambda entry: -entry[1])
        self._clusters = [cluster for _, _, cluster in best]

    def _count(self, cluster: ClusterStatus) -> None:
        counts = self._counts
        counts["clusters"] += 1
        counts["trouble"] += _is_in_trouble(cluster)
        counts["hosts"] += len(cluster.hosts)
        counts["unhealthy"] += sum(host.health == "UNHEALTHY" for host in cluster.hosts)

    def _is_wanted(self, cluster: ClusterStatus) -> bool:
        search = self._search
        return (
            not search
            or search in cluster.name.lower()
            or any(
                search in host.address.lower() or search in host.hostname.lower()
                for host in cluster.hosts
            )
        )

    # Which listeners

    def _listeners(self, shown: set[str]) -> Iterator[dict[str, Any] | None]:
        """Those that somebody searches for, or that send clients to the clusters that are shown;
        `None` after each step.
        """
        flowing = {listener for listener, _, cluster, _ in self._flows if cluster in shown}
        count = 0
        statuses = self._server.listener_statuses()
        # Those with clients first: of very many, the others may never be reached.
        for number, status in enumerate(
            sorted(statuses, key=lambda each: each.name not in flowing)
        ):
            if number % STEP == STEP - 1:
                yield None
            chains = self._server.filter_chains(status.name)
            if (
                status.name in flowing
                or self._is_named(status)
                or any(cluster in shown for chain in chains for cluster in chain.clusters)
            ):
                yield _listener(status, _chosen(chains, self._flows, status.name))
                count += 1
                if count == MOST_LISTENERS:
                    return

    def _is_named(self, status: ListenerStatus) -> bool:
        search = self._search
        return not search or any(
            search in name.lower() for name in (status.name, *status.addresses)
        )

    def _shown_flows(self, shown: set[str]) -> list[tuple[Flow, int]]:
        """The largest ones to the clusters that are shown."""
        found = [each for each in self._flows.items() if each[0][2] in shown or not each[0][2]]
        found.sort(key=lambda each: -each[1])
        return found[: MOST_CLUSTERS * MOST_HOSTS]


def _is_in_trouble(cluster: ClusterStatus) -> bool:
    return not cluster.hosts or any(host.health != "HEALTHY" for host in cluster.hosts)


def _cluster(cluster: ClusterStatus) -> dict[str, Any]:
    """A cluster with its hosts, those that are not well or that have connections first."""
    hosts = cluster.hosts
    first = sorted(hosts, key=lambda host: (host.health == "HEALTHY", -_number(host, "cx_active")))
    chosen = set(map(id, first[:MOST_HOSTS]))
    return {
        "name": cut(cluster.name),
        "healthy": sum(host.health == "HEALTHY" for host in hosts),
        "count": len(hosts),
        **{name: sum(_number(host, key) for host in hosts) for name, key in _NUMBERS.items()},
        "hosts": [_host(host) for host in hosts if id(host) in chosen],
    }


_NUMBERS = {"active": "cx_active", "total": "cx_total", "failed": "cx_connect_fail"}


def _number(host: HostStatus, name: str) -> int:
    return host.counters.get(name, 0) + host.gauges.get(name, 0)


def _host(host: HostStatus) -> dict[str, Any]:
    return {
        "address": cut(host.address),
        "hostname": cut(host.hostname),
        "health": host.health,
        "flags": host.health_flags,
        "priority": host.priority,
        **{name: _number(host, key) for name, key in _NUMBERS.items()},
    }


def _listener(status: ListenerStatus, chains: Sequence[ChainStatus]) -> dict[str, Any]:
    return {
        "name": cut(status.name),
        "addresses": [cut(address) for address in status.addresses[:MOST_NAMES]],
        "chains": [
            {
                "name": cut(chain.name),
                "server_names": [cut(name) for name in chain.server_names[:MOST_NAMES]],
                "more_names": max(0, len(chain.server_names) - MOST_NAMES),
                "clusters": [cut(name) for name in chain.clusters[:MOST_NAMES]],
                "filter": cut(chain.filter),
                "is_default": chain.is_default,
            }
            for chain in chains[:MOST_CHAINS]
        ],
        "more_chains": max(0, len(chains) - MOST_CHAINS),
    }


def _chosen(
    chains: Sequence[ChainStatus], flows: Mapping[Flow, int], listener: str
) -> Sequence[ChainStatus]:
    """The chains of a listener, where there are many those with clients first."""
    if len(chains) <= MOST_CHAINS:
        return chains
    used = {chain for name, chain, _, _ in flows if name == listener}
    return sorted(chains, key=lambda chain: chain.name not in used)
