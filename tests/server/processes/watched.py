"""A reactor for tests: a `Clock` that looks at real descriptors when it is told to, and waits for
none.
"""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock


class WatchingClock(Clock):
    """Calls what is due and serves what is ready, one turn at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()

    def addReader(self, reader: Any) -> None:
        """Watch it."""
        self.readers.add(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch it no more."""
        self.readers.discard(reader)

    def addWriter(self, writer: Any) -> None:
        """Watch it."""
        self.writers.add(writer)

    def removeWriter(self, writer: Any) -> None:
        """Watch it no more."""
        self.writers.discard(writer)

    def turn(self, timeout: float = 0.0) -> bool:
        """One turn; whether anything was there to do."""
        due = any(call.getTime() <= self.seconds() for call in self.calls)
        self.advance(0)
        readable, writable, _ = select.select(
            list(self.readers), list(self.writers), [], 0.0 if due else timeout
        )
        for each in readable:
            if each in self.readers:
                each.doRead()
        for each in writable:
            if each in self.writers:
                each.doWrite()
        return bool(due or readable or writable)

    def settle(self) -> None:
        """Turn until nothing is to be done at this moment."""
        while self.turn():
            pass

    def until(self, fits: Callable[[], object]) -> None:
        """Turn until something is so, where other processes have a part in it."""
        while not fits():
            self.turn(0.05)


def open_descriptors() -> set[str]:
    """Those of this process."""
    gc.collect()  # what other tests have left would go while one of these looks twice
    return {fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
