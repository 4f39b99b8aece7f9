"""Long work in small steps: all of a process's together get one short time of each turn of the
reactor.

One process serves everybody, so nothing may take long at once: a page with a hundred thousand
statistics, or a table with millions of places.  Such work is an iterator, each of whose steps is
much shorter than `SLICE`, and it is given to the cooperator of the network.  Whoever has work there
takes steps by turns until the slice is used up; then connections have their turn, and the next
slice begins in the next turn of the reactor.  However many ask at once, nobody else waits longer.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator

SLICE = 0.004
"""Seconds of each turn of the reactor."""


def shared_cooperator(clock: IReactorTime, now: Callable[[], float] = perf_counter) -> Cooperator:
    """A cooperator that works for a slice of each turn.

    :param clock: the reactor.
    :param now: tells how long steps have taken.
    """

    def slice_begins() -> Callable[[], bool]:
        end = now() + SLICE
        return lambda: now() >= end

    return Cooperator(slice_begins, lambda work: clock.callLater(0, work))
