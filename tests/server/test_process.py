"""The server that is the whole process: its log, its exit status, its end."""

from __future__ import annotations

import io
import os
import socket
import sys
from dataclasses import replace
from typing import Any

from zope.interface.verify import verifyObject

from twisted.application.service import Application, IService, IServiceCollection
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.python import threadable
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import IServer
from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.net.listen import BindError
from tcpmesh.server.log_retries import LOG_RETRY
from tcpmesh.server.process import ANSWER_TIME, EndOfProcess, ProcessServer, Row
from tcpmesh.server.restart.pid_file import PidFile
from tcpmesh.server.restart.upgrade import Program
from tcpmesh.server.service import CannotStart
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import NotPossible
from tests.mesh import listener_message, tcp_proxy
from tests.server.test_service import bootstrap
from tests.server.workers.test_service import InMemory


class FakeProcess:
    """One that was started."""

    pid = 1 << 22

    def __init__(self) -> None:
        self.signals: list[str] = []

    def signalProcess(self, name: str) -> None:
        """Remember it."""
        self.signals.append(name)


class ProcessTests(SynchronousTestCase):
    """What twistd and the system see."""

    def setUp(self) -> None:
        """A server on a memory network, whose log writes to a buffer."""
        self.reactor: Any = MemoryReactorClock()
        self.network = MemoryNetwork(self.reactor)
        self.patch(sys, "stderr", io.StringIO())
        self.log = Log(Levels("info", {}))
        message = bootstrap(listener_message("l", "127.0.0.1:1", tcp_proxy()))
        self.make = lambda: ProcessServer(
            self.reactor, message, ServerOptions(), self.log, self.network
        )
        self.server = self.make()

    def test_notifies(self) -> None:
        """Whoever has started the process hears when it serves and when it ends, and nothing after
        that.
        """
        path = self.mktemp()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.setblocking(False)
        variables = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": ""}
        self.patch(os, "environ", {**os.environ, **variables})
        self.server = self.make()
        self.start()
        self.assertEqual(b"READY=1\nSTATUS=serving (listeners: 1, clusters: 1)", manager.recv(99))
        self.assertEqual(b"WATCHDOG=1", manager.recv(99))
        self.successResultOf(self.server.stopService())
        self.assertEqual(b"STOPPING=1\nSTATUS=closing all connections", manager.recv(99))
        self.reactor.advance(5)
        self.assertRaises(BlockingIOError, manager.recv, 99)

    def test_notifies_of_reloads(self) -> None:
        """It hears too when the configuration is read again, and that it is served, or still."""
        path = self.mktemp()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        manager.setblocking(False)
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": path})
        self.server = self.make()
        self.start()
        manager.recv(99)
        self.server.reloads.reload("signal", dry_run=True)
        self.network.pump()
        self.assertRaises(BlockingIOError, manager.recv, 99)
        self.server.reloads.reload("signal")
        self.network.pump()
        self.assertRegex(manager.recv(99), rb"\ARELOADING=1\nMONOTONIC_USEC=\d+\Z")
        self.assertEqual(b"READY=1\nSTATUS=serving (listeners: 1, clusters: 1)", manager.recv(99))

    def start(self) -> None:
        """What twistd does."""
        self.server.privilegedStartService()
        self.server.startService()
        self.reactor.running = True

    def test_handed_over(self) -> None:
        """Once another process serves, this one tells the service manager which, leaves the pid
        file alone, and ends with its last client, when its admin interface has answered.
        """
        path = self.mktemp()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(path)
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": path})
        self.server = self.make()
        twistd = {"pidfile": "here"}
        self.server._row = Row(pid_file=PidFile(twistd))
        self.start()
        manager.recv(99)
        stopped: list[None] = []
        self.reactor.stop = lambda: stopped.append(None)
        self.server.hand_over(7, 30, None)
        self.assertEqual(b"MAINPID=7", manager.recv(99))
        self.assertEqual("", twistd["pidfile"])
        self.reactor.advance(ANSWER_TIME - 0.1)
        self.assertEqual([], stopped)
        self.reactor.advance(1)
        self.assertEqual([None], stopped)
        self.successResultOf(self.server.stopService())

    def test_clients_move(self) -> None:
        """Where the other process takes clients those that can move do, before the others drain;
        --live-handover off has all of them stay.
        """
        for value in ("on", "off"):
            self.server = self.make()
            self.server.options = replace(self.server.options, live_handover=value)
            self.start()
            begun: list[object] = []
            over: Deferred[None] = Deferred()
            drains: list[bool] = []

            def begin(taker: object, begun: Any = begun, over: Any = over) -> Deferred[None]:
                begun.append(taker)
                return over  # type: ignore[no-any-return]

            def drain(
                scope: object, is_graceful: bool = False, drains: Any = drains, **_: Any
            ) -> None:
                drains.append(is_graceful)

            self.patch(self.server.main.giving, "begin", begin)
            self.patch(self.server, "drain_listeners", drain)
            taker: Any = object()
            self.server.hand_over(7, 30, taker)
            expected = ([taker], [False]) if value == "on" else ([], [False, True])
            self.assertEqual(expected, (begun, drains))
            over.callback(None)
            self.assertEqual([False, True], drains)
            self.successResultOf(self.server.stopService())

    def test_no_time_to_shut_down(self) -> None:
        """Without any time until it ends it cuts its clients off."""
        self.start()
        self.patch(ProcessServer, "count_waited_for", lambda self: succeed(1))
        stopped: list[None] = []
        self.reactor.stop = lambda: stopped.append(None)
        self.server.hand_over(7, 0, None)
        self.reactor.advance(ANSWER_TIME)
        self.reactor.advance(1)
        self.assertEqual([None], stopped)

    def test_upgrade(self) -> None:
        """What another program has started cannot be replaced; there is one upgrade at a time, and
        none where the process has a reason; meanwhile the configuration cannot be replaced, for the
        new process may have read it already; where this one ends, so does the new one.
        """
        self.failureResultOf(self.server.upgrade(), NotPossible)
        row = Row(program=Program("/bin/sh", ("sh",), "/"))
        self.server = ProcessServer(
            self.reactor, self.server.bootstrap, ServerOptions(), self.log, self.network, row=row
        )
        not_yet = self.failureResultOf(self.server.upgrade(), CannotTakeOver)
        self.assertIn("does not serve yet", str(not_yet.value))
        self.start()
        started: list[FakeProcess] = []

        def start(*arguments: object, **more: object) -> FakeProcess:
            started.append(FakeProcess())
            return started[-1]

        self.reactor.spawnProcess = start
        first = self.server.upgrade()
        second = self.failureResultOf(self.server.upgrade(), CannotTakeOver)
        self.assertIn("an upgrade is under way", str(second.value))
        self.assertIn("an upgrade is under way", self.server.why_not_now())
        self.assertEqual(1, len(started))
        self.server.stopService()
        self.failureResultOf(first, CannotTakeOver)
        self.assertEqual(["KILL"], started[0].signals)

    def test_several_workers(self) -> None:
        """A process with several workers can be taken over from; none of them is replaced then."""
        processes = InMemory(self.network)
        self.server = ProcessServer(
            self.reactor,
            self.server.bootstrap,
            ServerOptions(concurrency=2),
            self.log,
            self.network,
            processes=processes,
        )
        self.start()
        self.network.pump()
        self.assertEqual("", self.server.why_not_taken_over())
        self.assertFalse(processes.is_retired)
        self.server.hand_over(7, 30, None)
        self.assertTrue(processes.is_retired)

    def test_interfaces(self) -> None:
        """It is a service, and what the admin interface asks."""
        verifyObject(IServer, self.server)
        verifyObject(IService, self.server)

    def test_levels(self) -> None:
        """Its log levels are those of its log."""
        self.assertIs(self.log.levels, self.server.log_levels)

    def test_log_behind(self) -> None:
        """Lines of the log that a slow reader has not taken are tried again, until all are
        written, and not any more once the server has stopped.
        """
        self.start()
        tries: list[bool] = []
        left = [False, False, True]

        def flush() -> bool:
            tries.append(True)
            return left.pop(0)

        self.patch(self.log, "flush", flush)
        self.patch(threadable, "isInIOThread", lambda: True)
        self.log.on_behind()
        self.log.on_behind()
        self.reactor.pump([LOG_RETRY] * 5)
        self.assertEqual(3, len(tries))
        self.log.on_behind()
        self.successResultOf(self.server.stopService())
        self.reactor.pump([LOG_RETRY] * 5)
        self.assertEqual(3, len(tries))

    def test_cannot_bind(self) -> None:
        """An address that cannot be bound ends the process with status 1, whether twistd has it
        bound with more privileges first or not, and without a traceback.
        """
        self.network.bind(Address("127.0.0.1", 1))
        for start in (self.server.privilegedStartService, self.make().startService):
            error = self.assertRaises(EndOfProcess, start)
            self.assertEqual(1, error.code)
            self.assertIsInstance(error, SystemExit)
            self.assertIn("127.0.0.1:1", str(error))

    def test_cannot_open_when_started(self) -> None:
        """An address that another process has taken since it was bound ends it likewise."""
        self.server.privilegedStartService()
        self.patch(self.server._proxy.main, "start_workers", self.taken)  # type: ignore[union-attr]
        self.assertRaises(EndOfProcess, self.server.startService)

    def taken(self) -> None:
        """What opening an address comes to."""
        raise BindError("taken", Address("127.0.0.1", 1))

    def test_cannot_open_later(self) -> None:
        """An address that is lost while clusters warm up stops the reactor, and the process is to
        end with status 1.
        """
        self.start()
        self.server._failed(Failure(CannotStart("taken")))
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(1, self.server.exit_status)

    def test_fails_later(self) -> None:
        """Any other failure is logged with its traceback."""
        self.start()
        self.server._failed(Failure(ZeroDivisionError()))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertEqual(0, self.server.exit_status)

    def test_quit(self) -> None:
        """To quit stops the reactor, once: two signals at the same time are no error."""
        stopped: list[bool] = []
        self.patch(self.reactor, "stop", lambda: stopped.append(True))
        self.start()
        self.server.quit()
        self.server.quit()
        self.assertEqual([True], stopped)

    def test_finish(self) -> None:
        """While its last client is waited for it says that it drains, for no other gets in."""
        self.start()
        self.assertEqual("LIVE", self.server.state)
        self.server.finish()
        self.assertEqual("DRAINING", self.server.state)

    def test_log_of_the_application(self) -> None:
        """In an application its log is that of the application."""
        application = Application("test")
        self.server.setServiceParent(application)
        self.assertIs(self.log, ILogObserver(application))
        self.assertEqual([self.server], list(IServiceCollection(application)))
