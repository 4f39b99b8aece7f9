"""Shared timers: each item fires once, when its time has come, and costs the clock nothing of its
own.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.timeout_queues import BATCH, MOST_EMPTY, TimeoutQueue, TimeoutQueues
from tests.turns import turn


class TimerQueueTests(SynchronousTestCase):
    """One queue."""

    def setUp(self) -> None:
        """A queue of ten seconds."""
        self.clock = Clock()
        self.expired: list[str] = []
        self.queue: TimeoutQueue[str] = TimeoutQueue(self.clock, 10.0, self.expired.append)

    def test_expires(self) -> None:
        """An item expires after the queue's seconds, once."""
        self.queue.add("a")
        self.clock.advance(9.9)
        self.assertEqual(([], 1), (self.expired, len(self.queue)))
        self.clock.advance(0.1)
        self.assertEqual((["a"], 0), (self.expired, len(self.queue)))
        self.clock.advance(100)
        self.assertEqual(["a"], self.expired)

    def test_in_order(self) -> None:
        """Items expire in the order in which they were added, each after its own ten seconds."""
        for item in "abc":
            self.queue.add(item)
            self.clock.advance(2)
        self.clock.pump([4, 2, 2, 2])
        self.assertEqual(["a", "b", "c"], self.expired)

    def test_shorter(self) -> None:
        """A queue that becomes shorter is so for those that wait in it too, at once for those that
        have waited as long already.
        """
        self.queue.add("a")
        self.clock.advance(3)
        self.queue.add("b")
        self.clock.advance(3)
        self.queue.set_length(5)
        self.assertEqual([], self.expired)
        self.clock.advance(0)
        self.assertEqual(["a"], self.expired)
        self.clock.advance(1.9)
        self.assertEqual(["a"], self.expired)
        self.clock.advance(0.1)
        self.assertEqual(["a", "b"], self.expired)
        self.queue.add("c")
        self.clock.advance(5)
        self.assertEqual(["a", "b", "c"], self.expired)

    def test_longer(self) -> None:
        """A queue that becomes longer lets those wait that wait in it."""
        self.queue.add("a")
        self.clock.advance(9)
        self.queue.set_length(12)
        self.clock.advance(2.9)
        self.assertEqual([], self.expired)
        self.clock.advance(0.1)
        self.assertEqual(["a"], self.expired)
        self.queue.set_length(1)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_length_meanwhile(self) -> None:
        """A length that is set by what expires, or while all have left, holds from then on."""
        queue: TimeoutQueue[str] = TimeoutQueue(self.clock, 10.0, lambda item: queue.set_length(2))
        queue.add("a")
        queue.add("b")
        self.clock.advance(10)
        self.assertEqual((0, []), (len(queue), self.clock.getDelayedCalls()))
        self.queue.add("a")
        self.queue.discard("a")
        self.queue.set_length(4)
        self.queue.add("b")
        self.clock.advance(4)
        self.assertEqual(["b"], self.expired)

    def test_a_few_in_each_turn(self) -> None:
        """Of many items that are due at once some expire in each turn, in order, and one that is
        discarded meanwhile does not.
        """
        items = [str(number) for number in range(10 * BATCH)]
        for item in items:
            self.queue.add(item)
        self.clock.rightNow += 10
        turn(self.clock)
        self.assertEqual(items[:BATCH], self.expired)
        self.queue.discard(items[-1])
        for _ in range(9):
            turn(self.clock)
        self.assertEqual((items[:-1], []), (self.expired, self.clock.calls))

    def test_discarded(self) -> None:
        """An item that was discarded does not expire; discarding what is not there is nothing."""
        self.queue.add("a")
        self.queue.add("b")
        self.queue.discard("a")
        self.queue.discard("a")
        self.clock.advance(10)
        self.assertEqual(["b"], self.expired)

    def test_added_again(self) -> None:
        """Adding an item anew gives it its whole time again."""
        self.queue.add("a")
        self.clock.advance(8)
        self.queue.add("a")
        self.clock.advance(8)
        self.assertEqual([], self.expired)
        self.clock.advance(2)
        self.assertEqual(["a"], self.expired)

    def test_added_when_expiring(self) -> None:
        """An item may be added from inside its own expiry."""

        def expired(item: str) -> None:
            self.expired.append(item)
            again.add(item)

        again: TimeoutQueue[str] = TimeoutQueue(self.clock, 10.0, expired)
        again.add("a")
        self.clock.pump([10, 10, 10])
        self.assertEqual(["a"] * 3, self.expired)

    def test_next_keeps_its_time(self) -> None:
        """An item that starts anew as it expires does not put off those that are due before its
        next turn.
        """

        def again(item: str) -> None:
            self.expired.append(item)
            queue.add(item)

        queue: TimeoutQueue[str] = TimeoutQueue(self.clock, 10.0, again)
        queue.add("a")
        self.clock.advance(1)
        queue.add("b")
        self.clock.advance(9)
        self.assertEqual(["a"], self.expired)
        self.clock.advance(1)
        self.assertEqual(["a", "b"], self.expired)

    def test_many_at_once(self) -> None:
        """A hundred thousand items that expire together take a time in proportion to their
        number.
        """
        for item in range(100_000):
            self.queue.add(str(item))
        began = time.process_time()
        self.clock.advance(10)
        self.assertEqual(100_000, len(self.expired))
        self.assertLess(time.process_time() - began, 5)

    def test_discarded_when_expiring(self) -> None:
        """An item may be discarded from inside the expiry of another, due at the same time."""

        def expired(item: str) -> None:
            self.expired.append(item)
            both.discard("b")

        both: TimeoutQueue[str] = TimeoutQueue(self.clock, 10.0, expired)
        both.add("a")
        both.add("b")
        self.clock.advance(10)
        self.assertEqual(["a"], self.expired)

    def test_failing(self) -> None:
        """An expiry that raises is logged, and the next item expires all the same."""
        failing: TimeoutQueue[Any] = TimeoutQueue(
            self.clock, 1.0, lambda item: self.expired.append(item) if item else sys.exit()
        )
        failing.add("")
        failing.add("b")
        self.clock.advance(1)
        self.assertEqual(["b"], self.expired)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    def test_one_call(self) -> None:
        """However many items wait, the clock has one call, and none when the queue has long been
        empty.
        """
        for n in range(100):
            self.queue.add(str(n))
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        for n in range(100):
            self.queue.discard(str(n))
        self.clock.advance(10)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop(self) -> None:
        """A stopped queue forgets its items and leaves no call; it can be used again."""
        self.queue.add("a")
        self.queue.stop()
        self.assertEqual((0, []), (len(self.queue), self.clock.getDelayedCalls()))
        self.queue.add("b")
        self.clock.advance(10)
        self.assertEqual(["b"], self.expired)

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["add", "discard", "wait"]), st.integers(0, 9))))
    def test_like_one_call_each(self, moves: list[tuple[str, int]]) -> None:
        """A queue tells the same at the same time as a call for each item would."""
        clock = Clock()
        ours: list[tuple[float, int]] = []
        theirs: list[tuple[float, int]] = []
        queue: TimeoutQueue[int] = TimeoutQueue(
            clock, 5.0, lambda item: ours.append((clock.seconds(), item))
        )
        calls: dict[int, Any] = {}
        for what, number in [*moves, ("wait", 10)]:
            if what == "wait":
                for _ in range(number):
                    clock.advance(1)
                continue
            if number in calls and calls[number].active():
                calls[number].cancel()
            if what == "add":
                queue.add(number)
                calls[number] = clock.callLater(
                    5.0, lambda number=number: theirs.append((clock.seconds(), number))
                )
            else:
                queue.discard(number)
        self.assertEqual(sorted(theirs), sorted(ours))


