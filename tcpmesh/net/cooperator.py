"""Long work in small steps: all of a process's together get one short time of each turn of the
reactor.

One process serves everybody, so nothing may take long at once: a page with a hundred thousand
statistics, or a table with millions of places.  Such work is an iterator, each of whose steps is
much shorter than `SLICE`, and it is given to the cooperator of the network.  Whoever has work there
takes steps by turns until the slice is used up; then connections have their turn, and the next
slice begins in the next turn of the reactor.  However many ask at once, nobody else waits longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.python.failure import Failure

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
