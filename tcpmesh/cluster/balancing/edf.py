"""Turns by weight: Envoy's earliest-deadline-first schedule, which is exact over every cycle.

Each item is due again 1/weight after it was picked, and the next pick is the item that is due
first.  So an item of weight 3 comes three times while one of weight 1 comes once, spread out and
not in a row, and after as many picks as the weights add up to, each item was picked as many times
as its weight says.  A pick costs O(log n).

Envoy keeps the time as a floating-point number.  Here it is an integer that counts parts of a unit
which every weight up to 128 divides, so deadlines that should be equal are, and the shares stay
exact however long the schedule runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heapreplace
from math import lcm
from random import Random
from typing import Generic, TypeVar

Item = TypeVar("Item")

UNIT = lcm(*range(1, 129))
"""How many parts the time between two picks of an item of weight 1 has."""


class EdfScheduler(Generic[Item]):
    """Items with their weights, which are positive.

    It begins at a random place in its cycle, so that many proxies do not march in step.  Of items
    due at the same time the one goes first that has waited longer.
    """

    def __init__(
        self, items: Iterable[Item], weight: Callable[[Item], float], random: Random
    ) -> None:
        self._weight = weight
        weights = [(item, weight(item)) for item in items]
        first, start = _place(weights, random) if weights else (0, 0)
        waiting = []
        for number, (item, value) in enumerate(weights):
            period = _period(value)
            due = -(-start // period) * period
            waiting.append((due - period, number, due, item))
        # An item that was picked long ago stands before those picked lately.
        waiting.sort(key=lambda each: each[:2])
        self._heap = [(due, place, item) for place, (_, _, due, item) in enumerate(waiting)]
        self._entered = len(waiting)
        heapify(self._heap)
        if weights:
            while self._heap[0][2] is not weights[first][0]:
                self.pick()

    def pick(self) -> Item:
        """The next item; its weight of now decides when it is due again.

        :raise IndexError: where there is none.
        """
        due, _, item = self._heap[0]
        self._entered += 1
        heapreplace(self._heap, (due + _period(self._weight(item)), self._entered, item))
        return item


def _place(weights: list[tuple[Item, float]], random: Random) -> tuple[int, int]:
    """Any of the turns of a cycle: the number of an item, and when it is due."""
    first = random.choices(range(len(weights)), [weight for _, weight in weights])[0]
    weight = weights[first][1]
    return first, random.randint(1, max(1, int(weight))) * _period(weight)


def _period(weight: float) -> int:
    """Parts of the unit between two picks of an item of this weight."""
    return UNIT // weight if isinstance(weight, int) else int(UNIT / weight)
