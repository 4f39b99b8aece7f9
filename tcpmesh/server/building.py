"""A worker of several that builds thousands of filter chains serves its clients meanwhile: it
builds them in small steps, and what main says meanwhile waits its turn.

With one worker main has them built ahead instead (`BuildAhead`), for there it goes on with the
answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.listener.updates import ahead_of
from tcpmesh.server.link.numbers import WorkerMessage
from tcpmesh.values.lifecycle.moving import (
    ClientMoved,
    ClientStays,
    ForgetClient,
    MoveClients,
    OfferClient,
    TakeClient,
)
from tcpmesh.values.link import AddListener, BuildAhead, Start, Stop, UpdateChains

log = Logger(namespace="main")

NOT_WAITING = (
    ClientMoved,
    ClientStays,
    ForgetClient,
    MoveClients,
    OfferClient,
    Stop,
    TakeClient,
)
"""Clients that wait, descriptors that are only lent, and the end."""


class Builds(Protocol):
    """The listeners of the worker, as they are needed here."""

    def build_ahead(self, told: BuildAhead) -> Iterator[None]:
        """Build in small steps what comes next."""


class Building:
    """What one worker builds in steps.

    :param take: does what main says, at once.
    """

    def __init__(
        self,
        listeners: Builds,
        cooperator: Cooperator,
        take: Callable[[WorkerMessage, Sequence[Any]], object],
    ) -> None:
        self._listeners = listeners
        self._cooperator = cooperator
        self._take = take
        self._waiting: deque[tuple[WorkerMessage, Sequence[Any]]] = deque()
        """What main has said; the first of it is being built."""
        self._is_started = False

    def receive(self, message: WorkerMessage, sockets: Sequence[Any]) -> None:
        """Main says something: it is done now, or after what takes its time."""
        self._is_started |= isinstance(message, Start)
        if isinstance(message, Stop):
            self._stop()
        if self._waiting and not isinstance(message, NOT_WAITING):
            self._waiting.append((message, sockets))
        elif self._takes_long(message):
            self._waiting.append((message, sockets))
            self._go_on()
        else:
            self._take(message, sockets)

    def _takes_long(self, message: WorkerMessage) -> bool:
        """As long as there are no clients nobody waits."""
        return self._is_started and _ahead_of(message) is not None

    def _go_on(self) -> None:
        self._cooperator.coiterate(self._steps()).addErrback(self._has_failed)

    def _steps(self) -> Iterator[None]:
        while self._waiting:
            message, sockets = self._waiting[0]
            ahead = _ahead_of(message)
            if ahead is not None:
                yield from self._listeners.build_ahead(ahead)
            if self._waiting:  # else the worker has stopped
                self._take(message, sockets)
                self._waiting.popleft()
            yield

    def _has_failed(self, reason: Failure) -> None:
        """As for what is done at once: a bug, which is logged, and the next is done."""
        if reason.check(SchedulerStopped) is None:
            log.failure("a message of main's could not be dealt with", reason)
            self._waiting.popleft()
            self._go_on()

    def _stop(self) -> None:
        """Nothing of what waits is done any more."""
        while self._waiting:
            for each in self._waiting.pop()[1]:
                each.close()


def _ahead_of(message: WorkerMessage) -> BuildAhead | None:
    return ahead_of(message) if isinstance(message, AddListener | UpdateChains) else None
