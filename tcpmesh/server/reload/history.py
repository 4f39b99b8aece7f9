"""The configurations that were served of late, of which each can be gone back to."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice

from tcpmesh.facts import dataclass
from tcpmesh.server.reload.packing import Packed
from tcpmesh.values.lifecycle.reload import Change, Configuration, NoSuchConfiguration

KEPT = 10
"""Configurations, with the one that is served."""

MOST_CHANGES = 200
"""Changes that are kept of each: more than that nobody reads."""


@dataclass(frozen=True)
class _Entry:
    told: Configuration
    packed: Packed | None


class History:
    """Those of one proxy.

    :param at: when it was started, in seconds since 1970.
    """

    def __init__(self, at: float) -> None:
        self._entries: deque[_Entry] = deque(maxlen=KEPT)
        self._entries.append(_Entry(Configuration(1, at, "start", ""), None))

    def all(self) -> tuple[Configuration, ...]:
        """The last ones, that which is served at the end."""
        return tuple(entry.told for entry in self._entries)

    @property
    def number(self) -> int:
        """Of the one that is served."""
        return self._entries[-1].told.number

    @property
    def packed(self) -> Packed | None:
        """The one that is served; `None` as long as nobody has packed it."""
        return self._entries[-1].packed

    def served_is(self, packed: Packed) -> None:
        """What the one that is served comes to."""
        told = replace(self._entries[-1].told, version=packed.version)
        self._entries[-1] = _Entry(told, packed)

    def add(self, at: float, by: str, packed: Packed, changes: tuple[Change, ...]) -> None:
        """Another one is served."""
        told = Configuration(
            number=self.number + 1,
            at=at,
            by=by,
            version=packed.version,
            changes=changes[:MOST_CHANGES],
            change_count=len(changes),
        )
        self._entries.append(_Entry(told, packed))

    def find(self, number: int | None) -> tuple[int, Packed]:
        """One to go back to; without number that before the one which is served.

        :raise NoSuchConfiguration: where it is not kept, or is served.
        """
        before = list(islice(self._entries, len(self._entries) - 1))
        if number is None and before:
            number = before[-1].told.number
        for entry in before:
            if entry.told.number == number and entry.packed is not None:
                return entry.told.number, entry.packed
        there = ", ".join(str(entry.told.number) for entry in before) or "none"
        if number is None:
            raise NoSuchConfiguration("there is no configuration to go back to")
        if number == self.number:
            raise NoSuchConfiguration(f"configuration {number} is the one that is served")
        raise NoSuchConfiguration(f"configuration {number} is not kept; there are: {there}")
