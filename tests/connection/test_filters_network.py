"""Connections that pass filters on their way into a relay, on every kind of network."""

from __future__ import annotations

import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import FilterManager, ReadFilter, ReadFilters
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
from tcpmesh.values.filter_status import FilterStatus
from tests.connection.relaying import spliced_network

MUCH = 3_000_000
MARK = 65536


class Filter(ReadFilter):
    """Says what it is told to say, and counts what it is shown."""

    sees_data = True

    def __init__(
        self,
        verdict: FilterStatus,
        first: FilterStatus = FilterStatus.CONTINUE,
        closes: bool = False,
    ) -> None:
        self.verdict = verdict
        self.first = first
        self.closes = closes
        self.shown = bytearray()
        self.ends = 0
        self.lost = 0
        self.manager: Any = None

    def on_new_connection(self, manager: FilterManager) -> FilterStatus:
        self.manager = manager
        return self.first

    def on_data(self, manager: FilterManager, data: bytes, end: bool) -> FilterStatus:
        self.shown += data
        self.ends += end
        if self.closes:
            manager.close("told to")
        return self.verdict

    def on_connection_lost(self, manager: FilterManager) -> None:
        self.lost += 1


class Front:
    """A listener, and the last filter of its chain: connects to a server and relays."""

    def __init__(self, harness: TransportHarness, server: Any, *filters: Filter) -> None:
        self.harness = harness
        self.server = server
        self.filters = filters
        self.connection: Connection
        self.finished = False
        self.gone = 0

    def connection_made(self, connection: Connection) -> None:
        self.connection = connection
        connection.transport.high_watermark = MARK
        FilterManager(connection, ReadFilters(self.filters), self.attach).start()

    def connection_lost(self, connection: Connection) -> None:
        self.gone += 1

    def attach(self, connection: Connection) -> None:
        connection.transport.pauseProducing()
        relay = Relay(connection.transport, self.harness.network.timers, self, PATIENCE)
        relay.read_source = connection.read_source
        self.harness.network.connect(self.server, Client(relay.from_upstream), PATIENCE)

    def relay_started(self, relay: Relay) -> None:
        relay.from_upstream.source.high_watermark = MARK

    def relay_lost(self, relay: Relay, direction: Direction) -> None:
        if direction is relay.from_downstream:
            self.connection.downstream_lost()

    def relay_finished(self, relay: Relay) -> None:
        self.finished = True

    def relay_idle(self, relay: Relay) -> None:
        raise AssertionError("nobody asked for that")


