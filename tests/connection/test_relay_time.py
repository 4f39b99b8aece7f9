"""A relay and time: idle connections, flushes that take too long, and timers that are not left
behind.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import TestCase

from tcpmesh.connection.relay import idle_queue
from tcpmesh.testing.harness import MemoryHarness, TransportHarness, pattern
from tests.connection.relaying import OnRelay

BULK = 4 << 20


class TimeTests(OnRelay, TestCase):
    """A relay on the memory network, whose clock goes on when told."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness()

    def pass_time(self, seconds: float) -> None:
        """Let the memory network's clock go on, a quarter second at a time, so that each timer
        fires when it is due.
        """
        for _ in range(round(4 * seconds)):
            self.harness.network.advance(0.25)

    async def test_flush_is_bounded(self) -> None:
        """A survivor that takes no byte for the flush timeout is reset."""
        client, server = await self.relayed(flush_timeout=10, mark=BULK)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, BULK // 2))
        await self.harness.settle()
        client.transport.abortConnection()
        self.pass_time(9)
        self.assertFalse(self.front.finished)
        self.pass_time(2)
        self.assertTrue(self.front.finished)
        server.transport.resumeProducing()
        await self.over(client, server)
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_slow_flush_goes_on(self) -> None:
        """A survivor that takes bytes now and then is given all the time it needs."""
        client, server = await self.relayed(flush_timeout=10, mark=BULK)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, 300_000))
        await self.harness.settle()
        client.transport.abortConnection()
        server.transport.read_size = 20_000
        server.on_data = server.transport.pauseProducing
        while not server.lost:
            had = len(server.received)
            server.transport.resumeProducing()
            self.pass_time(9)
            self.assertTrue(server.lost or len(server.received) > had)
        self.assertTrue(server.received == pattern(0, 300_000))

    async def test_flush_after_both_fins_is_bounded(self) -> None:
        """The same where both sides had sent FIN and one never reads the rest."""
        client, server = await self.relayed(flush_timeout=10, mark=BULK)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, BULK // 2))
        await self.harness.settle()
        server.transport.loseWriteConnection()
        client.transport.loseWriteConnection()
        self.pass_time(9)
        self.assertFalse(self.front.finished)
        self.pass_time(2)
        self.assertTrue(self.front.finished)
        self.assertIn("idle", self.front.told)
        server.transport.resumeProducing()
        client.transport.loseConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertFalse(server.lost, server.reason)
        server.transport.loseConnection()
        await self.over(client, server)

    async def test_idle(self) -> None:
        """A relay is idle once nothing moved for the timeout, an eighth more at most, and then it
        closes both sides.
        """
        client, server = await self.relayed()
        self.front.relay.watch_idle(idle_queue(self.harness.network.timers, 8))
        self.pass_time(7)
        client.transport.write(b"x")
        self.harness.network.pump()
        self.pass_time(7.5)
        self.assertNotIn("idle", self.front.told)
        server.transport.write(b"y")
        self.harness.network.pump()
        self.pass_time(7.75)
        self.assertNotIn("idle", self.front.told)
        self.pass_time(1.25)
        self.assertEqual(["started", "idle"], self.front.told[:2])
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")

    async def test_idle_is_not_slow(self) -> None:
        """A side that takes what is buffered, a little now and then, keeps a relay from being
        idle.
        """
        client, server = await self.relayed(mark=200_000)
        self.front.relay.watch_idle(idle_queue(self.harness.network.timers, 8))
        await self.fill_buffers(client, server)
        server.transport.read_size = 5_000
        server.on_data = server.transport.pauseProducing
        for _ in range(10):
            server.transport.resumeProducing()
            self.pass_time(4)
        self.assertNotIn("idle", self.front.told)

    async def test_idle_while_bytes_are_lost(self) -> None:
        """What a server sends to a client that has reset, unheard since the server does not read,
        keeps a relay from nothing.
        """
        client, server = await self.relayed()
        self.front.relay.watch_idle(idle_queue(self.harness.network.timers, 8))
        await self.fill_buffers(client, server)
        await self.fill_buffers(server, client)
        client.transport.abortConnection()
        for _ in range(4):
            server.transport.write(bytes(1000))
            self.pass_time(3)
        self.assertIn("idle", self.front.told)
        await self.harness.until(lambda: self.front.finished, "the end of the relay")

    async def test_no_timer_is_left(self) -> None:
        """A finished relay leaves no timer behind."""
        client, server = await self.relayed()
        self.front.relay.watch_idle(idle_queue(self.harness.network.timers, 8))
        client.transport.loseWriteConnection()
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        for end in (client, server):
            end.transport.loseConnection()
        await self.over(client, server)
        self.pass_time(100)
        self.assertEqual([], self.harness.network.clock.getDelayedCalls())
