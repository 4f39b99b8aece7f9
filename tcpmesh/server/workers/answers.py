"""What all workers have to say together before main hears of it.

Main knows of one worker, so to speak: where it has asked something each worker answers, and main is
told what the answers come to once the last one is there.  A worker that dies is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any

from tcpmesh.cluster.hosts.numbers import summed
from tcpmesh.values.link import HOST_COUNTERS, HOST_GAUGES, HostNumbers, HostsUnused, Rates


class Together:
    """Things that each worker is to say once.

    :param all_said: is called with the key of what the last one has said.
    """

    def __init__(self, all_said: Callable[[Any], object]) -> None:
        self._all_said = all_said
        self._left: dict[Hashable, set[int]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._left

    def expect(self, key: Hashable, workers: Collection[int]) -> None:
        """These are to say it, and who was to say it before no more; where there are none, it is
        said.
        """
        if workers:
            self._left[key] = set(workers)
        else:
            self._left.pop(key, None)
            self._all_said(key)

    def left(self, key: Hashable) -> tuple[int, ...]:
        """Those that have not said it."""
        return tuple(self._left.get(key, ()))

    def add(self, key: Hashable, worker: int) -> None:
        """This one too, where it is not said yet."""
        if key in self._left:
            self._left[key].add(worker)

    def said(self, key: Hashable, worker: int) -> None:
        """A worker says it."""
        left = self._left.get(key)
        if left is not None:
            left.discard(worker)
            self._look(key)

    def lost(self, worker: int) -> None:
        """A worker is no more."""
        for key in [key for key, left in self._left.items() if worker in left]:
            self.said(key, worker)

    def _look(self, key: Hashable) -> None:
        if not self._left[key]:
            del self._left[key]
            self._all_said(key)


class Ends:
    """Which workers still have something of a cluster that is not wanted any more.

    :param ended: is called with the number of one of which nobody has anything.
    """

    def __init__(self, ended: Callable[[int], object]) -> None:
        self._together = Together(ended)
        self._holders: dict[int, set[int]] = {}
        """Of each cluster that is wanted."""
        self._served: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def added(self, number: int, name: str, workers: Iterable[int]) -> None:
        """A cluster is built by these."""
        self._holders[number] = set(workers)
        self._names[number] = name

    def joined(self, number: int, worker: int) -> None:
        """... and by one that came later."""
        self._holders[number].add(worker)

    def refused(self, number: int, worker: int) -> None:
        """A worker could not build a cluster."""
        if number in self._holders:
            self._holders[number].discard(worker)

    def served(self, number: int) -> int | None:
        """A cluster is found by its name from now on; the one that is therefore not wanted any
        more, which is to be left.
        """
        name = self._names[number]
        before = self._served.get(name)
        self._served[name] = number
        return before

    def leave(self, number: int) -> None:
        """A cluster is not wanted any more."""
        name = self._names.pop(number)
        if self._served.get(name) == number:
            del self._served[name]
        self._together.expect(number, self._holders.pop(number))

    def said(self, number: int, worker: int) -> None:
        """A worker has nothing left of it."""
        self._together.said(number, worker)

    def lost(self, worker: int) -> None:
        """A worker is no more."""
        for holders in self._holders.values():
            holders.discard(worker)
        self._together.lost(worker)


class RateAnswers:
    """How connections came out in an interval, in all workers together: outlier detection decides
    over all of them.

    :param send: tells main.
    """

    def __init__(self, send: Callable[[Rates], object]) -> None:
        self._send = send
        self._sums: dict[int, tuple[tuple[int, int, int], ...]] = {}
        self._together = Together(self._all_said)

    def asked(self, cluster: int, workers: Collection[int]) -> None:
        """These were asked.  Where one has not answered to the interval before, that one is over
        without it.
        """
        if cluster in self._together:
            self._all_said(cluster)
        self._sums[cluster] = ()
        self._together.expect(cluster, workers)

    def said(self, told: Rates, worker: int) -> None:
        """A worker answers."""
        if told.cluster in self._sums:
            self._sums[told.cluster] = summed(self._sums[told.cluster], told.rates)
        self._together.said(told.cluster, worker)

    def lost(self, worker: int) -> None:
        """A worker is no more."""
        self._together.lost(worker)

    def _all_said(self, cluster: int) -> None:
        self._send(Rates(cluster, self._sums.pop(cluster)))


class UnusedHosts:
    """Which hosts that connections have named no worker uses any more.

    :param send: tells main.
    """

    def __init__(self, send: Callable[[HostsUnused], object]) -> None:
        self._send = send
        self._unused: dict[int, set[int]] = {}
        self._together = Together(self._all_said)

    def asked(self, cluster: int, workers: Collection[int]) -> None:
        """These were asked; as long as there is no answer of all nothing is known to be unused."""
        self._unused.pop(cluster, None)
        if workers:
            self._together.expect(cluster, workers)

    def said(self, told: HostsUnused, worker: int) -> None:
        """A worker answers."""
        known = self._unused.get(told.cluster)
        hosts = set(told.hosts)
        self._unused[told.cluster] = hosts if known is None else known & hosts
        self._together.said(told.cluster, worker)

    def lost(self, worker: int) -> None:
        """A worker is no more."""
        self._together.lost(worker)

    def _all_said(self, cluster: int) -> None:
        hosts = self._unused.pop(cluster, set())
        if hosts:
            self._send(HostsUnused(cluster, tuple(sorted(hosts))))


class HostNumberSums:
    """What workers have counted of each host: main is told the sum whenever one of them tells.

    :param send: tells main.
    """

    def __init__(self, send: Callable[[HostNumbers], object]) -> None:
        self._send = send
        self._told: dict[int, dict[int, tuple[tuple[int, ...], ...]]] = {}
        """Of each cluster what each worker has told last; those that are no more under -1."""

    def said(self, told: HostNumbers, worker: int) -> None:
        """A worker tells."""
        known = self._told.get(told.cluster)
        if known is None:
            if not told.numbers:
                return
            known = self._told[told.cluster] = {}
        known[worker] = told.numbers
        sums: tuple[tuple[int, ...], ...] = ()
        for each in known.values():
            sums = summed(sums, each)
        self._send(HostNumbers(told.cluster, sums))

    def lost(self, worker: int) -> None:
        """A worker is no more: what it has counted stays, and it has no connections."""
        kept = slice(0, 1 + len(HOST_COUNTERS))
        nothing = (0,) * len(HOST_GAUGES)
        for known in self._told.values():
            numbers = tuple((*each[kept], *nothing) for each in known.pop(worker, ()))
            known[GONE] = summed(known.get(GONE, ()), numbers)

    def keep(self, cluster: int, hosts: Collection[int]) -> None:
        """A cluster has no other hosts."""
        known = self._told.get(cluster)
        if known is not None and GONE in known:
            left = set(hosts)
            known[GONE] = tuple(each for each in known[GONE] if each[0] in left)

    def forget(self, cluster: int) -> None:
        """A cluster is no more."""
        self._told.pop(cluster, None)


GONE = -1
"""In place of the number of a worker."""
