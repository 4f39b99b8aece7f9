"""What a worker of several tells of what it has counted, when main asks: in steps, for there may be
a million statistics, and its clients are not to wait.

It answers one question after the other.  So when it says that it has answered (`Ask`), it has
answered all that was asked before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.interfaces import INetwork
from tcpmesh.server.link.numbers import Numbers
from tcpmesh.stats.deltas import parts
from tcpmesh.stats.store import Store
from tcpmesh.values.link import (
    Answered,
    Ask,
    AskClients,
    AskHostNumbers,
    AskNumbers,
    Clients,
    HostNumbers,
)

Answer = Callable[[], Iterator[None]]


class Telling:
    """The answers of one worker.

    :param store: its own.
    :param clients: how many it has.
    :param hosts: what it has counted of the hosts of each cluster.
    :param send: tells main.
    """

    def __init__(
        self,
        worker: int,
        network: INetwork,
        store: Store,
        clients: Callable[[], int],
        hosts: Callable[[], Iterator[HostNumbers | None]],
        send: Callable[[Any], object],
    ) -> None:
        self._worker = worker
        self._network = network
        self._store = store
        self._clients = clients
        self._hosts = hosts
        self._send = send
        self._waiting: deque[Answer] = deque()
        """The questions that wait."""
        self._is_busy = False
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            AskNumbers: lambda told: self._queue(self._numbers),
            AskHostNumbers: lambda told: self._queue(self._host_numbers),
            AskClients: lambda told: self._send(Clients(worker, clients())),
            Ask: lambda told: self._queue(partial(self._answered, told.ask)),
        }
        """What is done with each message of main's."""

    def tell_last(self) -> Deferred[None]:
        """The worker has stopped: tell what was counted last; fires when that is done."""
        told: Deferred[None] = Deferred()
        self._queue(self._numbers)
        self._queue(partial(_fire, told))
        return told

    def _queue(self, answer: Answer) -> None:
        if answer in self._waiting:
            return  # it will tell all that it would tell then
        self._waiting.append(answer)
        if not self._is_busy:
            self._is_busy = True
            self._network.cooperator.cooperate(self._answers())

    def _answers(self) -> Iterator[None]:
        try:
            while self._waiting:
                yield from self._waiting.popleft()()
        finally:
            self._is_busy = False

    def _numbers(self) -> Iterator[None]:
        deltas = yield from self._store.gathering()
        pieces = list(parts(deltas))
        for number, piece in enumerate(pieces, 1):
            is_last = number == len(pieces)
            self._send(Numbers(self._worker, self._clients(), piece, is_last))
            yield

    def _host_numbers(self) -> Iterator[None]:
        for each in self._hosts():
            if each is not None:
                self._send(each)
            yield

    def _answered(self, ask: int) -> Iterator[None]:
        self._send(Answered(self._worker, ask))
        return iter(())


def _fire(told: Deferred[None]) -> Iterator[None]:
    told.callback(None)
    return iter(())
