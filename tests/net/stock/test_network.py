"""Twisted's own transports, beyond what the contract asks of all: what reactors tell them, and what
they leave behind.
"""

from __future__ import annotations

import gc
import socket
import struct
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tcpmesh.net.listen import open_socket
from tcpmesh.net.sockets import unsent
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ListenOptions


class StockTestCase(TestCase):
    """A client of ours, and what it is connected to."""

    def setUp(self) -> None:
        """A network."""
        self.network = StockNetwork(reactor)
        self.addCleanup(self.network.stop)

    async def until(self, look: Any, what: str) -> None:
        """Wait for something to become true."""
        for _ in range(5000):
            if look():
                return
            await deferLater(reactor, 0.001)
        self.fail(f"waited in vain for {what}")

    async def connected(self, address: Address) -> RecordingProtocol:
        """A client that is connected to this address."""
        client = RecordingProtocol()
        factory = Client(client)
        self.network.connect(address, factory, 10.0)
        await self.until(lambda: factory.connected, "the connection")
        factory.given = None  # or the transport's factory would lead back to the transport
        return client


class HangUpTests(StockTestCase):
    """A reactor that saw a hang-up and nothing to read, and takes that for a clean end."""

    async def hung_up(self, reset: bool, data: bytes = b"") -> RecordingProtocol:
        """A client whose peer has sent so much and closed, or reset, the connection, when the
        reactor says so.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = await self.connected(Address(*server.getsockname()[:2]))
            client.transport.stopReading()
            peer, _ = server.accept()
            peer.sendall(data)
            if reset:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        client.transport.readConnectionLost(Failure(CONNECTION_DONE))
        return client

    async def test_reset(self) -> None:
        """A reset is a reset, however the reactor heard of it."""
        client = await self.hung_up(reset=True)
        self.assertTrue(client.lost_to(ConnectionLost))

    async def test_end_of_stream(self) -> None:
        """An end of stream is one, after the bytes before it."""
        client = await self.hung_up(reset=False, data=b"last words")
        await self.until(lambda: client.ended, "the end of stream")
        self.assertEqual(b"last words", client.received)
        self.assertFalse(client.lost_to(ConnectionLost))
        client.transport.loseConnection()
        await self.until(lambda: client.lost_to(ConnectionDone), "the end")


class AcceptTests(StockTestCase):
    """Clients that come in a crowd."""

    async def test_so_many_at_once(self) -> None:
        """A port accepts as many in one event as it may, however often it found that many."""
        server = Server()
        sock = self.network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        port = self.network.listen(sock, server, 3)
        self.addCleanup(port.stopListening)
        where = port.getHost()
        crowd = [socket.create_connection((where.host, where.port)) for _ in range(12)]
        for number in range(1, 5):
            port.doRead()
            self.assertEqual(3 * number, len(server.built))
        for protocol in server.built:
            protocol.transport.abortConnection()
        for client in crowd:
            client.close()
        await self.until(lambda: all(each.lost for each in server.built), "the end")


class StopTests(StockTestCase):
    """The end of a network."""

    async def test_stopped_while_a_reset_waits(self) -> None:
        """Where a reset waits until the peer has what came before it, and all is stopped, no timer
        is left.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = await self.connected(Address(*server.getsockname()[:2]))
            peer, _ = server.accept()
        self.addCleanup(peer.close)
        transport: Any = client.transport
        while unsent(transport.fileno()) < 50_000:  # and so more than is just on its way
            transport.write(bytes(10_000))
            transport.doWrite()
        self.assertEqual(0, transport.buffered)
        transport.resetConnection()
        await self.until(lambda: transport._look is not None, "the reset to wait")
        look = transport._look
        await self.network.stop()
        self.assertFalse(look.active())


class GarbageTests(StockTestCase):
    """What a connection leaves for the garbage collector."""

    async def live(self, address: Address, upstream: Server, end: str) -> None:
        """Connect, and end it in this way."""
        client = await self.connected(address)
        await self.until(lambda: upstream.built, "the server's side")
        server = upstream.built.pop()
        getattr(client.transport, end)()
        await self.until(lambda: server.ended, "the end")
        server.transport.loseConnection()
        await self.until(lambda: server.lost and client.lost, "both ends")

    async def test_no_cycles(self) -> None:
        """Nothing, however it ends."""
        upstream = Server()
        sock = self.network.bind(Address("127.0.0.1"), ListenOptions())
        open_socket(sock, ListenOptions())
        port = self.network.listen(sock, upstream)
        self.addCleanup(port.stopListening)
        gc.freeze()  # what was there before is not looked at
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)
        for end in ("loseConnection", "abortConnection", "resetConnection"):
            await self.live(port.getHost(), upstream, end)
        await deferLater(reactor, 0.01)
        gc.set_debug(gc.DEBUG_SAVEALL)
        self.addCleanup(gc.garbage.clear)
        gc.collect()
        gc.set_debug(0)
        self.assertEqual(
            [], [each for each in gc.garbage if type(each).__module__.startswith("tcpmesh.net")]
        )
