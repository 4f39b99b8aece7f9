"""Which statistics a reader wants: the parameters that `/stats` and `/stats/prometheus` have in
common.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from enum import Enum
from heapq import merge
from itertools import islice
from typing import TypeVar

from tcpmesh.facts import dataclass
from tcpmesh.stats.metrics import Counter, Gauge, Histogram, TextReadout
from tcpmesh.stats.rows import Row
from tcpmesh.stats.store import Store
from tcpmesh.wire.regex import Regex

Found = TypeVar("Found", bound="Counter | Gauge | Histogram | TextReadout")

STEPS = 7500
"""What may be done in the time of one `None`, half a millisecond, in steps of a regular
expression's program.
"""

ONE_NAME = 30
"""What a statistic costs, in the same steps, without those of the expression."""

ROWS = 100
"""Rows that are given at a time."""


class Kind(Enum):
    """The kinds of statistics, by the names that the parameter `type` has for them."""

    COUNTERS = "Counters"
    GAUGES = "Gauges"
    HISTOGRAMS = "Histograms"
    TEXT_READOUTS = "TextReadouts"


@dataclass(frozen=True)
class Query:
    """What a reader asked for; by default everything."""

    used_only: bool = False
    """Only what was ever written to."""

    pattern: Regex | None = None
    """Only what this expression is found in (anywhere in the name)."""

    invert: bool = False
    """Only what the expression is not found in."""

    kinds: frozenset[Kind] = field(default=frozenset(Kind))

    hidden_only: bool = False
    """Only what is hidden: of tcpmesh's own statistics none is."""

    @property
    def wants_all(self) -> bool:
        """Whether nothing is left out, but for kinds."""
        return not (self.used_only or self.hidden_only) and self.pattern is None

    def wants(self, stat: Counter | Gauge | Histogram | TextReadout) -> bool:
        """Whether a statistic, of whatever kind, is asked for."""
        if self.hidden_only or (self.used_only and not stat.was_used):
            return False
        return self.wants_name(stat.name)

    def wants_name(self, name: str) -> bool:
        """Whether the expression, if there is one, lets a name pass."""
        pattern = self.pattern
        if pattern is None:
            return True
        return (pattern.needed in name and pattern.search(name)) != self.invert

    @property
    def at_once(self) -> int:
        """So many statistics may be looked at in the time of one `None`."""
        steps = 0 if self.pattern is None else self.pattern.steps
        return max(STEPS // (ONE_NAME + steps), 1)


class Selection:
    """The statistics that were asked for, each kind sorted by name.

    They are found as they are read.  A `None` among them stands for a while in which nothing was
    found: whoever reads may then let others have their turn.
    """

    def __init__(self, store: Store, query: Query) -> None:
        self._store = store
        self._query = query

    def prepare(self) -> Iterator[None]:
        """To be gone through before anything is read: brings the store up to date."""
        yield from self._store.collecting()
        yield from self._store.sort()

    def rows(self, *only: Kind) -> Iterator[list[Row]]:
        """Names and numbers of counters and gauges together, or of one of the two, some dozen at a
        time; a list may be empty.
        """
        query = self._query
        kinds = query.kinds.intersection(only or Kind)
        counters, gauges = Kind.COUNTERS in kinds, Kind.GAUGES in kinds
        if query.hidden_only:
            return
        if query.used_only:
            yield from self._used_rows(counters, gauges)
        elif query.pattern is None:
            yield from self._store.numbers(counters, gauges)
        else:
            wants, most = query.wants_name, query.at_once
            for rows in self._store.numbers(counters, gauges):
                for start in range(0, len(rows), most):
                    yield [row for row in rows[start : start + most] if wants(row[0])]

    def _used_rows(self, counters: bool, gauges: bool) -> Iterator[list[Row]]:
        """What is only declared was never written to, so it need not be looked at."""
        wants, most, found = self._query.wants, self._query.at_once, []
        for numbers in self._store.made_numbers(counters, gauges):
            used: list[Row] = []
            for start in range(0, len(numbers), most):
                part = numbers[start : start + most]
                used += [(stat.name, stat.tally) for stat in part if wants(stat)]
                yield []
            found.append(used)
        both = merge(*found)
        yield from iter(lambda: list(islice(both, ROWS)), [])

    def histograms(self) -> Iterator[Histogram | None]:
        """Histograms."""
        if Kind.HISTOGRAMS not in self._query.kinds:
            return iter(())
        return self._wanted(self._store.histograms(is_declared_too=not self._query.used_only))

    def text_readouts(self) -> Iterator[TextReadout | None]:
        """Text readouts."""
        if Kind.TEXT_READOUTS not in self._query.kinds:
            return iter(())
        return self._wanted(self._store.text_readouts())

    def _wanted(self, stats: Iterator[Found]) -> Iterator[Found | None]:
        if self._query.wants_all:
            yield from stats
            return
        wants, most = self._query.wants, self._query.at_once
        while part := list(islice(stats, most)):
            yield None
            for stat in part:
                if wants(stat):
                    yield stat
