"""What a drain is of, and how long it has gone on.

A drain has clients leave by and by: none is sent away at once, and after the drain time
(`--drain-time-s`) none is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Protocol

from tcpmesh.facts import dataclass


class DrainScope(Enum):
    """Of which listeners a drain of the whole proxy is."""

    INBOUND = 1
    """Those whose `traffic_direction` is INBOUND."""

    ALL = 2


class DrainStrategy(Enum):
    """When a draining connection is closed (`--drain-strategy`)."""

    GRADUAL = "gradual"
    """The sooner, the more of the drain time is over: by chance."""

    IMMEDIATE = "immediate"
    """When it is next looked at."""


@dataclass(frozen=True)
class DrainTimes:
    """How drains go, by the command line."""

    seconds: int = 600
    strategy: DrainStrategy = DrainStrategy.GRADUAL


DEFAULTS = DrainTimes()
"""What holds where the command line says nothing."""


class Drain:
    """One drain that has begun.

    :param began: when, by the clock of who asks.
    """

    __slots__ = ("_end", "_times")

    def __init__(self, times: DrainTimes, began: float) -> None:
        self._times = times
        self._end = began + times.seconds

    def is_due(self, now: float, random: Random) -> bool:
        """Whether one connection is to be closed now, asked as often as there is an occasion: in
        each second of the drain time that has begun with a probability that grows from nearly 0 to
        1, as in Envoy.
        """
        seconds = self._times.seconds
        if self._times.strategy is DrainStrategy.IMMEDIATE or now >= self._end or not seconds:
            return True
        elapsed = seconds - int(self._end - now)
        return elapsed > random.randrange(seconds)


class DrainDecision(Protocol):
    """Whether connections of a listener are to be closed for a drain.

    Whoever wants to close some has to `watch` it: on the byte path nobody looks before.
    """

    def watch(self, begins: Callable[[], object]) -> None:
        """Call this whenever a drain begins."""

    def unwatch(self, begins: Callable[[], object]) -> None:
        """Call it no more."""

    def is_due(self) -> bool:
        """Whether the connection that asks is to be closed now."""

    @property
    def is_on(self) -> bool:
        """Whether there is a drain at all."""
