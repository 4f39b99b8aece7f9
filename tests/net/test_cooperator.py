"""The time that long work has: `tcpmesh.net.cooperator`."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.cooperator import AT_ONCE, SLICE, do_all, shared_cooperator
from tests.turns import turn


class CooperatorTests(SynchronousTestCase):
    """Several with much to do."""

    def test_one_slice_for_all(self) -> None:
        """All together have one slice of a turn, in which they take steps one after the other, and
        the next turn goes on where this one has stopped.
        """
        now = 0.0
        done: list[str] = []

        def work(name: str) -> Iterator[None]:
            nonlocal now
            while True:
                now += SLICE / 2
                done.append(name)
                yield

        clock = Clock()
        cooperator = shared_cooperator(clock, lambda: now)
        for name in "abc":
            cooperator.cooperate(work(name))
        for size in (2, 4, 6):
            turn(clock)
            self.assertEqual("abcabc"[:size], "".join(done))
        cooperator.stop()


class DoAllTests(SynchronousTestCase):
    """Something small that is to be done for each of some things."""

    def setUp(self) -> None:
        """Each takes a quarter of a slice."""
        self.clock = Clock()
        self.now = 0.0
        self.done: list[int] = []
        self.cooperator = shared_cooperator(self.clock, lambda: self.now)

    def steps(self, count: int) -> Iterator[None]:
        """Do it for so many."""
        for number in range(count):
            self.now += SLICE / 4
            self.done.append(number)
            yield

    def test_few(self) -> None:
        """For a few it is done at once."""
        do_all(self.cooperator, self.steps(AT_ONCE - 1))
        self.assertEqual((AT_ONCE - 1, []), (len(self.done), self.clock.calls))

    def test_many(self) -> None:
        """For many it is done in turns to come, a slice each."""
        do_all(self.cooperator, self.steps(AT_ONCE + 9))
        for more in (0, 4, 8, 9):
            self.assertEqual(list(range(AT_ONCE + more)), self.done)
            turn(self.clock)

    def test_failure(self) -> None:
        """What fails is logged, where it is done later."""

        def steps() -> Iterator[None]:
            yield from self.steps(AT_ONCE)
            raise RuntimeError("its own trouble")

        do_all(self.cooperator, steps())
        turn(self.clock)
        gc.collect()
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_stopped(self) -> None:
        """What is left when all stops is left undone, and nobody complains."""
        do_all(self.cooperator, self.steps(AT_ONCE + 9))
        self.cooperator.stop()
        gc.collect()
        self.assertEqual((AT_ONCE, []), (len(self.done), self.flushLoggedErrors()))
