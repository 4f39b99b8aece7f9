"""The relay, on memory and on real sockets: every order in which two connections can end, and what
is left of them.
"""

from __future__ import annotations

import gc
import sys
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.trial.unittest import TestCase

from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.connection.wrapped.below import OnTransport
from tcpmesh.net.stock.network import StockNetwork
from tcpmesh.testing.harness import MemoryHarness, SocketHarness, TransportHarness, pattern
from tcpmesh.testing.recording import RecordingProtocol
from tests.connection.relaying import OnRelay, spliced_network, spliced_uring_network
from tests.net.uring.available import uring

MUCH = 16 << 20
"""Bytes: more than the kernel keeps for two sockets."""

BULK = 4 << 20

MUCH = 2 * BULK
"""Bytes that the kernel does not take at once: of `BULK` it may (`tcp_wmem`)."""


class RelayContract(OnRelay):
    """What holds on every transport."""

    held = 600_000
    """Bytes that a relay holds without pausing its source, if its mark is high."""

    begun = 0
    """Bytes that may have left and count as if they had not: those of a record that has begun."""

    async def ends(self, *recorders: RecordingProtocol) -> None:
        """Let the recorders close what they have not closed yet, and wait for the end of the
        relay.
        """
        for recorder in recorders:
            if not recorder.lost:
                recorder.transport.loseConnection()
        await self.over(*recorders)

    def counted(self, down: int, up: int) -> None:
        """Check the relay's counters of bytes, and that every pause had its resume."""
        counts = self.front.counts
        self.assertEqual((down, up), (counts["down bytes"], counts["up bytes"]))
        self.assertEqual((down, up), (counts["down written"], counts["up written"]))

    async def fill(self, client: RecordingProtocol, server: RecordingProtocol) -> int:
        """Let the server stop reading, and the client write until the relay holds bytes, far below
        its mark; how many it wrote.
        """
        server.transport.pauseProducing()
        written, down = 0, self.front.relay.from_downstream
        while down.buffered < self.held:
            client.transport.write(pattern(written, self.held // 3))
            written += self.held // 3
            await self.harness.until(
                lambda wanted=written: down.bytes == wanted,  # type: ignore[misc]
                "the bytes at the relay",
            )
            await self.harness.settle()
        return written

    # Watched

    async def test_watched(self) -> None:
        """Who begins to watch a relay in the middle of bulk traffic hears of bytes from then on,
        and of the end of each side; all bytes arrive in order.
        """
        client, server = await self.relayed()
        server.transport.pauseProducing()
        client.transport.write(pattern(0, MUCH))
        await self.harness.settle()
        looks: list[str] = []
        self.front.relay.watch(lambda: looks.append("looked"))
        server.transport.resumeProducing()
        await self.receives(server, pattern(0, MUCH))
        self.assertTrue(looks)
        for source, sink, size in ((client, server, MUCH), (server, client, 0)):
            before = len(looks)
            source.transport.write(b"x")
            await self.receives(sink, pattern(0, size) + b"x")
            self.assertGreater(len(looks), before)
        before = len(looks)
        await self.ends(client, server)
        self.assertEqual(before + 2, len(looks))

    async def test_watched_from_the_start(self) -> None:
        """So does who asks before the upstream is connected."""
        client, server = await self.relayed(wait=False)
        await self.harness.until(lambda: hasattr(self.front, "relay"), "the relay")
        looks: list[str] = []
        self.front.relay.watch(lambda: looks.append("looked"))
        await self.harness.until(lambda: server.transport, "the server")
        client.transport.write(b"x")
        await self.receives(server, b"x")
        self.assertEqual(["looked"], looks)

    async def test_closed_by_who_watches(self) -> None:
        """Who watches may close the relay: what either side has not taken yet is sent to it, and
        both end in order.
        """
        client, server = await self.relayed()
        client.transport.pauseProducing()
        server.transport.write(pattern(0, 400_000))
        await self.harness.settle()
        self.front.relay.watch(lambda: self.front.relay.close(flushes=True))
        client.transport.write(b"x")
        await self.harness.until(lambda: server.ended, "the end of the server's side")
        self.assertEqual(b"x", server.received)
        held = self.front.relay.from_upstream.bytes
        client.transport.resumeProducing()
        await self.harness.until(lambda: client.ended, "the end of the client's side")
        self.assertTrue(pattern(0, held) == client.received, f"{len(client.received)} of {held}")

    # Bytes

    async def test_both_ways(self) -> None:
        """Bytes go both ways, megabytes at once, and are counted."""
        client, server = await self.relayed()
        client.transport.write(pattern(0, BULK))
        server.transport.write(pattern(7, BULK))
        await self.receives(server, pattern(0, BULK))
        await self.receives(client, pattern(7, BULK))
        await self.ends(client, server)
        self.counted(BULK, BULK)

    async def test_byte_by_byte(self) -> None:
        """Single bytes each in their own write come out as they went in."""
        client, server = await self.relayed()
        for byte in pattern(0, 300):
            client.transport.write(bytes([byte]))
        await self.receives(server, pattern(0, 300))

    async def test_sizes_at_the_mark(self) -> None:
        """One byte less than the high watermark, exactly so much, and one more."""
        client, server = await self.relayed(mark=10_000)
        sent = 0
        for size in (9_999, 10_000, 10_001, 19_999, 20_000, 20_001):
            client.transport.write(pattern(sent, size))
            sent += size
            await self.receives(server, pattern(0, sent))

    async def test_server_first(self) -> None:
        """A server that speaks first is heard by a client that says nothing."""
        server = RecordingProtocol()
        server.on_made = lambda: server.transport.write(b"220 ready")
        client, _ = await self.relayed(RecordingProtocol(), server)
        await self.receives(client, b"220 ready")

    async def test_client_in_haste(self) -> None:
        """What the client sent while the upstream was connecting, FIN included, arrives."""
        client, server = RecordingProtocol(), RecordingProtocol()
        client.on_made = lambda: (
            client.transport.write(pattern(0, 100_000)),
            client.transport.loseWriteConnection(),
        )
        server.on_eof = lambda: (
            server.transport.write(b"answer"),
            server.transport.loseConnection(),
        )
        await self.relayed(client, server)
        await self.over(server)
        self.assertTrue(server.received == pattern(0, 100_000))
        await self.harness.until(lambda: client.ended, "the answer's end")
        self.assertEqual(b"answer", bytes(client.received))

    # Backpressure

    async def test_memory_is_bounded(self) -> None:
        """While the server does not read, the relay holds no more than its mark and one read, and
        then all arrives.
        """
        bound = 2 * 50_000 + self.begun
        client, server = await self.relayed(mark=50_000)
        written = await self.fill_buffers(client, server)
        down = self.front.relay.from_downstream
        self.assertLessEqual(down.buffered, bound)
        self.assertGreater(down.buffered, 0)
        self.assertEqual((1, 0), (down.pauses - down.resumes, down.relay.from_upstream.pauses))
        client.transport.write(pattern(written, BULK))
        client.transport.loseWriteConnection()
        most = 0

        def look() -> None:
            nonlocal most
            most = max(most, down.buffered)

        server.on_data = look
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "the end")
        self.assertTrue(server.received == pattern(0, written + BULK))
        self.assertLessEqual(most, bound)
        await self.ends(client, server)
        self.assertEqual(self.front.counts["down paused"], self.front.counts["down resumed"])

    async def test_one_direction_is_clogged(self) -> None:
        """A direction that is stuck does not hold up the other."""
        client, server = await self.relayed()
        await self.fill_buffers(client, server)
        server.transport.write(pattern(0, BULK))
        await self.receives(client, pattern(0, BULK))

    # Orderly ends

    async def test_client_ends_first(self) -> None:
        """FIN of the client, then the server's long reply and FIN: all arrives, and the server was
        the last.
        """
        client, server = await self.relayed()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF at the server")
        self.assertEqual(b"question", bytes(server.received))
        server.transport.write(pattern(0, BULK))
        await self.receives(client, pattern(0, BULK))
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "EOF at the client")
        last, relay = self.front.relay.last, self.front.relay
        self.assertIn(last, (relay.from_upstream, None))
        await self.ends(client, server)
        self.counted(8, BULK)

    async def test_server_ends_first(self) -> None:
        """FIN of the server, then what the client still sends, and its FIN."""
        client, server = await self.relayed()
        server.transport.write(b"bye")
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "EOF at the client")
        client.transport.write(pattern(0, BULK))
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF at the server")
        self.assertTrue(server.received == pattern(0, BULK))
        await self.ends(client, server)
        self.counted(BULK, 3)

    async def test_both_end_at_once(self) -> None:
        """FINs that cross."""
        client, server = await self.relayed()
        for end in (client, server):
            end.transport.write(b"bye")
            end.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        self.assertEqual((b"bye", b"bye"), (bytes(client.received), bytes(server.received)))
        await self.ends(client, server)
        self.assertTrue(client.lost_to(ConnectionDone) and server.lost_to(ConnectionDone))

    async def test_fin_behind_a_full_buffer(self) -> None:
        """FIN of either side waits for all bytes before it, through full buffers on the way."""
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            written = await self.fill_buffers(ends[near], ends[far])
            ends[near].transport.loseWriteConnection()
            await self.harness.settle()
            ends[far].transport.resumeProducing()
            await self.harness.until(lambda end=ends[far]: end.ended, "EOF")  # type: ignore[misc]
            self.assertTrue(ends[far].received == pattern(0, written))
            await self.ends(*ends)

    async def test_both_fins_behind_full_buffers(self) -> None:
        """Both directions full, both sides send FIN, then both read: all arrives."""
        client, server = await self.relayed()
        first = await self.fill_buffers(client, server)
        second = await self.fill_buffers(server, client)
        for end in (client, server):
            end.transport.loseWriteConnection()
        for end in (client, server):
            end.transport.resumeProducing()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        self.assertTrue(server.received == pattern(0, first))
        self.assertTrue(client.received == pattern(0, second))
        await self.ends(client, server)
        self.counted(first, second)

    async def test_upstream_closes_at_once(self) -> None:
        """A server that closes in the moment it accepts: the client hears EOF."""
        server = RecordingProtocol()
        server.on_made = lambda: server.transport.loseConnection()
        client, _ = await self.relayed(RecordingProtocol(), server)
        await self.harness.until(lambda: client.ended, "EOF")
        await self.ends(client)

    async def test_client_closes_at_once(self) -> None:
        """A client that closes in the moment it connects: the server hears EOF."""
        client = RecordingProtocol()
        client.on_made = lambda: client.transport.loseConnection()
        _, server = await self.relayed(client, RecordingProtocol())
        await self.harness.until(lambda: server.ended, "EOF")
        await self.ends(server)

    # Resets

    async def test_reset(self) -> None:
        """A reset of either side, at rest, is a reset to the other."""
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            ends[near].transport.abortConnection()
            await self.over(*ends)
            self.assertTrue(ends[far].lost_to(ConnectionLost), ends[far].reason)

    async def test_reset_after_bytes(self) -> None:
        """The bytes before a reset arrive before it."""
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            ends[near].transport.write(pattern(0, 60_000))
            await self.harness.settle()
            ends[near].transport.abortConnection()
            await self.over(*ends)
            self.assertTrue(
                ends[far].received == pattern(0, 60_000), f"{len(ends[far].received)} bytes"
            )
            self.assertTrue(ends[far].lost_to(ConnectionLost), ends[far].reason)

    async def test_reset_after_fin(self) -> None:
        """A side that sent FIN and then resets ends the other, which still had to answer, with a
        reset.
        """
        client, server = await self.relayed()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        await self.fill_buffers(server, client)
        client.transport.abortConnection()
        await self.over(client, server)
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_reset_with_full_buffers(self) -> None:
        """Both directions full, then a reset: the survivor, when it reads, gets a beginning of what
        was sent, then a reset.
        """
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            written = await self.fill_buffers(ends[near], ends[far])
            await self.fill_buffers(ends[far], ends[near])
            ends[near].transport.abortConnection()
            await self.harness.settle()
            self.assertFalse(ends[far].lost)
            ends[far].transport.resumeProducing()
            await self.over(*ends)
            self.assertTrue(pattern(0, written).startswith(ends[far].received))
            self.assertTrue(ends[far].lost_to(ConnectionLost), ends[far].reason)

    async def test_reset_of_a_survivor_that_writes_first(self) -> None:
        """A survivor that reads only once its own writing is done is not stuck: what it writes is
        taken, though for nobody.
        """
        client, server = await self.relayed(mark=16 * BULK)
        written = await self.fill(client, server)
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the client's end")
        await self.harness.settle()
        server.transport.write(pattern(0, 3 * BULK))
        await self.harness.settle()
        await self.harness.until(
            lambda: not server.transport.buffered, "the end of the server's writing"
        )
        server.transport.resumeProducing()
        await self.over(client, server)
        self.assertTrue(server.received == pattern(0, written))
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_reset_that_nobody_reads(self) -> None:
        """Both directions full, and the survivor reads only once its own writing is done: it is not
        stuck.
        """
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            survivor, other = ends[near], ends[far]
            await self.fill_buffers(survivor, other)
            written = await self.fill_buffers(other, survivor)
            other.transport.abortConnection()
            await self.harness.until(
                lambda s=survivor: not s.transport.buffered,  # type: ignore[misc]
                "the end of its writing",
            )
            survivor.transport.resumeProducing()
            await self.over(*ends)
            self.assertTrue(pattern(0, written).startswith(survivor.received))
            counts = self.front.counts
            self.assertEqual(
                (counts["down paused"], counts["up paused"]),
                (counts["down resumed"], counts["up resumed"]),
            )

    async def test_reset_of_a_sink(self) -> None:
        """Who goes on sending to one that has reset, which is not read just now, gets its last
        words, and is not blamed.
        """
        for near, far in ((0, 1), (1, 0)):
            ends = await self.relayed()
            survivor, other = ends[near], ends[far]
            survivor.transport.write(pattern(0, BULK))
            await self.receives(other, pattern(0, BULK))
            written = await self.fill_buffers(other, survivor)
            other.transport.abortConnection()
            await self.harness.settle()
            relay, dropped = self.front.relay, other.transport.dropped
            survivor.transport.write(pattern(BULK, BULK))
            await self.harness.until(
                lambda s=survivor: not s.transport.buffered,  # type: ignore[misc]
                "what it sends is taken",
            )
            survivor.transport.resumeProducing()
            await self.over(*ends)
            self.assertTrue(pattern(0, written - dropped).startswith(survivor.received))
            self.assertTrue(survivor.lost_to(ConnectionLost), survivor.reason)
            self.assertIs(relay.reset, relay.from_downstream if far == 0 else relay.from_upstream)

    async def test_both_reset(self) -> None:
        """Resets that cross end the relay, once."""
        client, server = await self.relayed()
        client.transport.abortConnection()
        server.transport.abortConnection()
        await self.over(client, server)

    async def test_reset_while_connecting(self) -> None:
        """A client that resets in the moment it connects ends the server's connection too."""
        client = RecordingProtocol()
        client.on_made = lambda: client.transport.abortConnection()
        _, server = await self.relayed(client, RecordingProtocol())
        await self.over(client, server)

    async def test_reset_from_a_server_at_once(self) -> None:
        """A server that resets in the moment it accepts: the client hears a reset."""
        server = RecordingProtocol()
        server.on_made = lambda: server.transport.abortConnection()
        client, _ = await self.relayed(RecordingProtocol(), server)
        await self.over(client, server)
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)

    async def test_late_bytes_after_reset(self) -> None:
        """What the survivor sends after the other's reset goes nowhere and harms nothing."""
        client, server = await self.relayed()
        client.transport.abortConnection()
        server.transport.write(pattern(0, 100_000))
        server.transport.loseConnection()
        await self.over(client, server)

    # Ends of the relay's own

    async def test_close(self) -> None:
        """close() with nothing buffered is FIN to both sides."""
        client, server = await self.relayed()
        client.transport.write(b"x")
        await self.receives(server, b"x")
        self.front.relay.close()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        self.assertEqual((["made", "eof"], ["made", "data", "eof"]), (client.events, server.events))
        await self.ends(client, server)
        self.assertIsNone(self.front.relay.last)

    async def test_close_with_bytes_buffered(self) -> None:
        """close() with bytes that the server has not taken is FIN after those that the kernel
        has.
        """
        client, server = await self.relayed()
        await self.fill_buffers(client, server)
        self.front.relay.close()
        await self.harness.until(lambda: self.front.finished, "the end of the relay")
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertFalse(server.lost, server.reason)
        server.transport.loseConnection()
        client.transport.loseConnection()
        await self.over(client, server)
        self.assertTrue(len(server.received) < self.front.counts["down bytes"])
        self.assertEqual(self.front.counts["down written"], len(server.received))

    async def test_close_of_a_flush(self) -> None:
        """close() while a reset waits for the survivor to read ends that wait."""
        client, server = await self.relayed(mark=16 * BULK)
        await self.fill(client, server)
        client.transport.abortConnection()
        await self.harness.until(lambda: "down lost" in self.front.told, "the reset at the relay")
        self.assertFalse(self.front.finished)
        self.front.relay.close()
        await self.harness.until(lambda: self.front.finished, "the end of the relay")
        server.transport.resumeProducing()
        await self.over(client, server)
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_close_twice(self) -> None:
        """close() ends both sides once, however often it is called."""
        client, server = await self.relayed()
        self.front.relay.close()
        self.front.relay.close()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        self.assertEqual((["made", "eof"],) * 2, (client.events, server.events))
        await self.ends(client, server)


