"""The time that long work has: `tcpmesh.net.cooperator`."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net.cooperator import AT_ONCE, SLICE, SWITCH, beside, do_all, shared_cooperator
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


class BesideTests(TestCase):
    """Work that takes a while."""

    async def test_two(self) -> None:
        """Threads hold the interpreter only for short as long as one of them works, and afterwards
        it is as before.
        """
        before = sys.getswitchinterval()
        first, second = threading.Event(), threading.Event()

        def work(waits_for: threading.Event) -> float:
            waits_for.wait(10)
            return sys.getswitchinterval()

        one, two = beside(reactor, lambda: work(first)), beside(reactor, lambda: work(second))
        first.set()
        self.assertAlmostEqual(SWITCH, await one, 6)
        self.assertAlmostEqual(SWITCH, sys.getswitchinterval(), 6)
        second.set()
        self.assertEqual(1, len(await gatherResults([two])))
        self.assertEqual(before, sys.getswitchinterval())

    def test_failure(self) -> None:
        """An exception is passed on; with a clock alone, work is done at once."""
        found = beside(Clock(), lambda: 1 // 0)
        self.failureResultOf(found, ZeroDivisionError)
        self.assertEqual(3, self.successResultOf(beside(Clock(), lambda: 3)))
