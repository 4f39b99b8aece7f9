"""The part of the contract suite about ends: close flushes, reset does not wait, and after the end
there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpmesh.testing.harness import HarnessTestCase, pattern
from tcpmesh.testing.recording import RecordingProducer, RecordingProtocol

CALLS: list[Callable[[Any], object]] = [
    lambda t: t.write(b"late"),
    lambda t: t.writeSequence([b"la", b"te"]),
    lambda t: t.pauseProducing(),
    lambda t: t.resumeProducing(),
    lambda t: t.stopProducing(),
    lambda t: t.unregisterProducer(),
    lambda t: t.loseWriteConnection(),
    lambda t: t.resetConnection(),
    lambda t: t.loseConnection(),
    lambda t: t.abortConnection(),
    lambda t: t.cutConnection(),
    lambda t: t.setTcpNoDelay(True),
    lambda t: t.setTcpKeepAlive(True),
]
"""Every call that a closed transport must take without a word."""


class CloseContract(HarnessTestCase):
    """Each connection ends once, in order, for the reason it had."""

    # Orderly

    async def test_close(self) -> None:
        """loseConnection ends both sides with ConnectionDone, the peer's after EOF."""
        client, server = await self.harness.pair()
        server.on_eof = lambda: server.transport.loseConnection()
        client.transport.loseConnection()
        await self.harness.until(lambda: client.lost and server.lost, "both losses")
        self.assertTrue(client.lost_to(ConnectionDone) and server.lost_to(ConnectionDone))
        self.assertEqual(
            (["made", "lost"], ["made", "eof", "lost"]), (client.events, server.events)
        )

    async def test_close_flushes(self) -> None:
        """loseConnection sends all that was written before it closes."""
        client, server = await self.harness.pair()
        client.transport.write(pattern(0, 3 << 20))
        client.transport.loseConnection()
        await self.harness.until(lambda: server.ended and client.lost, "both ends")
        self.assertTrue(server.received == pattern(0, 3 << 20))
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)

    async def test_close_waits_for_a_slow_reader(self) -> None:
        """A full buffer holds the close up until it is read."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.loseConnection()
        await self.harness.settle()
        self.assertFalse(client.lost)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended and client.lost, "both ends")
        self.assertTrue(server.received == pattern(0, written))
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)

    async def test_close_with_a_producer(self) -> None:
        """A registered producer, paused or not, does not hold the close up, and what it writes
        after it is not sent.
        """
        for filled in (False, True):
            client, server = await self.harness.pair()
            written = await self.harness.fill_buffers(client, server) if filled else 0
            client.transport.high_watermark = 1
            producer = RecordingProducer(
                on_resume=lambda client=client: client.transport.write(b"late")  # type: ignore[misc]
            )
            client.transport.registerProducer(producer, True)
            if filled:
                client.transport.write(pattern(written, 10))
                written += 10
                self.assertTrue(producer.paused)
            client.transport.loseConnection()
            server.transport.resumeProducing()
            await self.harness.until(lambda s=server, c=client: s.ended and c.lost, "both ends")  # type: ignore[misc]
            self.assertTrue(server.received == pattern(0, written))
            self.assertTrue(client.lost_to(ConnectionDone), client.reason)

    async def test_cut_of_a_full_buffer(self) -> None:
        """cutConnection does not wait: the peer gets a beginning of what was written and then EOF,
        `dropped` tells the rest.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        waiting = client.transport.buffered
        client.transport.cutConnection()
        client.transport.write(b"too late")
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)
        self.assertEqual(waiting + len(b"too late"), client.transport.dropped)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertFalse(server.lost, server.reason)
        self.assertEqual(written - waiting, len(server.received))
        self.assertTrue(pattern(0, written).startswith(server.received))

    async def test_cut_of_a_waiting_close(self) -> None:
        """cutConnection ends at once what loseConnection, or FIN, would have flushed first, and
        once.
        """
        for end in ("loseConnection", "loseWriteConnection", "resetConnection", "cutConnection"):
            client, server = await self.harness.pair()
            await self.harness.fill_buffers(client, server)
            getattr(client.transport, end)()
            client.transport.cutConnection()
            await self.harness.until(lambda c=client: c.lost, "the loss")  # type: ignore[misc]
            self.assertTrue(client.lost_to(ConnectionDone), client.reason)
            self.assertEqual(1, client.events.count("lost"))
            server.transport.resumeProducing()
            await self.harness.until(lambda s=server: s.ended, "EOF")  # type: ignore[misc]

    async def test_cut_when_made(self) -> None:
        """cutConnection from inside connectionMade or a delivery is the end, and the peer hears of
        it.
        """
        cutter, other = RecordingProtocol(), RecordingProtocol()
        cutter.on_made = lambda: cutter.transport.cutConnection()
        await self.harness.pair(cutter, other)
        await self.harness.until(lambda: cutter.lost and other.ended, "both ends")
        client, server = await self.harness.pair()
        server.transport.read_size = 10
        server.on_data = server.transport.cutConnection
        client.transport.write(pattern(0, 1000))
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertEqual(
            (["made", "lost"], ["made", "data", "lost"]), (cutter.events, server.events)
        )

    async def test_close_at_once_both(self) -> None:
        """Both sides that close at the same time each end with ConnectionDone."""
        client, server = await self.harness.pair()
        client.transport.loseConnection()
        server.transport.loseConnection()
        await self.harness.until(lambda: client.lost and server.lost, "both losses")
        self.assertTrue(client.lost_to(ConnectionDone) and server.lost_to(ConnectionDone))

    async def test_nothing_after_close(self) -> None:
        """After loseConnection nothing is delivered, though the transport is resumed, and nothing
        more is sent.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.loseConnection()
        client.transport.write(b"too late")
        client.transport.resumeProducing()
        server.transport.write(b"unheard")
        await self.harness.settle()
        self.assertEqual(["made"], client.events)
        server.transport.resumeProducing()
        await self.harness.until(
            lambda: len(server.received) >= written and client.lost, "both ends"
        )
        self.assertTrue(server.received == pattern(0, written))
        self.assertEqual(["made", "lost"], client.events)

    async def test_close_reads_for_nobody(self) -> None:
        """While a close or a reset flushes, a peer that writes before it reads is not stuck: its
        bytes are taken and dropped.
        """
        for end in ("loseConnection", "resetConnection"):
            client, server = await self.harness.pair()
            written = await self.harness.fill_buffers(client, server)
            client.transport.pauseProducing()
            server.transport.write(pattern(0, 8 << 20))
            await self.harness.settle()
            self.assertGreater(server.transport.buffered, 0)
            getattr(client.transport, end)()
            client.transport.pauseProducing()
            await self.harness.until(
                lambda s=server: not s.transport.buffered,  # type: ignore[misc]
                "the peer's bytes taken",
            )
            await self.harness.settle()
            server.transport.resumeProducing()
            await self.harness.until(lambda s=server, c=client: s.ended and c.lost, "both ends")  # type: ignore[misc]
            self.assertTrue(server.received == pattern(0, written))
            self.assertEqual(["made", "lost"], client.events)

    async def test_close_inside_a_delivery(self) -> None:
        """loseConnection from inside a delivery: that was the last one."""
        client, server = await self.harness.pair()
        server.transport.read_size = 100
        server.on_data = lambda: (
            server.transport.write(b"enough"),
            server.transport.loseConnection(),
        )
        client.transport.write(pattern(0, 50))
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        client.transport.write(pattern(0, 50))
        await self.harness.settle()
        self.assertEqual(["made", "data", "lost"], server.events)
        self.assertEqual(b"enough", bytes(client.received))

    async def test_close_when_made(self) -> None:
        """loseConnection from inside connectionMade sends what was written and ends both sides."""
        for first in (True, False):
            closer, other = RecordingProtocol(), RecordingProtocol()
            closer.on_made = lambda c=closer: (
                c.transport.write(b"bye"),
                c.transport.loseConnection(),
            )  # type: ignore[misc]
            await self.harness.pair(*((closer, other) if first else (other, closer)))
            await self.harness.until(lambda c=closer, o=other: c.lost and o.ended, "both ends")  # type: ignore[misc]
            self.assertEqual(b"bye", bytes(other.received))
            self.assertEqual(["made", "lost"], closer.events)

    async def test_peer_gone(self) -> None:
        """Writing to a peer that has closed raises nothing, and the loss is heard."""
        client, server = await self.harness.pair()
        server.transport.loseConnection()
        await self.harness.until(lambda: client.ended and server.lost, "both ends")
        while not client.lost:
            client.transport.write(b"anybody?")
            await self.harness.settle()

    # Resets

    async def test_abort(self) -> None:
        """abortConnection is a reset to the peer, and a loss to oneself."""
        client, server = await self.harness.pair()
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)
        await self.reset_heard(server)

    async def test_ends_are_told_later(self) -> None:
        """No way to end a connection calls connectionLost from within itself, after FIN neither."""
        for finish in (False, True):
            for end in ("loseConnection", "resetConnection", "abortConnection", "cutConnection"):
                client, server = await self.harness.pair()
                if finish:
                    client.transport.loseWriteConnection()
                    await self.harness.until(lambda s=server: s.ended, "EOF")  # type: ignore[misc]
                getattr(client.transport, end)()
                self.assertFalse(client.lost)
                await self.harness.until(lambda c=client: c.lost, "the loss")  # type: ignore[misc]

    async def test_bytes_before_a_reset(self) -> None:
        """Bytes that arrived before a reset are delivered before it."""
        client, server = await self.harness.pair()
        client.transport.write(pattern(0, 50_000))
        await self.harness.settle()
        client.transport.abortConnection()
        await self.reset_heard(server)
        self.assertTrue(server.received == pattern(0, 50_000))

    async def test_abort_of_a_full_buffer(self) -> None:
        """abortConnection does not wait for what was written: what arrives is a beginning of it,
        `dropped` tells the rest.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        waiting = client.transport.buffered
        self.assertEqual(0, client.transport.dropped)
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertEqual(waiting, client.transport.dropped)
        server.transport.resumeProducing()
        await self.reset_heard(server)
        self.assertTrue(pattern(0, written).startswith(server.received))

    async def test_abort_inside_a_delivery(self) -> None:
        """abortConnection from inside a delivery: that was the last one."""
        client, server = await self.harness.pair()
        server.transport.read_size = 10
        server.on_data = server.transport.abortConnection
        client.transport.write(pattern(0, 1000))
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertEqual(["made", "data", "lost"], server.events)

    async def test_abort_when_made(self) -> None:
        """abortConnection from inside connectionMade, on either side, is heard by both, unless the
        other had not yet been told of the connection, and never is.
        """
        for first in (True, False):
            aborter, other = RecordingProtocol(), RecordingProtocol()
            aborter.on_made = lambda a=aborter: a.transport.abortConnection()  # type: ignore[misc]
            factory = self.harness.dial(*((aborter, other) if first else (other, aborter)))
            await self.harness.until(
                lambda a=aborter, o=other, f=factory: (  # type: ignore[misc]
                    a.lost and (o.ended or f.failure or o.transport is None)
                ),
                "both ends",
            )
            await self.harness.settle()
            self.assertEqual(["made", "lost"], aborter.events)
            self.assertTrue(other.ended or not other.events, other.events)

    async def test_abort_inside_eof(self) -> None:
        """abortConnection from inside readConnectionLost."""
        client, server = await self.harness.pair()
        server.on_eof = server.transport.abortConnection
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def _waiting_to_close(self) -> tuple[Any, Any]:
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.loseConnection()
        return client, server

    async def test_abort_of_a_waiting_close(self) -> None:
        """abortConnection ends at once what loseConnection would have flushed first."""
        client, _ = await self._waiting_to_close()
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)

    async def test_reset_of_a_waiting_close(self) -> None:
        """The peer's reset ends a close that waits for the peer to read."""
        client, server = await self._waiting_to_close()
        server.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)

    async def test_reset_of_a_writer(self) -> None:
        """A side with bytes to send first gets what came before the peer's reset, then the loss."""
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.pauseProducing()
        server.transport.write(pattern(0, 3_000))
        await self.harness.settle()
        server.transport.abortConnection()
        await self.harness.until(lambda: server.lost, "the server's end")
        await self.harness.settle()
        client.transport.resumeProducing()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.received == pattern(0, 3_000), f"{len(client.received)} bytes")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)

    async def test_reset_of_a_paused_writer(self) -> None:
        """A paused side with bytes to send hears of a reset on resume only, after the bytes before
        it.
        """
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.pauseProducing()
        server.transport.write(b"last words")
        await self.harness.settle()
        server.transport.abortConnection()
        await self.harness.until(lambda: server.lost, "the server's end")
        client.transport.write(b"more")
        await self.harness.settle()
        self.assertEqual(["made"], client.events)
        client.transport.resumeProducing()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertEqual(b"last words", bytes(client.received))

    async def test_reset_before_a_close(self) -> None:
        """Who closes after a reset that has cost bytes has lost them, and is told so."""
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.pauseProducing()
        server.transport.abortConnection()
        await self.harness.until(
            lambda: client.transport.dropped, "the loss of what was to be sent"
        )
        client.transport.loseConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)

    async def test_reset_after_flush(self) -> None:
        """resetConnection sends all that was written, to a slow reader too, and then a reset."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.resetConnection()
        client.transport.write(b"too late")
        await self.harness.settle()
        self.assertFalse(client.lost)
        server.transport.resumeProducing()
        await self.harness.until(lambda: client.lost, "the client's end")
        await self.reset_heard(server)
        self.assertTrue(
            server.received == pattern(0, written), f"{len(server.received)} of {written} bytes"
        )

    async def test_reset_after_a_small_write(self) -> None:
        """resetConnection right after a write: the bytes, then the reset."""
        client, server = await self.harness.pair()
        client.transport.write(b"bye")
        client.transport.resetConnection()
        await self.harness.until(lambda: client.lost, "the client's end")
        await self.reset_heard(server)
        self.assertEqual(b"bye", bytes(server.received))

    async def test_reset_at_rest(self) -> None:
        """resetConnection with nothing written is a reset at once, and after FIN too."""
        for finish in (False, True):
            client, server = await self.harness.pair()
            if finish:
                client.transport.loseWriteConnection()
                await self.harness.until(lambda s=server: s.ended, "EOF")  # type: ignore[misc]
            client.transport.resetConnection()
            await self.harness.until(lambda c=client: c.lost, "the client's end")  # type: ignore[misc]
            await self.reset_heard(server)

    # Once, and nothing after it

    async def test_ends_once(self) -> None:
        """However often and in whatever order it is ended, a connection is lost once."""
        for first in CALLS[6:10]:
            for second in CALLS[6:10]:
                client, server = await self.harness.pair()
                first(client.transport)
                second(client.transport)
                client.transport.loseConnection()
                await self.harness.until(lambda c=client, s=server: c.lost and s.ended, "both ends")  # type: ignore[misc]
                await self.harness.settle()
                self.assertEqual(1, client.events.count("lost"))

    async def test_calls_on_a_closed_transport(self) -> None:
        """Every call to a closed transport, inside connectionLost too, does nothing and raises
        nothing.
        """
        for end in ("loseConnection", "abortConnection"):
            client, _ = await self.harness.pair()
            transport = client.transport
            client.on_lost = lambda t=transport: [call(t) for call in CALLS]
            getattr(transport, end)()
            await self.harness.until(lambda c=client: c.lost, "the loss")  # type: ignore[misc]
            for call in CALLS:
                call(transport)
            await self.harness.settle()
            self.assertEqual(0, transport.buffered)
            self.assertEqual("lost", client.events[-1])
            self.assertIsNone(transport.protocol)

    async def test_late_events(self) -> None:
        """What the peer sends while we abort is not delivered."""
        client, server = await self.harness.pair()
        server.transport.write(b"late")
        client.transport.abortConnection()
        server.transport.write(b"later")
        server.transport.loseConnection()
        await self.harness.until(lambda: client.lost and server.lost, "both losses")
        await self.harness.settle()
        self.assertEqual(["made", "lost"], client.events)

    async def test_close_of_the_peer_inside_a_delivery(self) -> None:
        """A connection that another's delivery ends gets nothing more, though its own events wait
        already.
        """
        client, server = await self.harness.pair()
        other_client, other_server = await self.harness.pair()
        server.on_data = other_server.transport.abortConnection
        other_server.on_data = server.transport.abortConnection
        for end in (client, other_client):
            end.transport.write(b"x")
        await self.harness.until(lambda: server.lost or other_server.lost, "one loss")
        await self.harness.settle()
        loser = server if server.lost else other_server
        self.assertEqual(["made", "lost"], loser.events)
