"""What a process spends."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.counters import EVENTS, Meter, Spent, parse, why_not
from benchmarks.process import BenchmarkError, Child, descendants

PRINTED = """\
12345,,instructions:u,9000,100.00,,
678,,instructions:k,9000,100.00,,
"""
NOT_SUPPORTED = """\
<not supported>,,instructions:u,0,100.00,,
<not supported>,,instructions:k,0,100.00,,
"""


class ParseTests(SynchronousTestCase):
    """What perf prints."""

    def test_counts(self) -> None:
        """The counts come in the order of the events."""
        self.assertEqual((12345.0, 678.0), parse(PRINTED, EVENTS))

    def test_not_supported(self) -> None:
        """What the machine cannot count is an error, and no 0."""
        self.assertRaises(BenchmarkError, parse, NOT_SUPPORTED, EVENTS)

    def test_other_words(self) -> None:
        """So is whatever else is printed."""
        for text in ("", "perf: no permission\n", "a,b\n"):
            self.assertRaises(BenchmarkError, parse, text, EVENTS)


class SpentTests(SynchronousTestCase):
    """What was spent, by what was done."""

    def test_per(self) -> None:
        """Instructions are for a unit, under the names of their metrics."""
        self.assertEqual({"user": 5.0, "kernel": 2.0}, Spent(1, (10.0, 4.0)).per(2))

    def test_uncounted(self) -> None:
        """Where they cannot be counted there are none."""
        self.assertEqual({}, Spent(1).per(2))


class MeterTests(SynchronousTestCase):
    """A process under measurement."""

    def child(self) -> Child:
        """A program that is never idle."""
        folder = Path(self.mktemp())
        folder.mkdir()
        child = Child([sys.executable, "-c", "while True: pass"], folder, "child")
        self.addCleanup(child.stop)
        return child

    def test_without_perf(self) -> None:
        """Where there is no perf the reason is told, and time is measured all the same."""
        self.patch(shutil, "which", lambda name: None)
        why_not.cache_clear()
        self.addCleanup(why_not.cache_clear)

        self.assertIn("no perf", why_not())
        with Meter(self.child()) as meter:
            time.sleep(0.05)
            spent = meter.read()
        self.assertLess(0, spent.cpu)
        self.assertEqual((), spent.counted)

    def test_by_perf(self) -> None:
        """perf counts what a running process does in a window."""
        events = ("task-clock", "page-faults")
        if why_not(events):
            self.skipTest(why_not(events))
        with Meter(self.child(), events) as meter:
            time.sleep(0.2)
            spent = meter.read()

        milliseconds, _ = spent.counted
        self.assertLess(0, milliseconds)

    def test_not_read(self) -> None:
        """One that is not read leaves no perf behind."""
        events = ("task-clock", "page-faults")
        if why_not(events):
            self.skipTest(why_not(events))
        with Meter(self.child(), events):
            self.assertIn("perf", self.programs())
        self.assertNotIn("perf", self.programs())

    def programs(self) -> list[str]:
        """The names of the processes below this one."""
        return [Path(f"/proc/{pid}/comm").read_text().strip() for pid in descendants(os.getpid())]
