"""Token buckets."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.token_buckets import Bucket
from tcpmesh.connection.token_bucket import TokenBucket
from tcpmesh.values.shared.counts import LocalCount
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts


class Seen:
    """A count of two workers; while `seen` is set, as that worker has read it before."""

    def __init__(self, own: LocalCount, *all_of_them: LocalCount) -> None:
        self._own, self._all = own, all_of_them
        self.seen: int | None = None

    def look(self) -> None:
        """Read it, and keep to that."""
        self.seen = self.highest

    @property
    def own(self) -> int:
        """What this worker has counted."""
        return self._own.own

    @own.setter
    def own(self, value: int) -> None:
        self._own.own = value

    @property
    def total(self) -> int:
        """What both have."""
        return sum(each.own for each in self._all)

    @property
    def parts(self) -> list[int]:
        """What each has."""
        return [each.own for each in self._all]

    @property
    def highest(self) -> int:
        """The largest of both."""
        return max(each.own for each in self._all) if self.seen is None else self.seen

    def close(self) -> None:
        """There is nothing to give back."""


class TokenBucketTests(SynchronousTestCase):
    """Who gets a token."""

    def test_full(self) -> None:
        """It begins full, whatever the clock says."""
        for start in (0, 1e6):
            clock = Clock()
            clock.advance(start)
            bucket = TokenBucket(Bucket(3, 1.0), clock, LocalCount())
            self.assertEqual([True] * 3 + [False] * 2, [bucket.take() for _ in range(5)])

    def test_evenly(self) -> None:
        """Tokens come back one by one, each in its time, and no more than there is room for."""
        clock = Clock()
        bucket = TokenBucket(Bucket(2, 4.0), clock, LocalCount())
        self.assertEqual([True, True, False], [bucket.take() for _ in range(3)])
        clock.advance(0.125)
        self.assertFalse(bucket.take())
        clock.advance(0.125)
        self.assertEqual([True, False], [bucket.take() for _ in range(2)])
        clock.advance(100)
        self.assertEqual([True, True, False], [bucket.take() for _ in range(3)])

    def test_none(self) -> None:
        """One without room never has a token."""
        clock = Clock()
        bucket = TokenBucket(Bucket(0, 4.0), clock, LocalCount())
        clock.advance(100)
        self.assertFalse(bucket.take())

    def test_workers(self) -> None:
        """Several workers have one bucket together, and one that is gone leaves no more than a full
        one.
        """
        main = MainCounts(2, 1 << 16)
        workers = [WorkerCounts(os.dup(main.fd), number) for number in range(2)]
        block = main.allocate("listener.l")
        for each in workers:
            each.assign("listener.l", block)
        main.close()
        clock = Clock()
        clock.advance(1000)
        one, two = (
            TokenBucket(Bucket(4, 1.0), clock, each.block("listener.l").count("bucket"))
            for each in workers
        )
        taken = [(one if number % 2 else two).take() for number in range(6)]
        self.assertEqual([True] * 4 + [False] * 2, taken)
        clock.advance(1)
        self.assertEqual([True, False], [one.take(), two.take()])

    def test_at_once(self) -> None:
        """Workers that take a token in the same moment, after a pause, may both get the last one,
        and that is all: tokens come back from then on.
        """
        clock = Clock()
        clock.advance(3600)
        one, two = LocalCount(), LocalCount()
        counts = [Seen(own, one, two) for own in (one, two)]
        buckets = [TokenBucket(Bucket(1, 1.0), clock, each) for each in counts]
        for each in counts:
            each.look()
        self.assertEqual([True, True], [each.take() for each in buckets])
        for each in counts:
            each.seen = None
        self.assertEqual([False, False], [each.take() for each in buckets])
        clock.advance(1)
        self.assertEqual([True, False], [each.take() for each in buckets])

    @given(
        st.integers(1, 20),
        st.floats(0.1, 1000),
        st.lists(st.tuples(st.floats(0, 3), st.integers(1, 9)), max_size=30),
    )
    def test_rate(self, most: int, rate: float, steps: list[tuple[float, int]]) -> None:
        """In no time are there more than the bucket has, and what comes back in it."""
        clock = Clock()
        bucket = TokenBucket(Bucket(most, rate), clock, LocalCount())
        taken, passed = 0, 0.0
        for seconds, asked in steps:
            clock.advance(seconds)
            passed += seconds
            taken += sum(bucket.take() for _ in range(asked))
            self.assertLessEqual(taken, most + passed * rate * (1 + 1e-6) + 1e-6)
