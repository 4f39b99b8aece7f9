"""Native buckets, as the real Envoy chooses them."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats.distribution import Distribution
from tcpmesh.stats.exposition.native import COARSEST, FINEST, Native, native

SEEN = (1, 2, 2, 3, 5, 8, 13, 40, 90, 130, 150, 260, 700)


def of(*values: float, most: int = 20) -> Native:
    """The native form of these."""
    found = Distribution()
    found.add(values)
    return native(found, most)


class NativeTests(SynchronousTestCase):
    """Schemas, spans and counts."""

    def test_schema(self) -> None:
        """The schema is the finest with which the bins touch no more buckets than are wanted."""
        for most, schema, buckets in (
            *((1, -4, 2), (3, -3, 3), (4, -2, 4), (6, -1, 6), (10, 0, 10)),
            *((15, 1, 11), (17, 2, 11), (20, 3, 12), (25, 3, 12), (26, 4, 12), (1000, 4, 12)),
        ):
            found = of(*SEEN, most=most)
            self.assertEqual((schema, buckets), (found.schema, len(found.counts)), most)

    def test_few(self) -> None:
        """Single values have the finest schema."""
        self.assertEqual(Native(4, 0, ((38, 1),), (1,)), of(5))
        self.assertEqual(Native(4, 0, ((38, 1), (3, 1)), (1, 1)), of(5, 6))
        self.assertEqual(Native(4, 1, (), ()), of(0))
        self.assertEqual(Native(4, 1, (), ()), of(0.5), "what is not above the threshold is zero")

    @given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60), st.integers(1, 40))
    def test_any(self, values: list[int], most: int) -> None:
        """All values are counted, and each bucket has the bins whose lower bounds are in it."""
        found = of(*values, most=most)
        self.assertEqual(len(values), found.zero_count + sum(found.counts))
        self.assertTrue(COARSEST <= found.schema <= FINEST)
        self.assertEqual(len(found.counts), sum(run for _, run in found.spans))
        indexes: list[int] = []
        at = 0
        for offset, run in found.spans:
            indexes += range(at + offset, at + offset + run)
            at = indexes[-1] + 1
        self.assertEqual(sorted(set(indexes)), indexes)
        distribution = Distribution()
        distribution.add(values)
        base = 2**2.0**-found.schema
        for lower, _, _ in distribution.bins():
            if lower > 0.5:
                index = next(each for each in indexes if base**each >= lower * (1 - 1e-6))
                self.assertLess(base ** (index - 1), lower * (1 + 1e-6))
        self.assertFalse(any(math.isnan(each) for each in found.counts))
