"""Where clusters, listeners and filter chains have the counts that workers share: main sets blocks
of them aside, and tells each worker before it builds what they are for.

A chain that an update leaves as it is keeps its counts, and so do the clients that it has; so each
chain that may count has a block of its own, found by its digest.  Chains of nothing but tcp_proxy,
of which there may be ten thousand, count nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from tcpmesh.listener.balancing.exact import are_balanced, rows_of_balance
from tcpmesh.listener.filter_chains import digest
from tcpmesh.listener.updates import default_chain
from tcpmesh.values.link import AddCluster, AddListener, SharedBlocks, UpdateChains
from tcpmesh.values.shared.memory import ROWS, MainCounts

TCP_PROXY = TcpProxy.DESCRIPTOR.full_name


class Blocks:
    """Those of all clusters and listeners, by the numbers that main gave these."""

    def __init__(self, counts: MainCounts) -> None:
        self._counts = counts
        self._clusters: dict[int, tuple[str, int]] = {}
        """Of each the name that workers know its block by, and the block."""
        self._listeners: dict[int, dict[str, tuple[str, int]]] = {}
        """The same of each listener and its chains, by what they are to main."""
        self._messages: dict[int, Any] = {}
        """The `listener.v3.Listener` of each."""

    def add_cluster(self, told: AddCluster) -> None:
        """A cluster is built."""
        block = self._counts.allocate(f"cluster {told.cluster}")
        self._clusters[told.cluster] = f"cluster.{told.message.name}", block

    def remove_cluster(self, number: int) -> None:
        """A cluster is not wanted any more."""
        if self._clusters.pop(number, None) is not None:
            self._counts.free(f"cluster {number}")

    def add_listener(self, told: AddListener) -> None:
        """A listener is built."""
        owner = f"listener {told.listener}"
        rows = max(ROWS, 1 + len(told.message.listener_filters))
        if are_balanced(told.message):
            rows += rows_of_balance(self._counts.workers)
        block = self._counts.allocate(owner, rows)
        self._listeners[told.listener] = {owner: (f"listener.{told.name}", block)}
        self._messages[told.listener] = told.message
        self._add_chains(told.listener, [*told.message.filter_chains, *default_chain(told.message)])

    def update_chains(self, told: UpdateChains) -> SharedBlocks:
        """A listener gets other chains: what a worker is to be told before it builds those that are
        new.
        """
        number, after = told.listener, told.message
        before, self._messages[number] = self._messages[number], after
        come = [after.filter_chains[place] for place in told.come]
        gone = [before.filter_chains[place] for place in told.gone]
        new = self._add_chains(number, [*come, *default_chain(after)])
        known = self._listeners[number]
        for each in _left_out(gone, before, after):
            owner = _owner(number, digest(each))
            if known.pop(owner, None) is not None:
                self._counts.free(owner)
        return SharedBlocks(tuple(new))

    def remove_listener(self, number: int) -> None:
        """A listener is not wanted any more."""
        self._messages.pop(number, None)
        for owner in self._listeners.pop(number, ()):
            self._counts.free(owner)

    def of_cluster(self, number: int) -> SharedBlocks:
        """What a worker is to be told before it builds a cluster."""
        return SharedBlocks((self._clusters[number],))

    def of_listener(self, number: int) -> SharedBlocks:
        """The same for a listener and its chains."""
        return SharedBlocks(tuple(self._listeners[number].values()))

    def _add_chains(self, number: int, chains: Iterable[Any]) -> list[tuple[str, int]]:
        """Set blocks aside for those of these chains that may count, and have none yet."""
        known = self._listeners[number]
        new = []
        for chain in chains:
            if not _may_count(chain):
                continue
            key = digest(chain)
            owner = _owner(number, key)
            if owner not in known:
                rows = max(ROWS, len(chain.filters))
                known[owner] = f"chain.{key.hex()}", self._counts.allocate(owner, rows)
                new.append(known[owner])
        return new


def _may_count(chain: Any) -> bool:
    filters = chain.filters
    return any(each.typed_config.TypeName() != TCP_PROXY for each in filters)


def _owner(listener: int, chain: bytes) -> str:
    """What a chain is to main."""
    return f"listener {listener} chain {chain.hex()}"


def _left_out(gone: list[Any], before: Any, after: Any) -> list[Any]:
    """The chains that are no more: a default chain may be one of the others too."""
    default = default_chain(after)
    old = [each for each in default_chain(before) if each not in default]
    return [
        *(each for each in gone if each not in default),
        *(each for each in old if each not in after.filter_chains),
    ]
