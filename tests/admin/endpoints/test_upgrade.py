"""The page of upgrades, and what others tell of hot restarts."""

from __future__ import annotations

import json

from twisted.internet.defer import fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.lifecycle.restart import CannotTakeOver, RestartFacts
from tcpmesh.values.statuses import NotPossible
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


class UpgradeTests(SynchronousTestCase):
    """`/upgrade`, `/hot_restart_version` and `/server_info`."""

    def setUp(self) -> None:
        """A client."""
        self.server = FakeServer()
        self.client = Client(self.server)

    def test_upgraded(self) -> None:
        """The answer comes when the new process has taken over, and names it."""
        self.server.upgraded = succeed(7)
        answer = self.client.ask("/upgrade", "POST")
        self.assertEqual((200, "process 7 has taken over\n"), (answer.status, answer.body))

    def test_not_upgraded(self) -> None:
        """Where the old process serves on, it says why."""
        for error in (CannotTakeOver("no file"), NotPossible("no file")):
            self.server.upgraded = fail(error)
            answer = self.client.ask("/upgrade", "POST")
            said = "this process serves on: no file\n"
            self.assertEqual((409, said), (answer.status, answer.body))

    def test_facts(self) -> None:
        """Which processes were before is shown: for how long they have served, and who can take
        over next.
        """
        self.assertEqual("disabled", self.client.ask("/hot_restart_version").body)
        self.server.restart_facts = RestartFacts(2, 3, 0, "9", 100.0)
        self.assertEqual("9", self.client.ask("/hot_restart_version").body)
        info = json.loads(self.client.ask("/server_info").body)
        self.assertEqual(
            ("9", "61s", "161s"),
            (
                info["hot_restart_version"],
                info["uptime_current_epoch"],
                info["uptime_all_epochs"],
            ),
        )
