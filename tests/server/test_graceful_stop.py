"""The end that waits for clients."""

from __future__ import annotations

from zope.interface import implementer

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.server.graceful_stop import GracefulStop
from tcpmesh.values.drain import DrainScope


class FakeServer:
    """Has as many clients as a test says."""

    def __init__(self) -> None:
        self.waited_for = 2
        self.drained: list[DrainScope] = []

    def drain_listeners(self, scope: DrainScope) -> None:
        """Note it."""
        self.drained.append(scope)


class GracefulStopTests(SynchronousTestCase):
    """One that may take a minute, and one that may take any time."""

    def setUp(self) -> None:
        """Both, of a server with two clients."""
        self.clock, self.server, self.ends = Clock(), FakeServer(), 0
        self.said: list[str] = []
        self.told: list[str] = []

        @implementer(ILogObserver)
        def note(event: LogEvent) -> None:
            self.said.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)

    def end(self) -> None:
        """The process would end."""
        self.ends += 1

    def begin(self, most: float = 60.0) -> GracefulStop:
        """Begin to stop."""
        stop = GracefulStop(self.server, self.clock, most, self.end, self.told.append)
        stop.begin()
        return stop

    def test_last_client(self) -> None:
        """All listeners accept no more, and with the last client's end comes that of the
        process.
        """
        self.begin()
        self.assertEqual([DrainScope.ALL], self.server.drained)
        self.clock.pump([1.0] * 5)
        self.server.waited_for = 0
        self.assertEqual(0, self.ends)
        self.clock.advance(1.0)
        self.assertEqual(1, self.ends)
        self.assertIn("the last client has left", self.said)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_nobody(self) -> None:
        """Without clients it ends at once, though not from within the signal."""
        self.server.waited_for = 0
        self.begin()
        self.assertEqual(0, self.ends)
        self.clock.advance(0)
        self.assertEqual(1, self.ends)

    def test_deadline(self) -> None:
        """When the time is over it ends all the same, and says whom it cuts off."""
        self.begin()
        self.clock.pump([0.25] * 239)
        self.assertEqual(0, self.ends)
        self.clock.advance(0.25)
        self.assertEqual(1, self.ends)
        self.assertIn("2 clients are cut off: 60 s are over", self.said)

    def test_told(self) -> None:
        """Every ten seconds it says whom it waits for, and for how long at most."""
        self.begin()
        self.clock.pump([0.25] * 4 * 25)
        self.assertEqual(
            [f"2 clients are left, for {left} s at most" for left in (60, 50, 40)],
            [text for text in self.said if "are left" in text],
        )
        self.assertEqual([text for text in self.said if "are left" in text], self.told)

    def test_any_time(self) -> None:
        """Without a deadline it waits for ever."""
        self.begin(0.0)
        self.clock.pump([10.0] * 1000)
        self.assertEqual(0, self.ends)
        self.assertIn("2 clients are left", self.said)

    def test_again(self) -> None:
        """A second signal changes nothing."""
        self.begin().begin()
        self.assertEqual(1, len(self.server.drained))
        self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_other_end(self) -> None:
        """A process that ends by SIGTERM meanwhile has nothing left to do."""
        stop = self.begin()
        stop.cancel()
        stop.cancel()
        self.assertEqual([], self.clock.getDelayedCalls())
