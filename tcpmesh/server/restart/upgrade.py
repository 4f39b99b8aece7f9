"""The short way to a hot restart (`SIGUSR2`, `tcpmesh upgrade`): the running process starts the
program that is installed now, with its own command line, and hands over to it.

The new process finds this one by a descriptor that it is started with, so no base id is needed.
Until it says that it serves, nothing changes here, and where it does not come to that, this process
serves on: the new one may find its configuration wrong, crash, or hang, in which case it is killed.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.server.channel.channel import ENDED
from tcpmesh.server.restart.restart import Restart
from tcpmesh.server.restart.started import VARIABLE, Started
from tcpmesh.server.restart.successor import Successor
from tcpmesh.values.lifecycle.restart import CannotTakeOver

log = Logger(namespace="main")

START_TIME = 120.0
"""Seconds that a new process may take until it serves."""

END_TIME = 5.0
"""Seconds between the end of its connection and that of the process, which tells its status."""

NOT_FOR_OTHERS = ("WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Variables that are true of this process alone."""


class Program(NamedTuple):
    """How this process was started."""

    executable: str
    arguments: tuple[str, ...]
    directory: str
    """Where it was then."""


class _Watched(ProcessProtocol):
    """Tells when the process that was started ends."""

    def __init__(self, upgrade: Upgrade) -> None:
        self._upgrade = upgrade

    def processEnded(self, reason: Failure) -> None:
        """It has ended."""
        self._upgrade.process_ended(reason)


class Upgrade:
    """One attempt.

    :param reactor: starts processes.
    """

    def __init__(self, restart: Restart, reactor: Any, clock: Any, program: Program) -> None:
        self._restart = restart
        self._reactor = reactor
        self._clock = clock
        self._program = program
        self._process: Any = None
        self._has_ended = False
        self._successor: Successor | None = None
        self._lost = self._status = ""
        """How its connection has ended, and the process itself."""
        self._deadline: IDelayedCall | None = None
        self._done: Deferred[int] | None = None

    def begin(self, environ: Mapping[str, str]) -> Deferred[int]:
        """Start it; fires with its process number when it has taken over, or with
        `CannotTakeOver`.
        """
        done = self._done = Deferred()
        reason = self._restart.why_not(None)
        if not reason:
            try:
                self._start(environ)
            except OSError as e:
                reason = f"cannot start {self._program.executable}: {e.strerror or e}"
        if reason:
            self._finish(reason)
        return done

    @property
    def is_under_way(self) -> bool:
        """Whether it is not known yet what comes of it."""
        return self._done is not None

    def _start(self, environ: Mapping[str, str]) -> None:
        executable, arguments, directory = self._program
        if not os.access(executable, os.X_OK):
            raise OSError(2, os.strerror(2))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._successor = self._restart.meet(ours, self._failed)
            self._restart.on_taken_over = self._taken_over
            fd, facts = theirs.fileno(), self._restart.facts
            self._deadline = self._clock.callLater(START_TIME, self._is_late)
            self._process = self._reactor.spawnProcess(
                _Watched(self),
                executable,
                arguments,
                {
                    **{k: v for k, v in environ.items() if k not in NOT_FOR_OTHERS},
                    VARIABLE: str(Started(fd, facts.epoch + 1, facts.base_id)),
                },
                directory,
                childFDs={0: 0, 1: 1, 2: 2, fd: fd},
            )
        log.info("process {pid} is started to take over", pid=self._process.pid)

    def cancel(self) -> None:
        """This process ends."""
        if self._done is not None:
            log.info("the upgrade is given up: this process ends")
        self._give_up("this process ends")

    def process_ended(self, reason: Failure) -> None:
        """The process that was started is no more; where twistd detaches the new one that is as it
        should be.
        """
        self._has_ended = True
        if reason.check(ProcessDone) is None or self._lost:
            self._status = _status(reason)
            self._settle()

    def _taken_over(self, successor: Successor) -> None:
        done, self._done = self._done, None
        self._cancel()
        if done is not None:
            done.callback(successor.pid)

    def _failed(self, successor: Successor, reason: str) -> None:
        """Its connection has ended."""
        if self._done is not None:
            self._lost = reason
            if self._has_ended and not self._status:
                self._status = "it has ended"
            self._settle()

    def _settle(self) -> None:
        """What it has said is the reason, else how its process has ended: neither is known for sure
        before the other.
        """
        if self._lost and (self._lost != ENDED or self._status):
            self._finish(self._status if self._lost == ENDED else self._lost)
        elif self._done is not None:
            self._cancel()
            self._deadline = self._clock.callLater(END_TIME, self._is_over)

    def _is_over(self) -> None:
        self._finish(self._status or self._lost)

    def _is_late(self) -> None:
        self._finish(f"it does not serve after {START_TIME:g} s")

    def _finish(self, reason: str) -> None:
        if self._done is not None:
            log.error("the upgrade has failed, and this process serves on: {reason}", reason=reason)
        self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._cancel()
            self._kill()
            done.errback(CannotTakeOver(reason))

    def _kill(self) -> None:
        """Whatever it does yet, it is not to serve."""
        successor, self._successor = self._successor, None
        pid = successor.pid if successor is not None else 0
        if successor is not None:
            successor.give_up("its time is over")
        if self._process is not None and not self._has_ended:
            with suppress(Exception):  # it ends at this moment
                self._process.signalProcess("KILL")
            if pid > 1 and pid != self._process.pid:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)

    def _cancel(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


def _status(reason: Failure) -> str:
    value = reason.value
    if isinstance(value, ProcessTerminated) and value.signal is not None:
        return f"it was killed by signal {value.signal}"
    status = getattr(value, "exitCode", 0)
    return f"it has ended with status {status} before it served"
