"""What a worker answers about its connections, and what main makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.live.gathering import Gathering
from tcpmesh.testing.mesh import Mesh
from tcpmesh.values.stream.live import (
    AskConnections,
    CloseQuery,
    CloseRows,
    ConnectionQuery,
    ConnectionRow,
    ConnectionRows,
    Connections,
    FieldFilter,
)
from tests.connection.live.test_rows import answer, closes, mesh_of, rows


def mesh_with(count: int) -> tuple[Mesh, list[Any]]:
    """A proxy with so many clients, each a second older than the next and with another number of
    bytes moved.
    """
    mesh = mesh_of()
    mesh.upstream("127.0.0.1:8080")
    clients = []
    for index in range(count):
        client = mesh.connect("127.0.0.1:10000")
        client.transport.write(b"x" * (index * 7 % count))
        clients.append(client)
        mesh.advance(1)
    return mesh, clients


class AskedTests(SynchronousTestCase):
    """One worker."""

    def test_order(self) -> None:
        """Rows come in the order that is asked for, and no more of them than that."""
        mesh, _ = mesh_with(40)
        self.assertEqual([1, 3, 5], [row.id for row in rows(mesh, limit=3)])
        largest = rows(mesh, sort="received", descending=True, limit=2)
        self.assertEqual([39, 38], [row.received for row in largest])
        self.assertEqual(
            sorted(row.age for row in rows(mesh, limit=40)),
            [row.age for row in rows(mesh, sort="age", limit=40)],
        )

    def test_filters(self) -> None:
        """Only rows that fit all filters are told, and how many these are, of how many."""
        mesh, _ = mesh_with(20)
        filters = (FieldFilter("received", ">10"), FieldFilter("cluster", "db"))
        asked = mesh.main.live.connections(ConnectionQuery(filters, limit=3))
        told = answer(mesh, asked)
        self.assertEqual((3, 9, 20), (len(told.rows), told.matched, told.total))
        self.assertEqual((), rows(mesh, filters=(FieldFilter("cluster", "other"),)))

    def test_rates(self) -> None:
        """Rates are taken since the last look that is a second old, and since the connection was
        accepted where nobody has looked for a while.
        """
        mesh, (client,) = mesh_with(1)
        self.assertEqual(0, rows(mesh)[0].received_rate)
        client.transport.write(b"x" * 600)
        mesh.advance(2)
        first = rows(mesh)[0]
        self.assertEqual((300, 2), (first.received_rate, first.rate_over))
        mesh.advance(0.5)
        self.assertEqual(300, rows(mesh)[0].received_rate)
        mesh.advance(3.5)
        self.assertEqual(0, rows(mesh)[0].received_rate)
        mesh.advance(93)
        late = rows(mesh)[0]
        self.assertEqual((6, 100), (late.received_rate, late.rate_over))

    def test_same_question(self) -> None:
        """Who asks the same while others wait gets the same rows, and all get them."""
        mesh, _ = mesh_with(3)
        asked = [mesh.main.live.connections(ConnectionQuery()) for _ in range(5)]
        other = mesh.main.live.connections(ConnectionQuery(limit=1))
        self.assertEqual(1, len(answer(mesh, other).rows))
        for each in asked:
            self.assertEqual(3, len(self.successResultOf(each).rows))

    def test_closed_meanwhile(self) -> None:
        """A connection that ends while the answer is made is left out, and nothing fails."""
        mesh, clients = mesh_with(100)
        asked = mesh.main.live.connections(ConnectionQuery(limit=100))
        for client in clients[:50]:
            client.transport.abortConnection()
        mesh.pump()
        told = answer(mesh, asked)
        self.assertEqual(50, len(told.rows))
        self.assertEqual({"relaying"}, {row.phase for row in told.rows})

    def test_stopped(self) -> None:
        """A proxy that ends answers no more, and leaves no timer."""
        mesh, _ = mesh_with(2)
        rows(mesh)
        mesh.main.live.connections(ConnectionQuery())
        mesh.main.stop()
        mesh.network.stop()
        mesh.advance(0)
        self.assertEqual([], mesh.network.clock.getDelayedCalls())


class CloseTests(SynchronousTestCase):
    """Ends, and how an operator brings them about."""

    def test_last_first(self) -> None:
        """The last ends come first, as many as are asked for and as fit."""
        mesh, clients = mesh_with(40)
        for client in clients:
            client.transport.abortConnection()
            mesh.advance(1)
        self.assertEqual([79, 77], [row.id for row in closes(mesh, limit=2)])
        self.assertEqual(40, len(closes(mesh)))
        found = closes(mesh, filters=(FieldFilter("id", "<4"),))
        self.assertEqual([3, 1], [row.id for row in found])

    def test_bounded(self) -> None:
        """Only the last thousand ends are remembered."""
        mesh = mesh_of()
        mesh.upstream("127.0.0.1:8080")
        for _ in range(1010):
            mesh.connect("127.0.0.1:10000").transport.abortConnection()
            mesh.pump()
        self.assertEqual(1000, len(closes(mesh, limit=2000)))

    def close(self, mesh: Mesh, *filters: tuple[str, str], **how: Any) -> int:
        """Close those that fit; how many these are."""
        asked = mesh.main.live.close(tuple(FieldFilter(*each) for each in filters), **how)
        return answer(mesh, asked)

    def test_at_once(self) -> None:
        """Those that fit are closed on both sides, and say who has done it."""
        mesh, clients = mesh_with(30)
        self.assertEqual(1, self.close(mesh, ("id", "7")))
        mesh.pump()
        self.assertEqual([3], [n for n, each in enumerate(clients) if each.ended])
        (row,) = closes(mesh)
        self.assertEqual(("closed by an operator", "proxy"), (row.reason, row.by))
        self.assertEqual(29, self.close(mesh, ("cluster", "db")))
        for _ in range(10):
            mesh.advance(0)
        self.assertTrue(all(each.ended for each in clients))
        self.assertEqual(0, self.close(mesh, ("cluster", "db")))
        self.assertEqual(0, mesh.stat("cluster.db.upstream_cx_active"))

    def test_phases(self) -> None:
        """A connection is closed in whatever phase it is."""
        mesh = mesh_of(
            proxy="max_early_data_bytes: 10\n          upstream_connect_mode: ON_DOWNSTREAM_DATA"
        )
        mesh.upstream("127.0.0.1:8080")
        waiting = mesh.connect("127.0.0.1:10000")
        self.assertEqual(1, self.close(mesh, ("phase", "connecting")))
        mesh.pump()
        self.assertTrue(waiting.ended)
        self.assertEqual((), rows(mesh))

    def test_gently(self) -> None:
        """The oldest percent is closed a few at a time, each once its client has what was for
        it.
        """
        mesh, clients = mesh_with(100)
        self.assertEqual(20, self.close(mesh, ("cluster", "db"), percent=20, gently=True))
        mesh.pump()
        self.assertTrue(0 < sum(each.ended for each in clients) < 20)
        for _ in range(20):
            mesh.advance(0.05)
        self.assertEqual(list(range(20)), [n for n, each in enumerate(clients) if each.ended])
        self.assertEqual("closed by an operator to rebalance", closes(mesh)[0].reason)

    def test_gently_again(self) -> None:
        """Whoever asks again while some are still to be closed does not have them closed twice,
        nor others.
        """
        mesh, clients = mesh_with(100)
        asked = [self.close(mesh, ("id", "<61"), percent=100, gently=True) for _ in range(3)]
        self.assertEqual([30, 22, 22], asked)
        for _ in range(20):
            mesh.advance(0.05)
        self.assertEqual(30, sum(each.ended for each in clients))
        self.assertEqual(30, len(closes(mesh)))

    def test_gently_stuck(self) -> None:
        """A client that takes nothing of what is for it is cut off after a while."""
        mesh = mesh_of()
        upstream = mesh.upstream("127.0.0.1:8080")
        client = mesh.connect("127.0.0.1:10000")
        client.transport.pauseProducing()
        mesh.pump()
        upstream.built[0].transport.write(b"x" * 500_000)
        mesh.pump()
        self.close(mesh, ("cluster", "db"), gently=True)
        mesh.pump()
        self.assertEqual(1, len(rows(mesh)))
        mesh.advance(6)
        mesh.pump()
        self.assertEqual((), rows(mesh))


class Sent:
    """Takes what main says."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def __call__(self, message: Any) -> None:
        """Keep it."""
        self.messages.append(message)


