"""The proxy as a part of another program: what it leaves behind when it is stopped."""

from __future__ import annotations

import json
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.embedded import REACTORS

TIMES = 20

SEVERAL = 3
"""Times with several workers, which take seconds to start."""


class StopTests(SynchronousTestCase):
    """A proxy on the reactor of a program that goes on, over the transports of this run."""

    def test_nothing_is_left(self) -> None:
        """On every kind of reactor, when `stop` has fired all clients are closed, whatever was
        being done for them, and no reader, no timer and no descriptor of the proxy is left, however
        often it is started and stopped; nor is it of a start that is refused at its last step.
        """
        for name in REACTORS:
            command = [sys.executable, "-m", "tests.integration.embedded", name, str(TIMES)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
            seen = [json.loads(line) for line in ran.stdout.splitlines()]
            self.assertEqual("", ran.stderr, name)
            stop = {"echo": "hello", "ended": [True] * 8, "left": []}
            refused = {"refused": "cannot bind ", "left": []}
            self.assertEqual([stop] * TIMES + [refused] * TIMES, seen, name)

    def test_several_workers(self) -> None:
        """Nor is anything left of one with several workers, no process either, when `stopService`
        has fired.
        """
        command = [sys.executable, "-m", "tests.integration.restarted", str(SEVERAL)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual("", ran.stderr)
        stop = {"started": 1, "ended": [True] * 8, "left": [], "children": 0}
        self.assertEqual([stop] * SEVERAL, [json.loads(line) for line in ran.stdout.splitlines()])
