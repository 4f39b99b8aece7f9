"""What a process has counted, for the one that takes over from it: as in Envoy counters go on, and
of gauges those that are a sum show both processes as long as both are there.  Histograms start
anew.

The store tells its deltas at once; here they are cut into plain values, as JSON has them, none of
which takes long to write or to read.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from tcpmesh.stats.deltas import Deltas, GaugeValue, Names
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store

SOURCE = "parent"
"""What the store knows a predecessor by."""

PART = 2000
"""Statistics in one part."""

Plain: TypeAlias = Mapping[str, Any]
"""A part of what is told."""

Value = TypeVar("Value")


class PlainNumbers:
    """Tells what a store has counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_first = True

    def telling(self, has_sinks: bool) -> Generator[Plain | None, None, None]:
        """What has happened since it was last asked for; `None` is a rest.

        :param has_sinks: whether what was counted before the first time went to stats sinks, but
            for what has happened since the last flush.
        """
        first, self._is_first = self._is_first, False
        steps = self._store.gathering(whole=first)
        while True:
            try:
                yield next(steps)
            except StopIteration as e:
                deltas: Deltas = e.value
                break
        yield from _shown(deltas.shown)
        if first:
            yield from self._telling_totals(deltas.counters if has_sinks else {})
        else:
            for growths in _parts(deltas.counters.items()):
                yield {"counters": {name: (n, 0) for name, n in growths}}
        sums = ((n, each.value) for n, each in deltas.gauges.items() if each.merge is Merge.SUM)
        for moved in _parts(sums):
            yield {"gauges": dict(moved)}

    def _telling_totals(self, untold: Mapping[str, int]) -> Iterator[Plain | None]:
        """All counters as they are: how much, and how much of it no sink is to be told of."""
        for part in self._store.totals():
            told = {name: (total, total - untold.get(name, 0)) for name, total in part.items()}
            yield {"counters": told} if told else None


def _shown(shown: Mapping[str, Names]) -> Iterator[Plain | None]:
    """Names by prefix; those of many clusters are one object."""
    prefixes: dict[int, list[str]] = {}
    for prefix, names in shown.items():
        prefixes.setdefault(id(names), []).append(prefix)
    for group in prefixes.values():
        names = shown[group[0]]
        for part in _parts(group):
            row = {"prefixes": part, "counters": names.counters, "gauges": names.gauges}
            yield {"shown": [row]}


def _parts(items: Iterable[Value]) -> Iterator[list[Value]]:
    left = iter(items)
    while part := list(islice(left, PART)):
        yield part


def merging(store: Store, told: Plain) -> Iterator[None]:
    """Take in what one part tells, in steps.

    :raise ValueError: where it is none.
    """
    counted = {name: _pair(value) for name, value in _table(told.get("counters", {})).items()}
    gauges = {
        name: GaugeValue(Merge.SUM, _number(v))
        for name, v in _table(told.get("gauges", {})).items()
    }
    shown: dict[str, Names] = {}
    for row in map(_table, _list(told.get("shown", []))):
        names = Names(_texts(row.get("counters", ())), _texts(row.get("gauges", ())))
        shown.update(dict.fromkeys(_texts(row.get("prefixes", ())), names))
    deltas = Deltas(
        counters={name: pair[0] for name, pair in counted.items()},
        gauges=gauges,
        shown=shown,
    )
    known = {name: pair[1] for name, pair in counted.items() if pair[1]}
    return store.merging(deltas, SOURCE, True, known)


def _table(value: object) -> Plain:
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError("it is no list")
    return list(value)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("a statistic is no number")
    return value


def _pair(value: object) -> tuple[int, int]:
    told = _list(value)
    if len(told) != 2:
        raise ValueError("a counter is no pair of numbers")
    return _number(told[0]), _number(told[1])


def _texts(value: object) -> tuple[str, ...]:
    told = _list(value)
    if not all(isinstance(each, str) for each in told):
        raise ValueError("names are no texts")
    return tuple(told)
