"""Processes that take over from each other, played in one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.server.restart.beginning import Beginning, begin
from tcpmesh.server.restart.restart import Restart
from tcpmesh.server.restart.sockets import LISTENER, Out
from tcpmesh.server.restart.successor import Successor
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tcpmesh.values.server_options import ServerOptions
from tests.server.processes.watched import WatchingClock
from tests.told import told_in


class FakeProcess:
    """A process that serves nothing."""

    def __init__(self) -> None:
        self.store = Store()
        self.open_connections = 0
        self.reason = ""
        """Why it cannot be taken over from."""
        self.out: list[Out] = []
        self.has_sinks = False
        self.handed: list[tuple[int, int]] = []
        self.done: list[str] = []
        self.taker: Successor | None = None
        """Who takes clients."""
        self.answers: list[tuple[int, str]] = []

    def why_not_taken_over(self) -> str:
        """What the test says."""
        return self.reason

    def sockets_to_hand_over(self) -> list[Out]:
        """What the test says."""
        return list(self.out)

    def numbers(self) -> Deferred[None]:
        """Note it."""
        self.done.append("numbers")
        return succeed(None)

    def flush_server_stats(self) -> bool:
        """Likewise."""
        self.done.append("flush")
        return self.has_sinks

    def hand_over(self, pid: int, seconds: int, taker: Successor | None) -> None:
        """Note it."""
        self.handed.append((pid, seconds))
        self.taker = taker

    def can_take(self, client: int, refused: str) -> None:
        """Note it."""
        self.answers.append((client, refused))

    def taker_gone(self) -> None:
        """Note it."""
        self.taker = None

    def reopen_logs(self) -> None:
        """Note it."""
        self.done.append("reopen")

    def quit(self) -> None:
        """Note it."""
        self.done.append("quit")


class RowTestCase(SynchronousTestCase):
    """Has processes of one row."""

    def setUp(self) -> None:
        """The first one serves."""
        self.clock = WatchingClock()
        self.cooperator = shared_cooperator(self.clock)
        self.told = told_in(self, "main")
        self.path = f"@tcpmesh-test-{os.getpid()}-{id(self)}"
        self.old = FakeProcess()
        self.first = self.restart(self.old, self.begun())
        self.first.serve(0)

    def restart(self, process: FakeProcess, beginning: Beginning, imports: bool = True) -> Restart:
        """The part of a process, which has begun."""
        restart = Restart(process, beginning, self.clock, imports)
        restart.start(self.cooperator)
        self.addCleanup(self.end, restart)
        return restart

    def end(self, restart: Restart) -> None:
        """Its process ends; what it has told last is read."""
        stopped = ensureDeferred(restart.stop())
        while not stopped.called:
            self.clock.advance(1)
            self.clock.settle()
        self.clock.settle()

    def options(self, **more: object) -> ServerOptions:
        """Those of a process of this row."""
        return ServerOptions(**{"socket_path": self.path, **more})  # type: ignore[arg-type]

    def begun(self, **more: object) -> Beginning:
        """How a process begins, while those before it go on."""
        found: list[Beginning | Exception] = []
        self.beside(lambda: found.append(begin(self.options(**more), None, -1)), found)
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def beside(self, act: Callable[[], object], found: list[Beginning | Exception]) -> None:
        """Do what blocks."""

        def run() -> None:
            try:
                act()
            except CannotTakeOver as e:
                found.append(e)

        thread = threading.Thread(target=run)
        thread.start()
        self.clock.until(lambda: not thread.is_alive())
        thread.join()
        self.clock.settle()

    def listening(self, name: str, asked: Address | None = None) -> Out:
        """A socket that the first process has."""
        sock = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(sock.close)
        return Out(LISTENER, sock, asked or Address(*sock.getsockname()), name)
