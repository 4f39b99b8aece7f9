"""How what a ring receives gets to protocols that pause, change their mind, or are many."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from tcpmesh.net.sockets import unread
from tests.net.epoll import test_transport
from tests.net.uring.available import uring
from tests.net.uring.test_transport import MOST_TURNS, Noting, Rounds, Straight


@uring
class ReceivingTests(Rounds):
    """How what the ring receives gets to protocols that pause, and are many."""

    def entries(self) -> int:
        """How often the ring was asked for something so far."""
        return int(self.network.poller._ring.tail)

    def served_in_turn(self) -> tuple[Noting, Any, Noting, socket.socket]:
        """A protocol, then a transport, its protocol and its peer, of which the first is served
        first in each round.
        """
        transport, protocol, peer = self.connect()
        _, first, firsts_peer = self.connect()
        self.turns()
        firsts_peer.send(b"hello")
        return first, transport, protocol, peer

    def on_bytes(self, protocol: Noting, call: Callable[[], object]) -> None:
        """Let this be called when the protocol gets bytes next."""
        receive = protocol.dataReceived

        def received(data: bytes) -> None:
            protocol.dataReceived = receive  # type: ignore[method-assign]
            receive(data)
            call()

        protocol.dataReceived = received  # type: ignore[method-assign]
        protocol.transport.protocol = protocol

    def test_in_one_piece(self) -> None:
        """What comes at once is delivered at once, and asked for once for all, for bytes of TCP:
        also where as many are wanted as a buffer holds, but not where they are fewer.
        """
        for size, entries in ((0, 0), (1 << 14, 0), (1 << 13, 3)):
            transport, protocol, peer = self.connect()
            if size:
                transport.read_size = size
            sizes: list[int] = []

            def received(data: bytes, sizes: list[int] = sizes) -> None:
                sizes.append(len(data))

            protocol.dataReceived = received  # type: ignore[method-assign]
            transport.protocol = protocol
            self.turns()
            before = self.entries()
            for _ in range(3):
                peer.send(b"8 bytes.")
                self.turns()
            self.assertEqual([8, 8, 8], sizes)
            self.assertEqual(entries, self.entries() - before)
            peer.send(b"x")
            self.turns()
            self.assertEqual(([8, 8, 8, 1], []), (sizes, protocol.ends))

    def test_full_buffers(self) -> None:
        """Some full buffers do not change how a connection is received for; many do, which are
        bulk.
        """
        transport, _, peer = self.connect()
        self.turns()
        before = self.entries()
        for _ in range(4):
            peer.send(bytes(1 << 14))
            self.turns()
            self.turns()
        self.assertEqual(before, self.entries())
        for _ in range(MOST_TURNS):
            with contextlib.suppress(BlockingIOError):
                peer.send(bytes(1 << 20))
            self.turns()
            if transport._reads:
                break
        self.assertTrue(transport._reads)

    def test_paused_with_bytes_at_hand(self) -> None:
        """Who was paused while bytes of it had been received already gets these on resume, then
        those behind them, and then the end; before that nothing.
        """
        for pieces in ((b"one ",), (b"one ", b"two ")):
            first, transport, protocol, peer = self.served_in_turn()

            def pause(transport: Any = transport, peer: Any = peer, rest: Any = pieces[1:]) -> None:
                transport.pauseProducing()
                for piece in rest:
                    peer.send(piece)

            self.on_bytes(first, pause)
            peer.send(pieces[0])
            self.turns()
            peer.send(b"three")
            peer.shutdown(socket.SHUT_WR)
            self.turns()
            self.assertEqual((b"", []), (protocol.data, protocol.ends))
            transport.resumeProducing()
            self.assertEqual(b"", protocol.data)
            self.turns()
            self.assertEqual(b"".join((*pieces, b"three")), protocol.data)
            self.assertEqual(["read"], protocol.ends)

    def test_paused_with_the_end_at_hand(self) -> None:
        """Who was paused while its end had come already is told that on resume, and not before."""
        first, transport, protocol, peer = self.served_in_turn()
        self.on_bytes(first, transport.pauseProducing)
        peer.shutdown(socket.SHUT_WR)
        self.turns()
        self.assertEqual([], protocol.ends)
        transport.resumeProducing()
        self.assertEqual([], protocol.ends)
        self.turns()
        self.assertEqual(["read"], protocol.ends)

    def test_stays_in_the_socket(self) -> None:
        """What comes for who has paused stays in the socket, where its peer feels it."""
        transport, protocol, peer = self.connect()
        self.turns()
        transport.pauseProducing()
        self.turns()
        peer.send(b"hello")
        self.turns()
        self.assertEqual(5, unread(transport.fd))
        transport.resumeProducing()
        self.turns()
        self.assertEqual(b"hello", protocol.data)

    def test_fewer_bytes_from_now_on(self) -> None:
        """Who wants fewer bytes at once, while more of them are at hand, gets those in pieces; who
        pauses after one of these gets the others on resume, and who closes gets none.
        """
        for act in ("", "pauseProducing", "loseConnection"):
            first, transport, protocol, peer = self.served_in_turn()
            sizes: list[int] = []

            def received(
                data: bytes, sizes: list[int] = sizes, transport: Any = transport, act: str = act
            ) -> None:
                sizes.append(len(data))
                if act and len(sizes) == 1:
                    getattr(transport, act)()

            protocol.dataReceived = received  # type: ignore[method-assign]
            transport.protocol = protocol
            self.on_bytes(first, partial(setattr, transport, "read_size", 3))
            peer.send(b"8 bytes.")
            self.turns()
            if act:
                self.assertEqual([3], sizes)
                transport.resumeProducing()
                self.turns()
            self.assertEqual([3] if act == "loseConnection" else [3, 3, 2], sizes)

    def test_reset_after_the_end(self) -> None:
        """Where the peer has sent its end, a reset that follows is told, soon, or later."""
        for wait in (0.0, 1.0):
            _, protocol, peer = self.connect()
            peer.shutdown(socket.SHUT_WR)
            self.turns()
            self.assertEqual(["read"], protocol.ends)
            self.turns(wait)
            self.reset(peer)
            self.turns()
            self.turns(1.0)
            self.assertEqual(["read", "ConnectionLost"], protocol.ends)

    def test_bulk(self) -> None:
        """As many full buffers as hold four times what a read takes are bulk, where no more than
        two rounds lie between any of them.
        """
        poller = self.network.poller
        count = 4 * len(self.network.iov[0]) // poller.size
        for gap, is_bulk in ((2, True), (3, False)):
            transport, _, _ = self.connect()
            self.turns()
            before = self.entries()
            for _ in range(count - 1):
                poller.turn += gap
                transport.filled()
            self.assertEqual(before, self.entries())
            poller.turn += gap
            transport.filled()
            self.assertEqual(is_bulk, self.entries() > before)

    def test_sink_that_takes_nothing(self) -> None:
        """Where the other side takes no more, its source is paused; as soon as it does, all goes
        out, in order, and the source is resumed.
        """
        near, peer = self.tcp()
        away, listener = self.tcp()
        away.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        sink = self.network.transport_type(self.network, away.detach(), socket.AF_INET, None, False)
        sink.protocol = Noting()
        sink.high_watermark = 1 << 15
        sink.start()
        transport = self.network.transport_type(
            self.network, near.detach(), socket.AF_INET, None, False
        )
        transport.protocol = Straight(transport, sink)
        sink.registerProducer(transport, streaming=True)
        transport.start()
        sent = b""
        while not transport._paused:
            sent += (piece := b"%07d " % len(sent) * 1000)
            peer.send(piece)
            self.turns()
        self.assertGreater(sink.buffered, 1 << 15)
        got = b""
        for _ in range(MOST_TURNS):
            got += self.read(listener)
            self.turns()
            if len(got) == len(sent):
                break
        self.assertTrue(sent == got, f"{len(got)} of {len(sent)} bytes")
        self.assertFalse(transport._paused)
        peer.send(b"more")
        self.turns()
        self.assertEqual(b"more", self.read(listener))

    def test_sink_that_never_received(self) -> None:
        """A side that has paused from the first moment is told that it is gone, or full, as any
        other, by who sends to it; all others are served on.
        """
        _, other, others_peer = self.connect()
        for is_gone in (True, False):
            near, peer = self.tcp()
            away, listener = self.tcp()
            sink = self.network.transport_type(
                self.network, away.detach(), socket.AF_INET, None, False
            )
            sink.serve(protocol := test_transport.Noting(pauses=True))
            transport = self.network.transport_type(
                self.network, near.detach(), socket.AF_INET, None, False
            )
            transport.protocol = Straight(transport, sink)
            transport.start()
            self.turns()
            if is_gone:
                self.reset(listener)
                for _ in range(2):
                    peer.send(b"hello")
                    self.turns()
                self.assertEqual(10, sink.dropped)
                sink.resumeProducing()
                self.turns()
                self.assertEqual(["ConnectionLost"], protocol.ends)
                continue
            sent = got = 0
            while not sink.buffered:
                with contextlib.suppress(BlockingIOError):
                    sent += peer.send(bytes(1 << 16))
                self.turns()
            for _ in range(MOST_TURNS):
                got += len(self.read(listener))
                self.turns()
                if got == sent:
                    break
            self.assertEqual(sent, got)
        others_peer.send(b"hello")
        self.turns()
        self.assertEqual(b"hello", other.data)


@uring
class NumberZeroTests(ReceivingTests):
    """The same where the first connection has the number that standard input has elsewhere."""

    def setUp(self) -> None:
        """It comes back in the end."""
        saved = os.dup(0)
        self.addCleanup(os.close, saved)
        self.addCleanup(os.dup2, saved, 0)
        self.has_zero = False
        super().setUp()

    def tcp(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection."""
        near, peer = super().tcp()
        if not self.has_zero:
            self.has_zero = True
            os.dup2(near.fileno(), 0)
            near.close()
            near = socket.socket(fileno=0)
        return near, peer
