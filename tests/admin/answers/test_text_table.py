"""Tables of plain text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.admin.answers.text_table import (
    STEP,
    WIDEST,
    duration,
    printable,
    shown,
    size,
    text_table,
)


class TableTests(SynchronousTestCase):
    """Rows and columns."""

    def test_aligned(self) -> None:
        """Columns are as wide as what is in them; numbers are aligned at the right."""
        rows = [("a", "1"), ("long", "22")]
        table = "".join(text_table(("NAME", "N"), rows, lambda row: row, frozenset((1,))))
        self.assertEqual("NAME   N\na      1\nlong  22\n", table)

    def test_in_turn(self) -> None:
        """Of many rows some are put into words in each step."""
        made = []
        pieces = text_table(("N",), range(1000), lambda row: made.append(row) or (str(row),))  # type: ignore[func-returns-value]
        most = 0
        for _ in range(10):
            before = len(made)
            next(pieces)
            most = max(most, len(made) - before)
        self.assertTrue(most <= STEP)
        self.assertEqual(1001, sum(1 for piece in pieces if piece))

    @given(st.text())
    def test_shown(self, text: str) -> None:
        """Whatever a text is, its cell is one line that a terminal prints, and not too long."""
        cell = shown(text)
        self.assertTrue(cell.isprintable() and cell)
        self.assertTrue(len(cell) <= 2 * WIDEST)

    def test_printable(self) -> None:
        """What no terminal may obey is shown by its code; all else as it is."""
        for text, expected in (
            ("a.test", "a.test"),
            ("\x1b[2Ja\n\x00", r"\x1b[2Ja\n\x00"),
            ("\u202egnp.exe", r"\u202egnp.exe"),
            ("\U000e0041a", r"\U000e0041a"),
            ("\udc80", r"\udc80"),
            ("b\xfccher \u6f22", "b\xfccher \u6f22"),
        ):
            self.assertEqual(expected, printable(text))

    @given(st.text(alphabet=st.characters()))
    def test_all_is_printable(self, text: str) -> None:
        """Whatever the text is, nothing of what is shown is obeyed."""
        self.assertTrue(printable(text).isprintable())

    def test_words(self) -> None:
        """Times and sizes are short."""
        for seconds, words in ((0.04, "0.0s"), (59.94, "59.9s"), (245, "4m05s"), (7380, "2h03m")):
            self.assertEqual(words, duration(seconds))
        self.assertEqual("5d06h", duration(5 * 86400 + 6 * 3600 + 59))
        for count, words in ((0, "0"), (1023, "1023"), (1536, "1.5K"), (20 << 20, "20M")):
            self.assertEqual(words, size(count))
        self.assertEqual("1024P", size(1 << 60))
