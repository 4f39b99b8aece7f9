"""Closes connections of a worker because an operator wants it.

At once, and in small steps where there are many; or gently, to move clients to other hosts: a few
in each second, each after it was given what was for it, so that not all of them come back in the
same moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import ceil
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater

from tcpmesh.connection.connection import UNRELAYED, Connection
from tcpmesh.connection.live.rows import Look, Rates
from tcpmesh.connection.live.walking import fitting, looks
from tcpmesh.interfaces import INetwork
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.live import CloseConnections, ConnectionsClosed
from tcpmesh.values.stream.phase import CLOSED, FLUSHING

STEP = 8
"""Connections closed in one turn of the event loop: what follows of each takes longer than that."""

PAUSE = 0.05
"""Seconds between two steps of those that are closed gently."""

FLUSH_TIME = 5.0
"""Seconds that a client has to take what was for it, where it is closed gently."""

WORDS = "closed_by_an_operator"
"""In `DOWNSTREAM_LOCAL_CLOSE_REASON`; Envoy has none for this."""

GENTLY = "to rebalance"


class Closing:
    """Those that one worker is told to close.

    :param connections: all clients at this moment, in groups, each a snapshot.
    :param send: tells main.
    """

    def __init__(
        self,
        worker: int,
        network: INetwork,
        connections: Callable[[], Iterable[Sequence[Connection]]],
        send: Callable[[Any], object],
    ) -> None:
        self._worker = worker
        self._network = network
        self._connections = connections
        self._send = send
        self._gently: dict[Connection, None] = {}
        """Those that are still to be closed, in order, however often somebody asks for it."""
        self._next: IDelayedCall | None = None
        self._flushing = network.timers.queue(FLUSH_TIME, _cut)
        self._is_stopped = False
        self.receivers: Mapping[type, Callable[[Any], object]] = {CloseConnections: self._close}
        """What is done with each message of main's."""

    def stop(self) -> None:
        """Close nothing any more."""
        self._is_stopped = True
        self._gently.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _close(self, told: CloseConnections) -> None:
        self._network.cooperator.cooperate(self._steps(told))

    def _steps(self, told: CloseConnections) -> Iterator[Deferred[None] | None]:
        chosen: list[Connection] = []
        fits = fitting(told.filters)
        for look in looks(self._connections(), self._network.clock, self._worker, _no_rates):
            if look is None:
                yield None
            elif look.info.phase is not FLUSHING and fits(look):
                chosen.append(look.connection)
        if told.percent < 100:
            chosen.sort(key=_began)
            del chosen[ceil(len(chosen) * told.percent / 100) :]
        if self._is_stopped:
            return
        self._send(ConnectionsClosed(told.ask, self._worker, len(chosen)))
        if told.gently:
            self._gently.update(dict.fromkeys(chosen))
            if self._next is None:
                self._close_gently()
            return
        for index, connection in enumerate(chosen, 1):
            close_now(connection)
            if index % STEP == 0:
                yield deferLater(self._network.clock, 0)

    def _close_gently(self) -> None:
        self._next = None
        for connection in tuple(islice(self._gently, STEP)):
            del self._gently[connection]
            if connection.stream_info.phase is not CLOSED:
                connection.close(_reason(connection, GENTLY), WORDS)
                self._flushing.add(connection)
        if self._gently:
            self._next = self._network.clock.callLater(PAUSE, self._close_gently)


def close_now(connection: Connection) -> None:
    """Close a connection, and the other side of it, at once."""
    info = connection.stream_info
    if info.phase is CLOSED:
        return
    info.close(_reason(connection))
    info.local_close_reason = info.local_close_reason or WORDS
    if info.phase in UNRELAYED:
        info.phase = FLUSHING
    connection.transport.cutConnection()


def _reason(connection: Connection, detail: str = "") -> CloseReason:
    phase = connection.stream_info.phase
    return CloseReason(EndedBy.PROXY, phase, Cause.OPERATOR, detail=detail)


def _cut(connection: Connection) -> None:
    """It has had its time."""
    connection.transport.cutConnection()


def _no_rates(look: Look) -> Rates:
    """Nobody closes connections by their rates alone, and there may be none noted."""
    return 0.0, 0.0, 0.0


def _began(connection: Connection) -> float:
    return connection.stream_info.started
