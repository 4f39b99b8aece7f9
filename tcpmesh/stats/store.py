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

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from copy import copy
from typing import TypeAlias

from tcpmesh.stats.deltas import Deltas, GaugeValue, Interval, Names
from tcpmesh.stats.family import AnyStat, Declaration, Declared
from tcpmesh.stats.metrics import (
    KEPT_LIMIT,
    Counter,
    Gauge,
    Histogram,
    Merge,
    TextReadout,
    growth,
    moved,
    news,
)
from tcpmesh.stats.rows import Numbers, Row, rows
from tcpmesh.stats.scope import Scope, Scopes, Unsent
from tcpmesh.stats.snapshot import Snapshot
from tcpmesh.stats.sources import NO_GROWTH, Sources
from tcpmesh.stats.tags import Tagger

__all__ = ["AnyStat", "Declaration", "Scope", "Store", "sanitize"]

Accepts: TypeAlias = "Callable[[str], bool]"
"""Whether there is to be a statistic of this full name."""

BoundsOf: TypeAlias = "Callable[[str], tuple[float, ...] | None]"
"""The buckets of a histogram by its full name; `None` for the default ones."""

Collector: TypeAlias = "Callable[[], Iterator[None] | None]"

NAMES_STEP = 100
"""Prefixes whose names are told in one step, of a hundred names each: a millisecond or two."""

COLLECT_STEP = 256
"""Collectors that are called at one step."""


def sanitize(name: str) -> str:
    """A name as a part of statistics' names: `:` becomes `_`, since Envoy keeps it for separators
    of its own.
    """
    return name.replace(":", "_")


