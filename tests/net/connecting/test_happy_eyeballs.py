"""Happy Eyeballs: several addresses of one host, of which the first to answer is taken."""

from __future__ import annotations

import socket

from zope.interface.verify import verifyObject

from twisted.internet.error import ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import IConnector
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.connecting.happy_eyeballs import STAGGER, HappyEyeballs, in_turn
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions

A, B, C = (Address(f"127.0.0.{n}", 80) for n in (1, 2, 3))


class RaceTests(SynchronousTestCase):
    """A race between up to three addresses."""

    def setUp(self) -> None:
        """Nobody listens yet."""
        self.network = MemoryNetwork()
        self.servers: dict[Address, Server] = {}
        self.more = 0

    def listen(self, *addresses: Address) -> None:
        """Accept clients at these."""
        for address in addresses:
            self.servers[address] = Server()
            self.network.listen(self.network.bind(address), self.servers[address])

    def another(self) -> None:
        """A further address is tried."""
        self.more += 1

    def race(
        self, *addresses: Address, timeout: float = 5, source: Address | None = None
    ) -> Client:
        """A client that begins to race, and what can be done at once."""
        client = Client(RecordingProtocol())
        options = ConnectOptions(source) if source is not None else None
        self.connector = HappyEyeballs(
            self.network, [(each, options) for each in addresses], client, timeout, self.another
        )
        self.connector.connect()
        self.assertIsNone(client.failure)
        self.network.pump()
        return client

    def reached(self) -> list[Address]:
        """Who has a client that is still there."""
        return [
            address
            for address, server in self.servers.items()
            if any(not each.ended for each in server.built)
        ]

    def assert_quiet(self) -> None:
        """Nothing is left that would happen with time."""
        self.network.advance(100)
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def test_first(self) -> None:
        """Where the first address answers, no other is tried."""
        self.listen(A, B)
        client = self.race(A, B)
        self.assertTrue(client.connected)
        self.assertEqual(([A], 0), (self.reached(), self.more))
        self.assert_quiet()
        self.assertEqual([], self.servers[B].built)

    def test_refused(self) -> None:
        """Where one refuses, the next is tried at once."""
        self.listen(C)
        client = self.race(A, B, C)
        self.assertTrue(client.connected)
        self.assertEqual(([C], 2), (self.reached(), self.more))
        self.assertEqual(A, self.connector.getDestination())
        self.assert_quiet()

    def test_silent(self) -> None:
        """Where one says nothing, the next is tried after 0.3 seconds; the first is given up once
        the second has answered.
        """
        self.listen(B)
        self.network.silent.add(A)
        client = self.race(A, B)
        self.network.advance(STAGGER - 0.01)
        self.assertFalse(client.connected)
        self.network.advance(0.02)
        self.assertTrue(client.connected)
        self.assertEqual(1, self.more)
        self.assert_quiet()

    def test_late_first(self) -> None:
        """An attempt goes on beside later ones, and wins if it is answered first."""
        self.listen(A, B)
        client = Client(RecordingProtocol())
        HappyEyeballs(self.network, [(A, None), (B, None)], client, 5, self.another).connect()
        self.network.clock.advance(STAGGER)
        self.assertEqual(1, self.more)
        self.network.pump()
        self.assertTrue(client.connected)
        self.assertEqual([A], self.reached())
        self.assert_quiet()

    def test_all_refuse(self) -> None:
        """Where all refuse, the factory hears of the last failure, once."""
        client = self.race(A, B, C)
        assert client.failure is not None
        self.assertIs(ConnectionRefusedError, client.failure.type)
        self.assertEqual(2, self.more)
        self.assert_quiet()

    def test_timeout(self) -> None:
        """The time limit is that of the whole race."""
        self.network.silent.update((A, B, C))
        client = self.race(A, B, C, timeout=1)
        self.network.advance(0.99)
        self.assertIsNone(client.failure)
        self.network.advance(0.02)
        assert client.failure is not None
        self.assertIs(TimeoutError, client.failure.type)
        self.assert_quiet()

    def test_timeout_after_refusal(self) -> None:
        """A refusal on the way does not make the limit longer."""
        self.network.silent.update((A, C))
        client = self.race(A, B, C, timeout=0.5)
        self.network.advance(STAGGER)
        self.network.advance(0.5 - STAGGER)
        assert client.failure is not None
        self.assertIs(TimeoutError, client.failure.type)
        self.assert_quiet()

    def test_given_up(self) -> None:
        """stopConnecting ends all attempts; the factory hears a UserError, later and once."""
        self.network.silent.update((A, B))
        client = self.race(A, B)
        self.network.advance(STAGGER)
        for _ in range(2):
            self.connector.disconnect()
        self.assertIsNone(client.failure)
        self.network.pump()
        assert client.failure is not None
        self.assertIs(UserError, client.failure.type)
        self.assert_quiet()

    def test_closed(self) -> None:
        """disconnect of a race that was won closes the connection."""
        self.listen(A)
        self.race(A, B)
        self.connector.disconnect()
        self.network.pump()
        self.assertEqual([], self.reached())

    def test_options(self) -> None:
        """Each address is connected to with its options."""
        self.listen(A)
        self.race(A, B, source=Address("127.0.0.9"))
        self.assertEqual("127.0.0.9", self.servers[A].built[0].transport.getPeer().host)

    def test_interface(self) -> None:
        """A race is a connector."""
        self.race(A)
        verifyObject(IConnector, self.connector)


class OrderTests(SynchronousTestCase):
    """In which order addresses are tried."""

    def order(self, hosts: str, family: int, count: int = 1) -> str:
        """Hosts of one letter: capital ones stand for IPv6."""
        addresses = [
            Address(f"::{ord(host):x}" if host.isupper() else f"127.0.0.{ord(host)}")
            for host in hosts
        ]
        names = dict(zip(addresses, hosts, strict=True))
        return "".join(names[address] for address in in_turn(addresses, family, count))

    def test_turns(self) -> None:
        """One of each family in turn; what is left of one comes at the end."""
        for hosts, expected in (("abCD", "aCbD"), ("abcD", "aDbc"), ("abc", "abc"), ("ABc", "cAB")):
            self.assertEqual(expected, self.order(hosts, socket.AF_INET), hosts)

    def test_count(self) -> None:
        """So many of the preferred family come for each of the other."""
        self.assertEqual("ABaCDbc", self.order("abcABCD", socket.AF_INET6, 2))
