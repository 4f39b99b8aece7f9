"""Connections that wait for their turn."""

from __future__ import annotations

from typing import Any

from tcpmesh.values.live.clients import ClientQuery, ClientRow
from tests.extensions.filters.network.client_limit.test_filter import (
    ONE,
    TWO,
    LimitTestCase,
    limit,
    rate,
)
from tests.extensions.filters.network.filtered import tcp_proxy


def queue(**fields: Any) -> dict[str, Any]:
    """The filter."""
    return limit(**{"over_limit": "QUEUE", **fields})


class QueueTests(LimitTestCase):
    """Those of one client."""

    def served(self, *clients: Any) -> list[bool]:
        """Which of these have reached the host: what it says comes to them."""
        return [client.received == b"hello" for client in clients]

    def greet(self) -> None:
        """The host greets each client."""
        for each in self.host.built:
            if not getattr(each, "greeted", False):
                each.greeted = True
                each.transport.write(b"hello")
        self.mesh.pump()

    def test_turn(self) -> None:
        """A connection too many waits, and is let in when one of its client ends, in the order in
        which they came; that of another client does not wait for it.
        """
        self.serve(queue(max_connections=1), tcp_proxy())
        first, second, third, other = (self.connect(each) for each in (ONE, ONE, ONE, TWO))
        self.greet()
        self.assertEqual([True, False, False, True], self.served(first, second, third, other))
        self.assertEqual(
            {
                "active_connections": 2,
                "waiting_connections": 2,
                "queued": 2,
                "limited_connections": 1,
                "entries": 2,
            },
            self.stats(),
        )
        first.transport.loseConnection()
        self.mesh.pump()
        self.host.built[0].transport.loseConnection()
        self.mesh.pump()
        self.greet()
        self.assertEqual([True, False], self.served(second, third))
        self.all_leave()
        self.mesh.pump()
        self.all_leave()
        self.assertEqual({"queued": 2, "limited_connections": 1}, self.stats())

    def test_counted(self) -> None:
        """All that were too many are so in the table of clients, also who came when others waited
        already.
        """
        self.serve(queue(max_connections=1, max_waiting=2), tcp_proxy())
        for _ in range(4):
            self.connect(ONE)
        asked = self.mesh.main.live.top_clients(ClientQuery(rows=1))
        self.mesh.advance(0)
        self.assertEqual((ClientRow("p", ONE, 1, 2, 1, 3),), self.successResultOf(asked).rows)

    def test_timeout(self) -> None:
        """One that waits too long is closed, and the log says so; five seconds where nothing is
        said.
        """
        for fields, seconds in (({"max_wait": "2s"}, 2), ({}, 5)):
            self.serve(queue(max_connections=1, **fields), tcp_proxy())
            self.connect(ONE)
            second = self.connect(ONE)
            self.mesh.advance(seconds - 0.1)
            self.assertFalse(second.ended)
            self.mesh.advance(0.2)
            self.assertTrue(second.ended)
            self.assertEqual(
                ["RL - client_limit[10.0.0.1] client_limit_queue_timeout"], self.logged()
            )
            self.assertEqual(1, self.stats()["queue_timeout"])
            self.assertNotIn("waiting_connections", self.stats())

    def test_overflow(self) -> None:
        """No more than so many of a client wait; one beyond is closed at once."""
        self.serve(queue(max_connections=1, max_waiting=1), tcp_proxy())
        self.assertEqual([False, False, True], self.ended(ONE, ONE, ONE))
        self.assertEqual(["RL - client_limit[10.0.0.1] client_limit_queue_overflow"], self.logged())
        self.assertEqual(1, self.stats()["queue_overflow"])

    def test_token(self) -> None:
        """One for which there is no token waits until there is, though nothing else happens."""
        self.serve(queue(**rate(1, 3)), tcp_proxy())
        clients = [self.connect(ONE) for _ in range(3)]
        for expected in ([True, False, False], [True, True, False]):
            self.greet()
            self.assertEqual(expected, self.served(*clients))
            self.mesh.advance(2.9)
            self.greet()
            self.assertEqual(expected, self.served(*clients))
            self.mesh.advance(0.2)

    def test_many_tokens(self) -> None:
        """All for whom there are tokens are let in, a few at a time, also where a busy process
        looks so late that there are many.
        """
        self.serve(queue(**rate(50, 0.1), max_waiting=50, max_wait="60s"), tcp_proxy())
        clients = [self.connect(ONE) for _ in range(100)]
        self.greet()
        self.assertEqual(50, sum(self.served(*clients)))
        self.mesh.advance(6)
        self.greet()
        self.assertEqual(100, sum(self.served(*clients)))

    def test_leaves(self) -> None:
        """One that leaves while it waits, which nobody sees as it is not read, has its turn, and
        holds up those after it no longer.
        """
        self.serve(queue(max_connections=1), tcp_proxy())
        first, second, third = (self.connect(ONE) for _ in range(3))
        second.transport.abortConnection()
        self.mesh.pump()
        self.leave(first)
        self.greet()
        self.assertEqual([True], self.served(third))
        self.assertNotIn("waiting_connections", self.stats())

    def test_filter_gone(self) -> None:
        """One that waits when the filter is removed has its turn all the same."""
        self.serve(queue(max_connections=1), tcp_proxy())
        first, second = (self.connect(ONE) for _ in range(2))
        self.mesh.listeners.remove("l")
        self.leave(first)
        self.greet()
        self.assertEqual([True], self.served(second))
        self.all_leave()
        self.assertEqual({}, self.mesh.stats("client_limit."))
