"""The values as of now, of which any number can change at once and in no time.

A change of a few values is written over what is there.  One of many is laid over it as it is: who
looks for a key finds it there first, and what is below does not count.  So what lies above can be
brought down bit by bit, by whoever has the time, and nobody sees a difference.  A change that comes
before all is down is written over what lies above.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpmesh.values.runtime import Entry

FEW = 1000
"""Values that are written in one go."""


class Snapshot:
    """Values by their keys."""

    __slots__ = ("_above", "_below")

    def __init__(self, values: Mapping[str, Entry]) -> None:
        self._below = dict(values)
        self._above: dict[str, Entry | None] = {}
        """`None` where there is no value any more."""

    @property
    def is_empty(self) -> bool:
        """Whether there is surely no value."""
        return not self._below and not self._above

    def __len__(self) -> int:
        """Brings all down."""
        self.settle()
        return len(self._below)

    def items(self) -> tuple[tuple[str, Entry], ...]:
        """All values.  Brings all down."""
        self.settle()
        return tuple(self._below.items())

    def get(self, key: str) -> Entry | None:
        """What is under a key."""
        if self._above and key in self._above:
            return self._above[key]
        return self._below.get(key)

    def put(self, values: dict[str, Entry | None]) -> None:
        """These keys have these values now, or none; the dictionary belongs to the snapshot from
        now on.
        """
        if self._above:
            self._above.update(values)
        else:
            self._above = values
        if len(self._above) <= FEW:
            self.settle()

    def settle(self, most: int | None = None) -> bool:
        """Bring down so many of the values above, or all.

        :return: whether there are more.
        """
        above, below = self._above, self._below
        for _ in range(len(above) if most is None else min(most, len(above))):
            key, entry = above.popitem()
            if entry is None:
                below.pop(key, None)
            else:
                below[key] = entry
        return bool(above)
