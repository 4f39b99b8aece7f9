"""How many small frames, and small messages in frames, a host may send: to read a frame takes some
50 us however small it is, and pings, settings, windows and empty data may come without end.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

SMALL = 300
"""Bytes of a frame below which it counts: one with nothing but padding has less."""

MOST = 2000
PER_SECOND = 500
PER_FRAME = 8
"""A host may answer each frame of ours with so many: the response of a call and what goes with
it.
"""


class FrameLimits(Protocol):
    """Which frames a host may send."""

    def sent(self, count: int = 1) -> None:
        """The host gets so many frames."""

    def allows(self, frame: bytes) -> bool:
        """A frame has come; whether it may."""

    def spend(self, count: int) -> bool:
        """It has so many small things in it beyond one; whether it may."""


class Allowance:
    """What a host may still send: so much at once, and more with time and with each frame that it
    is sent.
    """

    __slots__ = ("_clock", "_left", "_since")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._left = float(MOST)
        self._since = clock.seconds()

    def sent(self, count: int = 1) -> None:
        """The host gets so many frames."""
        self._left = min(self._left + count * PER_FRAME, MOST)

    def allows(self, frame: bytes) -> bool:
        """A frame has come; whether it may."""
        return len(frame) >= SMALL or self.spend(1)

    def spend(self, count: int) -> bool:
        """It has so many small things in it beyond one; whether it may."""
        self._left -= count
        if self._left < 0:
            now = self._clock.seconds()
            grown = self._left + count + (now - self._since) * PER_SECOND
            self._left = min(grown, MOST) - count
            self._since = now
        return self._left >= 0
