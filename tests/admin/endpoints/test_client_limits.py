"""Which clients have most connections."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.live.clients import ClientQuery, ClientRow
from tests.admin.client import Client
from tests.admin.fakes import FakeServer


class ClientLimitsTests(SynchronousTestCase):
    """A client of a server with two clients that a limit knows."""

    def setUp(self) -> None:
        """They are there."""
        self.server = FakeServer()
        self.server.client_rows = [
            ClientRow("front", "10.0.0.1", 3, 1, 40, 7),
            ClientRow("front", "evil\x1b[2J", 1, 0, 1, 0),
        ]
        self.client = Client(self.server)

    def test_text(self) -> None:
        """As text it is a table, in which nothing is obeyed that a client has sent."""
        body = self.client.ask("/client_limits").body
        lines = body.splitlines()
        self.assertEqual("2 of 2 clients that are known", lines[0])
        self.assertEqual(["front", "10.0.0.1", "3", "1", "40", "7"], lines[3].split())
        self.assertNotIn("\x1b", body)

    def test_json(self) -> None:
        """As JSON all rows are there, by the names of their fields."""
        told = json.loads(self.client.ask("/client_limits?format=json").body)
        self.assertEqual(2, told["known"])
        self.assertEqual(
            {
                "limit": "front",
                "client": "10.0.0.1",
                "active": 3,
                "waiting": 1,
                "total": 40,
                "limited": 7,
            },
            told["clients"][0],
        )

    def test_query(self) -> None:
        """What is asked for is passed on, and what cannot be is refused."""
        self.client.ask("/client_limits?limit=front&client=10.&rows=5")
        self.client.ask("/client_limits")
        self.assertEqual(
            [ClientQuery("front", "10.", 5), ClientQuery("", "", 100)], self.server.asked
        )
        for wrong in ("rows=0", "rows=x", "rows=1001", "format=xml"):
            self.assertEqual(400, self.client.ask(f"/client_limits?{wrong}").status)
