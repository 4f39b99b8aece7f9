"""Which names of statistics were asked for, and how often: `/stats/recentlookups`.

Envoy has this to find code that looks names up while it serves; whoever counts should hold the
object.  Here a name is looked up when a listener, a cluster or an endpoint comes, and most of a
cluster's when it has its first connection.
"""

from __future__ import annotations

from collections import Counter, deque

CAPACITY = 100
"""Lookups that are remembered."""


class Lookups:
    """The last ones, if that is on, and how many there were in any case."""

    def __init__(self) -> None:
        self.count = 0
        self.is_enabled = False
        self._recent: deque[str] = deque(maxlen=CAPACITY)

    def add(self, name: str) -> None:
        """A name is looked up."""
        self.count += 1
        if self.is_enabled:
            self._recent.append(name)

    def enable(self) -> None:
        """Remember names from now on."""
        self.is_enabled = True

    def disable(self) -> None:
        """Remember none, and forget those that were."""
        self.is_enabled = False
        self._recent.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.count = 0
        self._recent.clear()

    def rows(self) -> list[tuple[int, str]]:
        """How often each of the last names was looked up, the most frequent ones first."""
        return [(count, name) for name, count in Counter(self._recent).most_common()]
