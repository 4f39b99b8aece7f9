"""What somebody writes to see fewer rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.terminal.filters import filter_of, filter_of_words, fitting, having, quoted

ROWS = (
    {"cluster": "db", "host": "10.0.0.1:80", "health": "ok", "hosts": 2},
    {"cluster": "web", "host": "10.0.0.2:80", "health": "DOWN", "hosts": 1},
)


class FilterTests(SynchronousTestCase):
    """Words and fields."""

    def test_words(self) -> None:
        """What has an equals sign after a name is about a field, all else is a word."""
        wanted = filter_of("cluster=db 'a b' Age=>3 =x 1=2")
        self.assertEqual({"cluster": "db", "Age": ">3"}, wanted.fields)
        self.assertEqual(("a b", "=x", "1=2"), wanted.words)
        self.assertEqual(wanted, filter_of_words(["cluster=db", "a b", "Age=>3", "=x", "1=2"]))

    def test_unfinished(self) -> None:
        """A quote that nobody has closed yet is a letter."""
        self.assertEqual(("'a", "b"), filter_of("'A b").words)

    @given(st.text(alphabet=st.characters(codec="utf-8")))
    def test_quoted(self, value: str) -> None:
        """A value that was quoted is the one that comes out, whatever it is."""
        self.assertEqual({"cluster": value}, filter_of(quoted("cluster", value)).fields)

    def test_having(self) -> None:
        """Every word is in the row somewhere, in upper or lower case."""
        self.assertEqual([ROWS[1]], having(ROWS, ("down",)))
        self.assertEqual([], having(ROWS, ("down", "db")))
        self.assertEqual(list(ROWS), having(ROWS, ()))

    def test_fitting(self) -> None:
        """A field is just the value; a row that has no such field does not fit."""
        self.assertEqual([ROWS[0]], fitting(ROWS, filter_of("hosts=2 10.0")))
        self.assertEqual([], fitting(ROWS, filter_of("sni=a")))
