"""Scopes: who has which names, and for how long.

A listener or a cluster opens a scope, and closing it drops its statistics, unless another scope of
the same prefix (the replacement of a listener that still drains, another worker) holds or declares
the same names: then they live on, with their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import itemgetter
from typing import Any

from tcpmesh.stats.deltas import Names
from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.family import (
    AnyStat,
    Declaration,
    Declared,
    Families,
    Family,
    Stat,
    accepted,
    names_of,
)
from tcpmesh.stats.lookups import Lookups
from tcpmesh.stats.metrics import (
    MAKE_GAUGE,
    Counter,
    Gauge,
    Histogram,
    Merge,
    TextReadout,
    growth,
)


class Scope:
    """Makes statistics whose names begin with a prefix, and drops them all when it is closed."""

    __slots__ = ("_accepts", "_children", "_parent", "_scopes", "declared", "held", "prefix")

    def __init__(
        self,
        scopes: Scopes,
        prefix: str,
        parent: Scope | None = None,
        accepts: Callable[[str], bool] | None = None,
    ) -> None:
        self.prefix = prefix
        self._accepts = accepts
        self._scopes = scopes
        self._parent = parent
        self._children: set[Scope] = set()
        self.held: dict[AnyStat, Family[Any]] = {}
        """What was asked of it."""
        self.declared: tuple[Declaration, ...] = ()
        scopes.opened(self)

    def counter(self, name: str) -> Counter:
        """The counter of this name below the prefix; the same one each time."""
        return self._hold(self._scopes.families.counters, name)

    def has_counter(self, name: str) -> bool:
        """Whether the counter of this name below the prefix was made, also by another scope."""
        return self.prefix + name in self._scopes.families.counters.made

    def gauge(self, name: str, merge: Merge) -> Gauge:
        """The gauge of this name below the prefix; the same one each time, to be merged with those
        of other processes as was said first.
        """
        return self._hold(self._scopes.families.gauges, name, MAKE_GAUGE[merge])

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram of this name below the prefix; the same one each time, in the unit it was
        last given.
        """
        histogram = self._hold(self._scopes.families.histograms, name)
        histogram.unit = unit
        return histogram

    def text_readout(self, name: str) -> TextReadout:
        """The text readout of this name below the prefix; the same one each time."""
        return self._hold(self._scopes.families.text_readouts, name)

    def declare(self, names: Declaration) -> None:
        """Show these names, at 0, until they are made."""
        if self._accepts is not None:
            names = accepted(names, self.prefix, self._accepts)
        self.declared = (*self.declared, names)
        self._scopes.renamed(self.prefix)

    def scope(self, prefix: str) -> Scope:
        """A scope below this one, closed with it at the latest.  A dot is put at the end of the
        prefix if it has none.
        """
        child = Scope(self._scopes, self.prefix + _dotted(prefix), self, self._accepts)
        self._children.add(child)
        return child

    def close(self) -> None:
        """Let go of all names below; those that no other open scope has are dropped."""
        for child in tuple(self._children):
            child.close()
        if self._parent is not None:
            self._parent._children.discard(self)
        held, self.held = self.held, {}
        declared, self.declared = self.declared, ()
        self._scopes.closed(self, held, declared)

    def _hold(
        self, family: Family[Stat], name: str, make: Callable[[str], Stat] | None = None
    ) -> Stat:
        name = self.prefix + name
        if self._accepts is not None and not self._accepts(name):
            return family.unseen()
        self._scopes.lookups.add(name)
        stat = family.obtain(name, make)
        if stat not in self.held:
            self.held[stat] = family
            stat.holders += 1
            self._scopes.renamed(self.prefix)
        return stat


