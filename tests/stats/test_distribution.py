"""What histograms know of their values: `tcpmesh.stats.distribution`."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.distribution import Bin, Distribution, bin_key

values = st.one_of(st.integers(0, 10**15), st.floats(0, 1e15, allow_subnormal=False))


def distribution(*recorded: float) -> Distribution:
    """A distribution of these values."""
    made = Distribution()
    made.add(recorded)
    return made


class BinTests(SynchronousTestCase):
    """Bins of two decimal digits."""

    def test_bins(self) -> None:
        """Values fall into the bin of their first two digits; zero has one of its own."""
        self.assertEqual(
            [
                Bin(0, 0, 1),
                Bin(0.5, 0.01, 1),
                Bin(1, 0.1, 2),
                Bin(2, 0.1, 2),
                Bin(99, 1, 1),
                Bin(1200, 100, 1),
            ],
            distribution(0, 0.505, 1, 1.09, 2, 2, 99.9, 1234).bins(),
        )

    def test_a_negative_value_counts_as_zero(self) -> None:
        """A clock that went back does no harm."""
        self.assertEqual([Bin(0, 0, 1)], distribution(-3).bins())
        self.assertEqual(0, distribution(-3).sum)

    @given(values)
    def test_a_bin_holds_its_value(self, value: float) -> None:
        """Any value lies in its bin, up to the twelfth digit."""
        (found,) = distribution(value).bins()
        self.assertLessEqual(found.lower, value * (1 + 1e-11))
        self.assertTrue(value == 0 or value < (found.lower + found.width) * (1 + 1e-11))
        self.assertLessEqual(found.width, 0.1 * found.lower * (1 + 1e-9))

    @given(values, values)
    def test_keys_sort_like_values(self, one: float, other: float) -> None:
        """The order of keys is that of values."""
        low, high = sorted((one, other))
        self.assertLessEqual(bin_key(low), bin_key(high))


class QuantileTests(SynchronousTestCase):
    """Quantiles, pinned by what Envoy showed for the same values."""

    def test_one_value(self) -> None:
        """A single value is shown as the middle of its bin."""
        self.assertEqual([1.05] * 3, distribution(1).quantiles((0, 0.5, 1)))

    def test_values_of_a_bin_are_spread(self) -> None:
        """Values of one bin are taken to be spread evenly within it."""
        self.assertEqual(
            [1.05, 1.05, 2.033333333333333, 2.066666666666667],
            distribution(1, 2, 2).quantiles((0, 0.25, 0.5, 0.75)),
        )

    def test_nothing(self) -> None:
        """Without values there are no quantiles."""
        self.assertTrue(all(math.isnan(value) for value in distribution().quantiles((0, 1))))

    @given(st.lists(values, min_size=1, max_size=40))
    def test_quantiles_rise_within_the_range(self, recorded: list[float]) -> None:
        """Quantiles never fall, and stay within 10 % of the range of the values."""
        found = distribution(*recorded).quantiles((0, 0.25, 0.5, 0.9, 0.99, 1))
        self.assertEqual(sorted(found), found)
        self.assertLessEqual(min(recorded) * 0.9, found[0])
        self.assertLessEqual(found[-1], max(recorded) * 1.1)


class BucketTests(SynchronousTestCase):
    """Counts up to bounds."""

    def test_a_bound_includes_its_bin(self) -> None:
        """A value equal to a bound is below it, as in Prometheus."""
        self.assertEqual([0, 1, 3, 3], distribution(1, 2, 5).counts_up_to((0.5, 1, 5, 10)))

    @given(st.lists(values, max_size=40), st.lists(values, max_size=40))
    def test_merging_is_adding(self, one: list[float], other: list[float]) -> None:
        """Two distributions merged are the distribution of all values: nothing is lost between
        workers.
        """
        merged = distribution(*one)
        merged.merge(distribution(*other))
        whole = distribution(*one, *other)
        self.assertEqual(whole.bins(), merged.bins())
        self.assertEqual(len(one) + len(other), merged.count)
        self.assertLessEqual(abs(whole.sum - merged.sum), whole.sum * 1e-9)
