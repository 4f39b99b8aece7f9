"""What a process has counted, for the one that takes over from it: as in Envoy counters go on, and
of gauges those that are a sum show both processes as long as both are there.  Histograms start
anew.

The store tells its deltas at once; here they are cut into messages none of which takes long.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from tcpmesh.server.processes.framing import FramingError
from tcpmesh.server.restart.messages import encode, rows, table
from tcpmesh.stats.deltas import Deltas, GaugeValue, Names
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Store

SOURCE = "parent"
"""What the store knows a predecessor by."""

PART = 2000
"""Statistics in one message."""

Value = TypeVar("Value")


class NumbersOut:
    """Tells what a store has counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_first = True

    def telling(self, has_sinks: bool) -> Generator[bytes | None, None, None]:
        """The messages about what has happened since they were last asked for; `None` is a rest.

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
                yield encode("numbers", counters={name: (n, 0) for name, n in growths})
        sums = ((n, each.value) for n, each in deltas.gauges.items() if each.merge is Merge.SUM)
        for moved in _parts(sums):
            yield encode("numbers", gauges=dict(moved))

    def _telling_totals(self, untold: Mapping[str, int]) -> Iterator[bytes | None]:
        """All counters as they are: how much, and how much of it no sink is to be told of."""
        for part in self._store.totals():
            told = {name: (total, total - untold.get(name, 0)) for name, total in part.items()}
            yield encode("numbers", counters=told) if told else None


def _shown(shown: Mapping[str, Names]) -> Iterator[bytes | None]:
    """Names by prefix; those of many clusters are one object."""
    prefixes: dict[int, list[str]] = {}
    for prefix, names in shown.items():
        prefixes.setdefault(id(names), []).append(prefix)
    for group in prefixes.values():
        names = shown[group[0]]
        for part in _parts(group):
            row = {"prefixes": part, "counters": names.counters, "gauges": names.gauges}
            yield encode("numbers", shown=[row])


def _parts(items: Iterable[Value]) -> Iterator[list[Value]]:
    left = iter(items)
    while part := list(islice(left, PART)):
        yield part


def merging(store: Store, told: Mapping[str, Any]) -> Iterator[None]:
    """Take in what a `numbers` message tells, in steps.

    :raise FramingError: where it is none.
    """
    counted = {name: _pair(value) for name, value in table(told, "counters").items()}
    gauges = {name: GaugeValue(Merge.SUM, _number(v)) for name, v in table(told, "gauges").items()}
    shown: dict[str, Names] = {}
    for row in rows(told, "shown"):
        names = Names(_texts(row.get("counters", ())), _texts(row.get("gauges", ())))
        shown.update(dict.fromkeys(_texts(row.get("prefixes", ())), names))
    deltas = Deltas(
        counters={name: pair[0] for name, pair in counted.items()},
        gauges=gauges,
        shown=shown,
    )
    known = {name: pair[1] for name, pair in counted.items() if pair[1]}
    return store.merging(deltas, SOURCE, True, known)


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise FramingError("a statistic is no number")
    return value


def _pair(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise FramingError("a counter is no pair of numbers")
    return _number(value[0]), _number(value[1])


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise FramingError("names are no texts")
    return tuple(value)
