"""`tcpmesh upgrade`, apart from a proxy."""

from __future__ import annotations

import io
import os
import signal
import sys

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal import upgrade as upgrade_module
from tcpmesh.terminal.client import NoAnswer
from tcpmesh.terminal.upgrade import upgrade
from tests.terminal.test_reload import FakeClient


class UpgradeTests(SynchronousTestCase):
    """The command."""

    def setUp(self) -> None:
        """Nobody is asked."""
        self.patch(upgrade_module, "AdminClient", FakeClient)
        self.out, self.error = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.error)
        self.signals: list[tuple[int, int]] = []
        self.patch(os, "kill", lambda pid, number: self.signals.append((pid, number)))

    def ends(self, *arguments: str) -> int:
        """The exit status."""
        try:
            upgrade(arguments)
        except SystemExit as e:
            return int(e.code or 0)
        return 0

    def test_asks(self) -> None:
        """The admin interface is asked, and its answer printed."""
        self.patch(FakeClient, "answer", (200, "process 7 has taken over"))
        self.assertEqual(0, self.ends())
        self.assertEqual(("POST", "/upgrade", {}), FakeClient.asked)
        self.assertEqual("process 7 has taken over\n", self.out.getvalue())

    def test_refused(self) -> None:
        """Where the old process serves on, or nobody answers, the status is 1."""
        answers: tuple[tuple[int, str] | NoAnswer, ...] = ((409, "no"), NoAnswer("no"))
        for answer in answers:
            self.patch(FakeClient, "answer", answer)
            self.assertEqual(1, self.ends())
        self.assertEqual("tcpmesh upgrade: no\n" * 2, self.error.getvalue())

    def test_pid(self) -> None:
        """A process is told by a signal."""
        self.assertEqual(0, self.ends("--pid", "4711"))
        self.assertEqual([(4711, signal.SIGUSR2)], self.signals)

    def test_no_such_process(self) -> None:
        """One that is not there is named."""

        def refuse(pid: int, number: int) -> None:
            raise ProcessLookupError(3, "No such process")

        self.patch(os, "kill", refuse)
        self.assertEqual(1, self.ends("--pid", "4711"))
        self.assertIn("cannot tell process 4711: No such process", self.error.getvalue())

    def test_wrong_options(self) -> None:
        """What is no process, or makes no sense together, is said."""
        for arguments in (["--pid", "1"], ["--pid", "x"], ["--pid", "7", "--admin", "a:1"]):
            self.assertEqual(1, self.ends(*arguments))
        self.assertEqual([], self.signals)