class Store:
    """All statistics of one process.

    :param tagger: what finds the tags in their names.
    :param accepts: which names there are to be; whoever wants another one gets a statistic that
        nobody sees.
    :param bounds_of: finds the buckets of histograms.
    """

    def __init__(
        self,
        tagger: Tagger | None = None,
        accepts: Accepts | None = None,
        bounds_of: BoundsOf | None = None,
    ) -> None:
        self.tagger = Tagger() if tagger is None else tagger
        self._scopes = Scopes(bounds_of, self.tagger.forget)
        self._families = self._scopes.families
        self.lookups = self._scopes.lookups
        """Which names were asked for."""
        self._collectors: dict[Collector, None] = {}
        self._root = Scope(self._scopes, "", accepts=accepts)
        # What other processes show they were asked already.
        self._sources = Sources(self._families, Scope(self._scopes, "").scope, self._scopes.shows)

    def restricted(self, accepts: Accepts | None) -> Store:
        """The same store for somebody who wants other names than all others (`None`: all names), to
        be closed by him.
        """
        made = copy(self)
        made._root = Scope(self._scopes, "", accepts=accepts)
        return made

    def close(self) -> None:
        """Drop what was asked of a restricted one, with its scopes."""
        self._root.close()

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
        for number, collect in enumerate(tuple(self._collectors), 1):
            if number % COLLECT_STEP == 0:
                yield
            steps = collect()
            if steps is not None:
                yield from steps

    def merge_histograms(self) -> None:
        """End an interval of all histograms, at each flush of the statistics."""
        for _ in self.merging_histograms():
            pass

    def merging_histograms(self) -> Iterator[None]:
        """The same in steps."""
        for histograms in self._families.histograms.parts():
            for histogram in histograms:
                if histogram.merge() and self._scopes.unsent is not None:
                    self._scopes.unsent.keep_interval(histogram)
            yield

    def keep_values(self) -> None:
        """Have histograms keep the values of an interval as they are, some hundreds of each, for a
        stats sink that sends them one by one.  What they were given before may be lost to it.
        """
        self._scopes.kept_values = KEPT_LIMIT
        for histogram in self._families.histograms.made.values():
            histogram.kept = KEPT_LIMIT

    def taking_snapshot(self, wall: float) -> Generator[None, None, Snapshot]:
        """End an interval, and tell what has happened in it: for stats sinks, in steps.

        A worker that sends its `deltas` has no sinks, for each growth is told once.

        :param wall: seconds since 1970.
        """
        yield from self.collecting()
        yield from self.merging_histograms()
        growths: dict[str, int] = {}
        for part in self._families.counters.parts():
            growths.update(growth(part))
            yield
        return Snapshot(self._families, self.tagger, growths, wall)

    def reset_counters(self) -> None:
        """Make all counters 0, after what is counted elsewhere was brought in."""
        self.collect()
        for counter in self._families.counters.made.values():
            if counter.tally:
                counter.reset()

    def sort(self) -> Iterator[None]:
        """Put all names in order, in steps: what reads many statistics goes through it first."""
        self._declared()
        yield
        for family in self._families:
            yield from family.sort()

    def counters(self) -> Iterator[Counter]:
        """All counters by name, those only declared included."""
        return self._families.counters.in_order(self._declared())

    def gauges(self) -> Iterator[Gauge]:
        """All gauges by name, those only declared included."""
        return self._families.gauges.in_order(self._declared())

    def numbers(self, counters: bool = True, gauges: bool = True) -> Iterator[list[Row]]:
        """Names and numbers of counters and gauges together, by name, some dozen at a time."""
        wanted = (("counters", counters), ("gauges", gauges))
        kinds = [kind for kind, is_wanted in wanted if is_wanted]
        made = self.made_numbers(counters, gauges)
        return rows(list(zip(kinds, made, strict=True)), self._declared())

    def made_numbers(self, counters: bool, gauges: bool) -> list[Numbers]:
        """Counters, gauges or both, each by name, without those that are only declared."""
        families = self._families
        found: list[Numbers] = []
        if counters:
            found.append(families.counters.sorted())
        if gauges:
            found.append(families.gauges.sorted())
        return found

    def histograms(self, is_declared_too: bool = True) -> Iterator[Histogram]:
        """All histograms by name, those only declared too or not."""
        return self._families.histograms.in_order(self._declared() if is_declared_too else ())

    def text_readouts(self) -> Iterator[TextReadout]:
        """All text readouts by name, those only declared included."""
        return self._families.text_readouts.in_order(self._declared())

    # What other processes are told, and tell

    def deltas(self, whole: bool = False) -> Deltas:
        """What has happened since the last call; for histograms this ends the interval.

        :param whole: also tell all names, gauges and text readouts that have not changed, to
            somebody who knows none of them yet.  The first call tells everything in any case; what
            was dropped before it, nobody is told of, so a worker makes it when it begins.
        """
        steps = self.gathering(whole)
        while True:
            try:
                next(steps)
            except StopIteration as e:
                return e.value  # type: ignore[no-any-return]

    def gathering(self, whole: bool = False) -> Generator[None, None, Deltas]:
        """The same in steps; what happens between two of them is in these deltas or in the
        next.
        """
        scopes, families = self._scopes, self._families
        if scopes.unsent is None:
            scopes.unsent, whole = Unsent(), True
        yield from self.collecting()
        yield from self.merging_histograms()
        counters: dict[str, int] = {}
        for counter_part in families.counters.parts():
            counters.update(growth(counter_part))
            yield
        gauges = yield from self._told_gauges(whole)
        texts = list(families.text_readouts.made.values())
        changed = news(texts)
        told_texts = [text for text in texts if text.was_used] if whole else changed
        unsent, scopes.unsent = scopes.unsent, Unsent()
        shown = yield from self._shown(scopes.prefixes() if whole else list(unsent.renamed))
        for name, amount in unsent.growth.items():
            counters[name] = counters.get(name, 0) + amount
        return Deltas(
            counters,
            gauges,
            {
                name: Interval(unit, values.sum, values.counts(), tuple(values.values))
                for name, (unit, values) in unsent.intervals.items()
            },
            {text.name: text.readout for text in told_texts},
            shown,
            whole,
            self.tagger.given(whole),
        )

    def _told_gauges(self, whole: bool) -> Generator[None, None, dict[str, GaugeValue]]:
        """Those that have moved, or all that were ever set."""
        found: dict[str, GaugeValue] = {}
        for part in self._families.gauges.parts():
            changed = moved(part)
            told = [gauge for gauge in part if gauge.was_used] if whole else changed
            found.update((each.name, GaugeValue(each.merge, each.tally)) for each in told)
            yield
        return found

    def _shown(self, prefixes: Sequence[str]) -> Generator[None, None, dict[str, Names]]:
        """The names below these prefixes."""
        found: dict[str, Names] = {}
        for number, prefix in enumerate(prefixes, 1):
            found[prefix] = self._scopes.names(prefix)
            if number % NAMES_STEP == 0:
                yield
        return found

    def totals(self) -> Iterator[dict[str, int]]:
        """What all counters have counted that ever did, by name, in parts."""
        for part in self._families.counters.parts():
            yield {counter.name: counter.tally for counter in part if counter.was_used}

    def merge(self, deltas: Deltas, source: str, is_predecessor: bool = False) -> None:
        """Take in what another store has told: `source` is which one.

        Counters and histograms are added to those here, and are in our own deltas in turn; gauges
        are shown with ours as their `Merge` says.  Deltas of one source are to be merged in their
        order, those of several in any.

        :param is_predecessor: whether the source is a process that this one takes over from.  It
            knows other clusters and listeners, so only what is summed is taken of its gauges.
        """
        for _ in self.merging(deltas, source, is_predecessor):
            pass

    def merging(
        self,
        deltas: Deltas,
        source: str,
        is_predecessor: bool = False,
        told: Mapping[str, int] = NO_GROWTH,
    ) -> Iterator[None]:
        """The same in steps: to be gone through before the next deltas of this source are.

        :param told: how much of the growth of counters stats sinks have been told of already, by a
            predecessor.
        """
        for name, tagged in deltas.tags.items():
            self.tagger.give(name, tagged)
        return self._sources.merging(deltas, source, is_predecessor, told)

    def withdrawing(self, source: str) -> Iterator[None]:
        """A source has died: it counts nothing at this moment.  What it has counted stays, and so
        do its names, for another one that takes its place and tells everything anew.  In steps, as
        `merging`.
        """
        return self._sources.withdrawing(source)

    def forgetting(self, source: str) -> Iterator[None]:
        """A source is no more, and none comes in its place: what only it had is gone, likewise."""
        return self._sources.forgetting(source)

    def _declared(self) -> tuple[Declared, ...]:
        return self._scopes.declared()
