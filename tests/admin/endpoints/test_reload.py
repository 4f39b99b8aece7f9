"""The pages of reloads."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.lifecycle.reload import Change, Configuration, How, Reloaded, Verdict
from tests.admin.client import Client
from tests.admin.fakes import FakeServer

CHANGES = (
    Change("listener", "front", How.CHANGED, ("address", "name")),
    Change("cluster", "a\x1bb", How.ADDED),
)


class ReloadTests(SynchronousTestCase):
    """`/reload` and `/reload/rollback`."""

    def setUp(self) -> None:
        """A client."""
        self.server = FakeServer()
        self.client = Client(self.server)

    def test_applied(self) -> None:
        """What has changed is told, a line for each, without what a terminal would obey."""
        self.server.reloads.done = Reloaded(
            Verdict.APPLIED, 2, CHANGES, warnings=("f:1:1: warning: w",)
        )
        answer = self.client.ask("/reload", "POST")
        self.assertEqual(200, answer.status)
        self.assertEqual(
            "configuration 2 is served, with 2 changes:\n"
            "  listener front changed: address, name\n"
            "  cluster a\\x1bb added\n"
            "  f:1:1: warning: w\n",
            answer.body,
        )
        self.assertEqual([("request", False)], self.server.reloads.asked)

    def test_unchanged(self) -> None:
        """That nothing changes is told too."""
        answer = self.client.ask("/reload", "POST")
        self.assertEqual("nothing changes: it is configuration 1, which is served\n", answer.body)

    def test_dry_run(self) -> None:
        """It may be only asked for."""
        self.server.reloads.done = Reloaded(Verdict.SHOWN, 1, CHANGES[:1])
        answer = self.client.ask("/reload?dry_run", "POST")
        self.assertEqual([("request", True)], self.server.reloads.asked)
        self.assertIn("would change, of configuration 1, which is served: 1 change\n", answer.body)

    def test_refused(self) -> None:
        """What cannot be served is no success, and the reasons are told with their lines."""
        told = {Verdict.REFUSED: 400, Verdict.UNTIMELY: 409, Verdict.FAILED: 500}
        for verdict, status in told.items():
            self.server.reloads.done = Reloaded(verdict, 1, CHANGES, ("f:1:2: a: b\nmore", "c"))
            answer = self.client.ask("/reload", "POST")
            self.assertEqual(status, answer.status)
            self.assertEqual("  f:1:2: a: b\n  more\n  c\n", answer.body.partition("\n")[2])

    def test_json(self) -> None:
        """All of it as JSON."""
        self.server.reloads.done = Reloaded(Verdict.REFUSED, 1, CHANGES, ("e",), ("w",))
        answer = self.client.ask("/reload?format=json", "POST")
        self.assertEqual(400, answer.status)
        self.assertEqual(
            {
                "verdict": "refused",
                "serves": 1,
                "changes": [
                    {
                        "kind": "listener",
                        "name": "front",
                        "how": "changed",
                        "fields": ["address", "name"],
                    },
                    {"kind": "cluster", "name": "a\x1bb", "how": "added"},
                ],
                "errors": ["e"],
                "warnings": ["w"],
            },
            json.loads(answer.body),
        )

    def test_later(self) -> None:
        """A client waits until it is done, and may leave meanwhile."""
        done: Deferred[Reloaded] = Deferred()
        self.server.reloads.answer = done
        self.client.send("POST", "/reload")
        self.client.run()
        self.assertEqual(b"", self.client.transport.value())
        done.callback(self.server.reloads.done)
        self.assertEqual(200, self.client.response().status)
        self.server.reloads.answer = done = Deferred()
        self.client.send("POST", "/reload")
        self.client.run()
        self.client.leave()
        done.callback(self.server.reloads.done)
        self.client.run()

    def test_fails(self) -> None:
        """Where it breaks, the client is told so."""
        done: Deferred[Reloaded] = Deferred()
        self.server.reloads.answer = done
        self.client.send("POST", "/reload")
        done.errback(ZeroDivisionError())
        self.assertEqual(500, self.client.response().status)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_rollback(self) -> None:
        """To the one before, or to one by its number."""
        for query in ("", "?to=3"):
            self.assertEqual(200, self.client.ask(f"/reload/rollback{query}", "POST").status)
        self.assertEqual([None, 3], self.server.reloads.asked)
        for wrong in ("?to=x", "?to=", "?to=-1", "?to=99999999999", "?format=xml"):
            self.assertEqual(400, self.client.ask(f"/reload/rollback{wrong}", "POST").status)
        self.assertEqual(2, len(self.server.reloads.asked))

    def test_get(self) -> None:
        """What changes something is a POST."""
        for path in ("/reload", "/reload/rollback"):
            self.assertEqual(405, self.client.ask(path).status)
        self.assertEqual([], self.server.reloads.asked)


class HistoryTests(SynchronousTestCase):
    """`/reload/history`."""

    def setUp(self) -> None:
        """Two configurations."""
        self.server = FakeServer()
        self.server.reloads.served = (
            Configuration(1, 0.0, "start", ""),
            Configuration(2, 60.0, "signal", "00ff", CHANGES[:1], 7),
        )
        self.client = Client(self.server)

    def test_text(self) -> None:
        """The last one is the first."""
        self.assertEqual(
            "2  1970-01-01T00:01:00Z  00ff  signal\n"
            "  listener front changed: address, name\n"
            "  ... and 6 more\n"
            "1  1970-01-01T00:00:00Z  -  start\n",
            self.client.ask("/reload/history").body,
        )

    def test_json(self) -> None:
        """The same as JSON."""
        told = json.loads(self.client.ask("/reload/history?format=json").body)
        first, second = told["configurations"]
        self.assertEqual((2, "signal", 7), (first["number"], first["by"], first["change_count"]))
        self.assertEqual("1970-01-01T00:01:00Z", first["served_since"])
        self.assertEqual([], second["changes"])
