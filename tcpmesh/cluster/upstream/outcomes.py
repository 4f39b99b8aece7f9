"""What a worker sees of a host, for outlier detection: how the connections to it come out.

Main decides, and so it has to hear of every failure; but a success is the rule, and of that it
hears only where it is the first after failures.  How many there were in all is told when an
interval ends.
"""

from __future__ import annotations

from collections.abc import Callable

from tcpmesh.values.link import ConnectOutcome, Outcome


class Outcomes:
    """Those of one host: the `outlier` of a `Host`."""

    __slots__ = ("_cluster", "_failing", "_host", "_made", "_send", "_tried")

    def __init__(self, cluster: int, host: int, send: Callable[[ConnectOutcome], object]) -> None:
        self._cluster = cluster
        self._host = host
        self._send = send
        self._tried = self._made = 0
        self._failing = False

    def connect_succeeded(self) -> None:
        """A connection was made."""
        self._tried += 1
        self._made += 1
        if self._failing:
            self._failing = False
            self._send(ConnectOutcome(self._cluster, self._host, Outcome.RECOVERED))

    def connect_failed(self) -> None:
        """The host refused, cannot be reached, or did not answer in time."""
        self._tried += 1
        self._failing = True
        self._send(ConnectOutcome(self._cluster, self._host, Outcome.FAILED))

    def fails_elsewhere(self) -> None:
        """A connection has failed in another worker."""
        self._failing = True

    def take(self) -> tuple[int, int]:
        """The connections (tried, made) since this was last asked."""
        taken = self._tried, self._made
        self._tried = self._made = 0
        return taken
