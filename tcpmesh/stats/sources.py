"""What other processes count, in the store of the process that shows it: main's, with what its
workers send, and that of a process that takes over, with what its predecessor sends.

Growth is simply added.  Of gauges each source's own part is kept, so that the parts can be summed
or compared whichever of them changes, and taken back when a source is no more.  Names live as long
as any source shows them, or this process has them itself; for each prefix of a source there is a
scope that holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Protocol, TypeVar

from tcpmesh.stats.deltas import Deltas, GaugeValue, Interval, Names
from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.family import Declaration, Families
from tcpmesh.stats.metrics import MAKE_GAUGE, Merge

_NONE = Names()

NO_GROWTH: Mapping[str, int] = {}


PART = 250
"""Numbers that are taken in at one step: a millisecond or two."""

PREFIXES = 10
"""The same of prefixes, of which each has a hundred names and more."""

Item = TypeVar("Item")


class Shown(Protocol):
    """A scope, as it is needed here."""

    def declare(self, names: Declaration) -> None:
        """Show these names."""

    def close(self) -> None:
        """Show them no more."""


class Source:
    """One process, and what it has told."""

    def __init__(self, is_predecessor: bool) -> None:
        self.is_predecessor = is_predecessor
        self.shown: dict[str, tuple[Names, Shown]] = {}
        self.gauges: dict[str, int] = {}
        self.texts: dict[str, str] = {}


class Sources:
    """All of them, by any names that are strings.

    :param families: the statistics of the store.
    :param scope: opens a scope of the store, at a prefix.
    :param shows: whether the store shows a statistic, which may not be made yet, by its kind and
        full name.
    """

    def __init__(
        self,
        families: Families,
        scope: Callable[[str], Shown],
        shows: Callable[[str, str], bool],
    ) -> None:
        self._families = families
        self._scope = scope
        self._shows = shows
        self._sources: dict[str, Source] = {}

    def merging(
        self, deltas: Deltas, name: str, is_predecessor: bool, told: Mapping[str, int] = NO_GROWTH
    ) -> Iterator[None]:
        """A source has told this: take it in, in steps.  What it tells of names that nobody shows
        is left out: they were given up meanwhile.  What was counted last under a name that goes is
        taken in before it does.
        """
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = Source(is_predecessor)
        new: list[tuple[str, int]] = []
        for counters in _parts(deltas.counters.items()):
            new += self._add_growth(counters, told)
            yield
        if deltas.is_whole:
            yield from self._taking_back(source)
            for prefix in source.shown.keys() - deltas.shown.keys():
                self._show(source, prefix, _NONE)
                yield
        for prefixes in _parts(deltas.shown.items(), PREFIXES):
            for prefix, names in prefixes:
                self._show(source, prefix, names)
            yield
        for counters in _parts(new):
            self._add_growth(counters, told)
            yield
        for intervals in _parts(deltas.histograms.items()):
            self._add_values(intervals)
            yield
        for gauges in _parts(deltas.gauges.items()):
            self._tell_gauges(source, gauges)
            yield
        for full, text in deltas.text_readouts.items():
            if self._has("text_readouts", full):
                self._families.text_readouts.obtain(full)
                source.texts[full] = text
                self._merge_text(full)

    def withdrawing(self, name: str) -> Iterator[None]:
        """A source is no more, and counts nothing at this moment; what it has counted stays."""
        source = self._sources.get(name)
        if source is not None:
            yield from self._taking_back(source)

    def _taking_back(self, source: Source) -> Iterator[None]:
        """It counts nothing at this moment: found out in steps."""
        for gauges in _parts((*source.gauges,)):
            self._take_back(source, gauges, ())
            yield
        self._take_back(source, (), (*source.texts,))

    def forgetting(self, name: str) -> Iterator[None]:
        """The same, and no other comes in its place: names that only it had are gone."""
        yield from self.withdrawing(name)
        source = self._sources.pop(name, None)
        if source is not None:
            for _, scope in source.shown.values():
                scope.close()
                yield

    def _show(self, source: Source, prefix: str, names: Names) -> None:
        """These are a source's names at a prefix now.  Those that stay are shown without a gap."""
        before = source.shown.pop(prefix, None)
        if any(names):
            scope = self._scope(prefix)
            scope.declare(Declaration(*names))
            source.shown[prefix] = names, scope
        if before is not None:
            gone = [set(old).difference(new) for old, new in zip(before[0], names, strict=True)]
            _, gauges, _, texts = ([prefix + name for name in kind] for kind in gone)
            self._take_back(source, gauges, texts)
            before[1].close()

    def _has(self, kind: str, full: str) -> bool:
        return full in getattr(self._families, kind).made or self._shows(kind, full)

    def _add_growth(
        self, counters: list[tuple[str, int]], told: Mapping[str, int]
    ) -> list[tuple[str, int]]:
        """Those that nobody shows are given back."""
        family, left = self._families.counters, []
        for full, growth in counters:
            if self._has("counters", full):
                family.obtain(full).take_over(growth, told.get(full, 0))
            else:
                left.append((full, growth))
        return left

    def _add_values(self, intervals: list[tuple[str, Interval]]) -> None:
        family = self._families.histograms
        for full, interval in intervals:
            if self._has("histograms", full):
                histogram = family.obtain(full)
                histogram.unit = interval.unit
                histogram.absorb(Distribution.of(interval.bins, interval.sum, interval.values))

    def _tell_gauges(self, source: Source, gauges: list[tuple[str, GaugeValue]]) -> None:
        family = self._families.gauges
        for full, (merge, value) in gauges:
            if merge is Merge.MAIN or (source.is_predecessor and merge is not Merge.SUM):
                continue
            if self._has("gauges", full):
                family.obtain(full, MAKE_GAUGE[merge])
                source.gauges[full] = value
                self._merge_gauge(full)

    def _merge_gauge(self, full: str) -> None:
        gauge = self._families.gauges.made.get(full)
        if gauge is not None:
            parts = [each.gauges[full] for each in self._sources.values() if full in each.gauges]
            gauge.set_others(sum(parts) if gauge.merge is Merge.SUM else max(parts, default=0))

    def _merge_text(self, full: str) -> None:
        """Of several sources the first by name is shown."""
        readout = self._families.text_readouts.made.get(full)
        if readout is not None:
            parts = [
                (name, each.texts[full])
                for name, each in self._sources.items()
                if full in each.texts
            ]
            readout.set_others(min(parts)[1] if parts else "")

    def _take_back(self, source: Source, gauges: Iterable[str], texts: Iterable[str]) -> None:
        for full in gauges:
            if source.gauges.pop(full, None) is not None:
                self._merge_gauge(full)
        for full in texts:
            if source.texts.pop(full, None) is not None:
                self._merge_text(full)


def _parts(items: Iterable[Item], most: int = PART) -> Iterator[list[Item]]:
    left = iter(items)
    while part := list(islice(left, most)):
        yield part
