"""Long work by a thread."""

from __future__ import annotations

import sys
import threading

from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tcpmesh.net.beside import SWITCH, beside


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