class LimitContract(OnRelay):
    """What holds on our own transports: bytes are buffered up to the limit, whichever way they
    go.
    """

    async def test_limit_above_a_pipe(self) -> None:
        """Where the limit is large, or none, a server that does not read holds the client up no
        earlier than that.
        """
        for mark in (0, 64 << 20):
            client, server = await self.relayed(mark=mark)
            server.transport.pauseProducing()
            client.transport.write(bytes(16 << 20))
            down = self.front.relay.from_downstream
            await self.harness.until(lambda d=down: d.bytes == 16 << 20, "all bytes at the relay")  # type: ignore[misc]
            self.assertEqual((0, 0), (down.pauses, client.transport.buffered))
            self.front.relay.close()
            await self.harness.until(lambda: self.front.finished, "the end of the relay")
            for end in (client, server):
                end.transport.abortConnection()
            await self.over(client, server)


class FreedContract(OnRelay):
    """What holds on our own transports: a relay leaves nothing behind.  Twisted's have cycles of
    their own.
    """

    async def test_finished_relay_is_free(self) -> None:
        """A finished relay is freed by counting references: it leaves the garbage collector nothing
        to do.
        """
        gc.freeze()  # what was there before is not looked at
        self.addCleanup(gc.unfreeze)
        gc.disable()
        self.addCleanup(gc.enable)
        client, server = await self.relayed()
        client.transport.loseConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        for end in (client, server):
            end.transport.loseConnection()
        await self.over(client, server)
        del self.front.relay
        gc.set_debug(gc.DEBUG_SAVEALL)
        self.addCleanup(gc.garbage.clear)
        self.addCleanup(gc.set_debug, 0)
        gc.collect()
        self.assertEqual(
            [],
            [found for found in gc.garbage if isinstance(found, Relay | Direction | OnTransport)],
        )


