"""Native histograms of Prometheus: buckets whose bounds are powers of a base that the schema
chooses, of which only those that hold something are sent.

With schema `n` a bucket of index `i` holds what is above `2 ** ((i - 1) / 2 ** n)`, up to
`2 ** (i / 2 ** n)`.  Our own bins go into the bucket of their lower bound, and the schema is the
finest one with which all bins together touch no more buckets than are wanted, as in Envoy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tcpmesh.stats.distribution import Bin, Distribution

FINEST, COARSEST = 4, -4
EMPTY_SCHEMA = 3
ZERO_THRESHOLD = 0.5
"""What is not above this is in the bucket for zero: values are whole numbers."""

MOST_BUCKETS = 20
"""Unless a query says otherwise."""

_NEARLY = 1e-9


class Native(NamedTuple):
    """A histogram in this form."""

    schema: int
    zero_count: int
    spans: tuple[tuple[int, int], ...]
    """How far each run of buckets is from the end of the one before, and its length."""
    counts: tuple[int, ...]


def native(values: Distribution, most: int = MOST_BUCKETS) -> Native:
    """Values in native buckets, of which there are at most so many, if that can be had."""
    bins = values.bins()
    zero = sum(each.amount for each in bins if each.lower <= ZERO_THRESHOLD)
    above = [each for each in bins if each.lower > ZERO_THRESHOLD]
    schema = next(
        (each for each in range(FINEST, COARSEST, -1) if _touched(above, each) <= most), COARSEST
    )
    found: dict[int, int] = {}
    for lower, _, amount in above:
        index = _index(lower, schema)
        found[index] = found.get(index, 0) + amount
    return Native(schema, zero, _spans(sorted(found)), tuple(found[each] for each in sorted(found)))


def _index(value: float, schema: int) -> int:
    return math.ceil(math.log2(value) * 2.0**schema - _NEARLY)


def _touched(bins: Iterable[Bin], schema: int) -> int:
    """How many buckets these bins reach into."""
    touched: set[int] = set()
    for lower, width, _ in bins:
        touched.update(range(_index(lower, schema), _index(lower + width, schema) + 1))
    return len(touched)


def _spans(indexes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    spans: list[tuple[int, int]] = []
    after = 0
    for index in indexes:
        if spans and index == after:
            spans[-1] = spans[-1][0], spans[-1][1] + 1
        else:
            spans.append((index - after, 1))
        after = index + 1
    return tuple(spans)
