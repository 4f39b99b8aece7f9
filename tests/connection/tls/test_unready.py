"""Connections for which a secret is not there yet."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.tls.unready import FACTS, WORDS, NoSecretTransport
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.wrappers import WrappingNetwork
from tcpmesh.values.address import Address

HOST = Address("127.0.0.1", 1)


class NoSecretTests(SynchronousTestCase):
    """A connection to a host."""

    def connect(self, record: Any = None) -> None:
        """Dial a host, which says something at once."""
        network = MemoryNetwork()
        made: list[NoSecretTransport] = []

        def maker(clock: Any, observer: Any, connected: bool = True) -> Any:
            made.append(NoSecretTransport(clock, observer, record))
            return made[-1]

        self.host, self.client = Server(), Client(RecordingProtocol())
        network.listen(network.bind(HOST), self.host)
        dialing: Any = WrappingNetwork(network, maker)
        dialing.connect(HOST, self.client, 5.0)
        while not self.host.built:
            network.step()
        self.host.built[0].transport.write(b"welcome")
        network.pump()
        (self.transport,) = made

    def test_ends(self) -> None:
        """It ends as soon as it is there, with Envoy's words; nothing is sent or heard."""
        self.connect()
        self.assertIn(WORDS, str(self.client.failure))
        (host,) = self.host.built
        self.assertEqual((b"", True), (bytes(host.received), host.ended))
        self.assertEqual(FACTS, self.transport.facts)

    def test_record(self) -> None:
        """A client's record has the reason."""
        record = SimpleNamespace(tls=None)
        self.connect(record)
        self.assertEqual(WORDS, record.tls.failure)
