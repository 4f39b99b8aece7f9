"""Taking what several workers have counted into main's store: in steps, one after the other, for
there may be much of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred, succeed

from tcpmesh.interfaces import INetwork
from tcpmesh.server.link.numbers import Numbers
from tcpmesh.stats.deltas import Deltas, joined
from tcpmesh.stats.store import Store
from tcpmesh.values.workers import worker_name


class Merging:
    """What main does with the numbers of its workers."""

    def __init__(self, store: Store, network: INetwork) -> None:
        self._store = store
        self._network = network
        self._parts: dict[int, list[Deltas]] = {}
        """Of each worker those of which the last one is not there yet."""
        self._waiting: deque[Callable[[], Iterator[None]]] = deque()
        self._merged: Deferred[None] | None = None
        """Fires when nothing waits; `None` where that is so."""

    def take(self, told: Numbers) -> None:
        """A worker tells some of what has happened."""
        assert told.deltas is not None
        parts = self._parts.setdefault(told.worker, [])
        parts.append(told.deltas)
        if told.is_last:
            del self._parts[told.worker]
            self._queue(lambda: self._merging(parts, told.worker))

    def lost(self, worker: int) -> None:
        """A worker is no more; what it has told until then is taken in before."""
        self._parts.pop(worker, None)
        self._queue(lambda: self._withdrawing(worker))

    def merged(self) -> Deferred[None]:
        """Fires when all is taken in that was told until now."""
        if self._merged is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._merged.addCallback(lambda _: waiting.callback(None))
        return waiting

    def _queue(self, steps: Callable[[], Iterator[None]]) -> None:
        self._waiting.append(steps)
        if self._merged is None:
            self._merged = Deferred()
            self._network.cooperator.cooperate(self._steps())

    def _steps(self) -> Iterator[None]:
        while self._waiting:
            yield from self._waiting.popleft()()
        merged, self._merged = self._merged, None
        if merged is not None:
            merged.callback(None)

    def _merging(self, parts: list[Deltas], worker: int) -> Iterator[None]:
        deltas = parts[0] if len(parts) == 1 else joined(parts)
        yield from self._store.merging(deltas, worker_name(worker))

    def _withdrawing(self, worker: int) -> Iterator[None]:
        return self._store.withdrawing(worker_name(worker))
