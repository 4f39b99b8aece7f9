"""Main's side of its fork server: starts that program, asks it, and reaps it.

A worker whose fork server is gone has nobody who tells how it ends.  So main becomes its parent
(PR_SET_CHILD_SUBREAPER), and reaps it itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tcpmesh.config.messages.types import foreign_modules
from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.processes.fork_server import GRACE, own_ids
from tcpmesh.server.processes.messages import (
    FROM_FORK_SERVER,
    TO_FORK_SERVER,
    Become,
    Exited,
    Fork,
    Forked,
    ForkFailed,
    FromForkServer,
    Import,
    Kill,
    decode,
)

log = Logger(namespace="main")

LOOK = 0.02
"""Seconds between two looks whether the fork server has ended."""

PATIENCE = GRACE + 2.0
"""Seconds that it has for that."""

_PROGRAM = (
    "import gc, sys; gc.disable(); sys.path[:] = sys.argv[2:]; "
    "from tcpmesh.server.processes.fork_server import main; main(int(sys.argv[1]))"
)

_PR_SET_CHILD_SUBREAPER = 36
"""Of linux/prctl.h."""

ROOMS = [
    "accesslog",
    "cluster",
    "connection",
    "extensions",
    "listener",
    "logs",
    "net",
    "registry",
    "rpc",
    "runtime",
    "stats",
    "values",
    "wire",
]
"""Where the modules are that workers may need too."""


class ForkServerEvents(Protocol):
    """Who is told of what happens."""

    def forked(self, index: int, pid: int) -> None:
        """A worker was started."""

    def fork_failed(self, index: int, reason: str) -> None:
        """A worker could not be started."""

    def exited(self, pid: int, status: int) -> None:
        """A worker has ended; the status is that of `os.waitpid`."""

    def fork_server_lost(self, reason: str) -> None:
        """The fork server is gone, and its workers are not."""


class ForkServerLink:
    """A running fork server.

    :param clock: the reactor.
    :raise OSError: where it cannot be started.
    """

    def __init__(self, clock: Any, events: ForkServerEvents) -> None:
        self._clock = clock
        self._events = events
        self._process, sock = start_program()
        self.pid = self._process.pid
        """Its number."""
        self._channel = Channel(sock, clock, self._receive, self._lost)
        self._ended: Deferred[None] | None = None

    def bring_in(self, modules: Iterable[str]) -> None:
        """Have modules imported, and then be the user that this process is now."""
        self._tell(Import(tuple(modules)))
        self._tell(own_ids())

    def fork(self, message: Fork, descriptors: Sequence[int]) -> None:
        """Start a worker with these descriptors."""
        self._tell(message, descriptors)

    def kill(self, pid: int) -> None:
        """End a worker at once."""
        self._tell(Kill(pid))

    def give_up(self, reason: str) -> None:
        """It does not do what it is for: end it at once, and tell that it is gone."""
        self._process.kill()
        self._channel.close()
        self._lost(reason)

    def stop(self) -> Deferred[None]:
        """Let it end once its workers have ended, which it kills where they take too long; fires
        when that is over.
        """
        self._channel.close()
        return self._reaped()

    def _tell(
        self, message: Import | Become | Fork | Kill, descriptors: Sequence[int] = ()
    ) -> None:
        self._channel.send(TO_FORK_SERVER.encode(message), descriptors)

    def _receive(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        for fd in descriptors:
            os.close(fd)
        if descriptors:
            raise FramingError("a fork server has no descriptors for main")
        message: FromForkServer = decode(FROM_FORK_SERVER, body)
        if isinstance(message, Forked):
            self._events.forked(message.worker, message.pid)
        elif isinstance(message, ForkFailed):
            self._events.fork_failed(message.worker, message.reason)
        elif isinstance(message, Exited):
            self._events.exited(message.pid, message.status)

    def _lost(self, reason: str) -> None:
        self._reaped()
        self._events.fork_server_lost(reason)

    def _reaped(self) -> Deferred[None]:
        if self._ended is None:
            self._ended = Deferred()
            self._look(self._clock.seconds() + PATIENCE)
        return self._ended

    def _look(self, limit: float) -> None:
        assert self._ended is not None
        if self._process.poll() is not None:
            self._ended.callback(None)
            return
        if self._clock.seconds() >= limit:
            self._process.kill()
        self._clock.callLater(LOOK, self._look, limit)


def start_program() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a fork server; the process, and our end of the socket to it.

    :raise OSError: where that cannot be.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def modules_for_workers() -> list[str]:
    """What this process has imported and workers may need too: with it the extensions that the
    configuration names.
    """
    foreign = foreign_modules()
    return sorted(
        name
        for name in sys.modules
        if name in foreign or (name.startswith("tcpmesh.") and name.split(".")[1] in ROOMS)
    )


def become_reaper() -> None:
    """Be the parent of workers whose fork server is gone, where the system has that."""
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(pid: int) -> int | None:
    """The status of a process that has ended; `None` where it has not, or is nobody of ours."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if ended else None


def is_there(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int) -> None:
    """End a process at once, if it is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end_of(status: int | None) -> str:
    """How a process has ended, for people.

    :param status: as `os.waitpid` gives it; `None` where nobody knows.
    """
    if status is None:
        return "has ended, nobody knows how"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"has ended with status {code}"
    try:
        return f"has ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"has ended by signal {-code}"
