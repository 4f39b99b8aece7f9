"""The buffers that the kernel receives into, beside the kernel."""

from __future__ import annotations

import errno
import socket
import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.net.uring.available import uring

COMPLETION = struct.Struct("=QiI")

COUNT, SIZE = 4, 8


@uring
class BuffersTests(SynchronousTestCase):
    """Four buffers of eight bytes."""

    def setUp(self) -> None:
        """They, and a connection."""
        from tcpmesh.net.uring.buffers import ReceiveBuffers
        from tcpmesh.net.uring.ring import Ring

        self.ring = Ring()
        self.addCleanup(self.ring.close)
        self.buffers = ReceiveBuffers(self.ring, COUNT, SIZE)
        self.near, self.peer = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.peer.close)

    def completions(self) -> list[tuple[int, int | None]]:
        """Those that are new: the result, and the number of the buffer."""
        from tcpmesh.net.uring.ring import CQE_BUFFER

        ring, found = self.ring, []
        head, tail = ring.words[ring.cq_head], ring.words[ring.cq_tail]
        for number in range(head, tail):
            at = number % ring.room * COMPLETION.size
            _, result, flags = COMPLETION.unpack_from(ring.cqes, at)
            found.append((result, flags >> 16 if flags & CQE_BUFFER else None))
        ring.words[ring.cq_head] = tail
        return found

    def receive(self, data: bytes) -> tuple[int, int | None]:
        """What comes of receiving this."""
        from tcpmesh.net.uring.requests import RECEIVE_ONCE

        self.peer.send(data)
        self.ring.put(RECEIVE_ONCE, self.near.fileno(), 0, 0, 0, 0, 1)
        self.ring.exchange()
        (found,) = self.completions()
        return found

    def test_in_order(self) -> None:
        """The kernel takes one after the other, fills it, and no byte beside it."""
        for number in range(COUNT):
            self.assertEqual((SIZE, number), self.receive(b"%d" % number * SIZE + b"!"))
            self.assertEqual(b"!", self.near.recv(10))
        self.assertEqual(b"".join(b"%d" % each * SIZE for each in range(COUNT)), self.buffers.view)

    def test_none_is_left(self) -> None:
        """As many as there are can be filled, and no more before some are given back: then the
        oldest are filled again, as many.
        """
        for number in range(COUNT):
            self.assertEqual((1, number), self.receive(b"x"))
        self.assertEqual((-errno.ENOBUFS, None), self.receive(b"y"))
        self.buffers.give_back(2)
        self.assertEqual((2, 0), self.receive(b"z"))
        self.assertEqual((1, 1), self.receive(b"x"))
        self.assertEqual((-errno.ENOBUFS, None), self.receive(b"x"))

    def test_over_and_over(self) -> None:
        """However often they are filled, and the kernel counts that in 16 bits, they go round."""
        from tcpmesh.net.uring.buffers import ReceiveBuffers
        from tcpmesh.net.uring.requests import RECEIVE
        from tcpmesh.net.uring.ring import Ring

        self.ring = Ring()
        self.addCleanup(self.ring.close)
        buffers = ReceiveBuffers(self.ring, 256, SIZE)
        self.ring.put(RECEIVE, self.near.fileno(), 0, 0, 0, 0, 1)
        expected = [(SIZE, number) for number in range(256)]
        for number in range(260):
            data = b"%08d" % number * 256
            self.peer.send(data)
            found: list[tuple[int, int | None]] = []
            while len(found) < 256:
                self.ring.exchange()
                found += self.completions()
            self.assertEqual(expected, found)
            self.assertEqual(data, buffers.view)
            buffers.give_back(256)

    def test_places(self) -> None:
        """What is sent from the place of a buffer is what was received into it."""
        from tcpmesh.net.uring.ring import OP_SEND

        for number in range(COUNT):
            self.assertEqual((SIZE, number), self.receive(b"8 bytes%d" % number))
            place = self.buffers.places[number]
            self.ring.put(OP_SEND, self.near.fileno(), 0, place, SIZE, 0, 2)
            self.ring.exchange()
            self.assertEqual([(SIZE, None)], self.completions())
            self.assertEqual(b"8 bytes%d" % number, self.peer.recv(100))
