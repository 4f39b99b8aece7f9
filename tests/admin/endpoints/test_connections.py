"""Who is connected to what, and what operators do about it."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.stream.live import (
    CloseQuery,
    CloseRow,
    ConnectionQuery,
    ConnectionRow,
    Connections,
    FieldFilter,
)
from tests.admin.client import Client
from tests.admin.fakes import FakeServer

ROW = ConnectionRow(
    id=7,
    worker=0,
    client="10.0.0.1:5000",
    local="10.0.0.9:443",
    sni="db.example",
    listener="front",
    filter_chain="all",
    cluster="db",
    host="10.0.1.1:5432",
    phase="relaying",
    age=3725.5,
    idle=0.25,
    received=2048,
    sent=5 << 20,
    upstream_sent=2048,
    upstream_received=5 << 20,
    received_rate=512.0,
    sent_rate=1536.123456,
    rate_over=2.0,
    rtt=1500,
    retransmits=2,
    upstream_rtt=None,
    upstream_retransmits=None,
    buffered=0,
    upstream_buffered=12,
)

CLOSE = CloseRow(
    id=9,
    worker=0,
    when=1_700_000_000.25,
    client="10.0.0.1:5000",
    sni="",
    listener="front",
    filter_chain="",
    cluster="db",
    host="10.0.1.1:5432",
    duration=0.5,
    received=1,
    sent=2,
    flags="UR",
    reason="upstream 10.0.1.1:5432 reset",
    by="upstream",
)


class PageTestCase(SynchronousTestCase):
    """A client of a server that has a connection, and had one."""

    def setUp(self) -> None:
        """They are there."""
        self.server = FakeServer()
        self.server.rows = [ROW]
        self.server.close_rows = [CLOSE]
        self.client = Client(self.server)


class ConnectionsTests(PageTestCase):
    """`/connections`."""

    def test_text(self) -> None:
        """A table for people: a title for each column, and what is not known is a dash."""
        found = self.client.ask("/connections")
        self.assertEqual("text/plain; charset=UTF-8", found.headers["content-type"])
        first, _, titles, row = found.body.splitlines()
        self.assertEqual("1 of 1 that fit, of 1 connections", first)
        self.assertEqual(titles.index("CLIENT"), row.index("10.0.0.1:5000"))
        self.assertEqual(
            [
                *("7", "10.0.0.1:5000", "db.example", "front", "db", "10.0.1.1:5432", "relaying"),
                *("1h02m", "0.2s", "2.0K", "5.0M", "512", "1.5K", "1.5ms/-", "2/-", "0/12"),
            ],
            row.split(),
        )

    def test_json(self) -> None:
        """All fields by their names, and how many there are."""
        found = self.client.ask("/connections?format=json")
        self.assertEqual("application/json", found.headers["content-type"])
        told = json.loads(found.body)
        self.assertEqual((1, 1), (told["matched"], told["total"]))
        (row,) = told["connections"]
        self.assertEqual(list(ROW.__slots__), list(row))
        self.assertEqual((1536.123, None, 7), (row["sent_rate"], row["upstream_rtt"], row["id"]))
        self.server.rows = []
        told = json.loads(self.client.ask("/connections?format=json").body)
        self.assertEqual({"connections": [], "matched": 0, "total": 0}, told)

    def test_before(self) -> None:
        """Clients that have stayed with processes before this one are told of, with why."""
        why = (("a transport socket wraps it", 2), ("filters have left something with it", 1))
        found = Connections((), 0, 0, before=3, why_before=why)
        self.patch(self.server, "connections", lambda query: succeed(found))
        self.assertIn(
            "3 are with processes before this one; stayed: 2 because a transport socket wraps it, "
            "1 because filters have left something with it\n",
            self.client.ask("/connections").body,
        )
        told = json.loads(self.client.ask("/connections?format=json").body)
        self.assertEqual({"total": 3, "stayed": dict(why)}, told["before"])

    def test_query(self) -> None:
        """Parameters are fields, an order and a limit; those without a value say nothing."""
        self.client.ask("/connections?sort=-sent&limit=5&cluster=db&sni=~%5Edb&age=>60&host=")
        filters = ("cluster", "db"), ("sni", "~^db"), ("age", ">60")
        self.assertEqual(
            [ConnectionQuery(tuple(FieldFilter(*each) for each in filters), "sent", True, 5)],
            self.server.asked,
        )

    def test_refused(self) -> None:
        """What cannot be asked for is 400, with a line that says why."""
        for query, words in (
            ("sort=size", "sort: there is no field 'size'"),
            ("clustre=db", "did you mean 'cluster'"),
            ("limit=0", "limit: a number from 1 to 5000"),
            ("sni=~(", "sni: missing ): ("),
            ("format=xml", "usage: format=(text|json)"),
        ):
            for path in ("/connections", "/closes"):
                if query == "sort=size" and path == "/closes":
                    continue
                found = self.client.ask(f"{path}?{query}")
                self.assertEqual(400, found.status)
                self.assertIn(words, found.body)
                self.assertEqual(1, found.body.count("\n"))
        self.assertEqual([], self.server.asked)

    def test_hostile(self) -> None:
        """What a client has sent obeys nobody's terminal, nor breaks a table or JSON."""
        name = "\x1b]0;x\x07\n\r\u202e<b>" + "y" * 300
        self.server.rows = [replace(ROW, sni=name)]
        body = self.client.ask("/connections").body
        self.assertEqual(4, len(body.splitlines()))
        self.assertTrue(all(each.isprintable() for each in body.splitlines()))
        self.assertIn("\\x1b]0;x\\x07\\n\\r\\u202e<b>yyy", body)
        told = json.loads(self.client.ask("/connections?format=json").body)
        self.assertEqual(name, told["connections"][0]["sni"])

    def test_silent(self) -> None:
        """That connections of a worker are missing is said in both forms."""
        self.server.connections = lambda query: succeed(  # type: ignore[method-assign]
            Connections((ROW,), 1, 1, (0, 2))
        )
        body = self.client.ask("/connections").body
        self.assertEqual(
            ["worker_0 does not answer: its connections are missing", "worker_2"],
            [body.splitlines()[1], body.splitlines()[2].split()[0]],
        )
        told = json.loads(self.client.ask("/connections?format=json").body)
        self.assertEqual(["worker_0", "worker_2"], told["silent"])

    def test_later(self) -> None:
        """A page waits for workers that take a while, and one whose client leaves waits no more."""
        asked: list[Deferred[Connections]] = []

        def connections(query: ConnectionQuery) -> Deferred[Connections]:
            asked.append(Deferred())
            return asked[-1]

        self.server.connections = connections  # type: ignore[method-assign]
        self.client.send("GET", "/connections")
        self.client.run()
        self.assertEqual(b"", self.client.transport.value())
        asked[0].callback(Connections((ROW,), 1, 1))
        self.assertIn("10.0.0.1:5000", self.client.response().body)
        self.client.send("GET", "/connections")
        self.client.run()
        self.client.leave()
        asked[1].callback(Connections((ROW,), 1, 1))
        self.client.run()
        self.assertEqual(b"", self.client.transport.value())


