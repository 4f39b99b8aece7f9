"""What a flush of the statistics gives to each stats sink: what has happened since the one before.

Only what was ever written to is in it, as Envoy's sinks send nothing else.  Nothing is copied: a
sink goes through the statistics themselves, and takes a rest where it finds a `None` among them, so
that with thousands of clusters others have their turn in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from zope.interface import implementer

from tcpmesh.interfaces import IStatsSnapshot
from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.family import Families
from tcpmesh.stats.tags import TaggedName, Tagger


class FlushedCounter(NamedTuple):
    """A counter, and by how much it has grown since the last flush, which may be 0."""

    name: str
    total: int
    delta: int


class FlushedGauge(NamedTuple):
    """A gauge as it is now."""

    name: str
    value: int


class FlushedText(NamedTuple):
    """A text readout as it is now."""

    name: str
    value: str


class FlushedHistogram(NamedTuple):
    """A histogram: what it was given since the last flush, perhaps nothing, and of all time.

    `interval.bins()` are the raw bins, `interval.values` the first values as they were, where the
    sink wants values.
    """

    name: str
    unit: str
    """`ms`, `us`, `bytes`, `percent`, or empty."""
    bounds: tuple[float, ...]
    """Upper bounds of the buckets that it is to be shown in."""
    interval: Distribution
    total: Distribution


FlushedNumbers: TypeAlias = FlushedCounter | FlushedGauge | FlushedHistogram
"""What sinks send that know nothing of texts."""


@implementer(IStatsSnapshot)
class Snapshot:
    """What one flush has found.

    :param deltas: by how much counters have grown, by their names.
    """

    def __init__(
        self, families: Families, tagger: Tagger, deltas: Mapping[str, int], wall: float
    ) -> None:
        self.wall = wall
        self._families = families
        self._tagger = tagger
        self._deltas = deltas

    def tags(self, name: str) -> TaggedName:
        """A name without its tags, and the tags."""
        return self._tagger.tag(name)

    def counters(self) -> Iterator[FlushedCounter | None]:
        """Counters, and rests."""
        deltas = self._deltas
        for part in self._families.counters.parts():
            for stat in part:
                if stat.was_used:
                    yield FlushedCounter(stat.name, stat.tally, deltas.get(stat.name, 0))
            yield None

    def gauges(self) -> Iterator[FlushedGauge | None]:
        """Gauges, and rests."""
        for part in self._families.gauges.parts():
            for stat in part:
                if stat.was_used:
                    yield FlushedGauge(stat.name, stat.tally)
            yield None

    def text_readouts(self) -> Iterator[FlushedText | None]:
        """Text readouts, and rests."""
        for part in self._families.text_readouts.parts():
            for stat in part:
                if stat.was_used:
                    yield FlushedText(stat.name, stat.readout)
            yield None

    def histograms(self) -> Iterator[FlushedHistogram | None]:
        """Histograms, and rests."""
        for part in self._families.histograms.parts():
            for stat in part:
                if stat.was_used:
                    yield FlushedHistogram(
                        stat.name, stat.unit, stat.bounds, stat.last_interval, stat.cumulative
                    )
            yield None
