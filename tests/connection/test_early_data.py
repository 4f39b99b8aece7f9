"""What a client sends before there is an upstream, on every network."""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tcpmesh.connection.early_data import EarlyData
from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import (
    PATIENCE,
    Client,
    HarnessTestCase,
    MemoryHarness,
    Server,
    SocketHarness,
    TransportHarness,
    pattern,
)
from tcpmesh.testing.recording import RecordingProtocol
from tests.net.uring.available import uring

LIMIT = 5000


class Listening(RecordingProtocol):
    """Lets a client speak before the upstream is connected, which is when `go` is called."""

    def __init__(self, harness: TransportHarness, server: Any) -> None:
        super().__init__()
        self._harness = harness
        self._server = server
        self.relay: Relay
        self.told: list[str] = []
        self.read_size = 0
        """What the client's transport had at first."""

    def connectionMade(self) -> None:
        """Read at once."""
        super().connectionMade()
        self.read_size = self.transport.read_size
        self.relay = Relay(self.transport, self._harness.network.timers, self)
        self.relay.read_early(LIMIT, self)

    def go(self) -> None:
        """Connect."""
        self._harness.network.connect(self._server, Client(self.relay.from_upstream), PATIENCE)

    def on_early_data(self) -> None:
        """Some bytes came."""
        self.told.append("received")

    def on_early_end(self) -> None:
        """The last has come."""
        self.told.append("ended")

    def on_early_loss(self, reason: Failure) -> None:
        """The client is gone."""
        self.told.append("lost")
        self.relay.discard()

    def relay_started(self, relay: Relay) -> None:
        """Both are connected."""
        self.told.append("started")

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        """One is gone."""

    def relay_finished(self, relay: Relay) -> None:
        """Both are gone."""

    def relay_idle(self, relay: Relay) -> None:
        """Nothing moves."""


class EarlyContract(HarnessTestCase):
    """EarlyData bytes go first, and none is lost."""

    async def begin(self) -> tuple[RecordingProtocol, RecordingProtocol]:
        """A client, connected to `self.front`, and the server that waits behind."""
        client, server = RecordingProtocol(), RecordingProtocol()
        self.harness.recorders += [client, server]
        backend = self.harness.listen(Server(server))
        self.front = Listening(self.harness, backend.getHost())
        port = self.harness.listen(Server(self.front))
        self.harness.network.connect(port.getHost(), Client(client), PATIENCE)
        await self.harness.until(lambda: client.transport and self.front.transport, "the client")
        return client, server

    async def test_first(self) -> None:
        """What came early goes first, what comes later follows, and the answer comes back."""
        client, server = await self.begin()
        client.transport.write(b"early")
        await self.harness.until(lambda: self.front.relay.from_downstream.bytes == 5, "the bytes")
        self.front.go()
        await self.receives(server, b"early")
        client.transport.write(b", late")
        await self.receives(server, b"early, late")
        server.transport.write(b"answer")
        await self.receives(client, b"answer")
        self.assertEqual(11, self.front.relay.from_downstream.written)

    async def test_limit(self) -> None:
        """After the read that reaches the limit the client is not read; then all of it arrives, and
        reads are as large as ever.
        """
        client, server = await self.begin()
        data = pattern(0, 1_000_000)
        client.transport.write(data)
        await self.harness.until(
            lambda: self.front.relay.from_downstream.bytes >= LIMIT, "the limit"
        )
        await self.harness.settle()
        self.assertTrue(self.front.relay.from_downstream.bytes <= LIMIT + self.front.read_size)
        self.front.go()
        await self.receives(server, data)
        self.assertEqual(self.front.read_size, self.front.transport.read_size)

    async def test_end(self) -> None:
        """An early FIN comes after the bytes; the server may still answer."""
        client, server = await self.begin()
        client.transport.write(b"all")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: "ended" in self.front.told, "the end")
        self.front.go()
        await self.harness.until(lambda: "eof" in server.events, "the FIN")
        self.assertEqual(b"all", bytes(server.received))
        server.transport.write(b"answer")
        server.transport.loseConnection()
        await self.receives(client, b"answer")
        await self.harness.until(lambda: client.ended, "the end of the answer")

    async def test_nothing(self) -> None:
        """A client that says nothing is relayed like any other."""
        client, server = await self.begin()
        self.front.go()
        await self.harness.until(
            lambda: "started" in self.front.told and server.transport, "the start"
        )
        server.transport.write(b"hello")
        client.transport.write(b"world")
        await self.receives(client, b"hello")
        await self.receives(server, b"world")

    async def test_lost(self) -> None:
        """A client that goes is told of once."""
        client, _ = await self.begin()
        client.transport.abortConnection()
        await self.harness.until(lambda: self.front.told == ["lost"], "the loss")
        await self.harness.settle()
        self.assertEqual(["lost"], self.front.told)

    async def test_given_up(self) -> None:
        """After the relay is discarded the client's events are somebody else's."""
        client, _ = await self.begin()
        self.assertIsInstance(self.front.transport.protocol, EarlyData)
        self.front.transport.protocol = self.front
        self.front.relay.discard()
        client.transport.write(b"x")
        await self.receives(self.front, b"x")
        self.assertEqual([], self.front.told)
        self.front.transport.loseConnection()
        await self.harness.until(lambda: client.ended, "the end")
        client.transport.loseConnection()
        await self.harness.until(lambda: self.front.lost, "the other end")


class MemoryTests(EarlyContract, TestCase):
    """The memory network, where little fits."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)


class StockTests(EarlyContract, TestCase):
    """Twisted's own transports."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollTests(EarlyContract, TestCase):
    """The epoll transports."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")


@uring
class UringTests(EarlyContract, TestCase):
    """The transports of io_uring."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "tcp4")