class ClosesTests(PageTestCase):
    """`/closes`."""

    def test_text(self) -> None:
        """A line for each, with the reason in words."""
        found = self.client.ask("/closes")
        _, row = found.body.splitlines()
        self.assertTrue(row.startswith("2023-11-14T22:13:20.250Z  "), row)
        self.assertTrue(row.endswith("  UR     upstream 10.0.1.1:5432 reset"), row)

    def test_json(self) -> None:
        """All fields by their names; the time as in JSON of protobuf."""
        (row,) = json.loads(self.client.ask("/closes?format=json").body)["closes"]
        self.assertEqual(list(CLOSE.__slots__), list(row))
        self.assertEqual("2023-11-14T22:13:20.250Z", row["when"])

    def test_query(self) -> None:
        """Filters and a limit."""
        self.client.ask("/closes?by=upstream&limit=3")
        self.assertEqual([CloseQuery((FieldFilter("by", "upstream"),), 3)], self.server.asked)


class CloseTests(PageTestCase):
    """`/connections/close`."""

    def test_closed(self) -> None:
        """How many were closed is said."""
        found = self.client.ask("/connections/close?id=7", "POST")
        self.assertEqual((200, "closed 1 connection\n"), (found.status, found.body))
        self.server.rows = []
        found = self.client.ask("/connections/close?client=10.0.0.1&host=", "POST")
        self.assertEqual("closed 0 connections\n", found.body)
        self.assertEqual(
            [
                ((FieldFilter("id", "7"),), 100, False),
                ((FieldFilter("client", "10.0.0.1"),), 100, False),
            ],
            self.server.asked,
        )

    def test_refused(self) -> None:
        """Without a field nothing is closed, nor with one that is not there, nor with GET."""
        for query in ("", "?id=", "?nope=1", "?id=x"):
            found = self.client.ask(f"/connections/close{query}", "POST")
            self.assertEqual(400, found.status, query)
        self.assertEqual(405, self.client.ask("/connections/close?id=7").status)
        self.assertEqual([], self.server.asked)


