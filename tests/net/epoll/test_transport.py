"""When a fast transport finds out what its protocol wants, and what it does beside its events."""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import Any
from unittest import skipUnless

from zope.interface import implementer

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.sockets import RESET
from tests.turns import turn


@implementer(IHalfCloseableProtocol)
class Noting(Protocol):
    """It notes what it is told, and how often it was asked how it wants its bytes."""

    transport: Any

    def __init__(self, pauses: bool = False) -> None:
        self.data = b""
        self.ends: list[str] = []
        self.asked = 0
        self._pauses = pauses

    def connectionMade(self) -> None:
        """Pause at once, or not."""
        if self._pauses:
            self.transport.pauseProducing()

    @property
    def straight(self) -> bool:
        """It wants to see its bytes."""
        self.asked += 1
        return False

    def dataReceived(self, data: bytes) -> None:
        """Bytes."""
        self.data += data

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        """FIN was sent."""
        self.ends.append("write")

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        """All is over."""
        self.ends.append(type(reason.value).__name__)


class GivingAway(Noting):
    """It gives its transport to another protocol at once."""

    def __init__(self, other: Noting) -> None:
        super().__init__()
        self._other = other

    def connectionMade(self) -> None:
        """It is the other's."""
        self.transport.protocol = self._other


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class TransportTests(SynchronousTestCase):
    """Transports of a reactor whose clock stands still."""

    def make_network(self, reactor: Any) -> Any:
        """The network whose transports these are."""
        from tcpmesh.net.epoll.network import EpollNetwork

        return EpollNetwork(reactor)

    def setUp(self) -> None:
        """A network."""
        self.reactor = MemoryReactorClock()
        self.network = self.make_network(self.reactor)
        self.addCleanup(self.network.stop)

    def unix(self) -> tuple[Any, socket.socket]:
        """A transport of a unix socket, not started yet, and its peer."""
        near, peer = socket.socketpair()
        return self.transport(near, peer), peer

    def tcp(self) -> tuple[Any, socket.socket]:
        """A transport of a TCP connection, not started yet, and its peer."""
        near, peer = self.tcp_sockets()
        return self.transport(near, peer), peer

    def tcp_sockets(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            return server.accept()[0], peer

    def transport(self, near: socket.socket, peer: socket.socket) -> Any:
        """A transport of one of two sockets."""
        self.addCleanup(peer.close)
        near.setblocking(False)
        family = near.family
        return self.network.transport_type(self.network, near.detach(), family, None, False)

    def turns(self) -> None:
        """Some turns of the reactor."""
        for _ in range(5):
            if select.select([self.network.poller], [], [], 0)[0]:
                self.network.poller.doRead()
            turn(self.reactor)

    def test_served(self) -> None:
        """A protocol that is given a connection gets its bytes and its end, and was asked once how
        it wants them, however often it has paused.
        """
        transport, peer = self.tcp()
        protocol = Noting()
        transport.serve(protocol)
        for data in (b"one ", b"two ", b"three"):
            peer.send(data)
            self.turns()
            transport.pauseProducing()
            transport.resumeProducing()
        peer.close()
        self.turns()
        self.assertEqual(b"one two three", protocol.data)
        self.assertEqual(["read"], protocol.ends)
        self.assertEqual(1, protocol.asked)

    def test_given_away_at_once(self) -> None:
        """Who gives its transport to another protocol as soon as it gets one gets none of the
        bytes.
        """
        transport, peer = self.tcp()
        second = Noting()
        first = GivingAway(second)
        transport.serve(first)
        peer.send(b"hello")
        self.turns()
        self.assertEqual((b"", b"hello"), (first.data, second.data))

    def test_given_away_while_paused(self) -> None:
        """A protocol that pauses at once, and gives the transport away before any byte is wanted,
        is never asked how it wants them.
        """
        transport, peer = self.tcp()
        first, second = Noting(pauses=True), Noting()
        transport.serve(first)
        peer.send(b"hello")
        self.turns()
        transport.protocol = second
        transport.resumeProducing()
        self.turns()
        self.assertEqual((b"", b"hello"), (first.data, second.data))
        self.assertEqual((0, 1), (first.asked, second.asked))

    def test_resumed_without_a_pause(self) -> None:
        """To resume what nobody has paused does nothing: a connection that was not started stays
        so.
        """
        transport, peer = self.tcp()
        transport.protocol = protocol = Noting()
        peer.send(b"hello")
        transport.resumeProducing()
        self.turns()
        self.assertEqual(b"", protocol.data)
        transport.start()
        self.turns()
        self.assertEqual(b"hello", protocol.data)

    def test_resumed_after_the_end(self) -> None:
        """To resume what was closed meanwhile, or is to be once all is flushed, does nothing."""
        for written in (b"", bytes(1 << 24)):
            transport, peer = self.tcp()
            protocol = Noting(pauses=True)
            transport.serve(protocol)
            transport.write(written)
            transport.loseConnection()
            transport.resumeProducing()
            peer.send(b"too late")
            self.turns()
            self.assertEqual(b"", protocol.data)
            self.assertEqual([] if written else ["ConnectionDone"], protocol.ends)
            transport.abortConnection()
            transport.resumeProducing()
            self.turns()
            self.assertEqual(1, len(protocol.ends))

    def test_pieces_of_a_unix_socket(self) -> None:
        """On a unix socket, where a read stops behind what came with a descriptor, bytes between
        that and the end are not lost.
        """
        transport, peer = self.unix()
        protocol = Noting(pauses=True)
        transport.serve(protocol)
        socket.send_fds(peer, [b"one "], [0])
        peer.send(b"two")
        peer.close()
        self.turns()
        transport.resumeProducing()
        self.turns()
        self.assertEqual((b"one two", ["read"]), (protocol.data, protocol.ends))

    def test_bytes_and_reset(self) -> None:
        """Where bytes and a reset came together, the bytes are delivered, and the reset is told as
        that.
        """
        transport, peer = self.tcp()
        protocol = Noting(pauses=True)
        transport.serve(protocol)
        peer.send(b"hello")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.close()
        self.turns()
        transport.resumeProducing()
        self.turns()
        self.assertEqual((b"hello", ["ConnectionLost"]), (protocol.data, protocol.ends))

    def test_nothing_to_do_after_the_end(self) -> None:
        """A connection whose peer has ended is not asked again, however often it is resumed."""
        transport, peer = self.tcp()
        protocol = Noting(pauses=True)
        transport.serve(protocol)
        peer.send(b"hello")
        peer.close()
        self.turns()
        transport.resumeProducing()
        self.turns()
        for _ in range(3):
            transport.pauseProducing()
            transport.resumeProducing()
            self.assertEqual([], self.network.poller._again)
        self.turns()
        self.assertEqual((b"hello", ["read"]), (protocol.data, protocol.ends))

    def test_number_0(self) -> None:
        """A connection may have the number that standard input has elsewhere."""
        saved = os.dup(0)
        self.addCleanup(os.close, saved)
        self.addCleanup(os.dup2, saved, 0)
        for ends in (["read", "write", "ConnectionDone"], ["ConnectionLost"]):
            near, peer = self.tcp_sockets()
            os.dup2(near.fileno(), 0)
            near.close()
            transport = self.transport(socket.socket(fileno=0), peer)
            transport.serve(protocol := Noting())
            peer.send(b"hello")
            self.turns()
            self.assertEqual(b"hello", protocol.data)
            transport.pauseProducing()
            self.turns()
            transport.resumeProducing()
            if "write" in ends:
                peer.shutdown(socket.SHUT_WR)
                self.turns()
                transport.loseWriteConnection()
                self.assertEqual(b"", peer.recv(1))
                transport.loseConnection()
            else:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                peer.close()
            self.turns()
            self.assertEqual(ends, protocol.ends)
