"""What stands between the two ends of a connection in this process, in place of a kernel: a bounded
buffer for each direction, and the steps that wait for their turn.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from twisted.logger import Logger

log = Logger(namespace="connection")

SLICE = 0.002
"""Seconds of a turn of the event loop in which steps are done, while others wait."""

EVERY = 4
"""Between two looks at the clock so many are done."""


class Steps(Protocol):
    """Where steps wait for their turn."""

    def add(self, step: Callable[[], None]) -> None:
        """Run a step later; one that waits already is not added twice."""


class Pipe:
    """One direction of a connection.

    `fin` and `reset` come after `data`; `deaf` means that the receiver is gone, so that sending
    brings back a reset.
    """

    __slots__ = ("capacity", "data", "deaf", "fin", "reset")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.fin = False
        self.reset = False
        self.deaf = False

    def take(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def put(self, pending: bytearray) -> None:
        """Move as much of `pending` into the buffer as has room; a receiver that is gone swallows
        all of it.
        """
        room = len(pending) if self.deaf else self.capacity - len(self.data)
        if not self.deaf:
            self.data += pending[:room]
        del pending[:room]


class Turns:
    """The steps of all connections in this process: each is done in a turn of the event loop after
    the one in which it was added, in their order, and as many of them as there is time for.

    :param call_soon: `INetwork.call_soon`.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], object]], object],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._call_soon = call_soon
        self._now = now
        self._waiting: dict[Callable[[], None], None] = {}
        self._is_called = False

    def add(self, step: Callable[[], None]) -> None:
        """Run a step later; one that waits already is not added twice."""
        self._waiting[step] = None
        if not self._is_called:
            self._is_called = True
            self._call_soon(self._run)

    def _run(self) -> None:
        waiting, until = self._waiting, self._now() + SLICE
        done = 0
        while waiting:
            step = next(iter(waiting))
            del waiting[step]
            try:
                step()
            except BaseException:
                log.failure("a connection in this process failed")
            done += 1
            if not done % EVERY and self._now() > until:
                break
        self._is_called = bool(waiting)
        if waiting:
            self._call_soon(self._run)
