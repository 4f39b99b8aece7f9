"""Names that were chosen to be long."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.live.names import LONGEST, cut


class CutTests(SynchronousTestCase):
    """`cut`."""

    def test_short(self) -> None:
        """What is short stays as it is, whatever is in it."""
        self.assertEqual("\u202e<b>\x00", cut("\u202e<b>\x00"))

    def test_long(self) -> None:
        """Of a long name the beginning is left, and two long ones are never the same."""
        one, other = cut("n" * 60_000), cut("n" * 60_000 + "x")
        self.assertLessEqual(max(len(one), len(other)), LONGEST)
        self.assertTrue(one.startswith("nnn"))
        self.assertNotEqual(one, other)
        cut("\ud800" * 500)
