"""How a transport of the io_uring network changes between its ways to receive, and its ends."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.sockets import RESET, unread
from tests.net.epoll import test_transport
from tests.net.uring.available import uring
from tests.turns import turn

MOST_TURNS = 2000


@implementer(IHalfCloseableProtocol)
class Noting(Protocol):
    """It notes what it is told."""

    transport: Any

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[str] = []
        self.pauses_at_bulk = False
        """Whether it wants a pause as soon as it gets more than the ring's buffers hold."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes."""
        self.data += data
        if len(data) > 100_000 and self.pauses_at_bulk:
            self.pauses_at_bulk = False
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        """FIN was sent."""
        self.ends.append("write")

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """All is over."""
        self.ends.append(type(reason.value).__name__)


class Straight(Noting):
    """One that says that it only passes its bytes on."""

    straight = True

    def __init__(self, source: Any, sink: Any) -> None:
        super().__init__()
        self.source = source
        self.sink = sink
        self.bytes = 0

    def pauseProducing(self) -> None:
        """The sink is full."""
        self.source.pauseProducing()

    def resumeProducing(self) -> None:
        """The sink has room again."""
        self.source.resumeProducing()

    def bufferReceived(self, data: memoryview) -> None:
        """Bytes, which it passes on."""
        self.data += data
        self.sink.write(data)


