"""Shared calls: made in order and in time, in batches that leave the reactor room."""

from __future__ import annotations

import sys
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.timer_wheel import BATCH, GAP, MOST_CANCELLED, TimerWheel


class CallsTests(SynchronousTestCase):
    """Calls on a clock that stands still unless told."""

    def setUp(self) -> None:
        """No call yet."""
        self.clock = Clock()
        self.calls = TimerWheel(cast(Any, self.clock))
        self.made: list[str] = []

    def add(self, delay: float, name: str) -> Any:
        """A call that writes down its name."""
        return self.calls.add(delay, lambda: self.made.append(name))

    def test_order(self) -> None:
        """Calls come at their times, whatever the order in which they were added, and those of
        one time as they were added.
        """
        for delay, name in ((3, "c"), (1, "a"), (2, "b"), (1, "a2")):
            self.add(delay, name)
        self.clock.advance(1)
        self.assertEqual(["a", "a2"], self.made)
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(["a", "a2", "b", "c"], self.made)

    def test_one_call_of_the_clock(self) -> None:
        """However many wait, the clock knows of one call, and of none once all are made."""
        for delay in range(100):
            self.add(delay, "")
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.clock.pump([1] * 101)
        self.assertEqual([100, 0], [len(self.made), len(self.clock.getDelayedCalls())])

    def test_cancel(self) -> None:
        """A cancelled call is not made; to cancel one that was made does nothing."""
        entry = self.add(1, "a")
        made = self.add(1, "b")
        self.calls.cancel(entry)
        self.clock.advance(1)
        self.calls.cancel(made)
        self.assertEqual(["b"], self.made)

    def test_nobody_waits(self) -> None:
        """Once all calls are cancelled, outside of a call or within one, the clock knows of
        none.
        """
        entries = [self.add(delay, "") for delay in (5, 6)]
        self.calls.cancel(entries[0])
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        self.calls.cancel(entries[1])
        self.assertEqual([], self.clock.getDelayedCalls())
        later = self.add(7, "")
        self.calls.add(1, lambda: self.calls.cancel(later))
        self.clock.advance(1)
        self.assertEqual(([], []), (self.clock.getDelayedCalls(), self.made))
        self.add(1, "goes on")
        self.clock.advance(1)
        self.assertEqual(["goes on"], self.made)

    def test_cancelled_calls_are_not_kept(self) -> None:
        """Calls that are cancelled long before their time do not pile up, and those beside them are
        made in order.
        """
        self.add(20_000, "last")
        for number in range(10_000):
            self.calls.cancel(self.add(10_000 + number, ""))
            if number % 1000 == 0:
                self.add(5000 + number / 10, str(number))
        self.assertLess(len(self.calls._waiting), 20 + 2 * MOST_CANCELLED)
        self.clock.pump([1000] * 21)
        self.assertEqual([*(str(1000 * number) for number in range(10)), "last"], self.made)
        self.assertEqual(([], {}), (self.clock.getDelayedCalls(), self.calls._waiting))

    def test_cancel_within_a_call(self) -> None:
        """A call may cancel many others, due with it and later."""
        entries = [self.add(1 + number % 2, "") for number in range(2000)]

        def cancel_all() -> None:
            for entry in entries:
                self.calls.cancel(entry)

        self.calls.add(0, cancel_all)
        self.add(3, "other")
        self.clock.pump([1] * 4)
        self.assertEqual(["other"], self.made)

    def test_add_within_a_call(self) -> None:
        """A call may add others, also for this moment."""
        self.calls.add(1, lambda: self.add(0, "now"))
        self.clock.advance(1)
        self.clock.advance(GAP)
        self.assertEqual(["now"], self.made)

    def test_batches(self) -> None:
        """Of many calls that are due some are made, and the others after the reactor had its
        turn.
        """
        for _ in range(BATCH + 1):
            self.add(1, "")
        between: list[int] = []
        self.clock.callLater(1, lambda: between.append(len(self.made)))
        self.clock.advance(1)
        self.assertEqual(([BATCH], BATCH + 1), (between, len(self.made)))

    def test_gap(self) -> None:
        """What is due soon after a turn waits a little, for more to be made in one go."""
        for delay in (1, 1 + GAP / 4, 1 + GAP / 2):
            self.add(delay, "")
        self.clock.advance(1)
        self.clock.advance(GAP / 2)
        self.assertEqual(1, len(self.made))
        self.clock.advance(GAP / 2)
        self.assertEqual(3, len(self.made))

    def test_failure(self) -> None:
        """A call that fails is logged, and the next is made."""
        self.calls.add(1, sys.exit)
        self.add(1, "b")
        self.clock.advance(1)
        self.assertEqual(["b"], self.made)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    def test_stop(self) -> None:
        """Once stopped nothing is made, and the clock has no call left."""
        self.add(1, "a")
        self.calls.stop()
        self.clock.advance(1)
        self.assertEqual(([], []), (self.made, self.clock.getDelayedCalls()))

    def test_stop_within_a_call(self) -> None:
        """A call may stop all others, those of its own time too."""
        self.calls.add(1, self.calls.stop)
        self.add(1, "a")
        self.add(2, "b")
        self.clock.advance(1)
        self.clock.advance(1)
        self.assertEqual(([], []), (self.made, self.clock.getDelayedCalls()))
