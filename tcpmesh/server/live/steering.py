"""What an operator does with clusters and their hosts while traffic flows: drain a host, let it
have connections again, close some of a cluster's connections gently, hold new ones for a while.

Nothing of it is configuration: it is forgotten when the process ends, or the cluster is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from itertools import islice

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from tcpmesh.cluster.manager import ClusterEntry, ClusterManager
from tcpmesh.server.live.gathering import Gathering
from tcpmesh.values.link import PauseCluster, ToWorker
from tcpmesh.values.statuses import NotPossible, NotThere
from tcpmesh.values.stream.live import FieldFilter

LONGEST = 100
"""Characters of a name that are told of one that is not there."""

CANDIDATES = 40
"""Names that are compared with one that is not there: there may be ten thousand."""


class Steering:
    """The clusters of main, as an operator steers them.

    :param send: tells workers.
    """

    def __init__(
        self,
        clusters: ClusterManager,
        live: Gathering,
        clock: IReactorTime,
        send: Callable[[ToWorker], object],
    ) -> None:
        self._clusters = clusters
        self._live = live
        self._clock = clock
        self._send = send

    def drain_host(self, cluster: str, address: str, drained: bool) -> int:
        """Give a host no new connections from now on, or some again; those it has stay.

        :return: how many hosts of the cluster have this address.
        :raise NotThere: where there is no such cluster, or no such host.
        :raise NotPossible: where connections name the hosts.
        """
        entry = self._entry(cluster)
        if entry.hosts_are_named:
            raise NotPossible(f"connections name the hosts of cluster {cluster} themselves")
        changed = entry.membership.set_drained(address, drained)
        if not changed:
            known = (str(host.spec.address) for host in entry.membership.hosts.values())
            short = address[:LONGEST]
            raise NotThere(f"cluster {cluster} has no host {short}{_near(short, known)}")
        return changed

    def rebalance(self, cluster: str, percent: int) -> Deferred[int]:
        """Close the oldest connections of a cluster gently; how many these are.

        :raise NotThere: where there is no such cluster.
        """
        self._entry(cluster)
        return self._live.close((FieldFilter("cluster", cluster),), percent, gently=True)

    def pause(self, cluster: str, seconds: float) -> None:
        """Hold new connections to a cluster for so long, or no more.

        :raise NotThere: where there is no such cluster.
        """
        entry = self._entry(cluster)
        entry.paused_until = self._clock.seconds() + seconds
        self._send(PauseCluster(entry.number, seconds))

    def _entry(self, name: str) -> ClusterEntry:
        entry = self._clusters.get(name)
        if entry is None:
            known = (each.name for each in self._clusters.messages())
            short = name[:LONGEST]
            raise NotThere(f"there is no cluster {short}{_near(short, known)}")
        return entry


def _near(name: str, known: Iterable[str]) -> str:
    """The names that somebody may have meant: of those that are a little alike, for to compare with
    all would take too long.
    """
    begin = name[:2].lower()
    candidates = (
        each for each in known if name in each or each in name or each.lower().startswith(begin)
    )
    alike = get_close_matches(name, islice(candidates, CANDIDATES), 3)
    return f"; did you mean {' or '.join(alike)}?" if alike else ""