class SteeringTests(PageTestCase):
    """Clusters and hosts."""

    def test_done(self) -> None:
        """What is done is said."""
        for path, words, asked in (
            (
                "/hosts/drain?cluster=db&address=10.0.1.1:5432",
                "10.0.1.1:5432 of db gets no new connections",
                ("10.0.1.1:5432", True),
            ),
            (
                "/hosts/enable?cluster=db&address=10.0.1.1:5432",
                "10.0.1.1:5432 of db gets connections again",
                ("10.0.1.1:5432", False),
            ),
            ("/clusters/rebalance?cluster=db", "closing 1 connection of db", (10,)),
            ("/clusters/rebalance?cluster=db&percent=50", "closing 1 connection of db", (50,)),
            ("/clusters/pause?cluster=db&for=30s", "new connections to db wait for 30 s", (30.0,)),
            ("/clusters/pause?cluster=db&for=1.5m", "new connections to db wait for 90 s", (90.0,)),
            ("/clusters/pause?cluster=db&for=500ms", "to db wait for 0.5 s", (0.5,)),
            ("/clusters/pause?cluster=db&for=0s", "new connections to db are made", (0.0,)),
        ):
            found = self.client.ask(path, "POST")
            self.assertEqual(200, found.status, path)
            self.assertIn(words, found.body)
            self.assertEqual(asked, self.server.asked.pop())

    def test_refused(self) -> None:
        """What is missing or makes no sense is 400 with the usage, what is not there 404."""
        for path, status, words in (
            ("/hosts/drain", 400, "usage: /hosts/drain?cluster=<name>"),
            ("/hosts/drain?cluster=db", 400, "usage"),
            ("/hosts/enable?cluster=db&address=", 400, "usage"),
            ("/hosts/drain?cluster=nope&address=x", 404, "there is no cluster nope"),
            ("/hosts/drain?cluster=named&address=x", 400, "connections name the hosts"),
            ("/clusters/rebalance?cluster=nope", 404, "there is no cluster nope"),
            ("/clusters/rebalance?cluster=db&percent=0", 400, "usage"),
            ("/clusters/rebalance?cluster=db&percent=101", 400, "usage"),
            ("/clusters/rebalance?cluster=db&percent=x", 400, "usage"),
            ("/clusters/pause?cluster=nope&for=1s", 404, "there is no cluster nope"),
            ("/clusters/pause?cluster=db", 400, "usage"),
            ("/clusters/pause?cluster=db&for=2h", 400, "usage"),
            ("/clusters/pause?cluster=db&for=-1s", 400, "usage"),
            ("/clusters/pause?cluster=db&for=1d", 400, "usage"),
        ):
            found = self.client.ask(path, "POST")
            self.assertEqual(status, found.status, path)
            self.assertIn(words, found.body)
        self.assertEqual([], self.server.asked)
