"""Values as a terminal shows them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.text_table import printable
from tcpmesh.terminal.texts import (
    columns_of,
    cut,
    duration,
    fit,
    micros,
    number,
    plain,
    size,
    time_of_day,
)


class TextTests(SynchronousTestCase):
    """Names that others have chosen."""

    @given(st.text(alphabet=st.characters()), st.integers(0, 12), st.booleans())
    def test_fit(self, text: str, width: int, is_right: bool) -> None:
        """A text takes as many columns as it is given, whatever letters it has."""
        self.assertEqual(width, columns_of(fit(printable(text), width, is_right)))

    def test_sides(self) -> None:
        """A text stands at the left, or at the right; one that is too long loses its end."""
        self.assertEqual("ab   ", fit("ab", 5))
        self.assertEqual("   ab", fit("ab", 5, is_right=True))
        self.assertEqual("abcd~", fit("abcdefg", 5))
        self.assertEqual("abcdefg", cut("abcdefg", 7))

    def test_wide(self) -> None:
        """A letter of two columns that has only one left is left out."""
        self.assertEqual("\u6f22~ ", fit("\u6f22\u5b57\u6f22", 4))
        self.assertEqual(1, columns_of("e\u0301"))


class NumberTests(SynchronousTestCase):
    """Counts, sizes and times."""

    def test_number(self) -> None:
        """A count is short, however large it is."""
        for value, expected in (
            (None, "-"),
            (0, "0"),
            (0.25, "0.2"),
            (99_999, "99999"),
            (123_456, "123k"),
            (1_234_567, "1M"),
            (5e18, "5E"),
            (5e30, "5000000000000E"),
        ):
            self.assertEqual(expected, number(value))

    def test_others(self) -> None:
        """What is not known is a dash, also of sizes and times."""
        for show in (size, duration, micros, time_of_day, plain):
            self.assertEqual("-", show(None))
        self.assertEqual("-", plain(""))
        self.assertEqual("1.5K", size(1536))
        self.assertEqual("2m05s", duration(125))
        self.assertEqual("1.2ms", micros(1234))

    def test_time_of_day(self) -> None:
        """A moment is shown as the time of day here; what is none is a dash."""
        self.assertRegex(time_of_day("2026-11-30T03:35:37.120Z"), r"\A\d\d:\d5:37\Z")
        self.assertEqual("-", time_of_day("yesterday"))
