"""The time that long work has: `tcpmesh.net.cooperator`."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.cooperator import SLICE, shared_cooperator
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
