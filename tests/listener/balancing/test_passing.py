"""Descriptors that pass from one worker to another."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.listener.balancing.exact import key_of
from tcpmesh.listener.balancing.passing import BATCH, Passing
from tcpmesh.server.workers.passing_sockets import PassingSockets
from tests.server.processes.watched import WatchingClock, open_descriptors

KEY = key_of("l")


class PassingTests(SynchronousTestCase):
    """Two workers."""

    def setUp(self) -> None:
        """Both take what comes."""
        self.before = open_descriptors()
        self.clock = WatchingClock()
        self.sockets = PassingSockets(2)
        self.addCleanup(self.sockets.close)
        self.taken: list[tuple[int, bytes, int, int]] = []
        self.emptied: list[int] = []
        self.workers = [self.worker(index) for index in range(2)]
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def worker(self, index: int) -> Passing:
        """The ends of one."""

        def take(key: bytes, place: int, descriptor: int) -> None:
            self.taken.append((index, key, place, descriptor))

        copies = [each.dup() for each in self.sockets.of(index)]
        made = Passing(self.clock, index, copies, take, lambda: self.emptied.append(index))
        made.start()
        self.addCleanup(made.close)
        return made

    def close_taken(self) -> None:
        """What was taken is of no use."""
        for *_, descriptor in self.taken:
            os.close(descriptor)

    def test_passed(self) -> None:
        """The other worker has the client then, and knows for which listener and address it has
        come; and once all are there it is told so.
        """
        self.assertTrue(self.workers[0].pass_on(1, KEY, 3, self.theirs.fileno()))
        self.theirs.close()
        self.clock.settle()
        ((index, key, place, descriptor),) = self.taken
        self.assertEqual((1, KEY, 3, [1]), (index, key, place, self.emptied))
        with socket.socket(fileno=descriptor) as client:
            self.ours.sendall(b"hello")
            self.assertEqual(b"hello", client.recv(9))
            self.assertFalse(client.get_inheritable())

    def test_dies(self) -> None:
        """What is on the way to a worker that dies is taken by the one in its place."""
        self.workers[1].close()
        self.assertTrue(self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno()))
        self.clock.settle()
        self.assertEqual([], self.taken)
        self.worker(1)
        self.clock.settle()
        self.assertEqual([(1, KEY, 0)], [each[:3] for each in self.taken])
        self.close_taken()

    def test_full(self) -> None:
        """Where the other worker takes nothing, it is passed no more than there is room for."""
        self.workers[1].close()
        count = 0
        while self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno()):
            count += 1
        self.assertGreater(count, BATCH)
        self.worker(1)
        self.clock.settle()
        self.assertEqual(count, len(self.taken))
        self.assertTrue(self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno()))
        self.clock.settle()
        self.close_taken()

    def test_nonsense(self) -> None:
        """What is no client is left alone, and what comes behind it is taken."""
        sender: Any = self.sockets.of(0)[2]
        sender.send(b"what?")
        socket.send_fds(sender, [b"what?"], [self.theirs.fileno()])
        self.assertTrue(self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno()))
        before = open_descriptors()
        self.clock.settle()
        self.assertEqual(1, len(self.taken))
        self.close_taken()
        self.assertEqual(before, open_descriptors())

    def test_failing(self) -> None:
        """A client that cannot be served keeps nobody else back."""

        def fail(*told: Any) -> None:
            os.close(told[-1])
            raise RuntimeError("no")

        self.workers[1]._take = fail
        for _ in range(2):
            self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno())
        self.clock.settle()
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual([1], self.emptied)

    def test_closed(self) -> None:
        """Who is closed passes nothing on, and nothing stays open."""
        self.workers[0].close()
        self.workers[0].close()
        self.assertFalse(self.workers[0].pass_on(1, KEY, 0, self.theirs.fileno()))
        self.workers[1].connectionLost(None)
        for each in (self.ours, self.theirs, self.sockets):
            each.close()
        self.assertEqual(self.before, open_descriptors())
