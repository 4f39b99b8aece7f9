"""Where clusters, listeners and filter chains have the counts that workers share: main sets blocks
of them aside, and tells each worker before it builds what they are for.

A chain that an update leaves as it is keeps its counts, and so do the clients that it has; so each
chain that may count has a block of its own, found by its digest.  (The terminal filter counts
nothing for all workers.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tcpmesh.listener.filter_chains import digest
from tcpmesh.listener.updates import default_chain
from tcpmesh.values.link import AddCluster, AddListener, SharedBlocks, UpdateChains
from tcpmesh.values.shared.memory import MainCounts


class Blocks:
    """Those of all clusters and listeners, by the numbers that main gave these."""

    def __init__(self, counts: MainCounts) -> None:
        self._counts = counts
        self._clusters: dict[int, tuple[str, int]] = {}
        """Of each the name that workers know its block by, and the block."""
        self._listeners: dict[int, dict[str, tuple[str, int]]] = {}
        """The same of each listener and its chains, by what they are to main."""

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
        rows = 1 + len(told.message.listener_filters)
        block = self._counts.allocate(owner, rows)
        self._listeners[told.listener] = {owner: (f"listener.{told.name}", block)}
        self._set_chains(told.listener, told.message)

    def update_chains(self, told: UpdateChains) -> SharedBlocks:
        """A listener gets other chains: what a worker is to be told before it builds those that are
        new.
        """
        return SharedBlocks(tuple(self._set_chains(told.listener, told.message)))

    def remove_listener(self, number: int) -> None:
        """A listener is not wanted any more."""
        for owner in self._listeners.pop(number, ()):
            self._counts.free(owner)

    def of_cluster(self, number: int) -> SharedBlocks:
        """What a worker is to be told before it builds a cluster."""
        return SharedBlocks((self._clusters[number],))

    def of_listener(self, number: int) -> SharedBlocks:
        """The same for a listener and its chains."""
        return SharedBlocks(tuple(self._listeners[number].values()))

    def _set_chains(self, number: int, message: Any) -> list[tuple[str, int]]:
        known = self._listeners[number]
        listener = f"listener {number}"
        wanted = dict(_counting(message, listener))
        for owner in [each for each in known if each != listener and each not in wanted]:
            del known[owner]
            self._counts.free(owner)
        new = [owner for owner in wanted if owner not in known]
        for owner in new:
            name, rows = wanted[owner]
            known[owner] = name, self._counts.allocate(owner, rows)
        return [known[owner] for owner in new]


def _counting(message: Any, listener: str) -> Iterable[tuple[str, tuple[str, int]]]:
    """The chains that may count: what each is to main, and to workers, and how much it counts."""
    for chain in (*message.filter_chains, *default_chain(message)):
        if len(chain.filters) > 1:
            name = f"chain.{digest(chain).hex()}"
            yield f"{listener} {name}", (name, len(chain.filters))
