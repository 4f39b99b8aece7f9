"""The first of many."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.live.best import SPARE, Best

KEYS = st.lists(st.none() | st.integers(0, 9), max_size=60)


def first(keys: list[int | None], limit: int, descending: bool) -> list[int]:
    """The numbers that come first, the simple way."""
    known = [(key, number) for number, key in enumerate(keys) if key is not None]
    known.sort(key=lambda each: (-each[0] if descending else each[0], each[1]))
    unknown = [number for number, key in enumerate(keys) if key is None]
    return [*(number for _, number in known), *unknown][:limit]


class BestTests(SynchronousTestCase):
    """Things by their keys."""

    @given(KEYS, st.integers(1, 70), st.booleans())
    def test_order(self, keys: list[int | None], limit: int, descending: bool) -> None:
        """The first ones are those that a sort of all would have put first; equal ones go by their
        numbers, and those without a key come last.
        """
        best: Best[int] = Best(limit, descending)
        for number, key in enumerate(keys):
            best.add(key, number, number)
        self.assertEqual(first(keys, limit, descending), best.things())

    def test_many(self) -> None:
        """Of many things no more are held than are wanted, and some."""
        for descending in (False, True):
            keys: list[int | None] = [number * 7919 % 10_007 for number in range(10_000)]
            best: Best[int] = Best(10, descending)
            most = 0
            for number, key in enumerate(keys):
                best.add(key, number, number)
                most = max(most, len(best))
            self.assertEqual(first(keys, 10, descending), best.things())
            self.assertTrue(most <= 10 + SPARE)
