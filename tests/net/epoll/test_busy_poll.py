"""Asking the kernel again and again before sleeping."""

from __future__ import annotations

import contextlib
import socket
import sys
from unittest import skipUnless

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.epoll.busy_poll import Events, busily

ASKING = 1 / 1024
"""Seconds that asking takes."""

EVENTS = [(7, 1)]


class BusilyTests(SynchronousTestCase):
    """A kernel that counts how often it is asked, and how long it may wait."""

    def setUp(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []
        self.events_after = -1
        self.poll = busily(self.kernel, 4 * ASKING, lambda: self.time)

    def kernel(self, wait: float, most: int) -> Events:
        """Ask it."""
        self.assertEqual(256, most)
        self.waits.append(wait)
        self.time += wait or ASKING
        return EVENTS if len(self.waits) > self.events_after >= 0 else []

    def test_in_vain(self) -> None:
        """It is asked for so long, and then waits as it would have."""
        self.assertEqual([], self.poll(0.5, 256))
        self.assertEqual([*(0.0,) * 4, 0.5], self.waits)

    def test_soon(self) -> None:
        """What comes in that time is there at once, and nobody sleeps."""
        self.events_after = 2

        self.assertEqual(EVENTS, self.poll(0.5, 256))
        self.assertEqual([0.0] * 3, self.waits)

    def test_late(self) -> None:
        """What comes later wakes whoever sleeps."""
        self.events_after = 4

        self.assertEqual(EVENTS, self.poll(0.5, 256))
        self.assertEqual(0.5, self.waits[-1])

    def test_no_wait(self) -> None:
        """Who would not wait asks once."""
        self.assertEqual([], self.poll(0.0, 256))
        self.assertEqual([0.0], self.waits)


class Answering:
    """A channel that reads what comes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.read = b""

    def ready(self, mask: int) -> None:
        """Bytes are there, or room."""
        with contextlib.suppress(BlockingIOError):
            self.read += self.sock.recv(100)

    def ready_again(self) -> None:
        """Nothing is put off."""

    def failed(self) -> None:
        """It does not."""

    def stop(self) -> None:
        """The poller stops; the socket is the test's."""


@skipUnless(sys.platform == "linux", "epoll is Linux's")
class PollerTests(SynchronousTestCase):
    """A poller that polls busily, on a clock that goes on whenever it is looked at."""

    def setUp(self) -> None:
        self.time = 0.0
        self.asked = 0
        self.near, self.peer = socket.socketpair()
        for sock in (self.near, self.peer):
            sock.setblocking(False)
            self.addCleanup(sock.close)

    def now(self) -> float:
        """The time; at the third look the peer sends."""
        self.time += ASKING / 10
        self.asked += 1
        if self.asked == 6:
            self.peer.send(b"soon")
        return self.time

    def served(self, busy: float) -> bytes:
        """What a poller has served when it goes back to the reactor."""
        from tcpmesh.net.epoll.poller import WATCH, Poller

        poller = Poller(MemoryReactorClock(), self.now, busy)
        self.addCleanup(poller.stop)
        channel = Answering(self.near)
        poller.register(self.near.fileno(), channel, WATCH)
        self.addCleanup(poller.unregister, self.near.fileno())
        poller._skip = 100  # it has waited in vain a few times
        self.asked = 0
        poller.doRead()
        return channel.read

    def test_stays(self) -> None:
        """After an event it does not go back to the reactor before that time is over, though it has
        waited in vain before.
        """
        self.assertEqual(b"soon", self.served(busy=4 * ASKING))

    def test_off(self) -> None:
        """One that does not poll busily goes back to the reactor."""
        self.assertEqual(b"", self.served(busy=0.0))