class TimersTests(SynchronousTestCase):
    """The queues of a network."""

    def test_shared(self) -> None:
        """The same seconds and function give the same queue, others another."""
        timers = TimeoutQueues(Clock())
        first = timers.queue(5.0, print)
        self.assertIs(first, timers.queue(5.0, print))
        self.assertIsNot(first, timers.queue(6.0, print))
        self.assertIsNot(first, timers.queue(5.0, repr))

    def test_ever_other_times(self) -> None:
        """However many different times were asked for, what is kept of them is bounded by what
        waits at the moment, and a few more: also where they are far off and given up soon.
        """
        clock = Clock()
        timers = TimeoutQueues(clock)
        expired: list[int] = []
        for number in range(2000):
            timers.queue(3600.0 + number, expired.append).add(number)
            if number >= 100:
                timers.queue(3600.0 + number - 100, expired.append).discard(number - 100)
        self.assertLessEqual(len(clock.getDelayedCalls()), 100 + MOST_EMPTY)
        self.assertEqual(len(clock.getDelayedCalls()), len(timers._queues))
        clock.advance(3600.0 + 2000)
        self.assertEqual(list(range(1900, 2000)), expired)
        self.assertEqual(([], 0), (clock.getDelayedCalls(), len(timers._queues)))

    def test_held(self) -> None:
        """A queue that somebody holds is the one of its time, however long nothing waits in it."""
        clock = Clock()
        timers = TimeoutQueues(clock)
        held = timers.queue(5.0, print)
        self.assertIs(held, timers.queue(5.0, print))
        expired: list[str] = []
        mine = timers.queue(5.0, expired.append)
        for item in "ab":
            mine.add(item)
            clock.advance(5)
        self.assertEqual(["a", "b"], expired)
        self.assertIs(mine, timers.queue(5.0, expired.append))

    def test_stop(self) -> None:
        """Stopping leaves no call of the clock."""
        clock = Clock()
        timers = TimeoutQueues(clock)
        timers.queue(5.0, print).add("a")
        timers.queue(6.0, print).add("b")
        timers.stop()
        self.assertEqual([], clock.getDelayedCalls())