class FilterManagerContract(HarnessTestCase):
    """What holds for a manager on any network."""

    async def begin(self, *filters: Filter) -> tuple[RecordingProtocol, RecordingProtocol]:
        """A client that is accepted into a chain of these filters, and the server behind it."""
        client, server = RecordingProtocol(), RecordingProtocol()
        self.harness.recorders += [client, server]
        backend = self.harness.listen(Server(server))
        self.front = Front(self.harness, backend.getHost(), *filters)
        frontend = self.harness.listen(Server(Connection(self.front)))
        self.harness.network.connect(frontend.getHost(), Client(client), PATIENCE)
        await self.harness.until(
            lambda: client.transport and hasattr(self.front, "connection"), "a client"
        )
        return client, server

    async def end(
        self, client: RecordingProtocol, server: RecordingProtocol, *filters: Filter
    ) -> None:
        """Both ends close in order, and everybody is told once."""
        client.transport.loseConnection()
        server.transport.loseConnection()
        await self.harness.until(
            lambda: self.front.finished and client.lost and server.lost, "the end"
        )
        self.assertEqual(
            (self.front.gone, [each.lost for each in filters]), (1, [1] * len(filters))
        )

    async def test_watched(self) -> None:
        """A filter that goes on watching sees all bytes, each once and in order, and so does the
        server.
        """
        watching = Filter(FilterStatus.CONTINUE)
        client, server = await self.begin(watching)
        client.transport.write(pattern(0, MUCH))
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "the end of the client's bytes")
        self.assertEqual(bytes(server.received), pattern(0, MUCH))
        self.assertEqual((bytes(watching.shown), watching.ends), (pattern(0, MUCH), 1))
        server.transport.write(pattern(5, MUCH))
        await self.harness.until(lambda: len(client.received) == MUCH, "the answer")
        self.assertEqual(bytes(client.received), pattern(5, MUCH))
        await self.end(client, server, watching)

    async def test_done(self) -> None:
        """A filter that is done after the first bytes sees no more, and the rest goes its way."""
        done = Filter(FilterStatus.DONE)
        client, server = await self.begin(done)
        client.transport.write(b"first")
        await self.harness.until(lambda: server.received, "the first bytes")
        client.transport.write(pattern(0, MUCH))
        await self.harness.until(lambda: len(server.received) == MUCH + 5, "all bytes")
        self.assertEqual(
            (bytes(done.shown), bytes(server.received)), (b"first", b"first" + pattern(0, MUCH))
        )
        await self.end(client, server, done)

    async def test_held_up(self) -> None:
        """Much that is sent while a filter holds things up is read within bounds, and arrives in
        order with its end.
        """
        stopping, watching = (
            Filter(FilterStatus.DONE, first=FilterStatus.STOP),
            Filter(FilterStatus.CONTINUE),
        )
        stopping.sees_data = False
        client, server = await self.begin(stopping, watching)
        client.transport.write(pattern(0, MUCH * 8))
        client.transport.loseWriteConnection()
        await self.harness.settle()
        self.assertGreater(client.transport.buffered, 0)
        stopping.manager.resume()
        await self.harness.until(lambda: server.ended, "the end of the client's bytes")
        self.assertEqual(bytes(server.received), pattern(0, MUCH * 8))
        self.assertEqual(bytes(watching.shown), pattern(0, MUCH * 8))
        await self.end(client, server, stopping, watching)

    async def test_end_alone(self) -> None:
        """An end without bytes is shown, and half-closes the server only."""
        watching = Filter(FilterStatus.DONE)
        client, server = await self.begin(watching)
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "the end of the client's bytes")
        self.assertEqual((bytes(watching.shown), watching.ends), (b"", 1))
        server.transport.write(b"answer")
        await self.receives(client, b"answer")
        await self.end(client, server, watching)

    async def test_closed(self) -> None:
        """A filter that closes at the first bytes ends both connections, and the server gets
        nothing.
        """
        closing = Filter(FilterStatus.STOP, closes=True)
        client, server = await self.begin(closing)
        client.transport.write(b"x")
        await self.harness.until(lambda: client.ended and server.ended, "the end")
        self.assertEqual(bytes(server.received), b"")
        await self.end(client, server, closing)

    async def test_closed_while_full(self) -> None:
        """A client that takes nothing is closed all the same, at once."""
        closing = Filter(FilterStatus.STOP)
        client, server = await self.begin(closing)
        client.transport.write(b"x")
        await self.harness.until(lambda: closing.shown and server.transport, "the first bytes")
        client.transport.pauseProducing()
        server.transport.write(bytes(MUCH * 8))
        await self.harness.until(
            lambda: self.front.connection.transport.buffered, "what the client does not take"
        )
        closing.manager.close("told to")
        await self.harness.until(lambda: self.front.finished and server.lost, "the end")
        client.transport.resumeProducing()
        await self.harness.until(lambda: client.lost, "the client's end")
        self.assertEqual((self.front.gone, closing.lost), (1, 1))


class MemoryTests(FilterManagerContract, TestCase):
    """On a network in memory that delivers in small pieces."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)


class StockTests(FilterManagerContract, TestCase):
    """On Twisted's own transports."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollTests(FilterManagerContract, TestCase):
    """On the epoll transports."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class SpliceTests(FilterManagerContract, TestCase):
    """On the epoll transports where nearly all goes through pipes."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, spliced_network, "tcp4")