def _dotted(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith(".") else prefix + "."


class Unsent:
    """What `deltas` would not find any more in what there is: kept from its first call on."""

    def __init__(self) -> None:
        self.renamed: dict[str, None] = {}
        """Prefixes where names have come or gone."""
        self.growth: dict[str, int] = {}
        """Of counters that were dropped."""
        self.intervals: dict[str, tuple[str, Distribution]] = {}
        """Of histograms, by names: unit and values."""

    def keep_growth(self, counter: Counter) -> None:
        """A counter is dropped."""
        for name, amount in growth((counter,)).items():
            self.growth[name] = self.growth.get(name, 0) + amount

    def keep_interval(self, histogram: Histogram) -> None:
        """An interval of a histogram has ended, in which it was given something."""
        known = self.intervals.get(histogram.name)
        kept = known[1] if known is not None else Distribution(histogram.kept)
        kept.merge(histogram.last_interval)
        self.intervals[histogram.name] = histogram.unit, kept


class Scopes:
    """All scopes that are open, and the statistics that they have made.

    :param dropped: told the name of each statistic that is no more.
    """

    def __init__(
        self,
        bounds_of: Callable[[str], tuple[float, ...] | None] | None = None,
        dropped: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._bounds_of = bounds_of
        self._dropped = dropped
        self.families = Families(
            Family("counters", Counter),
            Family("gauges", MAKE_GAUGE[Merge.MAIN]),
            Family("histograms", self._make_histogram),
            Family("text_readouts", TextReadout),
        )
        self.unsent: Unsent | None = None
        self.lookups = Lookups()
        self.kept_values = 0
        """How many values of an interval histograms keep as they are."""
        self._at: dict[str, dict[Scope, None]] = {}
        """Those at each prefix, in the order in which they were opened: there may be thousands."""
        self._declared: tuple[Declared, ...] | None = None

    def _make_histogram(self, name: str) -> Histogram:
        histogram = Histogram(name)
        histogram.kept = self.kept_values
        if self._bounds_of is not None:
            histogram.bounds = self._bounds_of(name) or histogram.bounds
        return histogram

    def opened(self, scope: Scope) -> None:
        """There is a scope more."""
        self._at.setdefault(scope.prefix, {})[scope] = None

    def renamed(self, prefix: str) -> None:
        """A scope at this prefix has a name more."""
        self._declared = None
        if self.unsent is not None:
            self.unsent.renamed[prefix] = None

    def closed(
        self,
        scope: Scope,
        held: dict[AnyStat, Family[Any]],
        declared: tuple[Declaration, ...],
    ) -> None:
        """A scope that had all this has closed."""
        prefix = scope.prefix
        others = self._at.get(prefix, {})
        if scope not in others:
            return
        del others[scope]
        if not others:
            del self._at[prefix]
        if held or declared:
            self.renamed(prefix)
        unheld: list[tuple[Any, Family[Any]]] = []
        for stat, family in held.items():
            stat.holders -= 1
            unheld.append((stat, family))
        families: tuple[Family[Any], ...] = self.families
        for family, names in zip(families, names_of(declared), strict=True):
            made = [family.made[prefix + name] for name in names if prefix + name in family.made]
            unheld += [(stat, family) for stat in made if stat not in held]
        for stat, family in unheld:
            if not stat.holders and not _declares(others, family.kind, stat.name[len(prefix) :]):
                self._drop(stat, family)

    def _drop(self, stat: Any, family: Family[Any]) -> None:
        family.drop(stat)
        self._dropped(stat.name)
        if self.unsent is not None:
            if isinstance(stat, Counter):
                self.unsent.keep_growth(stat)
            elif isinstance(stat, Histogram) and stat.merge():
                self.unsent.keep_interval(stat)

    def shows(self, kind: str, full: str) -> bool:
        """Whether a scope declares this name, wherever its prefix ends."""
        end = len(full)
        while end >= 0:
            end = full.rfind(".", 0, end)
            prefix = full[: end + 1]
            if _declares(self._at.get(prefix, ()), kind, full[end + 1 :]):
                return True
        return False

    def prefixes(self) -> list[str]:
        """All prefixes with a scope."""
        return list(self._at)

    def names(self, prefix: str) -> Names:
        """All names that scopes at a prefix have."""
        held: tuple[dict[str, None], ...] = ({}, {}, {}, {})
        declared: tuple[Declaration, ...] = ()
        start = len(prefix)
        for scope in self._at.get(prefix, ()):
            declared += scope.declared
            for stat, family in scope.held.items():
                held[_PLACES[family.kind]][stat.name[start:]] = None
        return _together(Names(*map(tuple, held)), declared)

    def declared(self) -> tuple[Declared, ...]:
        """What is declared, in the order of prefixes."""
        if self._declared is None:
            found = []
            for prefix, scopes in self._at.items():
                declared = tuple(names for scope in scopes for names in scope.declared)
                if declared:
                    found.append((prefix, declared))
            self._declared = tuple(sorted(found, key=itemgetter(0)))
        return self._declared


_PLACES = {kind: place for place, kind in enumerate(Names._fields)}


def _declares(scopes: Iterable[Scope], kind: str, name: str) -> bool:
    for scope in scopes:
        for declared in scope.declared:
            if name in getattr(declared, kind):
                return True
    return False


@lru_cache(maxsize=1024)
def _together(held: Names, declared: tuple[Declaration, ...]) -> Names:
    """Both; equal arguments give one object."""
    pairs = zip(held, names_of(declared), strict=True)
    return Names(*(tuple(dict.fromkeys((*one, *other))) for one, other in pairs))
