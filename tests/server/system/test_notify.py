"""What the service manager is told."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.system.notify import Notifier
from tests.told import told_in


class NotifierTests(SynchronousTestCase):
    """A process whose service manager is a socket of the test."""

    def setUp(self) -> None:
        """Its socket."""
        self.clock = Clock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = str(self.folder / "n")
        self.manager = self.listen(os.path.relpath(self.path))

    def listen(self, address: str) -> socket.socket:
        """A socket that hears."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(address)
        sock.setblocking(False)
        return sock

    def notifier(self, **environ: str) -> Notifier:
        """The one of a process with these variables, whose directory is ours."""
        found = Notifier({"NOTIFY_SOCKET": os.path.relpath(self.path), **environ}, self.clock)
        self.addCleanup(found.close)
        return found

    def heard(self) -> list[str]:
        """What the service manager has heard."""
        found = []
        while True:
            try:
                found.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return found

    def test_life(self) -> None:
        """It hears that the process is ready, what it does, and that it ends; a status is one
        line, whatever is in it.
        """
        notifier = self.notifier()
        notifier.ready("serving")
        notifier.status("a\nb=c")
        notifier.stopping("the end")
        self.assertEqual(
            ["READY=1\nSTATUS=serving", "STATUS=a b=c", "STOPPING=1\nSTATUS=the end"], self.heard()
        )

    def test_reload(self) -> None:
        """It hears when the configuration is read again, by the clock that systemd wants."""
        before = time.monotonic_ns() // 1000
        self.notifier().reloading()
        first, _, moment = self.heard()[0].partition("\nMONOTONIC_USEC=")
        self.assertEqual("RELOADING=1", first)
        self.assertTrue(before <= int(moment) <= time.monotonic_ns() // 1000)

    def test_abstract(self) -> None:
        """Its socket may have a name that is no path."""
        name = f"tcpmesh-test-{os.getpid()}"
        self.manager = self.listen(f"\0{name}")
        self.notifier(NOTIFY_SOCKET=f"@{name}").status("here")
        self.assertEqual(["STATUS=here"], self.heard())

    def test_nobody(self) -> None:
        """Without one nobody is told anything, and no timer is set."""
        notifier = Notifier({"WATCHDOG_USEC": "1000000"}, self.clock)
        notifier.ready("serving")
        notifier.stopping("the end")
        notifier.close()
        self.assertEqual(([], []), (self.heard(), self.clock.getDelayedCalls()))

    def test_watchdog(self) -> None:
        """Once it is ready it gives a sign of life twice in the time that it has, and none when it
        is over.
        """
        notifier = self.notifier(WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
        self.clock.advance(10)
        self.assertEqual([], self.heard())
        notifier.ready("serving")
        notifier.ready("serving once more")
        self.assertEqual(1, self.heard().count("WATCHDOG=1"))
        self.clock.advance(1.4)
        self.assertEqual([], self.heard())
        self.clock.pump([0.1, 1.5])
        self.assertEqual(["WATCHDOG=1"] * 2, self.heard())
        notifier.close()
        notifier.close()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_watchdog_of_another(self) -> None:
        """A watchdog that waits for another process, or for no number of microseconds, hears
        nothing.
        """
        for variables in (
            {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid() + 1)},
            {"WATCHDOG_USEC": "soon"},
            {"WATCHDOG_USEC": "0"},
        ):
            self.notifier(**variables).ready("serving")
            self.assertEqual(["READY=1\nSTATUS=serving"], self.heard())
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_deaf(self) -> None:
        """One that does not listen, or does not read, keeps nobody waiting; the log says so
        once.
        """
        told = told_in(self, "main")
        notifier = self.notifier()
        for _ in range(5000):
            notifier.status("x" * 1000)
        self.manager.close()
        notifier.status("x")
        self.assertEqual(1, len(told.lines))
        self.assertIn("NOTIFY_SOCKET", told.lines[0])
