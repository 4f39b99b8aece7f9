"""The fork server as the program that it is: one for all tests, whose workers do what a message
says.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.processes.forking import ForkServerLink, end_of, is_there, start_program
from tcpmesh.server.processes.messages import Fork
from tcpmesh.values.shared.memory import MainCounts
from tests.server.processes.watched import WatchingClock

REACTOR = "twisted.internet.epollreactor"


class RunningClock(WatchingClock):
    """Its time is real."""

    def turn(self, timeout: float = 0.0) -> bool:
        """One turn."""
        self.rightNow = time.monotonic()
        return super().turn(timeout)


class Events:
    """What a fork server has told."""

    def __init__(self) -> None:
        self.pids: dict[int, int] = {}
        self.statuses: dict[int, int] = {}
        self.lost: list[str] = []
        self.failed: list[str] = []

    def forked(self, index: int, pid: int) -> None:
        """A worker was started."""
        self.pids[index] = pid

    def fork_failed(self, index: int, reason: str) -> None:
        """A worker could not be started."""
        self.failed.append(reason)

    def exited(self, pid: int, status: int) -> None:
        """A worker has ended."""
        self.statuses[pid] = status

    def fork_server_lost(self, reason: str) -> None:
        """It is gone."""
        self.lost.append(reason)


class ForkServerTests(SynchronousTestCase):
    """The fork server and the processes that it forks."""

    def setUp(self) -> None:
        """It runs."""
        self.clock = RunningClock()
        self.events = Events()
        self.counts = MainCounts(3)
        self.addCleanup(self.counts.close)
        self.links: list[socket.socket] = []
        self.server = ForkServerLink(self.clock, self.events)
        self.process = self.server._process
        self.server.bring_in([REACTOR, "no.such.module"])
        self.addCleanup(self.stop)

    def stop(self) -> None:
        """End it, and all that it has forked."""
        for link in self.links:
            link.close()
        stopped: list[Any] = []
        self.server.stop().addCallback(stopped.append)
        self.clock.until(lambda: stopped)
        self.assertIsNotNone(self.process.returncode)

    def fork(self, index: int) -> int:
        """Start a worker; its process's number."""
        ours, theirs = socket.socketpair()
        self.links.append(ours)
        with theirs:
            self.server.fork(Fork(index, REACTOR, 10.0), [theirs.fileno(), self.counts.fd])
        self.clock.until(lambda: index in self.events.pids)
        return self.events.pids[index]

    def descriptors(self, pid: int) -> list[str]:
        """What the descriptors of a process beside its standard streams are."""
        folder = f"/proc/{pid}/fd"
        return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder) if int(fd) > 2]

    def test_life_of_workers(self) -> None:
        """Workers are forked, have names, and nothing of the fork server or of each other; signals
        that service managers send to all of a group move none of them; one that is told nonsense
        ends; and how each ends is told.
        """
        first, second = self.fork(0), self.fork(1)
        self.links[0].recv(100)
        self.links[1].recv(100)  # both run
        with open(f"/proc/{first}/comm") as f:
            self.assertEqual(f.read().strip(), "tcpmesh:wrk_0")
        for pid in (first, second):
            sockets = [each for each in self.descriptors(pid) if each.startswith("socket")]
            self.assertEqual(len(sockets), 1, sockets)
        self.assertEqual(len(self.descriptors(self.process.pid)), 3)
        self.assertEqual(os.listdir(f"/proc/{self.process.pid}/task"), [str(self.process.pid)])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            for pid in (first, second, self.process.pid):
                os.kill(pid, number)
        third = self.fork(2)
        self.links[0].sendall(b"\xff" * 20)  # no message
        self.server.kill(second)
        self.server.kill(os.getpid())  # it is no worker
        self.clock.until(lambda: len(self.events.statuses) == 2)
        ends = [end_of(self.events.statuses[pid]) for pid in (first, second)]
        self.assertEqual(ends, ["has ended with status 0", "has ended by signal SIGKILL"])
        self.assertTrue(is_there(third))

    def test_stop(self) -> None:
        """When main lets it go it waits for its workers, and kills those that do not end."""
        first, stuck = self.fork(0), self.fork(1)
        os.kill(stuck, signal.SIGSTOP)
        self.stop()
        self.assertEqual([is_there(pid) for pid in (first, stuck)], [False, False])

    def test_lost(self) -> None:
        """Its own end is told, and workers go on."""
        pid = self.fork(0)
        self.process.kill()
        self.clock.until(lambda: self.events.lost)
        self.assertTrue(is_there(pid))
        self.assertEqual(self.events.lost, ["its end is closed"])

    def test_garbage(self) -> None:
        """What is no message for it ends it."""
        process, sock = start_program()
        with sock:
            sock.sendall(b"\xff" * 20)
            self.assertEqual(process.wait(), 0)


class EndTests(SynchronousTestCase):
    """`end_of`."""

    def test_words(self) -> None:
        """How a process has ended, in words."""
        for status, words in (
            (0, "has ended with status 0"),
            (3 << 8, "has ended with status 3"),
            (int(signal.SIGSEGV), "has ended by signal SIGSEGV"),
            (50, "has ended by signal 50"),
            (None, "has ended, nobody knows how"),
        ):
            self.assertEqual(end_of(status), words)