class Rounds(SynchronousTestCase):
    """A network of a reactor whose clock stands still."""

    def setUp(self) -> None:
        """A network."""
        from tcpmesh.net.uring.network import UringNetwork

        self.reactor = MemoryReactorClock()
        self.network: Any = UringNetwork(self.reactor)
        self.addCleanup(self.network.stop)

    def tcp(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            near, _ = server.accept()
        self.addCleanup(peer.close)
        for sock in (near, peer):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        return near, peer

    def connect(self) -> tuple[Any, Noting, socket.socket]:
        """A transport that has been started, its protocol and its peer."""
        near, peer = self.tcp()
        transport = self.network.transport_type(
            self.network, near.detach(), near.family, peer.getsockname(), False
        )
        protocol = Noting()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.start()
        return transport, protocol, peer

    def turns(self, seconds: float = 0.0) -> None:
        """Some turns of the reactor, the first of them after so long."""
        self.reactor.rightNow += seconds
        for _ in range(5):
            if select.select([self.network.poller], [], [], 0)[0]:
                self.network.poller.doRead()
            turn(self.reactor)

    def read(self, peer: socket.socket) -> bytes:
        """What a peer has received."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while some := peer.recv(1 << 20):
                data += some
        return data

    def read_all(self, peer: socket.socket, most: int) -> int:
        """How many bytes a peer receives, so many at most."""
        got = 0
        for _ in range(MOST_TURNS):
            got += len(self.read(peer))
            if got == most:
                break
            self.turns()
        return got

    def send(self, peer: socket.socket, data: bytes) -> None:
        """Let a peer send all of this."""
        view = memoryview(data)
        for _ in range(MOST_TURNS):
            with contextlib.suppress(BlockingIOError):
                view = view[peer.send(view) :]
            self.turns()
            if not view:
                return
        self.fail("nobody takes it")

    def reset(self, peer: socket.socket) -> None:
        """Let a peer leave with a reset."""
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()


@uring
class TransportTests(Rounds):
    """Transports that change between their ways to receive."""

    def test_room_between_two_ways_to_receive(self) -> None:
        """What waits for room goes out when there is some, also where the transport was told of
        such room before while it moved bulk the other way.
        """
        transport, protocol, peer = self.connect()
        transport.write(bytes(8 << 20))
        protocol.pauses_at_bulk = True
        while protocol.pauses_at_bulk:
            with contextlib.suppress(BlockingIOError):
                peer.send(bytes(1 << 20))
            self.turns()
        self.assertEqual(8 << 20, self.read_all(peer, 8 << 20))
        transport.resumeProducing()
        self.turns()
        self.send(peer, b"no bulk any more")
        written = 0
        while not transport.buffered:  # the more the kernel takes, the more its buffers grow
            transport.write(bytes(8 << 20))
            written += 8 << 20
        self.assertEqual(written, self.read_all(peer, written))

    def pumping(self) -> tuple[Any, Straight, socket.socket, socket.socket]:
        """A transport of which a pump moves what comes to another one; its protocol and the two
        peers.
        """
        near, peer = self.tcp()
        away, listener = self.tcp()
        sink = self.network.transport_type(self.network, away.detach(), socket.AF_INET, None, False)
        sink.protocol = Noting()
        sink.start()
        transport = self.network.transport_type(
            self.network, near.detach(), socket.AF_INET, None, False
        )
        protocol = transport.protocol = Straight(transport, sink)
        sink.registerProducer(transport, streaming=True)
        transport.start()
        sent = got = 0
        for _ in range(MOST_TURNS):
            with contextlib.suppress(BlockingIOError):
                sent += peer.send(bytes(1 << 20))
            self.turns()
            got += len(self.read(listener))
            if self.network.pipes.taken:
                break
        self.assertEqual(sent - got, self.read_all(listener, sent - got))
        return transport, protocol, peer, listener

    def test_stays_with_its_pump(self) -> None:
        """A bulk transfer takes one pump, once, and keeps it while bytes flow."""
        _, protocol, peer, listener = self.pumping()
        before = len(protocol.data)
        for size in (40_000, 1 << 20):  # of one segment, and so of one event, and of many
            for _ in range(32):
                sent = peer.send(bytes(size))
                self.assertEqual(sent, self.read_all(listener, sent))
        self.assertEqual(1, self.network.pipes.taken)
        self.assertEqual(1, self.network.pipes.used)
        self.assertEqual(before, len(protocol.data))

    def test_nothing_to_do_while_the_sink_is_full(self) -> None:
        """What comes while a pump waits for its sink wakes nobody."""
        transport, _, peer, _ = self.pumping()
        quiet = 0
        while quiet < 3:
            if not transport._paused:
                with contextlib.suppress(BlockingIOError):
                    peer.send(bytes(1 << 18))
            self.turns()
            woken, _, _ = select.select([self.network.poller], [], [], 0.02)
            quiet = quiet + 1 if transport._paused and not woken else 0
        before = unread(transport.fd)
        with contextlib.suppress(BlockingIOError):
            while unread(transport.fd) == before:
                peer.send(bytes(1000))
        self.assertEqual([], select.select([self.network.poller], [], [], 0.01)[0])

    def test_reset_after_the_end_and_a_move(self) -> None:
        """The same where the connection has come from another network in between."""
        transport, protocol, peer = self.connect()
        peer.shutdown(socket.SHUT_WR)
        self.turns()
        self.assertTrue(self.network.can_leave(transport))
        moved = self.network.arrive(*self.network.leave(transport))
        moved.protocol = protocol
        moved.resumeProducing()
        self.turns()
        self.reset(peer)
        self.turns()
        self.turns(1.0)
        self.assertEqual(["read", "ConnectionLost"], protocol.ends)

    def test_reset_that_nobody_has_been_told_of(self) -> None:
        """A connection that was reset while its protocol wanted no bytes is broken: it does not
        move, and the reset is told on resume.
        """
        _, first, firsts_peer = self.connect()
        transport, protocol, peer = self.connect()
        self.turns()
        first.dataReceived = lambda data: transport.pauseProducing()  # type: ignore[method-assign]
        first.transport.protocol = first
        firsts_peer.send(b"hello")
        self.reset(peer)
        self.turns()
        self.assertFalse(self.network.can_leave(transport))
        transport.resumeProducing()
        self.turns()
        self.assertEqual(["ConnectionLost"], protocol.ends)

    def test_pause_in_bulk(self) -> None:
        """Who pauses in the middle of bulk gets no byte more, and is not asked again, until it
        resumes; then it gets all.
        """
        transport, protocol, peer = self.connect()
        protocol.pauses_at_bulk = True
        sent = 0
        while protocol.pauses_at_bulk:
            with contextlib.suppress(BlockingIOError):
                sent += peer.send(bytes(1 << 20))
            self.turns()
        before = len(protocol.data)
        self.turns()
        self.assertEqual([], self.network.poller._again)
        self.assertEqual(before, len(protocol.data))
        transport.resumeProducing()
        for _ in range(MOST_TURNS):
            self.turns()
            if len(protocol.data) == sent:
                break
        self.assertEqual(sent, len(protocol.data))

    def test_read_size(self) -> None:
        """What is delivered at once is as much as is asked for, or a buffer of the ring, whatever
        was asked for before.
        """
        transport, protocol, peer = self.connect()
        sizes: list[int] = []
        protocol.dataReceived = lambda data: sizes.append(len(data))  # type: ignore[method-assign]
        transport.protocol = protocol
        for size, expected in ((3, [3, 3, 2]), (1 << 17, [8]), (5, [5, 3]), (1 << 14, [8])):
            transport.read_size = size
            self.turns()
            peer.send(b"8 bytes.")
            self.turns()
            self.assertEqual(expected, sizes)
            self.assertEqual(size, transport.read_size)
            sizes.clear()

    def test_end_that_nobody_has_been_told_of(self) -> None:
        """A connection whose peer has ended while its protocol wanted no bytes moves, and the end
        is told where it has gone.
        """
        _, first, firsts_peer = self.connect()
        transport, protocol, peer = self.connect()
        self.turns()
        first.dataReceived = lambda data: transport.pauseProducing()  # type: ignore[method-assign]
        first.transport.protocol = first
        firsts_peer.send(b"hello")
        peer.shutdown(socket.SHUT_WR)
        self.turns()
        self.assertTrue(self.network.can_leave(transport))
        moved = self.network.arrive(*self.network.leave(transport))
        moved.protocol = protocol
        moved.resumeProducing()
        self.turns()
        self.assertEqual(["read"], protocol.ends)

    def test_moves_while_it_waits_for_room(self) -> None:
        """A connection that leaves takes along what waits for room, though that peer is gone."""
        transport, _, peer = self.connect()
        peer.shutdown(socket.SHUT_WR)
        self.turns()
        transport.write(bytes(8 << 20))
        self.reset(peer)
        descriptor, moved = self.network.leave(transport)
        self.addCleanup(os.close, descriptor)
        self.assertTrue(moved.unsent)

    def test_two_networks(self) -> None:
        """What comes for a transport of another network goes there through the protocol: no ring
        knows the descriptors of another one.
        """
        from tcpmesh.net.uring.network import UringNetwork

        other: Any = UringNetwork(self.reactor)
        self.addCleanup(other.stop)
        near, peer = self.tcp()
        away, listener = self.tcp()
        sink = other.transport_type(other, away.detach(), socket.AF_INET, None, False)
        sink.protocol = Noting()
        transport = self.network.transport_type(
            self.network, near.detach(), socket.AF_INET, None, False
        )
        protocol = transport.protocol = Straight(transport, sink)
        transport.start()
        peer.send(b"hello")
        while not protocol.data:
            self.network.poller.doRead()
        self.assertEqual(b"hello", listener.recv(10))


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


@uring
class SharedTests(test_transport.TransportTests):
    """What transports of an epoll set do too."""

    def make_network(self, reactor: Any) -> Any:
        """The network whose transports these are."""
        from tcpmesh.net.uring.network import UringNetwork

        return UringNetwork(reactor)
