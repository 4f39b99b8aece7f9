"""What the kernel tells only once, or in its own way: urgent data, full pipes, descriptors that are
held elsewhere too.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
from types import SimpleNamespace
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.net.epoll import transport
from tcpmesh.net.epoll.splice import Pump
from tcpmesh.net.sockets import RESET
from tcpmesh.testing.harness import Server, SocketHarness, pattern
from tcpmesh.testing.recording import RecordingProtocol
from tests.connection.relaying import Front, OnRelay, spliced_network


class RawClient(OnRelay):
    """A plain socket as the client of a recorder, with a relay between or without."""

    def make_harness(self) -> SocketHarness:
        return SocketHarness(reactor, spliced_network, "tcp4")

    def setUp(self) -> None:
        """What the test says."""
        super().setUp()
        self.server = RecordingProtocol()
        self.harness.recorders.append(self.server)

    async def connect(self) -> socket.socket:
        """A client of the recorder."""
        return await self._connect(self.harness.listen(Server(self.server)))

    async def connect_relayed(self, mark: int = 1 << 20) -> socket.socket:
        """A client of the recorder with a relay between."""
        self.front = Front(
            self.harness, self.harness.listen(Server(self.server)).getHost(), 60.0, mark
        )
        return await self._connect(self.harness.listen(Server(self.front)))

    async def _connect(self, port: Any) -> socket.socket:
        client = socket.create_connection(port.getHost().sockaddr)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setblocking(False)
        self.addCleanup(client.close)
        await self.harness.until(lambda: self.server.transport, "the connection")
        return client

    async def send(self, client: socket.socket, data: bytes) -> None:
        """Send all of it."""
        while data:
            try:
                data = data[client.send(data) :]
            except BlockingIOError:
                await deferLater(reactor, 0.001)


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class UrgentTests(RawClient, TestCase):
    """Every read stops at urgent data, though more is there."""

    async def test_bytes_behind_urgent_data(self) -> None:
        """What comes before and after an urgent byte is read without waiting for more; that byte is
        no part of the stream.
        """
        client = await self.connect()
        self.server.transport.pauseProducing()
        for piece, flags in ((b"before ", 0), (b"!", socket.MSG_OOB), (b"after", 0)):
            client.send(piece, flags)
        await self.harness.settle()
        self.server.transport.resumeProducing()
        await self.receives(self.server, b"before after")

    async def test_urgent_data_in_bulk(self) -> None:
        """The same where the bytes go through a pipe, and where FIN follows at once."""
        client = await self.connect_relayed()
        await self.send(client, pattern(0, 100_000))
        await self.receives(self.server, pattern(0, 100_000))
        client.send(b"!", socket.MSG_OOB)
        await self.send(client, pattern(100_000, 100_000))
        await self.receives(self.server, pattern(0, 200_000))
        self.front.transport.pauseProducing()
        await self.send(client, pattern(200_000, 5_000))
        client.send(b"!", socket.MSG_OOB)
        await self.send(client, pattern(205_000, 20_000))
        client.shutdown(socket.SHUT_WR)
        await self.harness.settle()
        self.front.transport.resumeProducing()
        await self.harness.until(lambda: self.server.ended, "EOF")
        self.assertTrue(
            self.server.received == pattern(0, 225_000), f"{len(self.server.received)} bytes"
        )

    async def test_urgent_data_that_nobody_has_told_of(self) -> None:
        """A pipe that is filled again before the kernel has told of the urgent byte, and of the end
        behind it, takes neither for the end.
        """
        client = await self.connect_relayed()
        await self.send(client, pattern(0, 100_000))
        await self.receives(self.server, pattern(0, 100_000))
        front = self.front.transport
        self.assertIsInstance(front._pump, Pump)
        client.send(pattern(100_000, 5_000))
        client.send(b"!", socket.MSG_OOB)
        client.send(pattern(105_000, 20_000))
        client.shutdown(socket.SHUT_WR)
        front._readable = True
        front.ready_again()
        await self.harness.until(lambda: self.server.ended, "EOF")
        self.assertTrue(
            self.server.received == pattern(0, 125_000), f"{len(self.server.received)} bytes"
        )


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class EndTests(RawClient, TestCase):
    """An end of stream that the kernel has told of together with the last bytes."""

    async def reads_of(self, *pieces: bytes, flags: int = 0, half_closes: bool = False) -> int:
        """How often a server's transport reads what its client sends before it leaves."""
        client = await self.connect()
        if half_closes:
            self.server.transport.loseWriteConnection()
        self.server.transport.pauseProducing()
        for piece in pieces:
            client.send(piece, flags if piece == b"!" else 0)
        client.shutdown(socket.SHUT_WR)
        await self.harness.settle()
        reads: list[int] = []

        def counted(*args: Any) -> int:
            reads.append(0)
            return os.readv(*args)

        self.patch(transport, "readv", counted)
        self.server.transport.resumeProducing()
        await self.harness.until(lambda: self.server.ended, "EOF")
        return len(reads)

    async def test_bytes_and_end(self) -> None:
        """Bytes and the end behind them are one read, for the end is known already."""
        self.assertEqual(1, await self.reads_of(b"last words"))
        self.assertEqual(b"last words", bytes(self.server.received))

    async def test_bytes_and_end_the_other_way(self) -> None:
        """So they are where the server has ended before its client."""
        self.assertEqual(1, await self.reads_of(b"last words", half_closes=True))
        self.assertEqual(b"last words", bytes(self.server.received))

    async def test_urgent_data_before_the_end(self) -> None:
        """Where urgent data stands before the end, a short read is not taken for the last."""
        reads = await self.reads_of(b"before ", b"!", b"after", flags=socket.MSG_OOB)
        self.assertEqual(b"before after", bytes(self.server.received))
        self.assertGreater(reads, 1)

    async def test_full_buffer_before_the_end(self) -> None:
        """A read that fills the buffer is not taken for the last."""
        client = await self.connect()
        self.server.transport.pauseProducing()
        self.server.transport.read_size = 4
        client.send(b"eight   ")
        client.shutdown(socket.SHUT_WR)
        await self.harness.settle()
        self.server.transport.resumeProducing()
        await self.harness.until(lambda: self.server.ended, "EOF")
        self.assertEqual(b"eight   ", bytes(self.server.received))


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class PipeTests(RawClient, TestCase):
    """A pipe has so many pages, and a page may hold a single byte."""

    async def arrives_by_copying(self) -> None:
        """What would go through a pipe arrives, and no pipe is left behind."""
        before = len(os.listdir("/proc/self/fd"))
        client = await self.connect_relayed()
        opened = len(os.listdir("/proc/self/fd"))
        await self.send(client, pattern(0, 300_000))
        client.shutdown(socket.SHUT_WR)
        await self.harness.until(lambda: self.server.ended, "EOF")
        self.assertTrue(self.server.received == pattern(0, 300_000))
        self.assertEqual(
            (0, 0), (self.harness.network.pipes.taken, self.harness.network.pipes.used)
        )
        self.assertGreater(opened, before)
        self.assertEqual(opened, len(os.listdir("/proc/self/fd")))

    async def test_no_pipe_to_be_had(self) -> None:
        """Without descriptors for a pipe, bulk bytes are copied as all others."""

        def exhausted(flags: int) -> tuple[int, int]:
            raise OSError(errno.EMFILE, "Too many open files")

        self.patch(os, "pipe2", exhausted)
        await self.arrives_by_copying()

    async def test_only_small_pipes(self) -> None:
        """Where the kernel gives this user no large pipe any more, bulk bytes are copied: a small
        one would be slower.
        """

        def refused(fd: int, command: int, value: int = 0) -> int:
            raise PermissionError(errno.EPERM, "Operation not permitted")

        self.patch(
            sys.modules["tcpmesh.net.epoll.splice"],
            "fcntl",
            SimpleNamespace(fcntl=refused, F_SETPIPE_SZ=0),
        )
        await self.arrives_by_copying()

    async def test_enough_pipes(self) -> None:
        """Where as many pumps are at work as may be, bulk bytes are copied."""
        self.harness.network.pipes._most = 0
        await self.arrives_by_copying()

    async def pass_on(self, client: socket.socket, sent: int, size: int) -> int:
        """Send so many bytes more, and wait until the relay has them; how many were sent now."""
        await self.send(client, pattern(sent, size))
        await self.harness.until(
            lambda: self.front.relay.from_downstream.bytes == sent + size, "the bytes at the relay"
        )
        return sent + size

    async def fill_pages(self) -> tuple[socket.socket, int]:
        """A relay whose pipe has no page left though few bytes are in it; the client, and how many
        bytes it has sent.
        """
        self.patch(
            sys.modules["tcpmesh.net.epoll.splice"], "SMALL_READS", 1 << 30
        )  # however small the pieces, the pump stays
        client = await self.connect_relayed()
        await self.send(client, pattern(0, 50_000))
        await self.receives(self.server, pattern(0, 50_000))
        self.server.transport.pauseProducing()
        down, sent = self.front.relay.from_downstream, 50_000
        while down.buffered < 60_000:
            sent = await self.pass_on(client, sent, 50_000)
        pump: Any = self.front.transport._pump
        pipe = select.poll()
        pipe.register(pump._pipe[1], select.POLLOUT)
        while pipe.poll(0):
            size = 1 if down.buffered else 50_000  # the kernel may have taken more, a little later
            sent = await self.pass_on(client, sent, size)
        self.assertLess(pump.held, pump._limit)
        self.assertFalse(down.full)
        return client, sent

    async def test_fin_behind_a_full_pipe(self) -> None:
        """FIN that comes when the pipe has no page left is passed on once the sink has read."""
        client, sent = await self.fill_pages()
        client.shutdown(socket.SHUT_WR)
        await self.harness.settle()
        self.server.transport.resumeProducing()
        await self.harness.until(lambda: self.server.ended, "EOF")
        self.assertTrue(self.server.received == pattern(0, sent))

    async def test_reset_behind_a_full_pipe(self) -> None:
        """A reset that comes when the pipe has no page left is passed on once the sink has read."""
        client, sent = await self.fill_pages()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
        await self.harness.settle()
        self.server.transport.resumeProducing()
        await self.harness.until(lambda: self.server.lost, "the reset")
        self.assertTrue(self.server.received == pattern(0, sent))
        self.assertTrue(self.server.lost_to(ConnectionLost))


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class HeldElsewhereTests(RawClient, TestCase):
    """A descriptor that a fork or a duplicate keeps open stays in the epoll set after we have
    closed it.
    """

    async def test_event_of_a_closed_descriptor(self) -> None:
        """An event for it does nothing, and all others are served as before."""
        client = await self.connect()
        held = socket.socket(fileno=os.dup(self.server.transport.fd))
        self.addCleanup(held.close)
        await (
            self.harness.settle()
        )  # opens what it needs, so that nobody gets the number that is closed next
        self.server.transport.cutConnection()
        await self.harness.until(lambda: self.server.lost, "the loss")
        client.send(b"late")
        await self.harness.settle()
        self.assertEqual(b"", bytes(self.server.received))
        one, other = await self.harness.pair()
        one.transport.write(b"as before")
        await self.receives(other, b"as before")
