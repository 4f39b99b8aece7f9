"""All statistics of one kind in a store: those that were made, and those that are only declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from tcpmesh.facts import dataclass
from tcpmesh.stats.deltas import Names
from tcpmesh.stats.metrics import Counter, Gauge, Histogram, TextReadout

SORT_STEP = 1000
"""Statistics put in order at one step: about a millisecond."""

PART = 200
"""Statistics that are looked at together: a fraction of a millisecond, also where something is sent
of each.
"""

AnyStat: TypeAlias = "Counter | Gauge | Histogram | TextReadout"
Stat = TypeVar("Stat", Counter, Gauge, Histogram, TextReadout)

_NAME = attrgetter("name")


@dataclass(frozen=True, slots=True)
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


class Family(Generic[Stat]):
    """All statistics of one kind.  `make` makes one of which only the name is known."""

    def __init__(self, kind: str, make: Callable[[str], Stat]) -> None:
        self.kind = kind
        self.made: dict[str, Stat] = {}
        self._make: Callable[[str], Stat] = make
        self._by_name: list[Stat] | None = None
        self._parts: list[list[Stat]] | None = None
        self._sorting: Iterator[None] | None = None
        self._changes = 0
        self._unseen: Stat | None = None

    def obtain(self, name: str, make: Callable[[str], Stat] | None = None) -> Stat:
        """The statistic of this name; where there is none, `make` makes it, if given."""
        stat = self.made.get(name)
        if stat is None:
            stat = self.made[name] = (make or self._make)(name)
            self._changed()
        return stat

    def unseen(self) -> Stat:
        """The one that nobody sees, for all that are not to be there: it counts, and means
        nothing.
        """
        if self._unseen is None:
            self._unseen = self._make("")
        return self._unseen

    def drop(self, stat: Stat) -> None:
        """Forget a statistic that nobody holds or shows any more."""
        del self.made[stat.name]
        self._changed()

    def _changed(self) -> None:
        self._by_name = self._parts = None
        self._changes += 1

    def parts(self) -> Iterator[list[Stat]]:
        """All that were made, a few together: whoever looks at all of them lets others have their
        turn after each part.  To take hold of them all at once would take as long as to look.
        """
        parts = self._parts
        if parts is not None:
            yield from parts
            return
        found: list[list[Stat]] = []
        changes, made = self._changes, iter(self.made.values())
        while changes == self._changes:
            part = list(islice(made, PART))
            if not part:
                self._parts = found
                return
            found.append(part)
            yield part
        # Names have come or gone meanwhile, which is rare: what is left is taken at once.
        seen = {id(stat) for part in found for stat in part}
        rest = [stat for stat in self.made.values() if id(stat) not in seen]
        yield from (rest[start : start + PART] for start in range(0, len(rest), PART))

    def sort(self) -> Iterator[None]:
        """Sort in steps, so that `in_order` need not do it at once; in vain where names come or go
        meanwhile, twice.  Where several want that at a time they do it together.
        """
        tries = 2
        while self._by_name is None and tries:
            if self._sorting is None:
                self._sorting = self._sort()
                tries -= 1
            if next(self._sorting, False) is False:
                self._sorting = None
            yield

    def _sort(self) -> Iterator[None]:
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

    def sorted(self) -> list[Stat]:
        """All that were made, by name."""
        if self._by_name is None:
            self._by_name = sorted(self.made.values(), key=_NAME)
        return self._by_name

    def in_order(self, declared: Sequence[Declared]) -> Iterator[Stat]:
        """All by name, with those that are only declared."""
        made = self.sorted()
        return merge(made, self._only_declared(declared), key=_NAME) if declared else iter(made)

    def _only_declared(self, declared: Sequence[Declared]) -> Iterator[Stat]:
        for prefix, declarations in declared:
            for name in declared_names(self.kind, declarations):
                if prefix + name not in self.made:
                    yield self._make(prefix + name)


class Families(NamedTuple):
    """The families of one store, in the order of `Names`."""

    counters: Family[Counter]
    gauges: Family[Gauge]
    histograms: Family[Histogram]
    text_readouts: Family[TextReadout]


def accepted(names: Declaration, prefix: str, accepts: Callable[[str], bool]) -> Declaration:
    """What is left of a declaration below a prefix, of the names that are accepted; the same object
    where all are.
    """
    kinds = (getattr(names, kind) for kind in Names._fields)
    left = [tuple(name for name in kind if accepts(prefix + name)) for kind in kinds]
    made = Declaration(*left)
    return names if made == names else made


@lru_cache(maxsize=256)
def declared_names(kind: str, declared: tuple[Declaration, ...]) -> list[str]:
    """The names of a kind that any of these declares, in order: tens of thousands of scopes declare
    the same.
    """
    return sorted({name for each in declared for name in getattr(each, kind)})


@lru_cache(maxsize=256)
def names_of(declared: tuple[Declaration, ...]) -> Names:
    """All names that any of these declares."""
    return Names(*(tuple(declared_names(kind, declared)) for kind in Names._fields))
