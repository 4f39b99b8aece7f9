"""What has happened in a store since it was last asked: plain values, that can be sent.

Three ask the same question: main of its workers, a stats sink of the process it belongs to, and a
process that takes over of the one it takes over from.  So there is one answer.  `Store.deltas`
gives it, and `Store.merge` is how another store takes it in.

Counters and histograms tell their growth, gauges and text readouts how they are now, and only those
that have changed are there at all.  What names there are is told apart from that, by prefix, since
thousands of clusters have the same names behind theirs and most of them never move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from itertools import islice
from typing import Any, NamedTuple

from tcpmesh.facts import dataclass
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.tags import TaggedName


class Names(NamedTuple):
    """What statistics there are, by what follows a prefix in their names."""

    counters: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()
    histograms: tuple[str, ...] = ()
    text_readouts: tuple[str, ...] = ()


class GaugeValue(NamedTuple):
    """What a gauge is now, and what the gauges of several processes come to."""

    merge: Merge
    value: int


class Interval(NamedTuple):
    """What a histogram was given: how many values in each bin, ascending, and their sum."""

    unit: str
    sum: float
    bins: tuple[tuple[int, int], ...]
    """Keys of `tcpmesh.stats.distribution.bin_key`, and how many values each bin was given."""

    values: tuple[float, ...] = ()
    """The first ones as they are, where a stats sink of main's wants them."""


PART = 500
"""Entries of one part."""


@dataclass(frozen=True)
class Deltas:
    """What has happened since the last ones of the same store.  All are by full names, but for
    `shown`.
    """

    counters: Mapping[str, int] = field(default_factory=dict)
    """By how much they have grown; a reset by an operator takes nothing away from that."""

    gauges: Mapping[str, GaugeValue] = field(default_factory=dict)
    """Those that were moved."""

    histograms: Mapping[str, Interval] = field(default_factory=dict)
    """Those that were given something."""

    text_readouts: Mapping[str, str] = field(default_factory=dict)
    """Those that were set."""

    shown: Mapping[str, Names] = field(default_factory=dict)
    """By prefix, where names have come or gone: all that there are now, moved or not.  Equal ones
    are one object.
    """

    is_whole: bool = False
    """Whether all names and gauges are here, changed or not, so that what is not here is gone.
    Counters and histograms tell their growth all the same.
    """

    tags: Mapping[str, TaggedName] = field(default_factory=dict)
    """Those that statistics were given, where rules do not find them in their names."""

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return self.is_whole or any(
            (
                self.counters,
                self.gauges,
                self.histograms,
                self.text_readouts,
                self.shown,
                self.tags,
            )
        )


_MAPPINGS = ("counters", "gauges", "histograms", "text_readouts", "shown", "tags")


def parts(deltas: Deltas) -> Iterator[Deltas]:
    """The same in parts of a bounded size, to be sent one by one; at least one.  They say nothing
    until they are `joined`.
    """
    is_told = False
    for name in _MAPPINGS:
        entries = iter(getattr(deltas, name).items())
        while part := dict(islice(entries, PART)):
            is_told = True
            fields: dict[str, Any] = {name: part}
            yield Deltas(is_whole=deltas.is_whole, **fields)
    if not is_told:
        yield deltas


def joined(told: Iterable[Deltas]) -> Deltas:
    """What `parts` were made of."""
    found: dict[str, dict[str, Any]] = {name: {} for name in _MAPPINGS}
    is_whole = False
    for part in told:
        is_whole = is_whole or part.is_whole
        for name, entries in found.items():
            entries.update(getattr(part, name))
    return Deltas(is_whole=is_whole, **found)
