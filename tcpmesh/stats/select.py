"""Which statistics a reader wants: the parameters that `/stats` and `/stats/prometheus` have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from tcpmesh.stats.store import Counter, Gauge, Histogram, Stat, Store, TextReadout


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

    pattern: re.Pattern[str] | None = None
    """Only what this expression is found in (anywhere in the name)."""

    invert: bool = False
    """Only what the expression is not found in."""

    kinds: frozenset[Kind] = field(default=frozenset(Kind))

    def wants(self, stat: Counter | Gauge | Histogram | TextReadout) -> bool:
        """Whether a statistic, of whatever kind, is asked for."""
        if self.used_only and not stat.used:
            return False
        return self.pattern is None or (self.pattern.search(stat.name) is None) == self.invert


@dataclass(frozen=True)
class Selection:
    """The statistics that were asked for, each kind sorted by name.  They are found as they are read, once."""

    counters: Iterator[Counter]
    gauges: Iterator[Gauge]
    histograms: Iterator[Histogram]
    text_readouts: Iterator[TextReadout]


def select(store: Store, query: Query) -> Selection:
    """Bring the store up to date and take from it what is asked for."""
    store.collect()

    def pick(kind: Kind, stats: Iterator[Stat]) -> Iterator[Stat]:
        return filter(query.wants, stats) if kind in query.kinds else iter(())

    return Selection(
        pick(Kind.COUNTERS, store.counters()),
        pick(Kind.GAUGES, store.gauges()),
        pick(Kind.HISTOGRAMS, store.histograms()),
        pick(Kind.TEXT_READOUTS, store.text_readouts()),
    )
