"""Timers of the kernel, by whichever way this Python has to them."""

from __future__ import annotations

import os
import select
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net import timerfd


@skipUnless(timerfd.AVAILABLE, "this system has no timerfd")
class TimerTests(SynchronousTestCase):
    """`tcpmesh.net.timerfd`."""

    def setUp(self) -> None:
        """A timer."""
        self.fd = timerfd.create()
        self.addCleanup(os.close, self.fd)

    def rings(self, within: float) -> bool:
        """Whether it does."""
        return bool(select.select([self.fd], [], [], within)[0])

    def test_once(self) -> None:
        """A timer rings once, and only where it was set."""
        self.assertFalse(self.rings(0.0))
        timerfd.set_time(self.fd, 0.001)
        self.assertTrue(self.rings(60.0))
        self.assertEqual(1, int.from_bytes(os.read(self.fd, 8), "little"))
        self.assertFalse(self.rings(0.01))

    def test_set_again(self) -> None:
        """A timer that is set again rings at its new time alone."""
        timerfd.set_time(self.fd, 3600.0)
        timerfd.set_time(self.fd, 0.001)
        self.assertTrue(self.rings(60.0))

    def test_of_this_process(self) -> None:
        """Reading a timer never waits, and programs that are started do not get it."""
        self.assertRaises(BlockingIOError, os.read, self.fd, 8)
        self.assertFalse(os.get_inheritable(self.fd))
