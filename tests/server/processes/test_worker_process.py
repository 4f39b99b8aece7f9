"""A worker's process without the process: its link is a real socketpair, its network is none."""

from __future__ import annotations

import array
import os
import socket

from envoy.config.core.v3.base_pb2 import Node

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config import collector
from tcpmesh.logs.debug import debug_logger
from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.server.channel.framing import FrameReader, FramingError, pieces_of
from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage, Numbers, WorkerMessage
from tcpmesh.server.processes import worker_process
from tcpmesh.server.processes.messages import LogSettings
from tcpmesh.server.processes.worker_process import PATIENCE, WorkerProcess, log_of
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.values.lifecycle.moving import OfferAnswered, OfferClient
from tcpmesh.values.link import (
    Alive,
    Begin,
    LogLevels,
    Prepare,
    Prepared,
    ReopenLogs,
    Start,
    Stop,
    Stopped,
)
from tcpmesh.values.shared.memory import MainCounts
from tcpmesh.values.stream.moved import NO_DESCRIPTORS
from tests.server.processes.watched import WatchingClock, open_descriptors

BEGIN = Begin(1, Node(), workers=2)


class WorkerProcessTests(SynchronousTestCase):
    """`WorkerProcess`."""

    def setUp(self) -> None:
        """It has just been forked."""
        self.clock = WatchingClock()
        self.network = NoNetwork()
        self.counts = MainCounts(2)
        self.addCleanup(self.counts.close)
        self.main, link = socket.socketpair()
        self.addCleanup(self.main.close)
        self.main.setblocking(False)
        self.log = Log(Levels("info", {}))
        self.addCleanup(Levels, "info", {})  # which turns off what a test has turned on
        self.patch(collector, "calm", lambda: self.calmed.append(True))
        self.calmed: list[bool] = []
        self.ends: list[bool] = []
        self.process = WorkerProcess(
            self.clock,
            link,
            os.dup(self.counts.fd),
            self.network,
            self.log,
            lambda: self.ends.append(True),
        )

    def settle(self) -> None:
        """All that can be done is done."""
        for _ in range(4):
            self.clock.settle()
            self.network.clock.advance(0.0)

    def tell(self, *messages: WorkerMessage) -> None:
        """Main says something."""
        for message in messages:
            for piece in pieces_of(TO_WORKER.encode(message)):
                self.main.sendall(piece.data)
        self.settle()

    def told(self) -> list[MainMessage]:
        """What main is told."""
        frames = FrameReader().feed(self.main.recv(1 << 16))
        return [TO_MAIN.decode(frame.body) for frame in frames]

    def test_serves(self) -> None:
        """It does what main says, in the order in which main says it, and when it opens its
        listeners the garbage collector is to forget what there is.
        """
        self.tell(BEGIN, Prepare())
        self.assertEqual((self.told(), self.calmed), ([Prepared()], []))
        self.tell(Start(), Start())
        self.assertEqual(self.calmed, [True])

    def test_stop(self) -> None:
        """When it has stopped it tells what it has counted, says so, and ends when main closes the
        link.
        """
        self.tell(BEGIN, Stop())
        *numbers, stopped = self.told()
        self.assertEqual((stopped, self.ends), (Stopped(), []))
        self.assertEqual([Numbers], [type(each) for each in numbers])
        self.main.close()
        self.settle()
        self.assertEqual(self.ends, [True])

    def test_main_is_gone(self) -> None:
        """Where main is gone it closes what it has, and ends."""
        self.tell(BEGIN, Start())
        self.main.close()
        self.settle()
        self.assertEqual(self.ends, [True])

    def test_patience(self) -> None:
        """It does not wait for ever for what it closes."""
        self.tell(BEGIN)
        assert self.process._worker is not None
        self.patch(self.process._worker, "receive", lambda message: None)
        self.main.close()
        self.settle()
        self.assertEqual(self.ends, [])
        self.clock.advance(PATIENCE)
        self.assertEqual(self.ends, [True])

    def test_gone_before_begin(self) -> None:
        """Where main is gone before it has said anything, it ends at once."""
        self.main.close()
        self.settle()
        self.assertEqual(self.ends, [True])

    def test_nonsense(self) -> None:
        """What is no message, or comes before the first one, ends it."""
        self.tell(Prepare())
        self.assertEqual(self.ends, [True])

    def test_unwanted_sockets(self) -> None:
        """Sockets beside a message that has none end it, and are closed."""
        self.tell(BEGIN)
        before = open_descriptors()
        ((data, _),) = pieces_of(TO_WORKER.encode(Prepare()), [self.counts.fd])
        with socket.socket() as sock:
            rights = array.array("i", [sock.fileno()])
            self.main.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        self.settle()
        self.assertEqual(self.ends, [True])
        self.assertLess(open_descriptors(), before)

    def test_client(self) -> None:
        """A client that it is offered comes with two descriptors, which are closed where it cannot
        go on; so is one whose descriptors had no room.
        """
        self.tell(BEGIN)
        before = open_descriptors()
        with socket.socket() as one, socket.socket() as other:
            fds = [one.fileno(), other.fileno()]
            ((data, _),) = pieces_of(TO_WORKER.encode(OfferClient(5, b"state")), fds)
            socket.send_fds(self.main, [data], fds)
            self.clock.settle()
        self.process._receive_cut(TO_WORKER.encode(OfferClient(6, b"state")))
        self.assertEqual(
            self.told(),
            [
                OfferAnswered(1, 5, "it cannot be read: Expecting value: line 1 column 1 (char 0)"),
                OfferAnswered(1, 6, NO_DESCRIPTORS),
            ],
        )
        self.assertEqual(before, open_descriptors())
        self.assertRaises(FramingError, self.process._receive_cut, TO_WORKER.encode(Prepare()))

    def test_beat(self) -> None:
        """It tells main again and again that its loop turns, until the link is closed."""
        self.process.beat(0.1)
        self.clock.advance(0.1)
        self.assertEqual(self.told(), [Alive(), Alive()])
        self.main.close()
        self.settle()
        self.clock.advance(0.1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_levels(self) -> None:
        """The levels of its log are main's, for loggers that nobody has heard of yet too."""
        self.tell(BEGIN, LogLevels((("upstream", "debug"),), "error"))
        self.assertTrue(self.log.levels.shows("upstream", "debug"))
        self.assertTrue(debug_logger("upstream").enabled)
        self.assertFalse(self.log.levels.shows("somebody.else", "warning"))

    def test_reopen(self) -> None:
        """Its log is opened anew with main's."""
        reopened: list[bool] = []
        self.patch(self.log, "reopen", lambda: reopened.append(True))
        self.tell(BEGIN, ReopenLogs())
        self.assertEqual(reopened, [True])

    def test_log_of_main(self) -> None:
        """The log goes to the file that main has open, in main's format, also where that was moved
        away meanwhile.
        """
        path = self.mktemp()
        of_main = Log(Levels("warning", {"upstream": "debug"}), path, "%l %v", True)
        os.rename(path, f"{path}.1")
        assert of_main.descriptor is not None
        levels = tuple(of_main.levels.get().items())
        settings = LogSettings(path, "%l %v", True, "warning", levels)
        of_worker = log_of(settings, os.dup(of_main.descriptor))
        self.addCleanup(of_worker.close)
        self.assertEqual(of_worker.levels.get(), of_main.levels.get())
        of_worker({"log_format": "a\nb", "log_namespace": "upstream", "log_time": 0.0})
        of_main({"log_format": "of main", "log_namespace": "upstream", "log_time": 0.0})
        of_main.close()
        with open(f"{path}.1") as f:
            self.assertEqual(f.read(), "info a\\nb\ninfo of main\n")

    def test_standard_error(self) -> None:
        """Without a file it is standard error."""
        found = log_of(LogSettings(pattern="%v"), None)
        self.assertEqual((found.path, found.descriptor), ("", None))


class RunTests(SynchronousTestCase):
    """`run_worker` is what `tests.server.processes.test_fork_server` runs."""

    def test_patience(self) -> None:
        """A worker ends by itself before the fork server kills it."""
        from tcpmesh.server.processes.fork_server import GRACE

        self.assertLess(worker_process.PATIENCE, GRACE)
