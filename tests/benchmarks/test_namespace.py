"""The benchmark's own loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import namespace
from benchmarks.namespace import SETTING
from benchmarks.tools import REPOSITORY

PROGRAM = """
import socket, sys
from benchmarks.namespace import SETTING, enter
from benchmarks.process import BenchmarkError
try:
    enter(sys.argv[1])
except BenchmarkError as error:
    sys.exit(str(error))
with socket.create_server(("127.0.0.1", 0)) as listening:
    socket.create_connection(listening.getsockname(), timeout=5).close()
print(SETTING.read_text().strip())
"""


class EnterTests(SynchronousTestCase):
    """A process that moves into a namespace of its own."""

    if os.geteuid() != 0:
        skip = "a network namespace is for root to make"

    def enter(self, congestion: str) -> subprocess.CompletedProcess[str]:
        """Let a process of its own do it."""
        command = [sys.executable, "-c", PROGRAM, congestion]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )

    def test_enter(self) -> None:
        """It has the chosen congestion control and a working loopback, and the machine keeps its
        own.
        """
        before = SETTING.read_text()

        self.assertEqual("reno\n", self.enter("reno").stdout)
        self.assertEqual(before, SETTING.read_text())

    def test_unknown(self) -> None:
        """A name that the kernel does not know is told with those that it has."""
        self.assertRegex(
            self.enter("nonesuch").stderr,
            "^the kernel has no congestion control nonesuch, but .*reno",
        )


class RefusalTests(SynchronousTestCase):
    """What the kernel does not let a namespace have."""

    def test_kept(self) -> None:
        """One that it has, but keeps from namespaces, is told with those that it lets them have."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "tcp_available_congestion_control").write_text("reno bbr cubic\n")
        (folder / "tcp_allowed_congestion_control").write_text("reno bbr\n")
        self.patch(namespace, "SETTING", folder / "tcp_congestion_control")

        self.assertIn("keeps the congestion control cubic", namespace.refusal("cubic"))
        self.assertIn("but not reno bbr", namespace.refusal("cubic"))
        self.assertIn("has no congestion control vegas", namespace.refusal("vegas"))
