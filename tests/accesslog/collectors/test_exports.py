"""Requests to a collector that answers, or does not."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.accesslog.collectors.exports import MOST_UNDER_WAY, Exports
from tcpmesh.logs.reachability import STEADY, Reachability
from tests.told import Told


class ExportsTests(SynchronousTestCase):
    """Each request is counted once."""

    def setUp(self) -> None:
        self.asked: list[Deferred[int]] = []
        self.written = self.dropped = self.idle = 0
        self.ready = 0
        self.told = Told()
        log = Logger(namespace="stats", observer=self.told)
        self.clock = Clock()
        self.exports = Exports(
            self._post,
            self._count_written,
            self._count_dropped,
            Reachability(log, "the collector", self.clock.seconds),
            self._count_ready,
        )

    def _post(self, request: object) -> Deferred[int]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def _count_written(self, records: int) -> None:
        self.written += records

    def _count_dropped(self, records: int) -> None:
        self.dropped += records

    def _count_ready(self) -> None:
        self.ready += self.exports.is_ready

    def _count_idle(self) -> None:
        self.idle += 1

    def test_what_comes_of_requests(self) -> None:
        """Records count once it is known whether they were taken, all, some or none of them."""
        for _ in range(3):
            self.exports.send("request", 10)
        self.assertEqual((self.written, self.dropped), (0, 0))
        self.asked[0].callback(0)
        self.assertEqual((self.written, self.dropped), (10, 0))
        self.asked[1].callback(3)
        self.assertEqual((self.written, self.dropped), (17, 3))
        self.asked[2].errback(ValueError())
        self.assertEqual((self.written, self.dropped), (17, 13))

    def test_lost_and_back(self) -> None:
        """Where requests fail the log says so, once, and why; and that they are answered again."""
        for _ in range(3):
            self.exports.send("request", 1)
            self.asked[-1].errback(ValueError("no host"))
        self.clock.advance(STEADY)
        for _ in range(3):
            self.exports.send("request", 1)
            self.asked[-1].callback(0)
        lost, back = self.told.lines
        self.assertIn("the collector is lost: no host", lost)
        self.assertEqual("the collector is back", back)

    def test_a_collector_that_lies(self) -> None:
        """No answer makes more of records than there were."""
        self.exports.send("request", 2)
        self.asked[0].callback(1 << 62)
        self.exports.send("request", 2)
        self.asked[1].callback(-5)
        self.assertEqual((self.written, self.dropped), (2, 2))

    def test_a_collector_that_does_not_answer(self) -> None:
        """Only so many requests are under way at a time."""
        for _ in range(MOST_UNDER_WAY):
            self.assertTrue(self.exports.is_ready)
            self.exports.send("request", 1)
        self.assertFalse(self.exports.is_ready)
        self.asked[4].callback(0)
        self.assertTrue(self.exports.is_ready)

    def test_room(self) -> None:
        """Each answer, be it that there is none, says that another request may be made."""
        for _ in range(MOST_UNDER_WAY):
            self.exports.send("request", 1)
        self.asked[0].callback(0)
        self.asked[1].errback(ValueError())
        self.assertEqual(self.ready, 2)

    def test_the_end(self) -> None:
        """Who waits for the last answer is told of it."""
        self.exports.send("request", 1)
        self.exports.when_idle(self._count_idle)
        self.assertEqual(self.idle, 0)
        self.asked[0].callback(0)
        self.assertEqual(self.idle, 1)

    def test_no_answer_to_come(self) -> None:
        """It is told at once where there is none to come."""
        self.exports.when_idle(self._count_idle)
        self.assertEqual(self.idle, 1)
