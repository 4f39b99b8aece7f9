"""The connections of one client that wait to be let in, first come, first served.

One is let in when another one of the client ends, or when its token bucket has a token again.
Connections that end in another worker are not told of: while there are other workers, who waits
looks itself now and then.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.extensions.filters.network.client_limit.table import ClientTable, Entry

LOOK = 0.05
"""Seconds between two looks at what other workers have."""

LEAST = 0.001
"""Seconds until the next look, at least."""

BATCH = 32
"""Connections that are let in in one turn."""


class Waiter(Protocol):
    """A connection that waits."""

    def admit(self) -> None:
        """It is let in, and counted."""


class Queue:
    """Those of one client."""

    __slots__ = ("_call", "_clock", "_entry", "_is_serving", "_table", "_waiters")

    def __init__(self, table: ClientTable, entry: Entry, clock: IReactorTime) -> None:
        self._table = table
        self._entry = entry
        self._clock = clock
        self._waiters: dict[Waiter, None] = {}
        self._call: IDelayedCall | None = None
        self._is_serving = False
        entry.waiting = self

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """One more."""
        self._waiters[waiter] = None
        if self._call is None:
            self._look_later()

    def discard(self, waiter: Waiter) -> None:
        """It waits no more, as it has left or has waited too long."""
        self._waiters.pop(waiter, None)
        if not self._waiters:
            self._end()

    def serve(self) -> None:
        """Let in those for whom there is room now."""
        if self._is_serving:  # What is let in may end at once.
            return
        self._is_serving = True
        is_full = self._serve_some()
        self._is_serving = False
        self._stop()
        if not self._waiters:
            self._end()
        elif is_full:
            self._look_later()
        else:
            self._call = self._clock.callLater(0, self._look)

    def _serve_some(self) -> bool:
        """Let in some, and tell whether there is no room for more."""
        for _ in range(BATCH):
            if not self._waiters or self._table.take(self._entry) is not None:
                return True
            waiter = next(iter(self._waiters))
            del self._waiters[waiter]
            waiter.admit()
        return False

    def _look_later(self) -> None:
        """Try again when that may help, where nobody tells of it."""
        seconds = self._table.wait(self._entry)
        if seconds or self._table.slots is not None:
            self._call = self._clock.callLater(max(seconds or LOOK, LEAST), self._look)

    def _look(self) -> None:
        self._call = None
        self.serve()

    def _stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _end(self) -> None:
        self._stop()
        if self._entry.waiting is self and not self._is_serving:
            self._entry.waiting = None
            self._table.settle(self._entry)
