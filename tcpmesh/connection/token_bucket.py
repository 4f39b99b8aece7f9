"""A token bucket, for limits of a rate that may hold for several workers together.

It begins full; each taker has a token of it, and tokens come back one by one, evenly, as in Envoy.

Theory of operation.  A bucket with tokens that come back evenly is nothing but a moment: the one at
which it would have been empty, had nothing but the tokens since then come.  At `now` it has
`(now - moment) * rate` tokens, though never more than `most`; to take one moves the moment on by
the time that a token takes.  So the state is one number, which only grows, and workers can share it
as they share counts (`tcpmesh.values.shared.counts`): each notes the moment to which it has moved
the bucket on last, and the latest of all is the bucket's.  Two workers that take a token in the
same microseconds may both get the last one; there is no other way in which a limit is exceeded.
(Were each to note by how much it has moved the moment on, and the sum to be the moment, then of two
that come at once after a pause both would make up for the whole pause, and nobody would get a token
for as long again.)
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from tcpmesh.config.fields.token_buckets import Bucket
from tcpmesh.values.shared.counts import SharedCount

SECOND = 1_000_000_000


class Pace:
    """How the moment of a bucket moves on; nanoseconds."""

    __slots__ = ("full", "token")

    def __init__(self, bucket: Bucket) -> None:
        self.token = max(1, round(SECOND / bucket.per_second))
        self.full = bucket.most * self.token
        """What it takes to fill it.  A moment is kept as one that is later by this, so that 0 is a
        bucket that has been full since the clock began.
        """

    def after(self, moment: int, now: int) -> int:
        """The moment of a bucket when a token is taken; 0 where there is none."""
        # Not earlier than that of a full bucket, and then a token later.
        after = max(moment, now) + self.token
        return after if after <= now + self.full else 0

    def wait(self, moment: int, now: int) -> int:
        """How long it is until there is a token."""
        return max(moment + self.token - self.full - now, 0)


class TokenBucket:
    """What is left in a bucket.

    :param clock: one that all workers have, such as the monotonic one of the machine.
    :param count: of this bucket alone; nanoseconds.
    """

    __slots__ = ("_count", "_full", "_now", "_token")

    def __init__(self, bucket: Bucket, clock: IReactorTime, count: SharedCount) -> None:
        self._now = clock.seconds
        self._count = count
        pace = Pace(bucket)
        self._token, self._full = pace.token, pace.full

    def take(self) -> bool:
        """One token, if there is one."""
        # As `Pace.after`, without its calls: each client takes one.
        now, moment = int(self._now() * SECOND), self._count.highest
        after = (moment if moment > now else now) + self._token
        if after > now + self._full:
            return False
        self._count.own = after
        return True

    def close(self) -> None:
        """Nobody takes any more."""
        self._count.close()
