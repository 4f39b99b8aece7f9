"""Regular expressions of users."""

from __future__ import annotations

import sys
import time
from subprocess import run

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.regex import BadRegex, Regex


class RegexTests(SynchronousTestCase):
    """What RE2 makes of them."""

    def test_search(self) -> None:
        """An expression is found anywhere, or matches the whole."""
        regex = Regex("b+.")
        self.assertEqual((True, False), (regex.search("abbc"), regex.search("ab")))
        self.assertEqual((True, False), (regex.fullmatch("bbc"), regex.fullmatch("abbc")))

    def test_needed(self) -> None:
        """What is plainly to be there is known: the longest part between dots."""
        for text, needed in (
            ("upstream_cx", "upstream_cx"),
            ("^cluster.c1.", "cluster"),
            ("a.bc$", "bc"),
            (".", ""),
            ("ab+", ""),
            ("a|b", ""),
            ("(?i)a", ""),
            ("[a]", ""),
            ("a\\.b", ""),
            ("ab?", ""),
            ("ab{0}", ""),
            ("\u00fc", ""),
        ):
            self.assertEqual(needed, Regex(text).needed, text)

    @given(st.text("ab.^$", max_size=4), st.text("ab\u00fc", max_size=6))
    def test_needed_is_needed(self, expression: str, text: str) -> None:
        """Where an expression is found, there is what it needs."""
        try:
            regex = Regex(expression)
        except BadRegex:
            return
        self.assertTrue(not regex.search(text) or regex.needed in text)

    def test_bytes(self) -> None:
        """A dot stands for one byte, whatever it is part of; what was no UTF-8 is looked at as it
        came.
        """
        self.assertEqual(
            [False, True],
            [Regex(f"\u00fc{dots}").fullmatch("\u00fc\u20ac") for dots in ("..", "...")],
        )
        self.assertTrue(Regex("a.").fullmatch("a\udcff"))
        self.assertTrue(Regex("a").search("a\ud800"))

    def test_bad(self) -> None:
        """What RE2 does not understand is an error that says why; Python's own notions are among
        it.
        """
        for text, reason in (
            ("(a", "missing ): (a"),
            (r"(a)\1", "invalid escape sequence"),
            ("a(?=b)", "invalid perl operator"),
        ):
            self.assertIn(reason, str(self.assertRaises(BadRegex, Regex, text)))

    def test_size(self) -> None:
        """The size is that of Envoy, which has a limit for it."""
        self.assertEqual((5, 1004), (Regex("a").size, Regex("x{1000}").size))

    def test_linear(self) -> None:
        """No expression takes longer than the text is long."""
        began = time.process_time()
        self.assertFalse(Regex("(a+)+$").fullmatch("a" * 10_000 + "b"))
        self.assertLess(time.process_time() - began, 5)

    def test_groups_cost_nothing(self) -> None:
        """Groups are part of the size, as in Envoy, but a search does nothing for them."""
        nested = "(" * 1000 + "a|." + ")" * 1000
        regex = Regex(nested)
        self.assertEqual(Regex("a|.").steps, regex.steps)
        self.assertGreater(regex.size, 2000)
        self.assertTrue(regex.search("b"))

    def test_memory(self) -> None:
        """An expression that would take more memory than it may is refused, as RE2 says it."""
        text = "|".join(f"[a-z]{{{size}}}x" for size in range(300))
        self.assertGreater(Regex(text).steps, 10_000)
        self.assertIn("too large", str(self.assertRaises(BadRegex, Regex, text, 1 << 18)))

    def test_lazy(self) -> None:
        """The library is imported with the first expression."""
        code = (
            "import sys, tcpmesh.wire.regex as r; print('re2' in sys.modules, "
            "r.Regex('a').search('a'), 're2' in sys.modules)"
        )
        done = run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        self.assertEqual("False True True\n", done.stdout)
