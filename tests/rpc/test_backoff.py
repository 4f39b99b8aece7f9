"""The times between attempts."""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.backoff import Backoff


class Highest(Random):
    """Always the most."""

    def random(self) -> float:
        """Of what there is, all."""
        return 1.0


class BackoffTests(SynchronousTestCase):
    """A `Backoff`."""

    def test_doubles(self) -> None:
        """Each time is within twice the one before, up to the longest, and begins anew after a
        success.
        """
        backoff = Backoff(Highest(), 0.5, 3.0)
        self.assertEqual([0.5, 1.0, 2.0, 3.0, 3.0], [backoff.next() for _ in range(5)])
        backoff.reset()
        self.assertEqual(0.5, backoff.next())

    def test_spread(self) -> None:
        """Not all wait for the same time."""
        waits = {Backoff(Random(seed)).next() for seed in range(20)}
        self.assertEqual(20, len(waits))
        self.assertTrue(all(0 <= wait < 0.5 for wait in waits))
