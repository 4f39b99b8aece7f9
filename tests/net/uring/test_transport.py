"""How a transport of the io_uring network changes between its ways to receive, and its ends."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.sockets import RESET, unread
from tests.net.epoll import test_transport
from tests.net.uring.available import uring
from tests.turns import turn

MOST_TURNS = 2000


class Noting(test_transport.Noting):
    """One that may want a pause as soon as it gets more than the ring's buffers hold."""

    pauses_at_bulk = False

    def dataReceived(self, data: bytes) -> None:
        """Bytes."""
        super().dataReceived(data)
        if len(data) > 100_000 and self.pauses_at_bulk:
            self.pauses_at_bulk = False
            self.transport.pauseProducing()


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

    def test_urgent_data_where_the_pump_ends(self) -> None:
        """Where the end is known, a read that urgent data has stopped is not taken for the last,
        also where bytes do not go by a pump any more.
        """
        transport, _, peer, _ = self.pumping()
        self.turns()
        protocol = transport.protocol = Noting()
        for piece, flags in ((b"before ", 0), (b"!", socket.MSG_OOB), (b"after", 0)):
            peer.send(piece, flags)
        peer.shutdown(socket.SHUT_WR)
        transport.has_become_ready(select.EPOLLIN | select.EPOLLRDHUP)
        self.turns()
        self.assertEqual((b"before after", ["read"]), (protocol.data, protocol.ends))

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

    def leave_at_a_reset(self, *, ended: bool) -> Noting:
        """The protocol of a connection that leaves after the ring has completed its reset, and
        before anybody was told of it, and that arrives again.
        """
        _, first, firsts_peer = self.connect()
        transport, protocol, peer = self.connect()
        if ended:
            peer.shutdown(socket.SHUT_WR)
        self.turns()
        self.turns(1.0)
        left: list[Any] = []

        def leave(data: bytes) -> None:
            self.assertTrue(self.network.can_leave(transport))
            left.extend(self.network.leave(transport))

        first.dataReceived = leave  # type: ignore[method-assign]
        first.transport.protocol = first
        before = list(protocol.ends)
        firsts_peer.send(b"hello")
        self.reset(peer)
        self.turns()
        self.assertEqual(before, protocol.ends)
        moved = self.network.arrive(*left)
        moved.protocol = protocol
        moved.resumeProducing()
        self.turns()
        self.turns(1.0)
        return protocol

    def test_moves_at_a_reset(self) -> None:
        """Who leaves is told of no reset that is known to the ring alone: that is told where the
        connection arrives.
        """
        self.assertEqual(["ConnectionLost"], self.leave_at_a_reset(ended=False).ends)

    def test_moves_at_a_reset_after_the_end(self) -> None:
        """The same of a connection whose peer had ended before."""
        self.assertEqual(["read", "ConnectionLost"], self.leave_at_a_reset(ended=True).ends)

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
class SharedTests(test_transport.TransportTests):
    """What transports of an epoll set do too."""

    def make_network(self, reactor: Any) -> Any:
        """The network whose transports these are."""
        from tcpmesh.net.uring.network import UringNetwork

        return UringNetwork(reactor)
