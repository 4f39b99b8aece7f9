"""Numbers in texts, as Envoy reads them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.numbers import signed, unsigned

NONE = ("", "-", "+", "7a", "--7", "+-7", "+ 7", "- 7", "1_0", "0x7", "7.0", "\u0667", "1" * 5000)


class NumberTests(SynchronousTestCase):
    """Integers of some bits."""

    def test_signed(self) -> None:
        """Blanks around a number, its sign and zeros before it are no matter."""
        for text, number in (
            *((" 7\t", 7), ("+7", 7), ("-7", -7), ("000", 0), ("-0", 0), ("0" * 5000 + "7", 7)),
            *(("127", 127), ("128", None), ("-128", -128), ("-129", None)),
        ):
            self.assertEqual(signed(text, 8), number, text[:30])
        self.assertEqual(signed(str(-(2**63)), 64), -(2**63))
        self.assertIsNone(signed(str(2**63), 64))

    def test_unsigned(self) -> None:
        """One without a sign has none, not even of zero, but for a plus."""
        for text, number in ((" +7\n", 7), ("255", 255), ("256", None), ("-1", None), ("-0", None)):
            self.assertEqual(unsigned(text, 8), number, text)
        self.assertEqual(unsigned(str(2**64 - 1), 64), 2**64 - 1)
        self.assertIsNone(unsigned(str(2**64), 64))

    def test_none(self) -> None:
        """What else there may be in a text is no number."""
        for text in NONE:
            self.assertIsNone(signed(text, 64), text[:30])
            self.assertIsNone(unsigned(text, 64), text[:30])
