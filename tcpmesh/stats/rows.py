"""Counters and gauges together, in the order of their names, some dozen at a time.

Of a million names nearly all are only declared, by ten thousand scopes that declare the same; to
merge all of them one by one costs more than to write them.  All names of a scope stand together in
the order, so each scope's are put in order on their own, which a list can do by itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import TypeAlias

from tcpmesh.stats.family import Declared, declared_names
from tcpmesh.stats.metrics import Counter, Gauge

Row: TypeAlias = "tuple[str, int]"
"""A name and its number."""

Numbers: TypeAlias = "Sequence[Counter] | Sequence[Gauge]"

MOST = 1000
"""Statistics of one scope, made ones, that are put in order at once: a fraction of a
millisecond.
"""

_NAME = attrgetter("name")


def rows(
    families: Sequence[tuple[str, Numbers]], declared: Sequence[Declared]
) -> Iterator[list[Row]]:
    """All numbers.

    :param families: the kind of each, and what was made of it, in order.
    :param declared: in the order of prefixes.
    """
    kinds = [kind for kind, _ in families]
    lists: list[Numbers] = [made for _, made in families]
    lists.append(_of_the_root(families, declared))
    at = [0] * len(lists)
    for prefix, inner in _outermost([each for each in declared if each[0]]):
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        begins = [bisect_left(made, prefix, start, key=_NAME) for made, start in _both(lists, at)]
        ends = [bisect_left(made, after, start, key=_NAME) for made, start in _both(lists, begins)]
        yield from _loose([made[a:b] for made, a, b in zip(lists, at, begins, strict=True)])
        at = ends
        parts = [made[a:b] for made, a, b in zip(lists, begins, ends, strict=True)]
        names = _names(kinds, parts, inner)
        if sum(map(len, parts)) > MOST:
            yield from _chunks(merge(*map(_rows, parts), sorted((name, 0) for name in names)))
        else:
            group = [(name, 0) for name in names]
            for part in parts:
                group += _rows(part)
            group.sort()
            yield group
    yield from _loose([made[start:] for made, start in _both(lists, at)])


def _both(lists: list[Numbers], numbers: list[int]) -> Iterator[tuple[Numbers, int]]:
    return zip(lists, numbers, strict=True)


def _of_the_root(
    families: Sequence[tuple[str, Numbers]], declared: Sequence[Declared]
) -> list[Counter]:
    """What is only declared, by full names: few, and so made."""
    found = []
    for prefix, declarations in declared:
        if not prefix:
            for kind, made in families:
                for name in declared_names(kind, declarations):
                    at = bisect_left(made, name, key=_NAME)
                    if at == len(made) or made[at].name != name:
                        found.append(Counter(name))
    return sorted(found, key=_NAME)


def _outermost(declared: Sequence[Declared]) -> Iterator[tuple[str, list[Declared]]]:
    """Prefixes that begin with none of the others, each with those below it."""
    prefix = ""
    inner: list[Declared] = []
    for each in declared:
        if inner and each[0].startswith(prefix):
            inner.append(each)
        else:
            if inner:
                yield prefix, inner
            prefix, inner = each[0], [each]
    if inner:
        yield prefix, inner


def _names(kinds: list[str], parts: Sequence[Numbers], inner: list[Declared]) -> list[str]:
    """Those that are only declared."""
    found = []
    for kind, part in zip(kinds, parts, strict=False):
        made = {stat.name for stat in part}
        for prefix, declarations in inner:
            found += [
                prefix + name
                for name in declared_names(kind, declarations)
                if prefix + name not in made
            ]
    return found


def _rows(part: Numbers) -> list[Row]:
    return [(stat.name, stat.tally) for stat in part]


def _loose(parts: Sequence[Numbers]) -> Iterator[list[Row]]:
    return _chunks(merge(*map(_rows, parts)))


def _chunks(ordered: Iterator[Row]) -> Iterator[list[Row]]:
    return iter(lambda: list(islice(ordered, MOST // 10)), [])