class GatheringTests(SynchronousTestCase):
    """Main, with several workers."""

    def setUp(self) -> None:
        """There is a row."""
        mesh, _ = mesh_with(1)
        (self.row,) = rows(mesh)

    def row_of(self, number: int, worker: int, rtt: int | None = None) -> ConnectionRow:
        """One of another worker."""
        return replace(self.row, id=number, worker=worker, rtt=rtt)

    def ask(self, query: ConnectionQuery) -> tuple[Gathering, Deferred[Connections], int]:
        """Main, what it will say, and the number of the question."""
        sent = Sent()
        main = Gathering(sent, lambda: range(2))
        asked = main.connections(query)
        (message,) = sent.messages
        self.assertEqual(AskConnections(message.ask, query), message)
        return main, asked, message.ask

    def test_merged(self) -> None:
        """The rows of all workers are put in order, and cut; one without the value comes last."""
        main, asked, ask = self.ask(ConnectionQuery((), "rtt", True, 3))
        take = main.receivers[ConnectionRows]
        take(ConnectionRows(ask, 0, (self.row_of(1, 0, 7),)))
        take(ConnectionRows(ask, 1, (self.row_of(2, 1, 9), self.row_of(4, 1))))
        take(ConnectionRows(ask, 0, (self.row_of(3, 0, 8),)))
        take(ConnectionRows(ask, 0, (), 2, 10, is_last=True))
        self.assertNoResult(asked)
        take(ConnectionRows(ask, 1, (), 2, 20, is_last=True))
        told = self.successResultOf(asked)
        self.assertEqual([2, 3, 1], [row.id for row in told.rows])
        self.assertEqual((4, 30), (told.matched, told.total))

    def test_unwanted(self) -> None:
        """Who asks no more is not told, and the answer does no harm."""
        sent = Sent()
        main = Gathering(sent)
        asked = main.closes(CloseQuery())
        asked.addErrback(lambda failure: None)
        asked.cancel()
        main.receivers[CloseRows](CloseRows(sent.messages[0].ask, 0, (), is_last=True))
        self.assertIsNone(self.successResultOf(asked))
