"""How many small frames a host may send."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2.allowance import MOST, PER_FRAME, PER_SECOND, SMALL, Allowance


class AllowanceTests(SynchronousTestCase):
    """That of one connection."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.allowance = Allowance(self.clock)

    def allowed(self, frame: bytes = b"x") -> int:
        """How many such frames may come now."""
        return next(count for count in range(2 * MOST) if not self.allowance.allows(frame))

    def test_at_once(self) -> None:
        """So many may come at once, and large ones without end."""
        self.assertEqual(MOST, self.allowed(b"x" * (SMALL - 1)))
        self.assertTrue(self.allowance.allows(b"x" * SMALL))

    def test_time(self) -> None:
        """With time there may be more, up to as many as at once."""
        self.allowance.spend(MOST)
        self.clock.advance(1)
        self.assertEqual(PER_SECOND, self.allowed())
        self.clock.advance(1000)
        self.assertEqual(MOST, self.allowed())

    def test_sent(self) -> None:
        """Each frame that the host is sent allows it some, up to as many as at once."""
        self.allowance.spend(MOST)
        for _ in range(3):
            self.allowance.sent()
        self.assertEqual(3 * PER_FRAME, self.allowed())
        for _ in range(MOST):
            self.allowance.sent()
        self.assertEqual(MOST, self.allowed())

    def test_many(self) -> None:
        """What has grown meanwhile counts for many small things in one frame, too."""
        self.allowance.spend(MOST)
        self.clock.advance(1)
        self.assertTrue(self.allowance.spend(PER_SECOND))
        self.assertFalse(self.allowance.spend(1))
        self.clock.advance(1000)
        self.assertFalse(self.allowance.spend(MOST + 1))
