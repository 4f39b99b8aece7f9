"""echo: a client gets back what it sends."""

from __future__ import annotations

from tcpmesh.testing.memory.network import MemoryNetwork
from tests.extensions.filters.network.filtered import FilteredTestCase, network_filter

ECHO = network_filter("echo.v3.Echo")


class EchoTests(FilteredTestCase):
    """Clients of a chain that ends with echo."""

    def active(self) -> int:
        """How many clients there are."""
        return self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active")

    def test_echo(self) -> None:
        """All comes back, in order, as it is sent."""
        self.serve(ECHO)
        client = self.connect()
        self.say(client, b"one")
        self.say(client, b"two")
        self.assertEqual(b"onetwo", client.received)

    def test_end_of_stream(self) -> None:
        """A client that ends its stream gets the rest, and then the connection ends."""
        self.serve(ECHO)
        client = self.connect()
        client.transport.write(b"last")
        client.transport.loseWriteConnection()
        self.mesh.pump()
        self.assertEqual((b"last", True, 0), (client.received, client.ended, self.active()))

    def test_reset(self) -> None:
        """A client that resets is gone."""
        self.serve(ECHO)
        client = self.connect()
        client.transport.write(b"x")
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual(0, self.active())

    def test_client_that_does_not_read(self) -> None:
        """A client that takes nothing is read no further than its buffers go, and goes on where it
        takes again; nothing is lost.
        """
        self.serve(
            ECHO,
            listener={"per_connection_buffer_limit_bytes": 1000},
            network=MemoryNetwork(capacity=1000),
        )
        client = self.connect()
        client.transport.pauseProducing()
        sent = bytes(range(256)) * 100
        self.say(client, sent)
        self.assertGreater(client.transport.buffered, len(sent) // 2)
        client.transport.resumeProducing()
        self.mesh.pump()
        self.assertEqual(sent, client.received)

    def test_behind_others(self) -> None:
        """It stands behind read filters as any filter that ends a chain."""
        limit = network_filter(
            "connection_limit.v3.ConnectionLimit", stat_prefix="p", max_connections=1
        )
        self.serve(limit, ECHO)
        first, second = self.connect(), self.connect()
        self.say(first)
        self.assertEqual((b"x", True), (first.received, second.ended))
