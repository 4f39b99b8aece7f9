"""What a histogram knows of the values it was given: counts in log-linear bins, so that any number
of values fits in little memory.

A bin holds what shares its first two decimal digits and its power of ten: 1.0 to 1.1, 1.1 to 1.2,
... 9.9 to 10, 10 to 11, and so on; zero has a bin of its own.  The relative error is therefore at
most 10 %, at any magnitude, and two distributions merge by adding counts, as those of several
workers must.  Envoy bins the same way, so quantiles agree with its own.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from typing import NamedTuple

DEFAULT_BOUNDS: tuple[float, ...] = (
    *(
        0.5,
        1,
        5,
        10,
        25,
        50,
        100,
        250,
        500,
        1000,
        2500,
        5000,
        10000,
        30000,
        60000,
        300000,
        600000,
        1800000,
        3600000,
    ),
)
"""Upper bounds of the buckets that are shown, in the unit of the histogram."""


class Bin(NamedTuple):
    """Values from `lower` up to, but not including, `lower + width`; for zero both are 0."""

    lower: float
    width: float
    amount: int


def bin_key(value: float) -> int:
    """The bin of a value as an integer; keys sort like the values.  Negative values count as
    zero.
    """
    if value <= 0:
        return _ZERO
    digits = f"{value:.12e}"
    return int(digits[15:]) * 100 + int(digits[0] + digits[2])


_ZERO = -100_000


def _lower_and_width(key: int) -> tuple[float, float]:
    if key == _ZERO:
        return 0.0, 0.0
    exponent, mantissa = divmod(key, 100)
    scale = exponent - 1
    if scale >= 0:
        return float(mantissa * 10**scale), float(10**scale)
    return mantissa / 10**-scale, 1 / 10**-scale


class Distribution:
    """Counts by bin, with the number and the exact sum of all values.

    :param kept: how many values are also kept as they are.
    """

    __slots__ = ("_counts", "_kept", "count", "sum", "values")

    def __init__(self, kept: int = 0) -> None:
        self.count = 0
        self.sum: float = 0
        self.values: list[float] = []
        """The first ones, as many as are kept."""
        self._counts: dict[int, int] = {}
        self._kept = kept

    def add(self, values: Sequence[float]) -> None:
        """Count each of the values."""
        self._keep(values)
        counts = self._counts
        for value, times in Tally(values).items():
            key = bin_key(value)
            counts[key] = counts.get(key, 0) + times
            self.count += times
            self.sum += max(value, 0) * times

    def merge(self, other: Distribution) -> None:
        """Count all that the other one has counted."""
        self._keep(other.values)
        counts = self._counts
        for key, times in other._counts.items():
            counts[key] = counts.get(key, 0) + times
        self.count += other.count
        self.sum += other.sum

    def _keep(self, values: Sequence[float]) -> None:
        if len(self.values) < self._kept:
            self.values += values[: self._kept - len(self.values)]

    def counts(self) -> tuple[tuple[int, int], ...]:
        """How many values each bin holds, by its key, lowest first."""
        return tuple(sorted(self._counts.items()))

    @classmethod
    def of(
        cls, counts: Iterable[tuple[int, int]], total: float, values: Iterable[float] = ()
    ) -> Distribution:
        """What has these counts; `total` is the sum of the values, and `values` are those that
        were kept.
        """
        made = cls()
        made.values = list(values)
        made._counts = dict(counts)
        made.count = sum(made._counts.values())
        made.sum = total
        return made

    def bins(self) -> list[Bin]:
        """The bins that hold something, lowest first."""
        return [Bin(*_lower_and_width(key), self._counts[key]) for key in sorted(self._counts)]

    def quantiles(self, wanted: Sequence[float]) -> list[float]:
        """The value at each of these fractions (ascending, 0 to 1); not-a-number where nothing was
        recorded.

        The values of a bin are taken to be spread evenly within it.
        """
        bins = self.bins()
        if not bins:
            return [math.nan] * len(wanted)
        found = []
        at, below = 0, 0
        for fraction in wanted:
            rank = max(1, math.ceil(fraction * self.count - 1e-9))
            while below + bins[at].amount < rank:
                below += bins[at].amount
                at += 1
            lower, width, amount = bins[at]
            found.append(lower + width * (rank - below) / (amount + 1))
        return found

    def counts_up_to(self, bounds: Sequence[float]) -> list[int]:
        """For each of the bounds (ascending) how many values lie in the bins up to the one that
        holds the bound.
        """
        bins = self.bins()
        found = []
        at, below = 0, 0
        for bound in bounds:
            while at < len(bins) and bins[at].lower <= bound:
                below += bins[at].amount
                at += 1
            found.append(below)
        return found
