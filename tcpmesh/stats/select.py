"""Which statistics a reader wants: the parameters that `/stats` and `/stats/prometheus` have in
common.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from heapq import merge
from operator import attrgetter
from typing import TypeVar

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
        return self.pattern is None or self.pattern.search(stat.name) != self.invert


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

    def counters(self) -> Iterator[Counter | None]:
        """Counters."""
        return (
            self._wanted(self._store.counters()) if Kind.COUNTERS in self._query.kinds else iter(())
        )

    def gauges(self) -> Iterator[Gauge | None]:
        """Gauges."""
        return self._wanted(self._store.gauges()) if Kind.GAUGES in self._query.kinds else iter(())

    def numbers(self) -> Iterator[Counter | Gauge | None]:
        """Counters and gauges together."""
        kinds = self._query.kinds
        counters = self._store.counters() if Kind.COUNTERS in kinds else ()
        gauges = self._store.gauges() if Kind.GAUGES in kinds else ()
        both: Iterator[Counter | Gauge] = merge(counters, gauges, key=attrgetter("name"))
        return self._wanted(both)

    def rows(self, *only: Kind) -> Iterator[list[Row]]:
        """Names and numbers of counters and gauges together, or of one of the two, some dozen at a
        time; a list may be empty.
        """
        kinds = self._query.kinds.intersection(only or Kind)
        if self._query.wants_all:
            yield from self._store.numbers(Kind.COUNTERS in kinds, Kind.GAUGES in kinds)
            return
        counters = self._store.counters() if Kind.COUNTERS in kinds else ()
        gauges = self._store.gauges() if Kind.GAUGES in kinds else ()
        both: Iterator[Counter | Gauge] = merge(counters, gauges, key=attrgetter("name"))
        for stat in self._wanted(both):
            yield [(stat.name, stat.tally)] if stat is not None else []

    def histograms(self) -> Iterator[Histogram | None]:
        """Histograms."""
        return (
            self._wanted(self._store.histograms())
            if Kind.HISTOGRAMS in self._query.kinds
            else iter(())
        )

    def text_readouts(self) -> Iterator[TextReadout | None]:
        """Text readouts."""
        return (
            self._wanted(self._store.text_readouts())
            if Kind.TEXT_READOUTS in self._query.kinds
            else iter(())
        )

    def _wanted(self, stats: Iterator[Found]) -> Iterator[Found | None]:
        if self._query.wants_all:
            yield from stats
            return
        wants, pattern = self._query.wants, self._query.pattern
        cost = ONE_NAME + (pattern.steps if pattern is not None else 0)
        left = STEPS
        for stat in stats:
            left -= cost
            if left < 0:
                left = STEPS
                yield None
            if wants(stat):
                yield stat
