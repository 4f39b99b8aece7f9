"""Long work beside the traffic, by a thread: reading and judging a configuration.

Python lets one thread run at a time.  So that the one that serves does not wait for its turn, the
other one may hold the interpreter only for a short while, as long as there is such work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool

SWITCH = 0.0005
"""Seconds that a thread may hold the interpreter while others want it.  With Python's own 5 ms each
system call of the thread that serves would wait so long.
"""

T = TypeVar("T")


class _Switching:
    """The switch interval of the process, shorter as long as anybody works beside."""

    def __init__(self) -> None:
        self._working = 0
        self._before = 0.0

    def begin(self) -> None:
        """One more works."""
        if not self._working:
            self._before = sys.getswitchinterval()
            sys.setswitchinterval(min(self._before, SWITCH))
        self._working += 1

    def end(self) -> None:
        """One less."""
        self._working -= 1
        if not self._working:
            sys.setswitchinterval(self._before)


_switching = _Switching()


def beside(clock: Any, work: Callable[[], T]) -> Deferred[T]:
    """Do it in a thread of the reactor's; at once where there is only a clock.

    :param clock: the clock of a network.
    """
    if not hasattr(clock, "getThreadPool"):
        return maybeDeferred(work)
    _switching.begin()

    def done(result: Any) -> Any:
        _switching.end()
        return result

    return deferToThreadPool(clock, clock.getThreadPool(), work).addBoth(done)
