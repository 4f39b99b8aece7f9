"""How much memory processes use."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.stats import memory
from tcpmesh.stats.memory import bytes_together, resident_bytes, used_bytes

MIB = 1 << 20


class MemoryTests(SynchronousTestCase):
    """What the kernel tells."""

    def test_own(self) -> None:
        """Memory of this process grows with what it uses."""
        before, together = resident_bytes(), bytes_together([os.getpid()])
        taken = b"x" * (64 * MIB)
        self.assertGreater(resident_bytes() - before, 48 * MIB)
        self.assertGreater(bytes_together([os.getpid()]) - together, 48 * MIB)
        self.assertEqual(64 * MIB, len(taken))

    def test_several(self) -> None:
        """Of several processes all count, and one that is gone does not."""
        command = [sys.executable, "-c", f"x = b'x' * {64 * MIB}; print(flush=True); input()"]
        own = os.getpid()
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            both = bytes_together([own, child.pid])
            self.assertGreater(both - bytes_together([own]), 60 * MIB)
            child.kill()
        self.assertLess(bytes_together([own, child.pid]), both - 48 * MIB)

    def test_used(self) -> None:
        """A proxy of one process uses what this process has in RAM."""
        self.patch(memory, "resident_bytes", lambda: 7)
        self.patch(memory, "bytes_together", sum)
        self.assertEqual([7, 12], [used_bytes([5]), used_bytes([5, 7])])

    def test_not_told(self) -> None:
        """Of a process that the kernel keeps for itself all that it has in RAM counts."""

        def refuse(pid: int) -> int:
            raise PermissionError

        self.patch(memory, "_proportional", refuse)
        own = os.getpid()
        self.assertGreater(bytes_together([own, own]), 1.9 * resident_bytes())
        self.assertEqual(0, bytes_together([1 << 30]))
