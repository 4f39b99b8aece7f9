"""Messages that are made again and again."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.live.repeater import Repeater, Steps
from tcpmesh.net.cooperator import shared_cooperator


class RepeaterTests(SynchronousTestCase):
    """One kind of message."""

    def setUp(self) -> None:
        """A repeater that counts, on a clock that also tells how long it took."""
        self.clock = Clock()
        clock = cast(IReactorTime, self.clock)
        self.told: list[str] = []
        self.made = 0
        self.takes = 0.0
        self.waits_for: Deferred[None] | None = None
        self.repeater = Repeater(
            self.make, self.told.append, clock, shared_cooperator(clock), self.clock.seconds
        )

    def make(self) -> Steps:
        """A message of two steps."""
        self.made += 1
        number = self.made
        yield self.waits_for
        self.clock.rightNow += self.takes
        return None if number == 2 else f"number {number}"

    def run_for(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(int(seconds * 10)):
            self.clock.advance(0.1)

    def test_each_second(self) -> None:
        """One is made at once and then one each second; where there is nothing new, none is
        told.
        """
        self.repeater.start()
        self.run_for(0.5)
        self.assertEqual(["number 1"], self.told)
        self.run_for(3.0)
        self.assertEqual(["number 1", "number 3"], self.told[:2])

    def test_a_tenth_of_the_time(self) -> None:
        """What took long is done ten times as rarely."""
        self.takes = 0.5
        self.repeater.start()
        self.run_for(4.0)
        self.assertEqual(1, self.made)
        self.run_for(3.0)
        self.assertEqual(2, self.made)

    def test_waiting(self) -> None:
        """So is what a worker took long to answer."""
        waited: Deferred[None] = Deferred()
        self.waits_for = waited
        self.repeater.start()
        self.run_for(0.5)
        waited.callback(None)
        self.run_for(3.5)
        self.assertEqual(1, self.made)
        self.run_for(2.0)
        self.assertEqual(2, self.made)

    def test_stop(self) -> None:
        """None is made after the end, be one under way, waited for, or due."""
        for wait in (0.0, 0.5):
            self.repeater.start()
            self.run_for(wait)
            self.repeater.stop()
            self.assertEqual([], [each for each in self.clock.getDelayedCalls() if each.getTime()])
        self.waits_for = Deferred()
        self.repeater.start()
        self.clock.advance(0)
        made = self.made
        self.repeater.stop()
        self.waits_for.callback(None)
        self.run_for(5)
        self.assertEqual(made, self.made)

    def test_failure(self) -> None:
        """One that fails is in the log, and the next is made all the same."""
        self.waits_for = Deferred()
        self.repeater.start()
        self.clock.advance(0)
        self.waits_for.errback(ZeroDivisionError())
        self.waits_for = None
        self.run_for(4)
        self.assertEqual(["number 3"], self.told[:1])
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
