"""What a worker does when it is asked about its connections and clients.

There may be a hundred thousand, and many may ask at once.  So nobody is answered in one go: the
work is a task of the network's cooperator, one question after the other, and whoever asks the same
as one that waits already gets the same answer.  While a worker looks at all connections it holds
references to them, and to the rows that are asked for; nothing of that is left between questions
but what `tcpmesh.connection.live.rates` notes for a while.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from time import time
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.live.best import Best
from tcpmesh.connection.live.matching import matcher, reader
from tcpmesh.connection.live.rates import RateNotes
from tcpmesh.connection.live.rows import READERS, Look, close_row
from tcpmesh.connection.live.walking import fitting, looks
from tcpmesh.interfaces import INetwork
from tcpmesh.values.live.clients import (
    AskTopClients,
    ClientQuery,
    ClientRow,
    Limits,
    TopClientRows,
)
from tcpmesh.values.stream.live import (
    CLOSE_FIELDS,
    AskCloses,
    AskConnections,
    CloseQuery,
    CloseRow,
    CloseRows,
    ConnectionQuery,
    ConnectionRow,
    ConnectionRows,
)
from tcpmesh.values.stream.phase import CLOSED
from tcpmesh.values.stream.stream_info import StreamInfo

Thing = TypeVar("Thing")

PIECE = 32
"""Rows that are told at once."""


class Asked:
    """The answers of one worker.

    :param connections: all clients at this moment, in groups, each a snapshot.
    :param closes: the last ends, the latest at the end.
    :param limits: what knows of clients.
    :param send: tells main.
    """

    def __init__(
        self,
        worker: int,
        network: INetwork,
        connections: Callable[[], Iterable[Sequence[Connection]]],
        closes: deque[StreamInfo],
        limits: Limits,
        send: Callable[[Any], object],
    ) -> None:
        self._worker = worker
        self._network = network
        self._clock: IReactorTime = network.clock
        self._connections = connections
        self._closes = closes
        self._limits = limits
        self._send = send
        self._rates = RateNotes(network)
        self._waiting: dict[Any, list[int]] = {}
        """The questions that wait, each with the numbers under which it was asked."""
        self._is_busy = self._is_stopped = False
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            AskConnections: lambda told: self._queue(told.query, told.ask),
            AskCloses: lambda told: self._queue(told.query, told.ask),
            AskTopClients: lambda told: self._queue(told.query, told.ask),
        }
        """What is done with each message of main's."""

    def stop(self) -> None:
        """Answer nothing any more."""
        self._is_stopped = True
        self._waiting.clear()
        self._rates.stop()

    def _queue(self, query: ConnectionQuery | CloseQuery | ClientQuery, ask: int) -> None:
        self._waiting.setdefault(query, []).append(ask)
        if not self._is_busy:
            self._is_busy = True
            self._network.cooperator.cooperate(self._answers())

    def _answers(self) -> Iterator[None]:
        try:
            while self._waiting:
                query = next(iter(self._waiting))
                asks = self._waiting.pop(query)
                if isinstance(query, ConnectionQuery):
                    yield from self._connection_rows(query, asks)
                elif isinstance(query, CloseQuery):
                    yield from self._close_rows(query, asks)
                else:
                    yield from self._client_rows(query, asks)
        finally:
            self._is_busy = False

    # Connections

    def _connection_rows(self, query: ConnectionQuery, asks: list[int]) -> Iterator[None]:
        total = matched = 0
        read, fits = READERS[query.sort], fitting(query.filters)
        best: Best[Connection] = Best(query.limit, query.descending)
        self._rates.begin()
        for look in looks(self._connections(), self._clock, self._worker, self._rates.rates):
            if look is None:
                yield
                if self._is_stopped:
                    return
                continue
            total += 1
            self._rates.note(look.connection, look.now)
            if fits(look):
                matched += 1
                best.add(read(look), look.info.id, look.connection)
        chosen = best.things()
        yield
        for piece in _pieces(chosen):
            yield from self._tell(asks, ConnectionRows(0, self._worker, self._rows(piece)))
        if not self._is_stopped:
            self._rates.end()
        last = ConnectionRows(0, self._worker, (), matched, total, is_last=True)
        yield from self._tell(asks, last)

    def _rows(self, connections: Sequence[Connection]) -> tuple[ConnectionRow, ...]:
        now = self._clock.seconds()
        return tuple(
            Look(connection, now, self._worker, self._rates.rates).row()
            for connection in connections
            if connection.stream_info.phase is not CLOSED
        )

    def _tell(
        self, asks: list[int], message: ConnectionRows | CloseRows | TopClientRows
    ) -> Iterator[None]:
        for ask in asks:
            if not self._is_stopped:
                self._send(replace(message, ask=ask))
            yield

    # Those that have ended

    def _close_rows(self, query: CloseQuery, asks: list[int]) -> Iterator[None]:
        tests = [
            (reader(each.field, CLOSE_FIELDS, attrgetter), matcher(each, CLOSE_FIELDS))
            for each in query.filters
        ]
        wall_offset = time() - self._clock.seconds()
        left = query.limit
        found: list[CloseRow] = []
        for index, info in enumerate(reversed(tuple(self._closes)), 1):
            row = close_row(info, self._worker, wall_offset)
            if all(matches(read(row)) for read, matches in tests):
                found.append(row)
                left -= 1
            if not left:
                break
            if index % PIECE == 0:
                yield from self._tell(asks, CloseRows(0, self._worker, tuple(found)))
                found = []
        yield from self._tell(asks, CloseRows(0, self._worker, tuple(found), is_last=True))

    # Clients, as limits know them

    def _client_rows(self, query: ClientQuery, asks: list[int]) -> Iterator[None]:
        best: Best[ClientRow] = Best(query.rows, descending=True)
        known = 0
        for limit in self._limits.all():
            for row in limit.clients():
                if row is None:
                    yield
                    continue
                known += 1
                if query.limit in ("", row.limit) and query.client in row.client:
                    best.add(row.rank, known, row)
        for piece in _pieces(best.things()):
            yield from self._tell(asks, TopClientRows(0, self._worker, tuple(piece)))
        yield from self._tell(asks, TopClientRows(0, self._worker, (), known, is_last=True))


def _pieces(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    for start in range(0, len(things), PIECE):
        yield things[start : start + PIECE]
