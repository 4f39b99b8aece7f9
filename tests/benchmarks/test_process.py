"""Child processes of the benchmark."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.process import (
    BenchmarkError,
    Child,
    Ports,
    cpu_clock,
    descendants,
    tree_memory,
    wait_until,
)

BURN = "import time\nwhile time.process_time() < 0.2: pass"
PARENT_OF_BURN = (
    f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', "
    f"{BURN!r}]); time.sleep(60)"
)
PARENT_OF_SLEEPER = "import subprocess, sys; subprocess.run(['sleep', '60'])"


class ChildTests(SynchronousTestCase):
    """A program under measurement."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def child(self, code: str) -> Child:
        """Run Python code until the test ends."""
        child = Child([sys.executable, "-c", code], self.directory, "child")
        self.addCleanup(child.stop)
        return child

    def test_own_clock(self) -> None:
        """The clock of a process is the one that it reads itself."""
        before = time.process_time_ns()
        seen = cpu_clock(os.getpid())

        self.assertTrue(before <= seen <= time.process_time_ns())

    def test_reaped_children_count(self) -> None:
        """CPU of a grandchild counts after it has ended."""
        child = self.child(PARENT_OF_BURN)

        wait_until(
            lambda: child.cpu_ns() > 200_000_000 and len(list(descendants(child.pid))) == 1,
            10,
            "the grandchild ends",
        )

    def test_stop_ends_all(self) -> None:
        """After a stop nothing that the child started is left."""
        child = self.child(PARENT_OF_SLEEPER)
        wait_until(lambda: len(list(descendants(child.pid))) == 2, 10, "the grandchild starts")
        members = list(descendants(child.pid))
        child.stop()

        wait_until(lambda: not any(_lives(pid) for pid in members), 10, "all have ended")

    def test_end_is_told(self) -> None:
        """A child that ends by itself is an error that shows its last words."""
        child = self.child("raise SystemExit('no configuration')")
        wait_until(lambda: not child.running(), 10, "the child ends")

        self.assertRaisesRegex(
            BenchmarkError, "(?s)ended with status 1.*no configuration", child.cpu_ns
        )

    def test_memory(self) -> None:
        """Memory that a process has written to counts as resident and as its own."""
        before = tree_memory(os.getpid())
        held = b"x" * (32 << 20)
        after = tree_memory(os.getpid())

        self.assertGreater(after.own - before.own, 30 << 10)
        self.assertGreater(after.resident - before.resident, 30 << 10)
        del held


class PortTests(SynchronousTestCase):
    """Free ports."""

    def test_each_once(self) -> None:
        """No port is handed out twice."""
        ports = Ports()

        self.assertEqual(10, len({ports.take() for _ in range(10)}))


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
