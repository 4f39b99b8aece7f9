"""Turns by weight."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.edf import EdfScheduler


def picks(weights: dict[str, float], times: int, random: Random | None = None) -> str:
    """So many picks among items of these weights."""
    schedule = EdfScheduler(weights, weights.__getitem__, random or Random(1))
    return "".join(schedule.pick() for _ in range(times))


class ScheduleTests(SynchronousTestCase):
    """The earliest-deadline-first schedule."""

    def test_order(self) -> None:
        """Deadlines decide, and of equal ones the one that has waited longer: Envoy's order, from
        any place in the cycle.
        """
        for seed in range(20):
            self.assertIn(picks({"a": 1, "b": 2}, 3, Random(seed)), "babbab")
            self.assertIn(picks({"a": 5, "b": 2, "c": 1}, 8, Random(seed)), "aabaacba" * 2)

    @settings(max_examples=100, deadline=None)
    @given(weights=st.lists(st.integers(1, 128), min_size=1, max_size=6), seed=st.integers(0, 1000))
    def test_exact_over_every_cycle(self, weights: list[int], seed: int) -> None:
        """Wherever one begins to count, as many picks as the weights add up to divide as the
        weights do.
        """
        items = dict(zip("abcdef", weights, strict=False))
        cycle = sum(weights)
        made = picks(dict(items), 3 * cycle, Random(seed))
        for start in range(2 * cycle):
            self.assertEqual(items, Counter(made[start : start + cycle]))

    def test_large_weights(self) -> None:
        """Weights over 128 that share no divisor are exact over a cycle too."""
        weights = {"a": 9973, "b": 1009, "c": 131}
        self.assertEqual(weights, dict(Counter(picks(dict(weights), 9973 + 1009 + 131))))

    def test_spread(self) -> None:
        """The turns of an item are spread over the cycle, never bunched."""
        made = picks({"a": 4, "b": 4, "c": 1}, 90)
        self.assertNotIn("aaa", made)
        self.assertNotIn("bbb", made)

    def test_begins_anywhere(self) -> None:
        """Each of many schedules begins at another place, so that the first pick is shared out as
        all picks are.
        """
        first = Counter(picks({"a": 3, "b": 1}, 1, Random(seed)) for seed in range(1000))
        self.assertTrue(690 < first["a"] < 810, first)

    def test_weight_changes(self) -> None:
        """A weight that changes counts from the item's next pick on."""
        weights = {"a": 1.0, "b": 1.0}
        schedule = EdfScheduler(weights, weights.__getitem__, Random(1))
        weights["a"] = 0.25
        made = Counter(schedule.pick() for _ in range(500))
        self.assertTrue(98 <= made["a"] <= 102, made)

    def test_empty(self) -> None:
        """Without items there is nothing to pick."""
        self.assertRaises(IndexError, EdfScheduler([], lambda item: 1, Random(1)).pick)
