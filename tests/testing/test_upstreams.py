"""The upstream servers that tests and users stand behind a proxy."""

from __future__ import annotations

import hashlib
import socket
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.harness import Client, pattern
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.upstreams import Echo, Gated, Named, Recorder, Refusing, refusing, unanswering
from tcpmesh.values.address import Address


class UpstreamTests(SynchronousTestCase):
    """What each kind does."""

    def setUp(self) -> None:
        """A network in memory."""
        self.network = MemoryNetwork()

    def connect(self, factory: Any) -> RecordingProtocol:
        """A client of the upstream."""
        port = self.network.listen(self.network.bind(Address("127.0.0.1", 0)), factory)
        self.addCleanup(port.stopListening)
        recorder = RecordingProtocol()
        self.network.connect(port.getHost(), Client(recorder), 1)
        self.network.pump()
        return recorder

    def test_echo(self) -> None:
        """Echo sends back all it gets, and closes after FIN."""
        client = self.connect(Echo())
        client.transport.write(pattern(0, 500_000))
        client.transport.loseWriteConnection()
        self.network.pump()
        self.assertTrue(client.received == pattern(0, 500_000))
        self.assertTrue(client.ended)

    def test_named(self) -> None:
        """Named says its name and closes."""
        client = self.connect(Named("a"))
        self.assertEqual((b"a", True), (bytes(client.received), client.ended))

    def test_recorder(self) -> None:
        """Recorder keeps each client's bytes apart, those of clients that are gone too."""
        recorder = Recorder()
        for text in (b"one", b"two"):
            client = self.connect(recorder)
            client.transport.write(text)
            client.transport.loseConnection()
            self.network.pump()
        self.assertEqual([b"one", b"two"], [bytes(received) for received in recorder.received])
        self.assertEqual((0, 2), (len(recorder.clients), len(recorder.ends)))

    def test_refusing(self) -> None:
        """Refusing resets whoever comes."""
        client = self.connect(Refusing())
        self.assertTrue(client.lost_to(ConnectionLost))

    def test_gated(self) -> None:
        """Gated reads nothing until opened, then everything."""
        gated = Gated()
        client = self.connect(gated)
        client.transport.write(pattern(0, 200_000))
        self.network.pump()
        self.assertEqual(0, gated.count)
        gated.open()
        self.network.pump()
        self.assertEqual(200_000, gated.count)
        self.assertEqual(hashlib.sha256(pattern(0, 200_000)).digest(), gated.sha256.digest())

    def test_refusing_address(self) -> None:
        """Connecting to `refusing` is refused."""
        with refusing() as address:
            self.assertRaises(ConnectionRefusedError, socket.create_connection, address.sockaddr, 5)

    def test_unanswering_address(self) -> None:
        """Connecting to `unanswering` takes for ever."""
        with unanswering() as address:
            self.assertRaises(TimeoutError, socket.create_connection, address.sockaddr, 0.05)
