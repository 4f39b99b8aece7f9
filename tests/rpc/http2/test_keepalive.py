"""When a host is asked whether it is there."""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2.keepalive import Pings
from tcpmesh.rpc.http2.options import Keepalive


class Half(Random):
    """Always in the middle."""

    def random(self) -> float:
        return 0.5


class PingTests(SynchronousTestCase):
    """Those of one connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.sent = self.failed = 0

    def begin(self, settings: Keepalive, random: Random | None = None) -> Pings:
        """The connection is there."""
        pings = Pings(settings, self.clock, random, self._send, self._fail)
        pings.start()
        return pings

    def _send(self) -> None:
        self.sent += 1

    def _fail(self) -> None:
        self.failed += 1

    def test_interval(self) -> None:
        """A ping goes out after each interval, and each is answered in time or the host is out."""
        pings = self.begin(Keepalive(interval=10, timeout=2))
        self.clock.advance(10)
        self.clock.advance(1.9)
        pings.answered()
        self.clock.advance(9.9)
        self.assertEqual((1, 0), (self.sent, self.failed))
        self.clock.advance(0.1)
        self.clock.advance(2)
        self.assertEqual((2, 1), (self.sent, self.failed))

    def test_jitter(self) -> None:
        """At random it waits longer by up to so many percent."""
        self.begin(Keepalive(interval=10, timeout=2, jitter=50), Half())
        self.clock.advance(12.4)
        self.assertEqual(0, self.sent)
        self.clock.advance(0.1)
        self.assertEqual(1, self.sent)

    def test_silence(self) -> None:
        """A stream that begins after a silence brings a ping along, in the place of the next one;
        those that begin while it is not answered bring none.
        """
        pings = self.begin(Keepalive(interval=10, timeout=2, idle=5))
        self.clock.advance(5)
        pings.stream_begins()
        self.clock.advance(1)
        pings.stream_begins()
        self.assertEqual((1, 1), (self.sent, len(self.clock.getDelayedCalls())))
        pings.heard()
        pings.answered()
        self.clock.advance(4.9)
        pings.stream_begins()
        self.clock.advance(5)
        self.assertEqual((1, 1), (self.sent, len(self.clock.getDelayedCalls())))

    def test_stranger(self) -> None:
        """An answer to no ping is of no importance."""
        pings = self.begin(Keepalive(interval=10, timeout=2))
        self.clock.advance(9)
        pings.answered()
        self.clock.advance(1)
        self.assertEqual(1, self.sent)

    def test_never(self) -> None:
        """Where nothing is asked for there are neither pings nor timers."""
        pings = self.begin(Keepalive())
        self.clock.advance(10_000)
        pings.stream_begins()
        self.assertEqual((0, []), (self.sent, self.clock.getDelayedCalls()))

    def test_stop(self) -> None:
        """With the connection the timer goes."""
        self.begin(Keepalive(interval=10, timeout=2)).stop()
        self.assertEqual([], self.clock.getDelayedCalls())
