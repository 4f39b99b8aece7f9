"""The clock that runs only when it should."""

from __future__ import annotations

import cProfile
import time
from collections.abc import Callable


class Stopwatch:
    """Adds up the CPU time spent in `measure`, and profiles it if asked.

    :param clock: nanoseconds of CPU: of this thread, or of the whole process.
    """

    def __init__(
        self,
        profile: cProfile.Profile | None = None,
        clock: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._spent = 0

    def measure(self, work: Callable[[], object]) -> None:
        """Do the work on the clock."""
        if self._profile is not None:
            self._profile.enable()
        start = self._clock()
        work()
        self._spent += self._clock() - start
        if self._profile is not None:
            self._profile.disable()

    def lap(self) -> int:
        """Nanoseconds spent since the last lap."""
        spent, self._spent = self._spent, 0
        return spent
