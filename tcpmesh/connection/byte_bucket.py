"""A token bucket of bytes, for limits of bandwidth that may hold for several workers together.

It is as `tcpmesh.connection.token_bucket` has it, one moment that workers share as a count; but
here a taker asks for many tokens, and gets as many of them as there are.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from tcpmesh.values.shared.counts import SharedCount

_SECOND = 1_000_000_000


class ByteBucket:
    """So many bytes in a second, which come back evenly; it begins with those of one second.

    :param rate: bytes; with 0 there are never any.
    :param clock: one that all workers have, such as the monotonic one of the machine.
    :param count: of this bucket alone; nanoseconds.
    """

    __slots__ = ("_clock", "_count", "_rate")

    def __init__(self, rate: int, clock: IReactorTime, count: SharedCount) -> None:
        self._rate = rate
        self._clock = clock
        self._count = count

    def take(self, wanted: int, takers: int = 1) -> int:
        """As many as there are of these, and not more than a share.

        :param takers: who shares what there is, this one among them.
        :return: how many, perhaps 0.
        """
        count, rate = self._count, self._rate
        now = int(self._clock.seconds() * _SECOND)
        before = count.total
        begin = max(before, now)
        there = (now + _SECOND - begin) * rate // _SECOND
        granted = min(wanted, -(-there // takers))
        if granted <= 0:
            return 0
        # What it takes to get them back, rounded up: many small ones are not more than a large one.
        count.own += begin - before - (-granted * _SECOND // rate)
        return granted
