"""What main asks all workers about connections, and what it makes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

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

Result = TypeVar("Result")


class _Question(Generic[Result]):
    """One that is asked, and the answers so far.

    :param workers: how many are to answer.
    :param finish: makes the result of the rows.
    """

    def __init__(self, workers: int, finish: Callable[[_Question[Result]], Result]) -> None:
        self.rows: list[Any] = []
        self.matched = self.total = 0
        self.answered: Deferred[Result] = Deferred()
        self._left = workers
        self._finish = finish

    def worker_done(self) -> bool:
        """One has told all; whether it was the last."""
        self._left -= 1
        if self._left == 0:
            self.answered.callback(self._finish(self))
        return self._left == 0


class Gathering:
    """The questions of main.

    :param send: tells all workers.
    """

    def __init__(self, send: Callable[[Any], object], workers: int = 1) -> None:
        self._send = send
        self._workers = workers
        self._asked = 0
        self._open: dict[int, _Question[Any]] = {}
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            ConnectionRows: self._take_rows,
            CloseRows: self._take_rows,
            ConnectionsClosed: self._take_closed,
        }
        """What is done with each message of a worker's."""

    def connections(self, query: ConnectionQuery) -> Deferred[Connections]:
        """Which connections there are now."""

        def finish(question: _Question[Connections]) -> Connections:
            # Those of one worker are in order already.
            rows = tuple(question.rows)
            if self._workers > 1:
                rows = _sorted_rows(rows, query)
            return Connections(rows, question.matched, question.total)

        return self._ask(lambda ask: AskConnections(ask, query), finish)

    def closes(self, query: CloseQuery) -> Deferred[tuple[CloseRow, ...]]:
        """Which have ended, the last first."""

        def finish(question: _Question[tuple[CloseRow, ...]]) -> tuple[CloseRow, ...]:
            rows: list[CloseRow] = sorted(question.rows, key=_when, reverse=True)
            return tuple(rows[: query.limit])

        return self._ask(lambda ask: AskCloses(ask, query), finish)

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
        question = _Question(self._workers, finish)
        self._open[self._asked] = question
        self._send(message(self._asked))
        return question.answered

    def _take_rows(self, told: ConnectionRows | CloseRows) -> None:
        question = self._open[told.ask]
        question.rows += told.rows
        if isinstance(told, ConnectionRows):
            question.matched += told.matched
            question.total += told.total
        if told.is_last:
            self._done(told.ask, question)

    def _take_closed(self, told: ConnectionsClosed) -> None:
        question = self._open[told.ask]
        question.matched += told.count
        self._done(told.ask, question)

    def _done(self, ask: int, question: _Question[Any]) -> None:
        if question.worker_done():
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


def _when(row: CloseRow) -> float:
    return row.when
