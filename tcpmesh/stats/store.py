"""The numbers a proxy is run by: counters, gauges, histograms and text readouts, under Envoy's
names.

Whoever moves a number holds the object itself and adds to it, so counting costs one attribute; the
store is only asked when a listener or cluster comes or goes and when somebody reads.  What is
dearer than an addition is left for the reader: histograms fold their values into bins when they are
merged, and collectors, which the store calls before each read, bring in what is counted elsewhere
(the bytes of a connection that is still open, for example).

Names belong to scopes.  A listener or a cluster opens one, and closing it drops its statistics,
unless another scope (the replacement of a listener that still drains) holds the same names: then
they live on, with their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from heapq import merge
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeAlias, TypeVar

from tcpmesh.stats.metrics import Counter, Gauge, Histogram, Merge, TextReadout
from tcpmesh.stats.tags import Tagger

SORT_STEP = 5000
"""Statistics put in order at one step: some milliseconds."""


def sanitize(name: str) -> str:
    """A name as a part of statistics' names: `:` becomes `_`, since Envoy keeps it for separators
    of its own.
    """
    return name.replace(":", "_")


_NAME = attrgetter("name")

Collector: TypeAlias = "Callable[[], Iterator[None] | None]"

AnyStat: TypeAlias = "Counter | Gauge | Histogram | TextReadout"
Stat = TypeVar("Stat", Counter, Gauge, Histogram, TextReadout)


@dataclass(frozen=True)
class Declaration:
    """Names that a scope shows, at 0, though nothing moves them yet.

    Envoy has over a hundred statistics for each cluster, most of them for HTTP or for features a
    configuration does not use.  A declared name costs nothing until somebody asks the scope for it.
    """

    counters: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    histograms: tuple[str, ...] = ()
    text_readouts: tuple[str, ...] = ()


Declared: TypeAlias = tuple[str, tuple[Declaration, ...]]
"""A prefix, and what is declared below it."""


class _Family(Generic[Stat]):
    """All statistics of one kind.  `make` makes one of this name, that is only to be shown if need
    be.
    """

    def __init__(self, kind: str, make: Callable[[str], Stat]) -> None:
        self.kind = kind
        self.made: dict[str, Stat] = {}
        self._make: Callable[[str], Stat] = make
        self._by_name: list[Stat] | None = None
        self._changes = 0

    def obtain(self, name: str, make: Callable[[str], Stat] | None = None) -> Stat:
        """The statistic of this name; where there is none, `make` makes it, if given."""
        stat = self.made.get(name)
        if stat is None:
            stat = self.made[name] = (make or self._make)(name)
            self._changed()
        return stat

    def drop(self, stat: Stat) -> None:
        """Forget a statistic that nobody holds any more."""
        del self.made[stat.name]
        self._changed()

    def _changed(self) -> None:
        self._by_name = None
        self._changes += 1

    def sort(self) -> Iterator[None]:
        """Sort in steps, so that `in_order` need not do it at once; in vain where names come or go
        meanwhile.
        """
        if self._by_name is not None:
            return
        changes, unsorted, runs = self._changes, list(self.made.values()), []
        for start in range(0, len(unsorted), SORT_STEP):
            runs.append(sorted(unsorted[start : start + SORT_STEP], key=_NAME))
            yield
        found: list[Stat] = []
        for stat in merge(*runs, key=_NAME):
            found.append(stat)
            if len(found) % SORT_STEP == 0:
                yield
        if self._changes == changes:
            self._by_name = found

    def in_order(self, declared: Sequence[Declared]) -> Iterator[Stat]:
        """All by name, with those that are only declared."""
        if self._by_name is None:
            self._by_name = sorted(self.made.values(), key=_NAME)
        if not declared:
            return iter(self._by_name)
        return merge(self._by_name, self._only_declared(declared), key=_NAME)

    def _only_declared(self, declared: Sequence[Declared]) -> Iterator[Stat]:
        for prefix, declarations in declared:
            for name in _declared_names(self.kind, declarations):
                if prefix + name not in self.made:
                    yield self._make(prefix + name)


@lru_cache(maxsize=256)
def _declared_names(kind: str, declared: tuple[Declaration, ...]) -> list[str]:
    """The names of a kind that any of these declares, in order: tens of thousands of scopes declare
    the same.
    """
    return sorted({name for each in declared for name in getattr(each, kind)})


class Scope:
    """Makes statistics whose names begin with a prefix, and drops them all when it is closed."""

    __slots__ = ("_children", "_held", "_parent", "_store", "prefix")

    def __init__(self, store: Store, prefix: str, parent: Scope | None = None) -> None:
        self.prefix = prefix
        self._store = store
        self._parent = parent
        self._children: set[Scope] = set()
        self._held: dict[AnyStat, _Family[Any]] = {}

    def counter(self, name: str) -> Counter:
        """The counter of this name below the prefix; the same one each time."""
        return self._hold(self._store._counters, name)

    def gauge(self, name: str, merge: Merge) -> Gauge:
        """The gauge of this name below the prefix; the same one each time, to be merged with those
        of other processes as was said first.
        """
        return self._hold(self._store._gauges, name, _MAKE_GAUGE[merge])

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram of this name below the prefix; the same one each time, in the unit it was
        last given.
        """
        histogram = self._hold(self._store._histograms, name)
        histogram.unit = unit
        return histogram

    def text_readout(self, name: str) -> TextReadout:
        """The text readout of this name below the prefix; the same one each time."""
        return self._hold(self._store._text_readouts, name)

    def declare(self, names: Declaration) -> None:
        """Show these names, at 0, until they are made."""
        self._store._declare(self, names)

    def scope(self, prefix: str) -> Scope:
        """A scope below this one, closed with it at the latest.  A dot is put at the end of the
        prefix if it has none.
        """
        child = Scope(self._store, self.prefix + _dotted(prefix), self)
        self._children.add(child)
        return child

    def close(self) -> None:
        """Let go of all names below; those that no other open scope holds are dropped."""
        for child in tuple(self._children):
            child.close()
        if self._parent is not None:
            self._parent._children.discard(self)
        self._store._forget_declared(self)
        held, self._held = self._held, {}
        for stat, family in held.items():
            stat.holders -= 1
            if not stat.holders:
                family.drop(stat)

    def _hold(
        self, family: _Family[Stat], name: str, make: Callable[[str], Stat] | None = None
    ) -> Stat:
        stat = family.obtain(self.prefix + name, make)
        if stat not in self._held:
            self._held[stat] = family
            stat.holders += 1
        return stat


