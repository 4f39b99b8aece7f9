"""Pauses between ends and starts, on a `Clock`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.processes.pauses import FIRST, LONGEST, STEADY, Pauses


class PausesTests(SynchronousTestCase):
    """`Pauses`."""

    def test_long_life(self) -> None:
        """What has lived for a while is started again at once."""
        clock = Clock()
        pauses = Pauses(clock)
        pauses.begins()
        clock.advance(STEADY)
        self.assertEqual(pauses.after_an_end(), 0.0)

    def test_short_lives(self) -> None:
        """What ends again and again soon after its start waits longer and longer, with a bound,
        until it has lived for a while.
        """
        clock = Clock()
        pauses = Pauses(clock)
        found = []
        for _ in range(12):
            pauses.begins()
            clock.advance(1.0)
            found.append(pauses.after_an_end())
        self.assertEqual(found[:4], [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST])
        self.assertEqual(found[-1], LONGEST)
        pauses.begins()
        clock.advance(STEADY)
        self.assertEqual(pauses.after_an_end(), 0.0)
        pauses.begins()
        self.assertEqual(pauses.after_an_end(), FIRST)
