"""`tcpmesh reload`, apart from a proxy."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping

from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal import reload as reload_module
from tcpmesh.terminal.client import NoAnswer
from tcpmesh.terminal.reload import ReloadOptions, reload

Parameters = Mapping[str, str]


class FakeClient:
    """Answers as a test says."""

    answer: tuple[int, str] | NoAnswer = (200, "configuration 2 is served")
    asked: tuple[str, str, Parameters] | None = None

    def __init__(self, address: str, patience: float) -> None:
        if not address:
            raise ValueError("no address")

    def told(self, method: str, path: str, parameters: Parameters) -> tuple[int, str]:
        """Remember the question."""
        type(self).asked = (method, path, dict(parameters))
        if isinstance(self.answer, NoAnswer):
            raise self.answer
        return self.answer


class ReloadTests(SynchronousTestCase):
    """The command."""

    def setUp(self) -> None:
        """Nobody is asked."""
        self.patch(reload_module, "AdminClient", FakeClient)
        self.out, self.error = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.error)

    def ends(self, *arguments: str) -> int:
        """The exit status."""
        try:
            reload(arguments)
        except SystemExit as e:
            return int(e.code or 0)
        return 0

    def answers(self, answer: tuple[int, str] | NoAnswer) -> None:
        """This is the answer from now on."""
        self.patch(FakeClient, "answer", answer)

    def test_questions(self) -> None:
        """What is asked for each option."""
        for arguments, question in (
            ([], ("POST", "/reload", {})),
            (["--dry-run"], ("POST", "/reload", {"dry_run": ""})),
            (["--json"], ("POST", "/reload", {"format": "json"})),
            (["--rollback"], ("POST", "/reload/rollback", {})),
            (["--rollback", "--to", "3"], ("POST", "/reload/rollback", {"to": "3"})),
            (["--history", "--json"], ("GET", "/reload/history", {"format": "json"})),
        ):
            self.assertEqual(0, self.ends(*arguments))
            self.assertEqual(question, FakeClient.asked)
        self.assertIn("configuration 2 is served", self.out.getvalue())

    def test_refused(self) -> None:
        """Where it is refused, the status is 1, and people are told where errors are; JSON is where
        scripts look.
        """
        self.answers((400, "refused: why"))
        self.assertEqual(1, self.ends())
        self.assertEqual(("", "refused: why\n"), (self.out.getvalue(), self.error.getvalue()))
        self.answers((409, "{}"))
        self.assertEqual(1, self.ends("--json"))
        self.assertEqual("{}\n", self.out.getvalue())

    def test_nobody(self) -> None:
        """Where nobody answers, the status is 1, with one line."""
        self.answers(NoAnswer("cannot ask x"))
        self.assertEqual(1, self.ends())
        self.assertEqual("tcpmesh reload: cannot ask x\n", self.error.getvalue())

    def test_senseless(self) -> None:
        """Options that make no sense together, or no number."""
        for arguments in (
            ["--to", "3"],
            ["--rollback", "--dry-run"],
            ["--rollback", "--to", "x"],
            ["--rollback", "--to", "0"],
            ["more"],
        ):
            self.assertRaises(usage.UsageError, ReloadOptions().parseOptions, arguments)
            self.assertEqual(1, self.ends(*arguments))
        self.assertEqual(5, self.error.getvalue().count("(--help tells more)"))
