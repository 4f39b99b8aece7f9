"""The part of the contract suite about bytes: whole, in order, to the right protocol, however they
are written and read.
"""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.testing.harness import HarnessTestCase, pattern
from tcpmesh.testing.recording import PlainRecordingProtocol, RecordingProducer, RecordingProtocol
from tcpmesh.values.address import Address

LARGE = 3 << 20


class BytesContract(HarnessTestCase):
    """Bytes arrive as they were written."""

    flushLoggedErrors: Any

    async def test_is_a_stream_transport(self) -> None:
        """Both ends provide IStreamTransport in full."""
        for end in await self.harness.pair():
            verifyObject(IStreamTransport, end.transport)

    async def test_connection_is_made_once(self) -> None:
        """Each protocol is told once that the connection is made, before anything else."""
        client, server = await self.harness.pair()
        client.transport.write(b"x")
        await self.receives(server, b"x")
        self.assertEqual(["made"], client.events)
        self.assertEqual(["made", "data"], server.events)

    async def test_order_of_many_writes(self) -> None:
        """Many writes of many sizes, both ways at once, arrive whole and in order."""
        client, server = await self.harness.pair()
        sent = 0
        for size in range(1, 1000, 7):
            client.transport.write(pattern(sent, size))
            server.transport.write(pattern(sent + 5, size))
            sent += size
        await self.receives(server, pattern(0, sent))
        await self.receives(client, pattern(5, sent))

    async def test_byte_by_byte(self) -> None:
        """Writes of single bytes arrive as those bytes."""
        client, server = await self.harness.pair()
        for byte in pattern(0, 500):
            client.transport.write(bytes([byte]))
        await self.receives(server, pattern(0, 500))

    async def test_write_sequence(self) -> None:
        """writeSequence writes its pieces in order; empty ones are nothing."""
        client, server = await self.harness.pair()
        client.transport.writeSequence([b"one ", b"", b"two"])
        client.transport.writeSequence([])
        client.transport.write(b"")
        client.transport.write(b" three")
        await self.receives(server, b"one two three")

    async def test_plain_protocol(self) -> None:
        """A protocol without bufferReceived gets bytes objects by dataReceived."""
        client, server = await self.harness.pair(RecordingProtocol(), PlainRecordingProtocol())
        client.transport.write(pattern(0, 100_000))
        await self.receives(server, pattern(0, 100_000))

    async def test_read_size_bounds_a_delivery(self) -> None:
        """No delivery is longer than read_size, and nothing is lost by a small one."""
        client, server = await self.harness.pair()
        server.transport.read_size = 1000
        self.assertEqual(1000, server.transport.read_size)
        client.transport.write(pattern(0, 20_500))
        await self.receives(server, pattern(0, 20_500))
        self.assertLessEqual(max(server.sizes), 1000)

    async def test_read_sizes_are_apart(self) -> None:
        """The read_size of one connection says nothing about others."""
        _, server = await self.harness.pair()
        other, unbounded = await self.harness.pair()
        server.transport.read_size = 10
        unbounded.transport.pauseProducing()
        other.transport.write(pattern(0, 5000))
        await self.harness.settle()
        unbounded.transport.resumeProducing()
        await self.receives(unbounded, pattern(0, 5000))
        self.assertGreater(max(unbounded.sizes), 10)

    async def test_large_both_ways(self) -> None:
        """Megabytes both ways at once, written at one go, arrive whole."""
        client, server = await self.harness.pair()
        client.transport.write(pattern(0, LARGE))
        server.transport.write(pattern(9, LARGE))
        await self.receives(server, pattern(0, LARGE))
        await self.receives(client, pattern(9, LARGE))

    async def test_slow_reader(self) -> None:
        """A reader that pauses after each delivery gets all of a large transfer, and the writer
        holds no more than its mark.
        """
        client, server = await self.harness.pair()
        sent, most = 0, 0

        def write() -> None:
            nonlocal sent, most
            while sent < LARGE and not producer.paused:
                client.transport.write(pattern(sent, 32768))
                sent += 32768
                most = max(most, client.transport.buffered)

        producer = RecordingProducer(on_resume=write)
        client.transport.high_watermark = 65536
        client.transport.registerProducer(producer, True)
        server.on_data = server.transport.pauseProducing
        write()
        while len(server.received) < LARGE:
            had = len(server.received)
            server.transport.resumeProducing()
            await self.harness.until(
                lambda had=had: len(server.received) > had,  # type: ignore[misc]
                "the next delivery",
            )
        self.assertTrue(server.received == pattern(0, LARGE))
        self.assertLessEqual(most, 65536 + 32768)

    async def test_write_inside_callbacks(self) -> None:
        """What is written from inside connectionMade, a delivery and EOF arrives in that order."""
        client, server = RecordingProtocol(), RecordingProtocol()
        client.on_made = lambda: client.transport.write(b"made ")
        client.on_data = lambda: client.transport.write(b"data ")
        client.on_eof = lambda: client.transport.write(b"eof")
        server.on_made = lambda: server.transport.write(b"x")
        await self.harness.pair(client, server)
        await self.receives(server, b"made data ")
        server.transport.loseWriteConnection()
        await self.receives(server, b"made data eof")

    async def test_echo(self) -> None:
        """Two protocols that answer each other inside their callbacks do so without end and without
        recursion.
        """
        client, server = await self.harness.pair()
        client.on_data = lambda: client.transport.write(b".")
        server.on_data = lambda: (
            server.transport.write(b".") if len(server.received) < 3000 else None
        )
        client.transport.write(b".")
        await self.harness.until(lambda: len(server.received) == 3000, "3000 rounds")

    async def test_protocol_replaced(self) -> None:
        """The event after a replacement goes to the new protocol: bytes, EOF and loss."""
        client, server = await self.harness.pair()
        client.transport.write(b"old")
        await self.receives(server, b"old")
        new = RecordingProtocol()
        server.transport.protocol = new
        client.transport.write(b"new")
        await self.receives(new, b"new")
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: new.ended, "EOF")
        server.transport.loseConnection()
        await self.harness.until(lambda: new.lost, "the loss")
        self.assertEqual((["made", "data"], ["data", "eof", "lost"]), (server.story, new.story))
        self.harness.recorders.remove(server)

    async def test_protocol_replaced_inside_a_delivery(self) -> None:
        """A protocol that hands over inside its delivery gets no further byte."""
        client, server = await self.harness.pair()
        new = PlainRecordingProtocol()
        server.transport.read_size = 100
        server.on_data = lambda: setattr(server.transport, "protocol", new)
        client.transport.write(pattern(0, 1000))
        await self.harness.until(
            lambda: len(server.received) + len(new.received) == 1000, "all bytes"
        )
        self.assertEqual(1, len(server.sizes))
        self.assertTrue(server.received + new.received == pattern(0, 1000))
        server.transport.abortConnection()
        await self.harness.until(lambda: new.lost, "the loss")
        self.harness.recorders.remove(server)

    async def test_unread_inside_a_delivery(self) -> None:
        """Bytes given back inside a delivery go first to whoever is the protocol then, before those
        that came after them.
        """
        client, server = await self.harness.pair()
        new = RecordingProtocol()

        def hand_over() -> None:
            server.transport.read_size = 100
            server.transport.protocol = new
            server.transport.unread(bytes(server.received[3:]))
            self.assertEqual(0, len(new.received))

        server.transport.read_size = 50
        server.on_data = hand_over
        client.transport.write(pattern(0, 1000))
        client.transport.loseWriteConnection()
        await self.harness.until(lambda: new.ended, "EOF")
        self.assertTrue(server.received[:3] + new.received == pattern(0, 1000))
        self.assertLessEqual(max(new.sizes), 100)
        server.transport.abortConnection()
        await self.harness.until(lambda: new.lost, "the loss")
        self.harness.recorders.remove(server)

    async def test_unread_while_paused(self) -> None:
        """Bytes given back to a paused transport wait until it is resumed; of several the last
        given back go first.
        """
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        client.transport.write(b"three")
        await self.harness.settle()
        server.transport.unread(b"two ")
        server.transport.unread(bytearray(b"one "))
        server.transport.unread(b"")
        await self.harness.settle()
        self.assertEqual(b"", server.received)
        server.transport.resumeProducing()
        await self.receives(server, b"one two three")

    async def test_unread_without_more(self) -> None:
        """Bytes given back are delivered though the peer sends nothing more, also those given back
        when the connection is made.
        """
        client, server = RecordingProtocol(), RecordingProtocol()
        server.on_made = lambda: server.transport.unread(b"before ")
        await self.harness.pair(client, server)
        await self.receives(server, b"before ")
        server.transport.unread(b"after")
        await self.receives(server, b"before after")

    async def test_unread_and_paused_between(self) -> None:
        """Who pauses in a delivery of what was given back gets the rest once resumed."""
        _, server = await self.harness.pair()
        server.transport.read_size = 4
        server.on_data = server.transport.pauseProducing
        server.transport.unread(pattern(0, 10))
        await self.one_at_a_time(server, 10)
        self.assertTrue(server.received == pattern(0, 10))
        self.assertGreaterEqual(len(server.sizes), 3)

    async def test_unread_then_reset(self) -> None:
        """What was given back comes before the peer's reset."""
        client, server = await self.harness.pair()
        server.transport.pauseProducing()
        server.transport.unread(b"last")
        client.transport.abortConnection()
        await self.harness.settle()
        server.transport.resumeProducing()
        await self.harness.until(lambda: server.ended, "the reset")
        self.assertEqual(b"last", server.received)

    async def test_unread_of_a_closed_transport(self) -> None:
        """Bytes given back to a transport that closes or is closed are dropped."""
        client, server = await self.harness.pair()
        server.transport.loseConnection()
        server.transport.unread(b"x")
        await self.harness.until(lambda: client.ended, "the end")
        client.transport.loseConnection()
        await self.harness.until(lambda: server.lost, "the loss")
        server.transport.unread(b"x")
        await self.harness.settle()
        self.assertEqual(b"", server.received)

    async def test_failing_protocol_of_unread_bytes(self) -> None:
        """An exception in a delivery of what was given back ends the connection, and no other."""
        client, server = await self.harness.pair()
        server.on_data = lambda: 1 // 0
        server.transport.unread(b"x")
        await self.harness.until(lambda: server.lost and client.ended, "the end of the connection")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_failing_protocol(self) -> None:
        """An exception of a protocol is logged and ends its connection, and no other."""
        client, server = await self.harness.pair()
        other_client, other_server = await self.harness.pair()
        server.on_data = lambda: 1 // 0
        client.transport.write(b"x")
        await self.harness.until(lambda: server.lost and client.ended, "the end of the connection")
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        other_client.transport.write(b"still here")
        await self.receives(other_server, b"still here")

    async def test_addresses(self) -> None:
        """Each end knows both addresses, as Address, and they agree; asking a closed transport
        raises nothing.
        """
        client, server = await self.harness.pair()
        near, far = client.transport, server.transport
        self.assertIsInstance(near.getHost(), Address)
        self.assertEqual(near.getPeer(), far.getHost())
        self.assertEqual(near.getHost(), far.getPeer())
        near.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertIsInstance(near.getPeer(), Address)
        self.assertIsInstance(near.getHost(), Address)

    async def test_peer_of_reset(self) -> None:
        """Whoever asks for the first time after a reset, or after the end, is told the peer's
        address.
        """
        client, server = await self.harness.pair()
        await self._is_told_peer(client, server)
        client, server = await self.harness.pair()
        await self._is_told_peer(server, client)

    async def _is_told_peer(self, near: Any, other: Any) -> None:
        expected = other.transport.getHost()
        other.transport.abortConnection()
        await self.harness.until(lambda: near.lost or near.ended, "the end")
        self.assertEqual(expected, near.transport.getPeer())

    async def test_quiet(self) -> None:
        """A transport tells for how long no data has come or gone, if the system knows; a closed
        one does not.
        """
        client, _ = await self.harness.pair()
        near = client.transport
        quiet = near.quiet_for()
        self.assertTrue(quiet is None or 0 <= quiet < 60, quiet)
        near.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertIsNone(near.quiet_for())

    async def test_tcp_facts(self) -> None:
        """A transport tells what the system knows of its TCP connection, if it knows; a closed one
        does not, but what asked to be called before the close could still read it.
        """
        client, _ = await self.harness.pair()
        near = client.transport
        facts = near.tcp_facts()
        if facts is not None:
            self.assertTrue(self.harness.tcp)
            self.assertTrue(0 <= facts.rtt < 10_000_000 and 0 <= facts.quiet < 60, facts)
            self.assertEqual(0, facts.retransmits)
        seen: list[bool] = []
        for _ in range(2):
            near.before_close(lambda: seen.append(near.tcp_facts() is not None))
        near.abortConnection()
        await self.harness.until(lambda: client.lost, "the loss")
        self.assertIsNone(near.tcp_facts())
        self.assertEqual([facts is not None] * 2, seen)

    async def test_socket_options(self) -> None:
        """TCP_NODELAY and keepalive can be set and are told as set; a unix socket, which has no
        such thing, does not mind.
        """
        client, server = await self.harness.pair()
        for enabled in (True, False, True):
            for end in (client.transport, server.transport):
                end.setTcpNoDelay(enabled)
                end.setTcpKeepAlive(enabled)
                if self.harness.tcp:
                    self.assertEqual(
                        (enabled, enabled), (bool(end.getTcpNoDelay()), bool(end.getTcpKeepAlive()))
                    )
