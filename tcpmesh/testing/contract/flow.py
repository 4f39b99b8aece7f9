"""The part of the contract suite about flow control: who pauses, what waits meanwhile, and what
comes on resume.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpmesh.testing.harness import HarnessTestCase, pattern
from tcpmesh.testing.recording import RecordingProducer, RecordingProtocol

MARK = 65536


class FlowContract(HarnessTestCase):
    """A paused transport reads nothing, and a full one pauses its producer."""

    async def test_paused(self) -> None:
        """Nothing is delivered to a paused transport, and all of it, in order, on resume."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"first ")
        await self.harness.settle()
        client.transport.write(b"second")
        await self.harness.settle()
        self.assertEqual(["made"], server.events)
        server.transport.resumeProducing()
        await self.receives(server, b"first second")

    async def test_paused_inside_a_delivery(self) -> None:
        """A protocol that pauses inside a delivery gets no other before it resumes."""
        client, server = await self.harness.pair()
        server.transport.read_size = 100
        server.on_data = server.transport.pauseProducing
        client.transport.write(pattern(0, 350))
        await self.one_at_a_time(server, 350)
        self.assertTrue(server.received == pattern(0, 350))
        self.assertGreaterEqual(len(server.sizes), 4)

    async def test_paused_from_the_start(self) -> None:
        """A protocol that pauses in connectionMade gets nothing, though the peer spoke first, until
        it resumes.
        """
        client, server = RecordingProtocol(), RecordingProtocol()
        client.on_made = lambda: (
            client.transport.write(b"hello"),
            client.transport.loseWriteConnection(),
        )
        server.on_made = lambda: server.transport.pauseProducing()
        await self.harness.pair(client, server)
        await self.harness.settle()
        self.assertEqual(["made"], server.events)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertEqual(b"hello", bytes(server.received))

    async def test_paused_and_written_to(self) -> None:
        """A transport that is paused from the start still sends, all of a large write too."""
        server = RecordingProtocol()
        server.on_made = lambda: server.transport.pauseProducing()
        client, server = await self.harness.pair(RecordingProtocol(), server)
        server.transport.write(pattern(0, 3 << 20))
        await self.receives(client, pattern(0, 3 << 20))

    async def test_resumed_without_pause(self) -> None:
        """Resuming twice, or what was not paused, changes nothing; pausing twice takes one
        resume.
        """
        client, server = await self.harness.pair()
        server.transport.resumeProducing()
        server.transport.pauseProducing()
        server.transport.pauseProducing()
        client.transport.write(b"x")
        await self.harness.settle()
        self.assertEqual(b"", bytes(server.received))
        server.transport.resumeProducing()
        server.transport.resumeProducing()
        await self.receives(server, b"x")

    async def test_resume_delivers_nothing_at_once(self) -> None:
        """resumeProducing calls no protocol from within itself."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"x")
        await self.harness.settle()
        server.transport.resumeProducing()
        self.assertEqual(["made"], server.events)
        await self.receives(server, b"x")

    async def test_eof_while_paused(self) -> None:
        """Bytes and EOF that come while paused are both delivered on resume, in order, and not
        before.
        """
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"last words")
        client.transport.loseWriteConnection()
        await self.harness.settle()
        self.assertEqual(["made"], server.events)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertEqual(["made", "data", "eof"], server.story)
        self.assertEqual(b"last words", bytes(server.received))

    async def test_pause_between_bytes_and_eof(self) -> None:
        """A protocol that pauses at the last bytes hears of EOF on resume only."""
        client, server = await self.harness.pair()
        server.on_data = server.transport.pauseProducing
        client.transport.write(b"x")
        client.transport.loseWriteConnection()
        await self.receives(server, b"x")
        await self.harness.settle()
        self.assertEqual(["made", "data"], server.events)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")

    async def test_close_while_paused(self) -> None:
        """The peer's close is heard on resume, after its bytes."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"bye")
        client.transport.loseConnection()
        await self.harness.until(lambda: client.lost, "the client's close")
        await self.harness.settle()
        self.assertEqual(["made"], server.events)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "the end")
        self.assertEqual(b"bye", bytes(server.received))

    async def test_reset_while_paused(self) -> None:
        """The peer's reset is heard on resume, after the bytes that came before it."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"bye")
        await self.harness.settle()
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the client's end")
        await self.harness.settle()
        self.assertEqual(["made"], server.events)
        server.transport.resumeProducing()
        await self.harness.until(
            lambda: server.lost or (not self.harness.tcp and server.ended), "the loss"
        )
        self.assertEqual(b"bye", bytes(server.received))
        if self.harness.tcp:
            self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_own_close_while_paused(self) -> None:
        """A paused transport can be closed: it hears of its own loss at once."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        server.transport.loseConnection()
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertTrue(server.lost_to(ConnectionDone), server.reason)

    async def test_buffered(self) -> None:
        """`buffered` is 0 at rest, what the kernel has not taken when filled, and 0 again once that
        is sent.
        """
        client, server = await self.harness.pair()
        self.assertEqual(0, client.transport.buffered)
        written = await self.harness.fill_buffers(client, server)
        self.assertGreater(client.transport.buffered, 0)
        server.transport.resumeProducing()
        await self.receives(server, pattern(0, written))
        self.assertEqual(0, client.transport.buffered)

    async def test_producer_paused_and_resumed(self) -> None:
        """The producer is paused above the high watermark, once, and resumed, once, when half of it
        or less is left.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.high_watermark = client.transport.buffered + MARK
        left: list[int] = []
        producer = RecordingProducer(on_resume=lambda: left.append(client.transport.buffered))
        client.transport.registerProducer(producer, True)
        mark = client.transport.high_watermark
        client.transport.write(pattern(written, mark - client.transport.buffered))
        self.assertEqual([], producer.calls)
        client.transport.write(b"1")
        client.transport.write(b"2")
        self.assertEqual(["pause"], producer.calls)
        await self.harness.settle()
        self.assertEqual(["pause"], producer.calls)
        server.transport.resumeProducing()
        await self.harness.until(lambda: len(producer.calls) > 1, "the resume")
        await self.harness.until(lambda: not client.transport.buffered, "an empty buffer")
        self.assertEqual(["pause", "resume"], producer.calls)
        self.assertLessEqual(left[0], mark // 2)

    async def test_producer_writes_when_resumed(self) -> None:
        """A producer may write from inside its resume, and so be paused again."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.high_watermark = MARK

        def write() -> None:
            nonlocal written
            while written < 8 << 20 and not producer.paused:
                client.transport.write(pattern(written, 50_000))
                written += 50_000

        producer = RecordingProducer(on_resume=write)
        client.transport.registerProducer(producer, True)
        write()
        server.transport.resumeProducing()
        await self.harness.until(lambda: written >= 8 << 20, "all writes")
        await self.receives(server, pattern(0, written))
        self.assertEqual(producer.calls, ["pause", "resume"] * (len(producer.calls) // 2))

    async def test_no_watermark(self) -> None:
        """A high watermark of 0 means no limit: the producer is never paused."""
        client, server = await self.harness.pair()
        client.transport.high_watermark = 0
        producer = RecordingProducer()
        client.transport.registerProducer(producer, True)
        server.transport.pauseProducing()
        client.transport.write(pattern(0, 8 << 20))
        self.assertEqual([], producer.calls)
        server.transport.resumeProducing()
        await self.receives(server, pattern(0, 8 << 20))
        self.assertEqual([], producer.calls)

    async def test_unregistered_producer(self) -> None:
        """A producer that was unregistered is told nothing more, and another may take its place."""
        client, server = await self.harness.pair()
        await self.harness.fill_buffers(client, server)
        client.transport.high_watermark = MARK
        first, second = RecordingProducer(), RecordingProducer()
        client.transport.registerProducer(first, True)
        client.transport.write(pattern(0, MARK))
        client.transport.write(pattern(0, MARK))
        client.transport.unregisterProducer()
        client.transport.registerProducer(second, True)
        client.transport.unregisterProducer()
        client.transport.unregisterProducer()
        server.transport.resumeProducing()
        await self.harness.until(lambda: not client.transport.buffered, "an empty buffer")
        self.assertEqual((["pause"], []), (first.calls, second.calls))

    async def test_producer_of_a_reset_connection(self) -> None:
        """A producer that waits for room is resumed when the peer has reset, heard or not yet; what
        it writes is lost.
        """
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.high_watermark = 1
        client.transport.pauseProducing()
        producer = RecordingProducer(on_resume=lambda: client.transport.write(b"in vain"))
        client.transport.registerProducer(producer, True)
        client.transport.write(pattern(written, 10))
        server.transport.abortConnection()
        await self.harness.until(lambda: len(producer.calls) > 1, "the resume")
        await self.harness.settle()
        self.assertEqual(
            (["made"], ["pause", "resume"], 0),
            (client.events, producer.calls, client.transport.buffered),
        )
        client.transport.resumeProducing()
        await self.harness.until(lambda: client.ended, "the loss")

    async def test_one_producer(self) -> None:
        """A second producer beside the first is a RuntimeError."""
        client, _ = await self.harness.pair()
        client.transport.registerProducer(RecordingProducer(), True)
        self.assertRaises(
            RuntimeError, client.transport.registerProducer, RecordingProducer(), True
        )

    async def test_pull_producer(self) -> None:
        """A pull producer is asked for more each time all is sent, until it unregisters."""
        client, server = await self.harness.pair()
        pieces = [pattern(n * 100_000, 100_000) for n in range(12)]

        def produce() -> None:
            if pieces:
                client.transport.write(pieces.pop(0))
            else:
                client.transport.unregisterProducer()

        producer = RecordingProducer(on_resume=produce)
        client.transport.registerProducer(producer, False)
        await self.receives(server, pattern(0, 1_200_000))
        await self.harness.settle()
        self.assertEqual(["resume"] * 13, producer.calls)

    async def test_producer_of_a_lost_connection(self) -> None:
        """The producer is told to stop when the connection is lost, and so is one that comes
        later.
        """
        client, server = await self.harness.pair()
        producer, late = RecordingProducer(), RecordingProducer()
        client.transport.registerProducer(producer, True)
        server.transport.abortConnection()
        client.on_eof = client.transport.abortConnection
        await self.harness.until(lambda: client.lost, "the loss")
        client.transport.registerProducer(late, True)
        self.assertEqual((["stop"], ["stop"]), (producer.calls, late.calls))
