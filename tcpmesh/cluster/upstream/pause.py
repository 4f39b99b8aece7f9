"""New connections to a cluster that wait because an operator wants it: while a primary moves, for
example, so that clients see a delay in place of errors.

Connections that are made already go on.  Those that wait are bounded in number, and wait no longer
than was said; then all of them go on, a few in each turn of the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall

from tcpmesh.interfaces import INetwork

MOST_HELD = 10_000
"""Connections that may wait for one cluster, in each worker."""

STEP = 8
"""Connections that go on in one step."""


class Waiting(Protocol):
    """Who waits."""

    def go_on(self) -> None:
        """The cluster may be connected to again."""


class Held:
    """The place of one who waits."""

    __slots__ = ("_pause", "who")

    def __init__(self, pause: Pause, who: Waiting) -> None:
        self._pause = pause
        self.who = who

    def cancel(self) -> None:
        """It waits no more."""
        self._pause.forget(self)


class Pause:
    """The pause of one cluster, from its beginning to its end.

    :param ended: called once when it is over.
    """

    def __init__(self, network: INetwork, seconds: float, ended: Callable[[], None]) -> None:
        self._network = network
        self._ended = ended
        self._held: dict[Held, None] = {}
        self._end: IDelayedCall = network.clock.callLater(seconds, self.end)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._held)

    def last(self, seconds: float) -> None:
        """Let it end in so many seconds."""
        self._end.reset(seconds)

    def hold(self, who: Waiting) -> Held | None:
        """Let somebody wait; `None` where too many do already."""
        if len(self._held) >= MOST_HELD:
            return None
        held = Held(self, who)
        self._held[held] = None
        return held

    def forget(self, held: Held) -> None:
        """Somebody waits no more."""
        self._held.pop(held, None)

    def end(self) -> None:
        """It is over: all go on, and nobody waits from now on."""
        if self._end.active():
            self._end.cancel()
        self._ended()
        if self._held:
            self._network.cooperator.cooperate(self._going_on())

    def _going_on(self) -> Iterator[None]:
        while self._held:
            for held in tuple(islice(self._held, STEP)):
                # One that went on may have made others leave.
                if held in self._held:
                    del self._held[held]
                    held.who.go_on()
            yield
