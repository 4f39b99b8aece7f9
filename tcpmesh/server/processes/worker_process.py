"""A worker as a process of its own: what is done there after the fork.

It has a reactor, a network and a log of its own, and the link to main, which tells it everything
else.  It ends when main has closed the link: after main has told it to stop, or because main is
gone.  Then it closes what it has, and ends after `PATIENCE` seconds whatever is left.
"""

from __future__ import annotations

import gc
import importlib
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from random import Random
from typing import Any

from twisted.logger import Logger, globalLogBeginner

from tcpmesh.config import collector
from tcpmesh.interfaces import INetwork
from tcpmesh.logs.levels import Levels
from tcpmesh.logs.log import Log
from tcpmesh.logs.standard import take_standard_logging
from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.listen import BoundSocket
from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.server.log_retries import LogRetries
from tcpmesh.server.networks import default_network
from tcpmesh.server.processes.messages import Fork, LogSettings, decode
from tcpmesh.server.worker import Worker, worker_store
from tcpmesh.values.lifecycle.moving import OfferClient
from tcpmesh.values.link import (
    AddListener,
    Alive,
    Begin,
    LogLevels,
    ReopenLogs,
    ShareClients,
    Start,
    Stop,
    Stopped,
)
from tcpmesh.values.shared.memory import WorkerCounts

log = Logger(namespace="main")

PATIENCE = 2.0
"""Seconds that a worker has for closing what it has, once main is gone."""


class WorkerProcess:
    """Serves what main tells it.

    :param sock: the worker's end of the link.
    :param counts: the descriptor of the memory that workers share.
    :param network: what it serves with.
    :param observer: its log.
    :param end: ends the process.
    """

    def __init__(
        self,
        clock: Any,
        sock: socket.socket,
        counts: int,
        network: INetwork,
        observer: Log,
        end: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._network = network
        self._observer = observer
        self._end = end
        self._worker: Worker | None = None
        self._has_stopped = self._serves = False
        self._channel = Channel(sock, clock, self._receive, self._lost, cut=self._receive_cut)

    def beat(self, interval: float) -> None:
        """Tell main every so many seconds that the event loop turns."""
        if self._channel.is_open:
            self._send(Alive())
            self._clock.callLater(interval, self.beat, interval)

    def _receive(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        with ExitStack() as undo:
            for fd in descriptors:
                undo.callback(os.close, fd)
            message = decode(TO_WORKER, body)
            if isinstance(message, AddListener | ShareClients):
                undo.pop_all()
                sockets = [BoundSocket(fileno=fd) for fd in descriptors]
                for sock in sockets:
                    sock.setblocking(False)
                self._take(message, sockets)
            elif descriptors and not isinstance(message, OfferClient):
                raise FramingError(f"descriptors came with {type(message).__name__}")
            else:
                self._take(message, descriptors)

    def _receive_cut(self, body: bytes) -> None:
        """There are no descriptors left for those that came."""
        message = decode(TO_WORKER, body)
        if not isinstance(message, OfferClient):
            raise FramingError(f"descriptors of {type(message).__name__} are lost")
        self._take(message, ())

    def _take(self, message: WorkerMessage, sockets: Sequence[Any]) -> None:
        if isinstance(message, Begin):
            self._begin(message)
            return
        if self._worker is None:
            raise FramingError(f"{type(message).__name__} came first")
        if isinstance(message, LogLevels):
            self._observer.levels.follow(message.default, message.levels)
        elif isinstance(message, ReopenLogs):
            self._observer.reopen()
        self._worker.receive(message, sockets)
        if isinstance(message, Start) and not self._serves:
            self._serves = True
            gc.enable()
            collector.calm()

    def _begin(self, begin: Begin) -> None:
        self._worker = Worker(
            begin,
            self._network,
            worker_store(begin),
            self._send,
            Random(),
            WorkerCounts(self._counts, begin.index),
            owns_store=True,
        )

    def _send(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        self._channel.send(TO_MAIN.encode(message), descriptors)
        if isinstance(message, Stopped):
            self._has_stopped = True
            if not self._channel.is_open:
                self._end()

    def _lost(self, reason: str) -> None:
        """Main has closed the link, or is gone."""
        if self._worker is None or self._has_stopped:
            self._end()
            return
        log.warn("main is gone ({reason}): ending", reason=reason)
        self._clock.callLater(PATIENCE, self._end)
        self._worker.receive(Stop())


def log_of(settings: LogSettings, descriptor: int | None) -> Log:
    """The log as main has it.

    :param descriptor: of its file, where it has one.
    """
    levels = Levels(settings.default_level, {})
    levels.follow(settings.default_level, settings.levels)
    return Log(levels, settings.path, settings.pattern, settings.is_escaped, descriptor)


def run_worker(message: Fork, descriptors: tuple[int, ...]) -> int:
    """Be a worker until main closes the link; the exit status of the process."""
    link, counts, *of_log = descriptors
    observer = log_of(message.log, of_log[0] if of_log else None)
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True)
    take_standard_logging(observer)
    importlib.import_module(message.reactor).install()
    from twisted.internet import reactor

    running: Any = reactor
    clock = MonotonicReactor(running)
    LogRetries(observer, clock)
    sock = socket.socket(fileno=link)
    process = WorkerProcess(
        clock, sock, counts, default_network(clock, says_why=False), observer, running.stop
    )
    process.beat(message.beat)
    running.run(installSignalHandlers=False)
    observer.close()
    return 0
