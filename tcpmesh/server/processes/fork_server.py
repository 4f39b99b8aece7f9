"""The fork server: a process that has imported all that workers need, and forks them.

A worker that was started as a program of its own would take half a second and tens of megabytes to
import what all the others have too.  A fork of main would have the memory for nothing, but with it
main's reactor, its threads and its sockets.  So main starts this program once, early: while it may
still be root, who can read what others cannot.  It imports, becomes the user that main is by then,
has neither reactor nor threads, and has nothing open but standard streams and the socket to main.
Whoever is forked from it shares its memory until either writes to it; that the garbage collector
does not is what `gc.freeze` is for.

It is the parent of workers: it reaps them, and tells main how each has ended.  Main does not die
without it, nor do the workers, and main starts another one.  When main is gone, its workers end by
themselves, for they see the end of their links; those that do not within `GRACE` seconds it kills.

Signals are main's: they mean nothing here, nor in workers, since those of a terminal and of service
managers reach all processes of a group.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from tcpmesh.net.tls.openssl.prepared import PREPARED
from tcpmesh.server.channel.framing import AT_ONCE, Frame, FrameReader, FramingError, pieces_of
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
from tcpmesh.server.processes.warm_up import warm_up
from tcpmesh.server.processes.worker_process import run_worker

GRACE = 3.0
"""Seconds in which workers end after main."""

IGNORED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

Run = Callable[[Fork, "tuple[int, ...]"], int]


class ForkServer:
    """Forks workers for whoever has the other end of a socket.

    :param run: what a worker does, with its descriptors; its exit status.
    """

    def __init__(self, sock: socket.socket, run: Run = run_worker) -> None:
        self._sock = sock
        self._run = run
        self._reader = FrameReader()
        self._wakes, self._wake = socket.socketpair()
        self._children: set[int] = set()

    def serve(self) -> None:
        """Do what main asks until it is gone, and see workers off then."""
        for each in (self._wakes, self._wake):
            each.setblocking(False)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with suppress(FramingError, OSError):
            while True:
                self._wait(None)
        self._see_off()

    def _wait(self, seconds: float | None) -> None:
        """Wait for main or for the end of a worker.

        :raise FramingError: where main is gone.
        """
        ready, _, _ = select.select([self._sock, self._wakes], [], [], seconds)
        if self._wakes in ready:
            with suppress(BlockingIOError):
                self._wakes.recv(1 << 12)
            self._reap()
        if self._sock in ready:
            for frame in self._read():
                self._obey(frame)

    def _read(self) -> list[Frame]:
        data, descriptors, flags, _ = socket.recv_fds(
            self._sock, 1 << 16, AT_ONCE, socket.MSG_CMSG_CLOEXEC
        )
        if not data or flags & socket.MSG_CTRUNC:
            raise FramingError("main is gone")
        return self._reader.feed(data, descriptors)

    def _obey(self, frame: Frame) -> None:
        message = decode(TO_FORK_SERVER, frame.body)
        if isinstance(message, Import):
            _import(message.modules)
        elif isinstance(message, Become):
            become(message)
        elif isinstance(message, Kill):
            # Of one that has ended, and is reaped, another process may have the number.
            if message.pid in self._children:
                os.kill(message.pid, signal.SIGKILL)
        else:
            self._fork(message, frame.descriptors)
        for fd in frame.descriptors:
            os.close(fd)

    def _fork(self, message: Fork, descriptors: tuple[int, ...]) -> None:
        try:
            pid = os.fork()
        except OSError as e:
            self._tell(ForkFailed(message.worker, os.strerror(e.errno or 0)))
            return
        if not pid:
            self._be_worker(message, descriptors)
        self._children.add(pid)
        self._tell(Forked(message.worker, pid))

    def _be_worker(self, message: Fork, descriptors: tuple[int, ...]) -> NoReturn:
        """In the new process: nothing that is the fork server's is kept."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (self._sock, self._wakes, self._wake):
                each.close()
            name_process(f"tcpmesh:wrk_{message.worker}")
            status = self._run(message, descriptors)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Tell main of the workers that have ended."""
        for pid in tuple(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                self._tell(Exited(pid, status))

    def _tell(self, message: FromForkServer) -> None:
        with suppress(OSError):
            for piece in pieces_of(FROM_FORK_SERVER.encode(message)):
                self._sock.sendall(piece.data)

    def _see_off(self) -> None:
        """Main is gone: wait for the workers, but not for ever."""
        self._sock.close()
        limit = time.monotonic() + GRACE
        while self._children and (left := limit - time.monotonic()) > 0:
            select.select([self._wakes], [], [], left)
            with suppress(BlockingIOError):
                self._wakes.recv(1 << 12)
            self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def name_process(name: str) -> None:
    """What the kernel calls this process, for `ps` and `top`: 15 characters of it."""
    with suppress(OSError), open("/proc/self/comm", "w") as f:
        f.write(name)


def own_ids() -> Become:
    """Who this process is."""
    return Become(os.geteuid(), os.getegid(), tuple(os.getgroups()))


def become(wanted: Become) -> None:
    """Be that user.

    :raise OSError: where this process may not.
    """
    if own_ids() != wanted:
        os.setgroups(wanted.groups)
        os.setgid(wanted.gid)
        os.setuid(wanted.uid)


def _import(modules: tuple[str, ...]) -> None:
    """Import what main has imported, and let the garbage collector leave it alone."""
    for name in modules:
        # What cannot be imported here is imported again by the worker that needs it, which says so.
        with suppress(Exception):
            importlib.import_module(name)
    warm_up()
    PREPARED.prepare()
    gc.freeze()


def main(descriptor: int) -> None:
    """What main starts as a program."""
    name_process("tcpmesh:fork")
    # Who has started it has switched the garbage collector off: it makes no garbage, and a
    # collection would touch what is shared.  Workers collect once they serve: until then little of
    # what they make is garbage.
    ForkServer(socket.socket(fileno=descriptor)).serve()
