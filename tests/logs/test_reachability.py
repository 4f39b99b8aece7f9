"""What the log says of a collector that is lost, and back."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.reachability import QUIET, STEADY, Reachability
from tests.told import Told


class ReachabilityTests(SynchronousTestCase):
    """One collector."""

    def setUp(self) -> None:
        """It was never heard of."""
        self.clock = Clock()
        self.log = Told()
        logger = Logger(namespace="stats", observer=self.log)
        self.collector = Reachability(logger, "the collector", self.clock.seconds)

    def told(self) -> list[str]:
        """The lines since this was last asked."""
        lines, self.log.lines = self.log.lines, []
        return lines

    def test_lost_and_back(self) -> None:
        """However often it fails there is one line, with the first reason; and one when it works
        again.
        """
        for attempt in range(100):
            self.collector.failed(f"reason {attempt}")
            self.clock.advance(1)
        lost = "the collector is lost: reason 0; what it does not take is counted"
        self.assertEqual([lost], self.told())
        self.clock.advance(STEADY)
        for _ in range(3):
            self.collector.succeeded()
        self.assertEqual(["the collector is back"], self.told())

    def test_all_is_well(self) -> None:
        """Nothing is said of one that works."""
        self.collector.succeeded()
        self.assertEqual([], self.told())

    def test_works_now_and_then(self) -> None:
        """One that takes something between two failures is not back each time."""
        for _ in range(100):
            self.collector.failed("reset")
            self.clock.advance(1)
            self.collector.succeeded()
        self.assertEqual(1, len(self.told()))

    def test_lost_again_soon(self) -> None:
        """A loss soon after the one before is told once it has lasted."""
        self.collector.failed("a")
        self.clock.advance(STEADY)
        self.collector.succeeded()
        self.assertEqual(2, len(self.told()))
        self.collector.failed("b")
        self.assertEqual([], self.told())
        self.clock.advance(QUIET)
        self.collector.failed("c")
        self.assertEqual(1, len(self.told()))

    def test_reasons_of_others(self) -> None:
        """A reason is one line, and not long."""
        self.collector.failed("a\nb\x1b[2J" + "x" * 1000)
        (line,) = self.told()
        self.assertIn("a?b?[2J", line)
        self.assertLess(len(line), 300)
