"""Worker processes without processes: a fork server that forks nobody, and workers that are the
other ends of links.
"""

from __future__ import annotations

import array
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.server.channel.framing import HEAD, FrameReader, pieces_of
from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.server.processes import supervisor
from tcpmesh.server.processes.messages import Fork, LogSettings
from tcpmesh.server.processes.pauses import FIRST
from tcpmesh.server.processes.supervisor import EXIT, FORKING, IMPORTING, WorkerProcesses
from tcpmesh.server.processes.watchdog import KILL
from tcpmesh.stats.store import Store
from tcpmesh.values.lifecycle.moving import ClientLeaves, OfferClient
from tcpmesh.values.link import Alive, Prepare, Prepared, Start
from tests.server.processes.watched import WatchingClock, open_descriptors

KILLED = int(signal.SIGKILL)
"""The status of a process that was killed."""


class FakeForkServer:
    """Keeps what it was asked, and has the other end of each link."""

    pid = 5

    def __init__(self, events: Any) -> None:
        self.events = events
        self.modules: list[str] = []
        self.asked: list[Fork] = []
        self.ends: list[socket.socket] = []
        self.killed: list[int] = []
        self.forked = 0
        """Workers that run; the ends of others are closed with this process."""
        self.stopped: Deferred[None] = Deferred()

    def bring_in(self, modules: list[str]) -> None:
        """Have modules imported."""
        self.modules += modules

    def fork(self, message: Fork, descriptors: Sequence[int]) -> None:
        """Start a worker."""
        self.asked.append(message)
        self.ends.append(socket.socket(fileno=os.dup(descriptors[0])))
        for fd in descriptors[1:]:
            os.fstat(fd)

    def kill(self, pid: int) -> None:
        """End a worker at once."""
        self.killed.append(pid)

    def give_up(self, reason: str) -> None:
        """It is to be ended."""
        for end in self.ends[self.forked :]:
            end.close()
        self.events.fork_server_lost(reason)

    def stop(self) -> Deferred[None]:
        """Let it end."""
        return self.stopped