_MAKE_GAUGE = {merge: partial(Gauge, merge=merge) for merge in Merge}


def _dotted(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith(".") else prefix + "."


class Store:
    """All statistics of one process.  `tagger` is what finds the tags in their names."""

    def __init__(self, tagger: Tagger | None = None) -> None:
        self.tagger = Tagger() if tagger is None else tagger
        self._counters = _Family("counters", Counter)
        self._gauges = _Family("gauges", _MAKE_GAUGE[Merge.MAIN])
        self._histograms = _Family("histograms", Histogram)
        self._text_readouts = _Family("text_readouts", TextReadout)
        self._declarations: dict[Scope, list[Declaration]] = {}
        self._by_prefix: tuple[Declared, ...] | None = None
        self._collectors: dict[Collector, None] = {}
        self._root = Scope(self, "")

    def counter(self, name: str) -> Counter:
        """The counter of this name, kept as long as the store."""
        return self._root.counter(name)

    def gauge(self, name: str, merge: Merge) -> Gauge:
        """The gauge of this name, kept as long as the store."""
        return self._root.gauge(name, merge)

    def histogram(self, name: str, unit: str = "ms") -> Histogram:
        """The histogram of this name, kept as long as the store, in the unit it was last given."""
        return self._root.histogram(name, unit)

    def text_readout(self, name: str) -> TextReadout:
        """The text readout of this name, kept as long as the store."""
        return self._root.text_readout(name)

    def declare(self, names: Declaration) -> None:
        """Show these names, at 0, until they are made."""
        self._root.declare(names)

    def scope(self, prefix: str) -> Scope:
        """A scope of its own; it has to be closed.  A dot is put at the end of the prefix if it has
        none.
        """
        return self._root.scope(prefix)

    def add_collector(self, collect: Collector) -> None:
        """Call this at the beginning of each `collect`, to bring in what is counted elsewhere.

        One that has much to do returns an iterator, and does a part of it at each of its steps.
        """
        self._collectors[collect] = None

    def remove_collector(self, collect: Collector) -> None:
        """Do not call this any more.  Raises `KeyError` where it was not added.  Cheap, for there
        may be one a connection.
        """
        del self._collectors[collect]

    def collect(self) -> None:
        """Bring all values up to date.  To be called before values are read."""
        for _ in self.collecting():
            pass

    def collecting(self) -> Iterator[None]:
        """The same in steps."""
        for collect in tuple(self._collectors):
            steps = collect()
            if steps is not None:
                yield from steps

    def merge_histograms(self) -> None:
        """End an interval of all histograms, at each flush of the statistics."""
        for histogram in self._histograms.made.values():
            histogram.merge()

    def reset_counters(self) -> None:
        """Make all counters 0, after what is counted elsewhere was brought in."""
        self.collect()
        for counter in self._counters.made.values():
            if counter.tally:
                counter.reset()

    def sort(self) -> Iterator[None]:
        """Put all names in order, in steps: what reads many statistics goes through it first."""
        self._declared()
        yield
        for family in (self._text_readouts, self._counters, self._gauges, self._histograms):
            yield from family.sort()

    def counters(self) -> Iterator[Counter]:
        """All counters by name, those only declared included."""
        return self._counters.in_order(self._declared())

    def gauges(self) -> Iterator[Gauge]:
        """All gauges by name, those only declared included."""
        return self._gauges.in_order(self._declared())

    def histograms(self) -> Iterator[Histogram]:
        """All histograms by name, those only declared included."""
        return self._histograms.in_order(self._declared())

    def text_readouts(self) -> Iterator[TextReadout]:
        """All text readouts by name, those only declared included."""
        return self._text_readouts.in_order(self._declared())

    def _declare(self, scope: Scope, names: Declaration) -> None:
        self._declarations.setdefault(scope, []).append(names)
        self._by_prefix = None

    def _forget_declared(self, scope: Scope) -> None:
        if self._declarations.pop(scope, None) is not None:
            self._by_prefix = None

    def _declared(self) -> tuple[Declared, ...]:
        """What is declared, in the order of prefixes."""
        if self._by_prefix is None:
            found: dict[str, tuple[Declaration, ...]] = {}
            for scope, declared in self._declarations.items():
                found[scope.prefix] = (*found.get(scope.prefix, ()), *declared)
            self._by_prefix = tuple(sorted(found.items(), key=itemgetter(0)))
        return self._by_prefix
