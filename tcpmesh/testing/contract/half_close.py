"""The part of the contract suite about half-close: each direction ends by itself, after its last
byte.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost

from tcpmesh.testing.harness import HarnessTestCase, pattern
from tcpmesh.testing.recording import (
    OneWayRecordingProtocol,
    PlainRecordingProtocol,
    RecordingProducer,
    RecordingProtocol,
)


class HalfCloseContract(HarnessTestCase):
    """FIN ends one direction and leaves the other as it is."""

    async def test_answer_after_eof(self) -> None:
        """After the client's FIN the server's answer still arrives, and so does the server's
        FIN.
        """
        client, server = await self.harness.pair()
        client.transport.write(b"question")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF at the server")
        self.assertEqual(b"question", bytes(server.received))
        server.transport.write(pattern(0, 2 << 20))
        await self.receives(client, pattern(0, 2 << 20))
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "EOF at the client")

    async def test_question_after_eof(self) -> None:
        """After the server's FIN the client goes on sending."""
        client, server = await self.harness.pair()
        server.transport.write(b"bye")
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "EOF at the client")
        self.assertEqual(b"bye", bytes(client.received))
        client.transport.write(pattern(0, 2 << 20))
        await self.receives(server, pattern(0, 2 << 20))

    async def test_resume_after_eof(self) -> None:
        """EOF is told once: pausing and resuming after it changes nothing."""
        client, server = await self.harness.pair()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        server.transport.pauseProducing()
        server.transport.resumeProducing()
        await self.harness.settle()
        self.assertEqual(["made", "eof"], server.events)

    async def test_eof_without_bytes(self) -> None:
        """FIN alone is EOF alone."""
        client, server = await self.harness.pair()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertEqual(["made", "eof"], server.events)

    async def test_eof_after_a_full_buffer(self) -> None:
        """FIN waits for the bytes written before it, though nobody reads them now."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.loseWriteConnection()
        await self.harness.settle()
        self.assertNotIn("fin", client.events)
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertTrue(server.received == pattern(0, written))

    async def test_fin_is_told(self) -> None:
        """writeConnectionLost is called once, when FIN is sent, and the protocol goes on
        receiving.
        """
        client, server = await self.harness.pair()
        client.transport.write(b"x")
        client.transport.loseWriteConnection()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: "fin" in client.events, "writeConnectionLost")
        server.transport.write(b"answer")
        await self.receives(client, b"answer")
        await self.harness.settle()
        self.assertEqual(["made", "fin", "data"], client.story)

    async def test_fin_with_a_producer(self) -> None:
        """FIN is sent after a full buffer though a paused producer is registered."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.high_watermark = 1
        producer = RecordingProducer()
        client.transport.registerProducer(producer, True)
        client.transport.write(pattern(written, 10))
        self.assertEqual(["pause"], producer.calls)
        client.transport.loseWriteConnection()
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertTrue(server.received == pattern(0, written + 10))

    async def test_write_after_half_close(self) -> None:
        """What is written after loseWriteConnection is not sent."""
        client, server = await self.harness.pair()
        client.transport.write(b"sent")
        client.transport.loseWriteConnection()
        client.transport.write(b" too late")
        client.transport.writeSequence([b" too", b" late"])
        await self.harness.until(lambda: server.ended, "EOF")
        await self.harness.settle()
        self.assertEqual(b"sent", bytes(server.received))

    async def test_write_after_half_close_of_a_full_buffer(self) -> None:
        """The same while FIN still waits for bytes before it."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.loseWriteConnection()
        client.transport.write(b"too late")
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "EOF")
        self.assertTrue(server.received == pattern(0, written))

    async def test_both_half_closed(self) -> None:
        """Both directions ended, in either order, then closed: both sides end with
        ConnectionDone.
        """
        client, server = await self.harness.pair()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF at the server")
        server.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended, "EOF at the client")
        client.transport.loseConnection()
        server.transport.loseConnection()
        await self.harness.until(lambda: client.lost and server.lost, "both losses")
        for end in (client, server):
            self.assertTrue(end.lost_to(ConnectionDone), end.reason)

    async def test_both_half_close_at_once(self) -> None:
        """FINs that cross end both directions, after their bytes."""
        client, server = await self.harness.pair()
        for end in (client, server):
            end.transport.write(b"bye")
            end.transport.loseWriteConnection()
        await self.harness.until(lambda: client.ended and server.ended, "both EOFs")
        self.assertEqual((b"bye", b"bye"), (bytes(client.received), bytes(server.received)))

    async def test_half_close_inside_callbacks(self) -> None:
        """Half-close from inside connectionMade and, in answer, from inside readConnectionLost."""
        client, server = RecordingProtocol(), PlainRecordingProtocol()
        client.on_made = lambda: (
            client.transport.write(b"all I say"),
            client.transport.loseWriteConnection(),
        )
        server.on_eof = lambda: (
            server.transport.write(b"me too"),
            server.transport.loseWriteConnection(),
        )
        await self.harness.pair(client, server)
        await self.harness.until(lambda: client.ended, "the answer's EOF")
        self.assertEqual(
            (b"me too", b"all I say"), (bytes(client.received), bytes(server.received))
        )

    async def test_close_inside_eof(self) -> None:
        """loseConnection from inside readConnectionLost flushes the answer and ends both sides with
        ConnectionDone.
        """
        client, server = await self.harness.pair()
        server.on_eof = lambda: (
            server.transport.write(b"answer"),
            server.transport.loseConnection(),
        )
        client.on_eof = lambda: client.transport.loseConnection()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: client.lost and server.lost, "both losses")
        self.assertEqual(b"answer", bytes(client.received))
        self.assertTrue(server.lost_to(ConnectionDone) and client.lost_to(ConnectionDone))

    async def test_close_after_own_half_close(self) -> None:
        """A transport that sent FIN can be closed while the peer goes on."""
        client, server = await self.harness.pair()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        client.transport.loseConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertTrue(client.lost_to(ConnectionDone), client.reason)

    async def test_close_while_fin_waits(self) -> None:
        """loseConnection while FIN waits for a full buffer flushes that buffer all the same."""
        client, server = await self.harness.pair()
        written = await self.harness.fill_buffers(client, server)
        client.transport.loseWriteConnection()
        client.transport.loseConnection()
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended and client.lost, "both ends")
        self.assertTrue(server.received == pattern(0, written))

    async def test_abort_after_half_close(self) -> None:
        """A reset after FIN is heard as a loss by a peer that had EOF, though it neither reads nor
        writes (stock: if it writes).
        """
        client, server = await self.harness.pair()
        client.transport.write(b"x")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        client.transport.abortConnection()
        await self.harness.until(lambda: client.lost, "the client's end")
        await self.reset_heard(server)

    async def test_reset_of_a_waiting_answer(self) -> None:
        """A client that sends FIN and later resets ends a server that has more to send, with a
        loss.
        """
        client, server = await self.harness.pair()
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: server.ended, "EOF")
        await self.harness.fill_buffers(server, client)
        client.transport.abortConnection()
        await self.harness.until(lambda: server.lost, "the server's loss")
        self.assertTrue(server.lost_to(ConnectionLost), server.reason)

    async def test_protocol_without_half_close(self) -> None:
        """EOF closes a protocol that knows no half-close, with ConnectionDone, after what it wrote
        is flushed.
        """
        client, server = await self.harness.pair(RecordingProtocol(), OneWayRecordingProtocol())
        written = await self.harness.fill_buffers(server, client)
        client.transport.write(b"bye")
        client.transport.loseWriteConnection()
        await self.receives(server, b"bye")
        await self.harness.settle()
        client.transport.resumeProducing()
        await self.harness.until(lambda: server.lost and client.ended, "both ends")
        self.assertTrue(server.lost_to(ConnectionDone), server.reason)
        self.assertTrue(client.received == pattern(0, written))
