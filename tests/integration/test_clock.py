"""A machine whose wall clock is set while the proxy runs."""

from __future__ import annotations

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase


class StepTests(SynchronousTestCase):
    """Over the transports of this run."""

    def test_step(self) -> None:
        """Where the wall clock is set by two hours, back or forward, an idle timeout and a connect
        timeout come when they are due, hosts are checked as often as before, a connection that may
        last ten minutes goes on, and the uptime is what has passed.
        """
        for step in ("-7200", "7200"):
            command = [sys.executable, "-m", "tests.integration.stepped", step]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.assertEqual("", ran.stderr)
            self.assertEqual(
                {"early": [], "checked": True, "too often": False, "busy": True, "uptime": True},
                json.loads(ran.stdout),
            )
