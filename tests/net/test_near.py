"""How long the send queue to a near peer may be."""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.near import QUEUE, limit_queue, round_trip
from tcpmesh.net.sockets import BareSocket


def connected(test: SynchronousTestCase, family: int = socket.AF_INET, *options: tuple[int, int, int]) -> socket.socket:
    """One end of a connection on this machine."""
    address: Any
    if family == socket.AF_UNIX:
        folder = tempfile.mkdtemp()
        address = os.path.join(folder, "socket")
        test.addCleanup(os.rmdir, folder)
        test.addCleanup(os.unlink, address)
    else:
        address = ("127.0.0.1" if family == socket.AF_INET else "::1", 0)
    listening, client = socket.socket(family), socket.socket(family)
    for sock in (listening, client):
        test.addCleanup(sock.close)
    listening.bind(address)
    listening.listen()
    for option in options:
        client.setsockopt(*option)
    client.connect(listening.getsockname())
    return client


def length(sock: socket.socket) -> int:
    """Of the send queue, in bytes, with what the kernel needs itself."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


class NearTests(SynchronousTestCase):
    """The send queue to a peer that is microseconds away is short, where nobody has chosen its length."""

    def test_near(self) -> None:
        """A peer on this machine is near, over IPv4 and IPv6: its queue is shortened."""
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = connected(self, family)
            before = length(sock)
            limit_queue(sock, near=1_000_000)
            self.assertGreater(before, 2 * QUEUE)
            self.assertEqual(length(sock), 2 * QUEUE)

    def test_bare(self) -> None:
        """The sockets of the fast transports, which have no Python object of their own, are treated the same."""
        sock = connected(self)
        bare = BareSocket(sock.family, socket.SOCK_STREAM, 0, sock.fileno())
        try:
            limit_queue(bare, near=1_000_000)
        finally:
            bare.detach()
        self.assertEqual(length(sock), 2 * QUEUE)

    def test_far(self) -> None:
        """A peer farther away than that keeps the queue that the kernel gave it."""
        sock = connected(self)
        before, distance = length(sock), round_trip(sock)
        assert distance is not None
        limit_queue(sock, near=distance - 1)
        self.assertEqual(length(sock), before)

    def test_chosen(self) -> None:
        """A length that the configuration has chosen stays."""
        sock = connected(self, socket.AF_INET, (socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * QUEUE))
        limit_queue(sock, near=1_000_000)
        self.assertEqual(length(sock), 8 * QUEUE)

    def test_no_distance(self) -> None:
        """A unix socket has no round trip, and its queue is left alone."""
        sock = connected(self, socket.AF_UNIX)
        before = length(sock)
        self.assertIsNone(round_trip(sock))
        limit_queue(sock)
        self.assertEqual(length(sock), before)
