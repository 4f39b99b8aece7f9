"""The first of many things in an order, without holding them all.

A list that is sorted and cut whenever it has grown by a bit costs a comparison for each thing that
does not belong in it, and never has to be sorted at length in one go.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

Thing = TypeVar("Thing")

SPARE = 512
"""Things beyond the limit that may be there until they are sorted out."""


class Best(Generic[Thing]):
    """Keeps the first `limit` things by their keys.

    Keys of one kind; `None` comes after all others.  Among equals the one with the smaller number
    comes first.

    :param descending: whether large keys come first.
    """

    def __init__(self, limit: int, descending: bool = False) -> None:
        self._limit = limit
        self._descending = descending
        self._things: list[tuple[Any, int, Thing]] = []
        self._unknown: list[tuple[Any, int, Thing]] = []
        self._worst: Any = None

    def __len__(self) -> int:
        """How many it holds."""
        return len(self._things) + len(self._unknown)

    def add(self, key: Any, number: int, thing: Thing) -> None:
        """One more."""
        if key is None:
            if len(self._unknown) < self._limit:
                self._unknown.append((key, number, thing))
            return
        worst = self._worst
        if worst is not None and (key < worst if self._descending else key > worst):
            return
        self._things.append((key, number, thing))
        if len(self._things) >= self._limit + SPARE:
            self._cut()

    def _cut(self) -> None:
        things = self._things
        things.sort(key=_number)
        things.sort(key=_key, reverse=self._descending)
        del things[self._limit :]
        if len(things) == self._limit:
            self._worst = things[-1][0]

    def things(self) -> list[Thing]:
        """The first ones, in order."""
        self._cut()
        self._unknown.sort(key=_number)
        kept = [*self._things, *self._unknown][: self._limit]
        return [thing for _, _, thing in kept]


def _key(entry: tuple[Any, int, Any]) -> Any:
    return entry[0]


def _number(entry: tuple[Any, int, Any]) -> int:
    return entry[1]
