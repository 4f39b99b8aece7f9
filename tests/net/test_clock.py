"""Timers that the wall clock does not move."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import Any
from unittest import skipUnless

from zope.interface.verify import verifyObject

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tcpmesh.net import clock as clock_module
from tcpmesh.net import timerfd
from tcpmesh.net.clock import MonotonicReactor
from tests.turns import turn

TIMERFD = "anon_inode:[timerfd]"


def timers() -> int:
    """Kernel timers that the reactor of these tests watches, and that this process has open."""
    real: Any = reactor
    watched = [each for each in real.getReaders() if each.logPrefix() == "timers"]
    if sys.platform == "linux":
        assert len(watched) == [_link(name) for name in os.listdir("/proc/self/fd")].count(TIMERFD)
    return len(watched)


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""  # of the listing itself


class MonotonicReactorTests(TestCase):
    """On the reactor of these tests."""

    def setUp(self) -> None:
        """Nothing waits."""
        self.clock = MonotonicReactor(reactor)

    def assert_nothing_left(self) -> None:
        """No timer, no descriptor and nothing to be watched."""
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(0, timers())

    async def after(self, seconds: float) -> None:
        """Let so many seconds of the clock pass; its turn is over then."""
        await deferLater(self.clock, seconds)
        await deferLater(reactor, 0)

    def test_interface(self) -> None:
        """It is a clock, and its time the monotonic one."""
        verifyObject(IReactorTime, self.clock)
        before = monotonic()
        self.assertTrue(before <= self.clock.seconds() <= monotonic())

    def test_is_the_reactor(self) -> None:
        """All else is asked of the reactor."""
        real: Any = reactor
        self.assertEqual(real.callFromThread, self.clock.callFromThread)
        self.assertEqual(real.addReader, self.clock.addReader)

    async def test_order(self) -> None:
        """Calls come in the order of their times, those of one time in the order in which they were
        asked for, none early and each with its arguments.
        """
        made: list[Any] = []
        begin = monotonic()
        for name, delay in (("c", 0.02), ("a", 0), ("b", 0), ("d", 0.02)):
            self.clock.callLater(delay, lambda *args, **kw: made.append((args, kw)), name, k=name)
        await self.after(0.02)
        self.assertGreaterEqual(monotonic() - begin, 0.02)
        self.assertEqual([((name,), {"k": name}) for name in "abcd"], made)
        self.assert_nothing_left()

    async def test_the_wall_clock_does_not_matter(self) -> None:
        """Where the reactor's own time is set back, a call comes when it is due."""
        real: Any = reactor
        seconds = real.seconds
        due: Deferred[None] = Deferred()
        self.clock.callLater(0.01, due.callback, None)
        real.seconds = lambda: seconds() - 7200
        self.addCleanup(setattr, real, "seconds", seconds)
        await due

    def test_cancel(self) -> None:
        """A call that is cancelled is not made, and cannot be cancelled twice; the last one leaves
        nothing behind.
        """
        calls = [self.clock.callLater(60, self.fail) for _ in range(3)]
        self.assertEqual(set(calls), set(self.clock.getDelayedCalls()))
        for call in calls:
            call.cancel()
            self.assertRaises(AlreadyCancelled, call.cancel)
        self.assert_nothing_left()

    async def test_cancelled_in_the_same_turn(self) -> None:
        """A call may cancel another that is due with it."""
        calls: list[Any] = []
        self.clock.callLater(0, lambda: calls[0].cancel())
        calls.append(self.clock.callLater(0, self.fail))
        await self.after(0.01)
        self.assert_nothing_left()

    async def test_reset(self) -> None:
        """A call can be made sooner and be put off, also by a difference, and is made once."""
        made: list[str] = []
        soon = self.clock.callLater(60, made.append, "soon")
        soon.reset(0.01)
        later = self.clock.callLater(0.005, made.append, "later")
        later.reset(0.03)
        last = self.clock.callLater(0.01, made.append, "last")
        last.delay(0.04)
        advanced = self.clock.callLater(60, made.append, "advanced")
        advanced.delay(-59.98)
        await self.after(0.02)
        self.assertEqual(["soon"], made[:1])
        await self.after(0.05)
        self.assertEqual(["soon", "advanced", "later", "last"], made)
        self.assertRaises(AlreadyCalled, soon.cancel)
        self.assert_nothing_left()

    def test_many_at_once(self) -> None:
        """Where many calls are due at once, a few are made in each turn of the reactor, in order,
        and what it has to do by itself comes between.
        """
        time, made, below = [100.0], list[int](), Clock()
        self.patch(clock_module, "monotonic", lambda: time[0])
        clock = MonotonicReactor(below)

        def take_long(number: int) -> None:
            made.append(number)
            time[0] += 0.001

        for number in range(100):
            clock.callLater(0.01, take_long, number)
        last = clock.callLater(0.01, self.fail)
        time[0] += 0.01
        below.rightNow += 0.01
        while len(made) < 100:
            before = len(made)
            below.rightNow += 0.001
            turn(below)
            self.assertIn(len(made) - before, range(1, 7))
            self.assertIn(last, clock.getDelayedCalls())
        last.cancel()
        self.assertEqual((list(range(100)), []), (made, below.getDelayedCalls()))

    async def test_failure(self) -> None:
        """A call that fails is logged, and the others are made."""
        made: list[str] = []

        self.clock.callLater(0, sys.exit)
        self.clock.callLater(0, made.append, "other")
        await self.after(0.01)
        self.assertEqual(["other"], made)
        self.assertEqual(1, len(self.flushLoggedErrors(SystemExit)))

    async def test_added_meanwhile(self) -> None:
        """What a call asks for is made in a later turn, so that others have theirs: one that asks
        for the next at once holds up nobody.
        """
        turns: list[int] = []

        def again() -> None:
            turns.append(0)
            endless[0] = self.clock.callLater(0, again)

        endless = [self.clock.callLater(0, again)]
        await deferLater(reactor, 0.02)
        self.assertTrue(turns)
        endless[0].cancel()
        self.assert_nothing_left()

    async def test_stop(self) -> None:
        """Stopped, also from within a call, it forgets all calls, those due at once too."""
        self.clock.callLater(60, self.fail)
        self.clock.callLater(0, self.clock.stop)
        self.clock.callLater(0, self.fail)
        await deferLater(reactor, 0.02)
        self.assert_nothing_left()

    async def test_stop_in_a_call(self) -> None:
        """Stopped by the last of its calls it leaves nothing behind either, from then on."""
        done: Deferred[int] = Deferred()

        def stop() -> None:
            self.clock.stop()
            done.callback(timers())

        self.clock.callLater(0, stop)
        self.assertEqual(0, await done)

    def test_cancelled_calls_are_not_kept(self) -> None:
        """Calls for a far day that are cancelled soon do not pile up."""
        kept = self.clock.callLater(3600, self.fail)
        for _ in range(10_000):
            self.clock.callLater(3600, self.fail).cancel()
        self.assertTrue(len(self.clock._heap) <= 2 * clock_module.MOST_CANCELLED)
        kept.cancel()
        self.assert_nothing_left()

    @skipUnless(timerfd.AVAILABLE, "this system has no timerfd")
    def test_once(self) -> None:
        """However many calls wait, the reactor watches one descriptor."""
        calls = [self.clock.callLater(delay, self.fail) for delay in (60, 30, 90)]
        self.assertEqual(1, timers())
        for call in calls:
            call.cancel()


class WithoutKernelTimersTests(SynchronousTestCase):
    """On a system without timerfd, or a reactor that cannot watch a descriptor."""

    def test_reactor_wakes(self) -> None:
        """The reactor's own timers wake it, and where one of them is early nothing is made yet."""
        below = Clock()
        clock = MonotonicReactor(below)
        made: list[str] = []
        clock.callLater(0, made.append, "now")
        kept = clock.callLater(60, made.append, "later")
        below.advance(0.001)
        self.assertEqual(["now"], made)
        below.advance(3600)  # of the wall clock: in fact no time has passed
        self.assertEqual(["now"], made)
        self.assertEqual(1, len(below.getDelayedCalls()))
        kept.cancel()
        self.assertEqual([], below.getDelayedCalls())
