"""A token bucket of bytes."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.byte_bucket import ByteBucket
from tcpmesh.values.shared.counts import LocalCount
from tcpmesh.values.shared.memory import MainCounts, WorkerCounts


class BucketTests(SynchronousTestCase):
    """What is taken of one."""

    def setUp(self) -> None:
        """A clock that has gone for a while."""
        self.clock = Clock()
        self.clock.advance(1000.0)

    def test_begins_full(self) -> None:
        """There are the bytes of a second at first, and then those of the time that goes by."""
        bucket = ByteBucket(1000, self.clock, LocalCount())
        self.assertEqual([600, 400, 0], [bucket.take(600), bucket.take(600), bucket.take(1)])
        self.clock.advance(0.5)
        self.assertEqual([500, 0], [bucket.take(10_000), bucket.take(1)])
        self.clock.advance(60.0)
        self.assertEqual(1000, bucket.take(10_000))

    def test_nothing_asked(self) -> None:
        """Who asks for nothing changes nothing."""
        bucket = ByteBucket(1000, self.clock, LocalCount())
        self.assertEqual([0, 1000], [bucket.take(0), bucket.take(2000)])

    def test_shares(self) -> None:
        """Of several takers each gets a share, at least a byte where there is one."""
        bucket = ByteBucket(1000, self.clock, LocalCount())
        self.assertEqual(
            [250, 50, 700], [bucket.take(900, 4), bucket.take(50, 4), bucket.take(900)]
        )
        self.clock.advance(0.001)
        self.assertEqual(1, bucket.take(900, 4))

    def test_without_a_rate(self) -> None:
        """With a rate of 0 there is never anything."""
        bucket = ByteBucket(0, self.clock, LocalCount())
        self.clock.advance(60.0)
        self.assertEqual(0, bucket.take(1))

    def test_two_workers(self) -> None:
        """Workers that share a count draw from one bucket."""
        main = MainCounts(2, 1 << 16)
        workers = [WorkerCounts(os.dup(main.fd), number) for number in range(2)]
        block = main.allocate("listener.l")
        for each in workers:
            each.assign("listener.l", block)
        main.close()
        one, two = (
            ByteBucket(1000, self.clock, each.block("listener.l").count("b")) for each in workers
        )
        self.assertEqual([700, 300, 0], [one.take(700), two.take(700), one.take(1)])

    @given(
        st.integers(1, 1 << 40),
        st.lists(st.tuples(st.integers(0, 1 << 20), st.floats(0, 3)), max_size=50),
    )
    def test_never_more(self, rate: int, takes: list[tuple[int, float]]) -> None:
        """However many are asked for, and when, it is never more than those of the time and of one
        second.
        """
        clock = Clock()
        clock.advance(5.0)
        bucket = ByteBucket(rate, clock, LocalCount())
        taken = 0
        for wanted, pause in takes:
            granted = bucket.take(wanted)
            self.assertTrue(0 <= granted <= wanted)
            taken += granted
            self.assertLessEqual(taken, rate * (clock.seconds() - 5.0 + 1.0) * (1 + 1e-9) + 1)
            clock.advance(pause)
