"""When a draining connection is closed."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.drain import Drain, DrainStrategy, DrainTimes


def share(drain: Drain, now: float) -> float:
    """How many of a thousand connections are closed that ask at this moment."""
    random = Random(1)
    return sum(drain.is_due(now, random) for _ in range(1000)) / 1000


class DrainTests(SynchronousTestCase):
    """One drain of ten seconds, which begins at 100."""

    def test_gradual(self) -> None:
        """In each second that has begun a tenth more of those that ask are closed; none is left
        once the time is over.
        """
        drain = Drain(DrainTimes(10), 100.0)
        for now, expected in ((100.0, 0), (100.5, 0.1), (101.5, 0.2), (105.5, 0.6), (109.5, 1)):
            self.assertTrue(abs(share(drain, now) - expected) < 0.05, (now, share(drain, now)))
        self.assertEqual((1, 1), (share(drain, 110.0), share(drain, 1000.0)))

    def test_immediate(self) -> None:
        """Immediate closes all that ask, from the first moment."""
        self.assertEqual(1, share(Drain(DrainTimes(10, DrainStrategy.IMMEDIATE), 100.0), 100.0))

    def test_no_time(self) -> None:
        """Without a drain time all are closed at once."""
        self.assertEqual(1, share(Drain(DrainTimes(0), 100.0), 100.0))
