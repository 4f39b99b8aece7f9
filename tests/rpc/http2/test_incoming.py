"""Frames of a host, read in turns."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2 import incoming
from tcpmesh.rpc.http2.incoming import READ_AT_ONCE, Incoming
from tcpmesh.testing.memory.network import MemoryNetwork

PING = b"\0\0\x08\x06\0\0\0\0\0" + b"12345678"


class Socket:
    """Whether it is paused."""

    is_paused = False

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False


class IncomingTests(SynchronousTestCase):
    """That of one connection."""

    def setUp(self) -> None:
        self.patch(incoming, "READ_FOR", 60)
        self.network = MemoryNetwork()
        self.socket: Any = Socket()
        self.count = self.failed = 0
        self.breaks_at = 1000
        self.incoming = Incoming(self.network, self._read, self._fail)

    def _read(self) -> bool:
        if self.incoming.frames.take() is None:
            return False
        self.count += 1
        return self.count < self.breaks_at or bool(1 // 0)

    def _fail(self) -> None:
        self.failed += 1

    def test_turns(self) -> None:
        """Some frames are read at once, and the socket is paused until the others are, too."""
        self.incoming.received(self.socket, PING * (READ_AT_ONCE + 2))
        self.assertEqual((READ_AT_ONCE, True), (self.count, self.socket.is_paused))
        self.incoming.received(self.socket, PING)
        self.assertEqual(READ_AT_ONCE, self.count)
        self.network.pump()
        self.assertEqual((READ_AT_ONCE + 3, False), (self.count, self.socket.is_paused))

    def test_exactly_enough(self) -> None:
        """Of as many as are read at once nothing is left for later."""
        self.incoming.received(self.socket, PING * READ_AT_ONCE + PING[:5])
        self.assertEqual((READ_AT_ONCE, False), (self.count, self.socket.is_paused))

    def test_broken(self) -> None:
        """A mistake of ours in a later turn is logged, and ends the connection."""
        self.breaks_at = READ_AT_ONCE + 2
        self.incoming.received(self.socket, PING * (READ_AT_ONCE + 5))
        self.network.pump()
        self.assertEqual((READ_AT_ONCE + 2, 1), (self.count, self.failed))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_end(self) -> None:
        """Where the process ends what is left to be read is forgotten, and that is no mistake."""
        self.incoming.received(self.socket, PING * (READ_AT_ONCE + 5))
        self.network.cooperator.stop()
        self.network.pump()
        self.assertEqual((READ_AT_ONCE, 0), (self.count, self.failed))
