"""How connections to hosts fail in several workers: outlier detection counts how many have failed
in a row, in all of them together.

A worker tells of every failure, and of a success only where it knows of a failure before it.  So
the others are told of a failure that is the first one they hear of, and whichever of them connects
next says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tcpmesh.values.link import ConnectOutcome, HostFails, Outcome


class Failing:
    """The hosts that connections have failed to, and which workers know.

    :param tell: tells a worker.
    """

    def __init__(self, tell: Callable[[int, HostFails], object]) -> None:
        self._tell = tell
        self._aware: dict[int, dict[int, set[int]]] = {}
        """By cluster and host: the workers that are to tell of the next success."""

    def outcome(self, told: ConnectOutcome, worker: int, others: Iterable[int]) -> None:
        """A worker tells how a connection came out.

        :param others: all workers.
        """
        hosts = self._aware.setdefault(told.cluster, {})
        aware = hosts.setdefault(told.host, set())
        if told.outcome is Outcome.FAILED:
            aware.add(worker)
            for other in others:
                if other not in aware:
                    aware.add(other)
                    self._tell(other, HostFails(told.cluster, told.host))
            return
        aware.discard(worker)
        if not aware:
            del hosts[told.host]

    def keep(self, cluster: int, hosts: Iterable[int]) -> None:
        """A cluster has no other hosts."""
        known = self._aware.get(cluster)
        if known:
            for gone in known.keys() - set(hosts):
                del known[gone]

    def forget(self, cluster: int) -> None:
        """A cluster is no more."""
        self._aware.pop(cluster, None)

    def lost(self, worker: int) -> None:
        """A worker is no more, and the one that takes its place knows nothing."""
        for hosts in self._aware.values():
            for aware in hosts.values():
                aware.discard(worker)
