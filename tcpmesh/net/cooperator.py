"""Long work in small steps: all of a process's together get one short time of each turn of the
reactor.

One process serves everybody, so nothing may take long at once: a page with a hundred thousand
statistics, or a table with millions of places.  Such work is an iterator, each of whose steps is
much shorter than `SLICE`, and it is given to the cooperator of the network.  Whoever has work there
takes steps by turns until the slice is used up; then connections have their turn, and the next
slice begins in the next turn of the reactor.  However many ask at once, nobody else waits longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

T = TypeVar("T")

SLICE = 0.004
"""Seconds of each turn of the reactor."""

AT_ONCE = 32
"""So many of the things that are to be done for each of possibly many are done at once."""


def shared_cooperator(clock: IReactorTime, now: Callable[[], float] = perf_counter) -> Cooperator:
    """A cooperator that works for a slice of each turn.

    :param clock: the reactor.
    :param now: tells how long steps have taken.
    """

    def slice_begins() -> Callable[[], bool]:
        end = now() + SLICE
        return lambda: now() >= end

    return Cooperator(slice_begins, lambda work: clock.callLater(0, work))


def do_all(cooperator: Cooperator, steps: Iterator[object]) -> Deferred[None]:
    """Do what is small and may be much: where it is much, only the beginning at once, and the rest
    in turns to come.

    :return: fires when all is done.
    """
    done: Deferred[None] = succeed(None)
    if sum(1 for _ in islice(steps, AT_ONCE)) == AT_ONCE:
        done = cooperator.coiterate(steps).addCallbacks(lambda _: None, _only_when_stopped)
    return done


def _only_when_stopped(reason: Failure) -> None:
    """The process ends, and so does what was to be done; any other failure is a bug."""
    reason.trap(SchedulerStopped)


# By a thread

SWITCH = 0.0005
"""Seconds that a thread may hold the interpreter while others want it.  With Python's own 5 ms each
system call of the thread that serves would wait so long.
"""


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