class MemoryTests(RelayContract, FreedContract, TestCase):
    """The relay on the memory network."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness()


class TinyMemoryTests(RelayContract, FreedContract, TestCase):
    """The relay on a memory network where little fits and less is read at once."""

    def make_harness(self) -> TransportHarness:
        return MemoryHarness(capacity=4000, chunk=3000)


class StockTests(RelayContract, TestCase):
    """The relay on Twisted's own transports."""

    def make_harness(self) -> TransportHarness:
        return SocketHarness(reactor, StockNetwork, "tcp4", watches_after_eof=False)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EpollTests(RelayContract, FreedContract, LimitContract, TestCase):
    """The relay on the epoll transports."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.epoll.network import EpollNetwork

        return SocketHarness(reactor, EpollNetwork, "tcp4")


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class SpliceTests(RelayContract, FreedContract, LimitContract, TestCase):
    """On the fast transports with so small a buffer that nearly all traffic is bulk and goes
    through kernel pipes.
    """

    held = 60_000  # what is sure to fit into a pipe

    def make_harness(self) -> Any:
        return SocketHarness(reactor, spliced_network, "tcp4")

    async def test_pipes_are_given_back(self) -> None:
        """Bulk bytes arrive in order through a pipe, which is free again once the connection has
        ended.
        """
        client, server = await self.relayed()
        client.transport.write(pattern(0, BULK))
        await self.receives(server, pattern(0, BULK))
        await self.ends(client, server)
        pipes = self.harness.network.pipes
        self.assertGreater(pipes.taken, 0)
        self.assertEqual(0, pipes.used)


@uring
class UringTests(RelayContract, FreedContract, LimitContract, TestCase):
    """The relay on the transports of io_uring."""

    def make_harness(self) -> TransportHarness:
        from tcpmesh.net.uring.network import UringNetwork

        return SocketHarness(reactor, UringNetwork, "tcp4")


@uring
class UringSpliceTests(RelayContract, FreedContract, LimitContract, TestCase):
    """On the transports of io_uring with so small a buffer that nearly all traffic is bulk and goes
    through kernel pipes.
    """

    held = 60_000  # what is sure to fit into a pipe

    def make_harness(self) -> Any:
        return SocketHarness(reactor, spliced_uring_network, "tcp4")
