"""What main asks all workers about connections and clients, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

from tcpmesh.values.live.clients import (
    AskTopClients,
    ClientQuery,
    ClientRow,
    TopClientRows,
    TopClients,
)
from tcpmesh.values.stream.live import (
    AskCloses,
    AskConnections,
    CloseConnections,
    CloseQuery,
    CloseRow,
    CloseRows,
    ConnectionQuery,
    ConnectionRow,
    ConnectionRows,
    Connections,
    ConnectionsClosed,
    FieldFilter,
)
from tcpmesh.values.workers import only_worker

Result = TypeVar("Result")

SPARE = 4
"""How many times as many clients as are asked for each of several workers tells."""


class _Question(Generic[Result]):
    """One that is asked, and the answers so far.

    :param workers: those that are to answer.
    :param finish: makes the result of the rows.
    """

    def __init__(
        self, workers: Iterable[int], finish: Callable[[_Question[Result]], Result]
    ) -> None:
        self.rows: list[Any] = []
        self.matched = self.total = 0
        self.answered: Deferred[Result] = Deferred()
        self._left = set(workers)
        self.workers = len(self._left)
        self.silent: set[int] = set()
        """Those that are not waited for."""
        self._finish = finish

    def worker_silent(self, worker: int) -> bool:
        """One is not waited for any more; whether it was the last."""
        if worker in self._left:
            self.silent.add(worker)
        return self.worker_done(worker)

    def worker_done(self, worker: int) -> bool:
        """One has told all, or is no more; whether it was the last."""
        self._left.discard(worker)
        return self.look()

    def look(self) -> bool:
        """Whether nobody is to answer any more."""
        if not self._left:
            self.answered.callback(self._finish(self))
        return not self._left


class Gathering:
    """The questions of main.

    :param send: tells all workers.
    :param workers: those that there are at this moment.
    """

    def __init__(
        self,
        send: Callable[[Any], object],
        workers: Callable[[], Collection[int]] = only_worker,
    ) -> None:
        self._send = send
        self._workers = workers
        self._asked = 0
        self._open: dict[int, _Question[Any]] = {}
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            ConnectionRows: self._take_rows,
            CloseRows: self._take_rows,
            TopClientRows: self._take_rows,
            ConnectionsClosed: self._take_closed,
        }
        """What is done with each message of a worker's."""

    def connections(self, query: ConnectionQuery) -> Deferred[Connections]:
        """Which connections there are now."""

        def finish(question: _Question[Connections]) -> Connections:
            # Those of one worker are in order already.
            rows = tuple(question.rows)
            if question.workers > 1:
                rows = _sorted_rows(rows, query)
            return Connections(
                rows, question.matched, question.total, tuple(sorted(question.silent))
            )

        return self._ask(lambda ask: AskConnections(ask, query), finish)

    def closes(self, query: CloseQuery) -> Deferred[tuple[CloseRow, ...]]:
        """Which have ended, the last first."""

        def finish(question: _Question[tuple[CloseRow, ...]]) -> tuple[CloseRow, ...]:
            rows: list[CloseRow] = sorted(question.rows, key=_when, reverse=True)
            return tuple(rows[: query.limit])

        return self._ask(lambda ask: AskCloses(ask, query), finish)

    def top_clients(self, query: ClientQuery) -> Deferred[TopClients]:
        """Which clients have most, as limits of each client know it."""
        # Who has few connections in each of several workers may have many in all.
        of_each = replace(query, rows=query.rows * SPARE) if len(self._workers()) > 1 else query
        return self._ask(
            lambda ask: AskTopClients(ask, of_each),
            lambda question: TopClients(_together(question.rows, query.rows), question.total),
        )

    def close(
        self, filters: tuple[FieldFilter, ...], percent: int = 100, gently: bool = False
    ) -> Deferred[int]:
        """Close those that fit; how many these are."""
        return self._ask(
            lambda ask: CloseConnections(ask, filters, percent, gently),
            lambda question: question.matched,
        )

    def _ask(
        self, message: Callable[[int], Any], finish: Callable[[_Question[Result]], Result]
    ) -> Deferred[Result]:
        self._asked += 1
        ask = self._asked
        question = self._open[ask] = _Question(self._workers(), finish)
        if question.workers:
            self._send(message(ask))
        elif question.look():
            del self._open[ask]
        return question.answered

    def lost(self, worker: int) -> None:
        """A worker is no more: nobody waits for its answers."""
        for ask, question in tuple(self._open.items()):
            self._done(ask, question, worker)

    @property
    def is_asking(self) -> bool:
        """Whether somebody waits for answers."""
        return bool(self._open)

    def silent(self, worker: int) -> None:
        """A worker does not answer anything at present: nobody waits for it, and what it says
        later is not heard.
        """
        for ask, question in tuple(self._open.items()):
            if question.worker_silent(worker):
                del self._open[ask]

    def _take_rows(self, told: ConnectionRows | CloseRows | TopClientRows) -> None:
        question = self._open.get(told.ask)
        if question is None:
            return
        question.rows += told.rows
        if isinstance(told, ConnectionRows):
            question.matched += told.matched
            question.total += told.total
        elif isinstance(told, TopClientRows):
            question.total += told.known
        if told.is_last:
            self._done(told.ask, question, told.worker)

    def _take_closed(self, told: ConnectionsClosed) -> None:
        question = self._open.get(told.ask)
        if question is None:
            return
        question.matched += told.count
        self._done(told.ask, question, told.worker)

    def _done(self, ask: int, question: _Question[Any], worker: int) -> None:
        if question.worker_done(worker):
            del self._open[ask]


def _sorted_rows(
    rows: Sequence[ConnectionRow], query: ConnectionQuery
) -> tuple[ConnectionRow, ...]:
    """The rows of several workers in the order of the query: those of which the field is not known
    come last.
    """
    known = [row for row in rows if getattr(row, query.sort) is not None]
    known.sort(key=lambda row: row.id)
    known.sort(key=lambda row: getattr(row, query.sort), reverse=query.descending)
    unknown = [row for row in rows if getattr(row, query.sort) is None]
    return tuple([*known, *unknown][: query.limit])


def _together(rows: Sequence[ClientRow], most: int) -> tuple[ClientRow, ...]:
    """A row for each client of those of several workers, the first of them."""
    found: dict[tuple[str, str], ClientRow] = {}
    for row in rows:
        known = found.get((row.limit, row.client))
        found[row.limit, row.client] = row if known is None else known.plus(row)
    return tuple(sorted(found.values(), key=lambda row: row.rank, reverse=True)[:most])


def _when(row: CloseRow) -> float:
    return row.when
