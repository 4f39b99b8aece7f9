"""How long to wait before what has ended is started again: not at all, unless it ends soon after
its start, and again and again.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

STEADY = 10.0
"""Seconds after which an end has nothing to do with the start."""

FIRST, LONGEST = 0.1, 30.0
"""Seconds of pauses: each is twice as long as the one before."""


class Pauses:
    """The pauses of one thing that is started again and again."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._began = clock.seconds()
        self._pause = 0.0

    def begins(self) -> None:
        """It is started now."""
        self._began = self._clock.seconds()

    def after_an_end(self) -> float:
        """It has ended, or could not be started: the seconds until it is to be started again."""
        if self._clock.seconds() - self._began >= STEADY:
            self._pause = 0.0
            return 0.0
        self._pause = min(self._pause * 2 or FIRST, LONGEST)
        return self._pause