class FakeWorkers:
    """Main's workers, who write down what happens."""

    def __init__(self, counts_fd: int) -> None:
        self.count = 2
        self.counts_fd = counts_fd
        self.links: dict[int, Any] = {}
        self.happened: list[tuple[Any, ...]] = []

    def join(self, index: int, link: Any) -> None:
        """A worker is there."""
        self.links[index] = link
        self.happened.append(("join", index))

    def receive(self, index: int, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """A worker says something."""
        self.happened.append((message, index))

    def lost(self, index: int) -> None:
        """A worker is no more."""
        self.happened.append(("lost", index))


@implementer(ILogObserver)
class Observer:
    """Keeps the lines of the log."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        self._lines.append(event["log_format"].format(**event))


class SupervisorTests(SynchronousTestCase):
    """`WorkerProcesses` of two workers."""

    def setUp(self) -> None:
        """Both workers are started."""
        self.clock = WatchingClock()
        self.store = Store()
        self.servers: list[FakeForkServer] = []
        self.fails = 0
        self.counts = os.open(os.devnull, os.O_RDWR)
        self.addCleanup(os.close, self.counts)
        self.workers = FakeWorkers(self.counts)
        self.lines: list[str] = []
        self.observed = Observer(self.lines)
        globalLogPublisher.addObserver(self.observed)
        self.addCleanup(globalLogPublisher.removeObserver, self.observed)
        self.log = Log(Levels("info", {}))
        self.before = open_descriptors()
        self.processes = self.started(Bootstrap())

    def started(self, bootstrap: Any) -> WorkerProcesses:
        """Processes that have started."""
        made = WorkerProcesses(bootstrap, self.log, "some.reactor", self.fork_server)
        self.patch(supervisor, "become_reaper", lambda: None)
        made.prepare(self.clock)
        self.assertEqual(self.server.modules, [])
        made.start(self.workers, self.store)
        for number, server in enumerate(self.servers):
            for index in range(len(server.asked)):
                server.events.forked(index, 100 * number + 10 + index)
        return made

    def fork_server(self, clock: Any, events: Any) -> FakeForkServer:
        """A new fork server."""
        if self.fails:
            self.fails -= 1
            raise OSError(11, "Resource temporarily unavailable")
        self.servers.append(FakeForkServer(events))
        self.addCleanup(self.forget, self.servers[-1])
        return self.servers[-1]

    def forget(self, server: FakeForkServer) -> None:
        """Close the links of a fork server."""
        for end in server.ends:
            end.close()

    @property
    def server(self) -> FakeForkServer:
        """The fork server of this moment."""
        return self.servers[-1]

    def say(self, index: int, message: MainMessage) -> None:
        """The worker that was last forked with this place in the order says something."""
        for piece in pieces_of(TO_MAIN.encode(message)):
            self.server.ends[index].sendall(piece.data)
        self.clock.settle()

    def told(self, index: int) -> list[WorkerMessage]:
        """What a worker was told."""
        end = self.server.ends[index]
        end.setblocking(False)
        return [TO_WORKER.decode(frame.body) for frame in FrameReader().feed(end.recv(1 << 16))]

    def end(self, index: int, status: int | None = KILLED) -> None:
        """A worker ends: its link, and then the fork server tells of it."""
        self.server.ends[index].close()
        self.clock.settle()
        if status is not None:
            self.server.events.exited(self.processes._places[index].pid, status)
            self.clock.settle()

    def failures(self) -> int:
        """How many workers have ended by themselves."""
        return self.store.scope("server").counter("worker_failures").tally

    def test_start(self) -> None:
        """Each worker is forked with the reactor and the log of main, after what it needs was
        imported, and has joined.
        """
        levels = tuple(self.log.levels.get().items())
        settings = LogSettings("", self.log.pattern, False, "info", levels)
        self.assertEqual(
            self.server.asked, [Fork(index, "some.reactor", 0.1, settings) for index in (0, 1)]
        )
        self.assertIn("some.reactor", self.server.modules)
        self.assertIn("tcpmesh.values.link", self.server.modules)
        self.assertEqual(self.workers.happened, [("join", 0), ("join", 1)])
        self.assertIn("worker_1 (process 11) has started", self.lines)

    def test_messages(self) -> None:
        """Main's messages reach the worker that they are for, and the other way round."""
        self.workers.links[1].send(Prepare())
        self.say(1, Prepared())
        self.say(0, Alive())
        self.assertEqual(self.told(1), [Prepare()])
        self.assertEqual(self.workers.happened[2:], [(Prepared(), 1)])

    def test_sockets(self) -> None:
        """Sockets come with their message, and may be closed by main at once."""
        with socket.socket() as sock:
            self.workers.links[0].send(Start(), [sock])
        data, fds, _, _ = socket.recv_fds(self.server.ends[0], 1 << 16, 3)
        self.addCleanup(os.close, fds[0])
        ((body, (), _),) = FrameReader().feed(data.replace(HEAD.pack(2, 1), HEAD.pack(2, 0)))
        self.assertEqual((TO_WORKER.decode(body), len(fds)), (Start(), 1))

    def test_death(self) -> None:
        """A worker that ends is counted and logged with the reason, and another one takes its
        place; the other one is let alone.
        """
        self.clock.advance(60.0)
        self.say(0, Alive())
        self.say(1, Alive())
        self.end(0)
        self.assertEqual(self.workers.happened[2:], [("lost", 0), ("join", 0)])
        self.assertEqual([each.worker for each in self.server.asked], [0, 1, 0])
        self.assertEqual(self.failures(), 1)
        line = "worker_0 (process 10) has ended by signal SIGKILL; another one takes its place"
        self.assertIn(line, self.lines)

    def test_retired(self) -> None:
        """Once another process serves nobody takes the place of a worker or of the fork server that
        ends, also where one was about to; it is counted and logged all the same.
        """
        self.end(0)
        self.assertIn("another one takes its place in", self.lines[-1])
        self.processes.retire()
        self.clock.advance(60.0)
        self.end(1)
        self.assertEqual("worker_1 (process 11) has ended by signal SIGKILL", self.lines[-1])
        self.server.events.fork_server_lost("its end is closed")
        self.assertEqual(
            "the fork server is gone (its end is closed); workers go on", self.lines[-1]
        )
        self.clock.advance(60.0)
        self.clock.settle()
        self.assertEqual((2, 1, 2), (len(self.server.asked), len(self.servers), self.failures()))

    def test_pids(self) -> None:
        """The processes are the fork server and all workers that are there."""
        self.assertEqual([5, 10, 11], self.processes.pids())
        self.end(0)
        self.assertEqual([5, 11], self.processes.pids())
        self.processes.fork_server_lost("its end is closed")
        self.assertEqual([11], self.processes.pids())

    def test_status_first(self) -> None:
        """What a worker has said at its end counts, also where the fork server tells of the end
        before that was read.
        """
        self.clock.advance(60.0)
        for piece in pieces_of(TO_MAIN.encode(Prepared())):
            self.server.ends[1].sendall(piece.data)
        self.server.events.exited(11, 1 << 8)
        self.server.ends[1].close()
        self.clock.settle()
        self.assertEqual(self.workers.happened[2:], [(Prepared(), 1), ("lost", 1), ("join", 1)])
        self.assertIn(
            "worker_1 (process 11) has ended with status 1; another one takes its place", self.lines
        )

    def test_link_that_stays_open(self) -> None:
        """A worker that has ended is replaced, also where somebody keeps its end of the link."""
        self.clock.advance(60.0)
        self.server.events.exited(11, 0)
        self.clock.settle()
        self.clock.advance(EXIT)
        self.clock.settle()
        self.assertEqual(self.workers.happened[2:], [("lost", 1), ("join", 1)])

    def test_nobody_tells(self) -> None:
        """A worker whose link has ended is killed, and replaced when nothing was heard of it for a
        while.
        """
        self.clock.advance(60.0)
        self.end(0, None)
        self.assertEqual(self.server.killed, [10])
        self.assertEqual(self.workers.happened[2:], [("lost", 0)])
        self.clock.advance(EXIT)
        self.clock.settle()
        self.assertEqual(self.workers.happened[2:], [("lost", 0), ("join", 0)])
        self.assertRegex(self.lines[-1], r"worker_0 \(process 10\) has ended, nobody knows how;")

    def test_garbage(self) -> None:
        """A worker that sends what is no message, or a descriptor beside one that has none, is
        killed and replaced, and nothing stays open.
        """
        before = open_descriptors()
        self.server.ends[0].sendall(HEAD.pack(2, 0) + b"\x01\x7e")
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.counts]))
        body = TO_MAIN.encode(Prepared())
        self.server.ends[1].sendmsg([HEAD.pack(len(body), 1) + body], [rights])
        self.clock.settle()
        self.assertEqual(sorted(self.server.killed), [10, 11])
        self.assertLess(open_descriptors(), before)
        self.server.events.exited(10, KILLED)
        self.server.events.exited(11, KILLED)
        self.assertIn("(no message has the number 63)", self.lines[-2])
        self.assertIn("(descriptors came with Prepared)", self.lines[-1])

    def test_client(self) -> None:
        """Both descriptors of a client come with it, and are lent for as long as it is dealt
        with.
        """
        client = ClientLeaves(1, 5, b"state")
        lent: list[list[int]] = []

        def receive(index: int, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
            self.assertEqual((1, client), (index, message))
            lent.append([os.fstat(each).st_ino for each in descriptors])
            self.workers.links[0].send(OfferClient(5, b"state"), descriptors=descriptors)

        self.patch(self.workers, "receive", receive)
        before = open_descriptors()
        with socket.socket() as one, socket.socket() as other:
            fds = [one.fileno(), other.fileno()]
            ((data, _),) = pieces_of(TO_MAIN.encode(client), fds)
            socket.send_fds(self.server.ends[1], [data], fds)
            self.clock.settle()
            expected = [os.fstat(each).st_ino for each in fds]
        self.assertEqual([expected], lent)
        self.assertEqual(before, open_descriptors())
        body, found, _, _ = socket.recv_fds(self.server.ends[0], 1 << 16, 9)
        for fd in found:
            self.addCleanup(os.close, fd)
        self.assertEqual(expected, [os.fstat(each).st_ino for each in found])
        self.assertEqual(OfferClient(5, b"state"), TO_WORKER.decode(body[HEAD.size :]))

    def test_again_and_again(self) -> None:
        """The replacement of a worker that ends at once waits longer and longer."""
        self.end(0)
        self.assertEqual(len(self.server.asked), 2)
        self.assertIn(f"another one takes its place in {FIRST:g} s", self.lines[-1])
        self.clock.advance(FIRST)
        self.clock.settle()
        self.assertEqual(len(self.server.asked), 3)
        self.server.events.forked(0, 20)
        self.server.ends[2].close()
        self.clock.settle()
        self.server.events.exited(20, KILLED)
        self.clock.advance(FIRST)
        self.assertEqual(len(self.server.asked), 3)
        self.clock.advance(FIRST)
        self.assertEqual(len(self.server.asked), 4)

    def test_stuck(self) -> None:
        """A worker that does not answer is killed and replaced; the log says why."""
        self.say(0, Alive())
        for _ in range(round(KILL / 0.1) + 2):
            self.say(1, Alive())
            self.clock.advance(0.1)
        self.assertEqual(self.server.killed, [10])
        self.end(0)
        self.assertRegex(self.lines[-1], r"SIGKILL \(it did not answer and was killed\)")

    def test_cannot_fork(self) -> None:
        """Where the system refuses to start a worker, that is tried again later."""
        self.end(0)
        self.clock.advance(FIRST)
        self.server.events.fork_failed(0, "Resource temporarily unavailable")
        self.clock.advance(EXIT)
        self.assertIn("it cannot be started: Resource temporarily unavailable", self.lines[-1])
        self.clock.advance(1.0)
        self.assertEqual([each.worker for each in self.server.asked], [0, 1, 0, 0])

    def test_fork_server_lost(self) -> None:
        """Without the fork server workers go on; another one is started, which starts those that
        are needed later.
        """
        self.clock.advance(60.0)
        self.server.events.fork_server_lost("its end is closed")
        self.clock.settle()
        self.assertEqual(len(self.servers), 2)
        self.assertEqual(self.server.asked, [])
        self.assertIn("some.reactor", self.server.modules)
        self.assertEqual(self.workers.happened[2:], [])
        killed: list[int] = []
        self.patch(supervisor, "kill", killed.append)
        self.patch(supervisor, "reap", lambda pid: KILLED if pid in killed else None)
        self.servers[0].ends[1].close()
        self.clock.settle()
        self.clock.advance(EXIT)
        self.clock.settle()
        self.assertEqual(killed, [11])
        self.assertEqual([each.worker for each in self.server.asked], [1])
        self.assertIn("worker_1 (process 11) has ended by signal SIGKILL", self.lines[-1])

    def test_fork_server_hangs(self) -> None:
        """A fork server that does not start a worker in time is ended, and another one starts it;
        a worker of which nobody has told that it has ended is reaped.
        """
        reaped: list[int] = []
        self.patch(supervisor, "reap", reaped.append)
        self.clock.advance(60.0)
        self.server.forked = 2
        self.end(1, None)
        self.clock.advance(EXIT)
        self.assertEqual([each.worker for each in self.server.asked], [0, 1, 1])
        self.say(0, Alive())
        self.clock.advance(FORKING - 0.1)
        self.say(0, Alive())
        self.assertEqual(1, len(self.servers))
        self.clock.advance(0.1)
        self.clock.settle()
        self.assertEqual(2, len(self.servers))
        self.assertIn("gone (it does not answer and was killed); workers go on", self.lines[-1])
        self.clock.advance(EXIT)
        self.clock.settle()
        self.assertIn("worker_1 has not started", self.lines[-1])
        self.clock.advance(FIRST)
        self.assertEqual([each.worker for each in self.server.asked], [1])
        self.server.events.forked(1, 20)
        self.assertIn(11, reaped)

    def test_fork_server_imports(self) -> None:
        """For its first worker a fork server has longer, and what was started is not waited for."""
        self.server.events.fork_server_lost("its end is closed")
        self.clock.advance(FIRST)
        self.patch(supervisor, "kill", lambda pid: None)
        self.patch(supervisor, "reap", lambda pid: KILLED)
        self.servers[0].ends[0].close()
        self.clock.settle()
        self.clock.advance(EXIT)
        self.clock.advance(FIRST)
        self.clock.advance(IMPORTING - 1.0)
        self.assertEqual(2, len(self.servers))
        self.server.events.forked(0, 20)
        for _ in range(round(IMPORTING / 5)):
            self.say(0, Alive())
            self.clock.advance(5)
        self.assertEqual(2, len(self.servers))

    def test_fork_server_cannot_start(self) -> None:
        """A fork server that cannot be started is tried again after a while, and workers wait."""
        self.fails = 1
        self.server.events.fork_server_lost("its end is closed")
        self.clock.advance(FIRST)
        self.assertEqual(len(self.servers), 1)
        self.assertRegex(self.lines[-1], "cannot start the fork server: Resource temp")
        self.clock.advance(2 * FIRST)
        self.assertEqual(len(self.servers), 2)

    def test_stop_before_the_start(self) -> None:
        """Where main cannot serve after all, the fork server is let go."""
        made = WorkerProcesses(Bootstrap(), self.log, "some.reactor", self.fork_server)
        self.successResultOf(made.stop())
        made.prepare(self.clock)
        stopped = made.stop()
        self.server.stopped.callback(None)
        self.successResultOf(stopped)

    def test_stop(self) -> None:
        """Workers that have stopped are not replaced, and when the processes have ended nothing is
        left.
        """
        self.workers.links[0].close()
        self.server.events.exited(10, 0)
        self.clock.settle()
        self.assertEqual(self.workers.happened[2:], [])
        stopped = self.processes.stop()
        self.assertNoResult(stopped)
        self.assertEqual(self.server.ends[1].recv(1), b"")
        self.server.stopped.callback(None)
        self.successResultOf(stopped)
        self.forget(self.server)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.clock.readers, set())
        self.assertEqual(self.failures(), 0)
        self.assertEqual(open_descriptors() - self.before, set())

    def test_stop_waits_for_orphans(self) -> None:
        """The end waits for workers whose fork server is gone."""
        there = [11, 10]
        self.server.events.fork_server_lost("its end is closed")
        self.patch(supervisor, "reap", lambda pid: None if pid in there else 0)
        self.patch(supervisor, "is_there", lambda pid: True)
        stopped = self.processes.stop()
        self.clock.advance(1.0)
        self.assertNoResult(stopped)
        there.clear()
        self.clock.advance(1.0)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
