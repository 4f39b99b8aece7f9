"""Limits of each client with several workers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.harness import Client
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.live.clients import ClientQuery, ClientRow
from tcpmesh.values.socket_options import ConnectOptions
from tests.extensions.filters.network.client_limit.test_filter import ONE, TYPE
from tests.mesh import Mesh, tcp_proxy

HOST = "127.0.0.2:80"
WORKERS = 2


class WorkersTests(SynchronousTestCase):
    """Two workers, of which each has a listener of its own, so that a test chooses."""

    def serve(self, fields: str) -> None:
        """Start them, with a client_limit of these fields."""
        self.mesh = Mesh(1, workers=WORKERS)
        self.host = self.mesh.upstream(HOST)
        self.mesh.add_cluster("c", HOST)
        kind = f'{{"@type": type.googleapis.com/{TYPE}, stat_prefix: p, {fields}}}'
        filters = f"[{{name: l, typed_config: {kind}}}, {tcp_proxy()[1:-1]}]"
        for number in range(1, 5):
            self.mesh.add_listener(f"l{number}", f"127.0.0.1:{number}", filters)
        self.mesh.listeners.start()

    def connect(self, port: int = 1, source: str = ONE) -> Any:
        """A client."""
        client = Client(RecordingProtocol())
        options = ConnectOptions(source=Address(source))
        self.mesh.network.connect(address_of(f"127.0.0.1:{port}"), client, 10.0, options)
        self.mesh.pump()
        return client.given

    def spread(self) -> list[int]:
        """How many connections each worker has."""
        return [each.worker.listeners.connections for each in self.mesh.workers]

    def test_connections(self) -> None:
        """So many connections of a client are let in by all together, and one that ends in any of
        them makes room.
        """
        self.serve("max_connections: 3")
        clients = [self.connect() for _ in range(6)]
        self.assertEqual([False] * 3 + [True] * 3, [each.ended for each in clients])
        self.assertTrue(all(self.spread()), "each worker has some")
        clients[0].transport.loseConnection()
        self.mesh.pump()
        self.host.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual([False, True], [self.connect().ended for _ in range(2)])

    def test_rate(self) -> None:
        """The token bucket of a client is one for all."""
        self.serve("new_connections: {max_tokens: 3, fill_interval: 9s}")
        self.assertEqual([False] * 3 + [True] * 3, [self.connect().ended for _ in range(6)])
        self.mesh.advance(9)
        self.assertEqual([False, True], [self.connect().ended for _ in range(2)])

    def test_each_filter(self) -> None:
        """Filters of several chains count apart, those with one share_key together."""
        self.serve("max_connections: 1")
        self.assertEqual([False, False], [self.connect(port).ended for port in (1, 2)])
        self.serve("max_connections: 1, share_key: k")
        self.assertEqual([False, True, True], [self.connect(port).ended for port in (1, 2, 1)])

    def test_dead_worker(self) -> None:
        """With a worker that dies its connections are gone, and leave room."""
        self.serve("max_connections: 3")
        for _ in range(3):
            self.connect()
        gone = self.spread()[0]
        self.mesh.workers[0].die()
        self.mesh.replace_worker(0)
        ended = [self.connect().ended for _ in range(gone + 1)]
        self.assertEqual([False] * gone + [True], ended)

    def test_queue(self) -> None:
        """One that waits in one worker is let in after one has ended in the other."""
        self.serve("max_connections: 1, over_limit: QUEUE")
        first, second = self.connect(), self.connect()
        self.assertEqual([1, 1], self.spread())
        self.assertEqual(1, len(self.host.built))
        first.transport.loseConnection()
        self.mesh.pump()
        self.host.built[0].transport.loseConnection()
        self.mesh.pump()
        self.mesh.advance(0.06)
        self.assertEqual((2, False), (len(self.host.built), second.ended))

    def test_top(self) -> None:
        """Main knows which clients have most, with what several workers know of one together."""
        self.serve("max_connections: 3")
        for source, count in ((ONE, 5), ("10.0.0.2", 1), ("10.0.0.3", 2)):
            for _ in range(count):
                self.connect(source=source)
        asked = self.mesh.main.live.top_clients(ClientQuery(rows=2))
        for _ in range(9):
            self.mesh.advance(0)
        told = self.successResultOf(asked)
        self.assertEqual(
            (ClientRow("p", ONE, 3, 0, 3, 2), ClientRow("p", "10.0.0.3", 2, 0, 2, 0)), told.rows
        )
        for query, expected in (
            (ClientQuery(client=".2"), ["10.0.0.2"]),
            (ClientQuery(limit="q"), []),
            (ClientQuery(limit="p", client=".2"), ["10.0.0.2"]),
        ):
            asked = self.mesh.main.live.top_clients(query)
            for _ in range(9):
                self.mesh.advance(0)
            self.assertEqual(expected, [row.client for row in self.successResultOf(asked).rows])
