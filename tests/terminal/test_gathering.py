"""What is made of what an admin interface tells."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.filters import filter_of
from tcpmesh.terminal.gathering import SEARCHED, Gatherer, Rates, Wanted
from tests.terminal.fakes import FakeAdmin, connection, host, listener


class GatherTests(SynchronousTestCase):
    """The views."""

    def setUp(self) -> None:
        """A proxy, and somebody who looks at it."""
        self.admin, self.clock = FakeAdmin(), Clock()
        self.gatherer = Gatherer(self.admin, self.clock.seconds)

    def rows(self, view: str, text: str = "", **more: Any) -> list[Any]:
        """What a look has of a view."""
        wanted = Wanted(view, filter_of(text), **more)
        return self.gatherer.gather(wanted).tables[view]

    def test_listeners(self) -> None:
        """A listener is called by its name, with its address; threads and the admin interface are
        no listeners.
        """
        (row,) = self.rows("listeners")
        self.assertEqual(
            {
                "listener": "front",
                "address": "127.0.0.1:80",
                "active": 2,
                "total": 10,
                "total_rate": None,
            },
            row,
        )

    def test_listener_names(self) -> None:
        """It is found by its address, by that with port 0, and by its name; else it is called as
        its statistics are.
        """
        self.admin.listeners = [
            listener("any", "::1", 4711),
            listener("named", "127.0.0.1", 80),
            {"name": "pipe", "local_address": {"pipe": {"path": "/run/x"}}},
        ]
        prefixes = ("[__1]_0", "named", "/run/x", "other.one")
        self.admin.stats = {f"listener.{each}.downstream_cx_total": 1 for each in prefixes}
        self.assertEqual(
            ["any", "named", "pipe", "other.one"],
            [row["listener"] for row in self.rows("listeners")],
        )

    def test_unused_listeners(self) -> None:
        """A listener that has had no client yet, and so no statistic that is told, is shown."""
        self.admin.listeners.append(listener("idle", "127.0.0.1", 81))
        rows = self.rows("listeners")
        self.assertEqual(["front", "idle"], [row["listener"] for row in rows])
        self.assertEqual(("127.0.0.1:81", 0), (rows[1]["address"], rows[1]["active"]))
        asked = dict(self.admin.asked)["/stats"]
        self.assertIn("usedonly", asked)

    def test_clusters(self) -> None:
        """A cluster has its hosts, its connections, and from the second look on its rates."""
        (row,) = self.rows("clusters")
        self.assertEqual(
            (1, 2, 2, None), (row["healthy"], row["hosts"], row["active"], row["total_rate"])
        )
        self.clock.advance(2)
        self.admin.stats["cluster.db.upstream_cx_total"] += 10
        self.admin.stats["cluster.db.upstream_cx_rx_bytes_total"] += 4096
        (row,) = self.rows("clusters")
        self.assertEqual(
            (5.0, 2048.0, 0.0), tuple(row[f"{key}_rate"] for key in ("total", "received", "sent"))
        )

    def test_hosts(self) -> None:
        """A host has in words what is the matter with it."""
        self.admin.hosts += [
            host("10.1.0.3", 1, "failed_outlier_check", "failed_active_health_check"),
            {
                "address": {"pipe": {"path": "/s"}},
                "health_status": {"eds_health_status": "DRAINING"},
            },
        ]
        rows = self.rows("hosts")
        self.assertEqual(
            ["ok", "DOWN", "DOWN,EJECTED", "DRAINING"], [row["health"] for row in rows]
        )
        self.assertEqual(["10.1.0.1:5432", "/s"], [rows[0]["host"], rows[3]["host"]])
        self.assertEqual((5, 0), (rows[0]["total"], rows[0]["failed"]))

    def test_connections(self) -> None:
        """Fields are filtered and put in order by the proxy, words here."""
        rows = self.rows("connections", "client=10.0.0.0/8 10.0.0.2", sort="-age", limit=2)
        self.assertEqual([connection(2)], rows)
        path, parameters = self.admin.asked[-1]
        self.assertEqual("/connections", path)
        wanted = {"client": "10.0.0.0/8", "sort": "-age", "limit": str(SEARCHED), "format": "json"}
        self.assertEqual(wanted, parameters)
        snapshot = self.gatherer.gather(Wanted("connections"))
        self.assertEqual("3 of 7", snapshot.notes["connections"])

    def test_closes(self) -> None:
        """Ends are in the order in which they came."""
        self.assertEqual([9], [row["id"] for row in self.rows("closes", sort="-age")])
        self.assertNotIn("sort", self.admin.asked[-1][1])

    def test_only_what_is_shown(self) -> None:
        """A look asks for what its view shows, the overview for all."""
        for view, paths in (
            ("listeners", ["/server_info", "/stats", "/listeners"]),
            ("hosts", ["/server_info", "/clusters"]),
            ("connections", ["/server_info", "/connections"]),
            (
                "overview",
                ["/server_info", "/stats", "/listeners", "/clusters", "/connections", "/closes"],
            ),
        ):
            self.admin.asked.clear()
            self.gatherer.gather(Wanted(view))
            self.assertEqual(paths, [path for path, _ in self.admin.asked], view)

    def test_envoy(self) -> None:
        """A proxy that has no connections to show shows all the rest."""
        self.admin.connections = None
        snapshot = self.gatherer.gather(Wanted())
        self.assertEqual("this proxy has no /connections", snapshot.notes["connections"])
        self.assertEqual(([], 1), (snapshot.tables["closes"], len(snapshot.tables["clusters"])))

    def test_server(self) -> None:
        """The proxy itself has a state and an uptime."""
        server = self.gatherer.gather(Wanted("closes")).server
        self.assertEqual(("LIVE", 7.0), (server["state"], server["uptime"]))

    def test_close(self) -> None:
        """A connection is closed by its number."""
        self.assertEqual("closed 1 connection", self.gatherer.close(3))
        self.assertEqual(("/connections/close", {"id": "3"}), self.admin.asked[-1])


class RateTests(SynchronousTestCase):
    """How fast counters grow."""

    def test_rates(self) -> None:
        """By the time since the look before; nothing is told where there was none, where no time
        has passed, or where the counter began anew.
        """
        clock = Clock()
        rates = Rates(clock.seconds)
        told = []
        for seconds, value in ((0, 5), (0, 9), (2, 13), (1, 3), (1, 4)):
            clock.advance(seconds)
            told.append(rates.rate("a", value))
            rates.turn()
        self.assertEqual([None, None, 2.0, None, 1.0], told)

    def test_forgets(self) -> None:
        """What has not been looked at for long is not kept."""
        clock = Clock()
        rates = Rates(clock.seconds)
        for number in range(1000):
            rates.rate(number, 1)
            rates.turn()
            clock.advance(1)
        self.assertTrue(len(rates._before) < 500)
