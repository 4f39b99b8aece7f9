"""Expressions of ECMAScript, as the real Envoy takes them for `stats_tags`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.ecmascript import EcmaRegex
from tcpmesh.wire.regex import BadRegex

NAME = "cluster.c.upstream_cx_total"


class EcmaRegexTests(SynchronousTestCase):
    """What is found, and what is none."""

    def found(self, expression: str, text: str = NAME) -> tuple[str, str] | None:
        """The texts of the two groups."""
        spans = EcmaRegex(expression).search(text)
        return None if spans is None else (text[slice(*spans[0])], text[slice(*spans[1])])

    def test_groups(self) -> None:
        """The first group and the second one, or twice the first; further ones are nothing."""
        self.assertEqual(("up", "up"), self.found("(up)stream"))
        self.assertEqual(("c.", "c"), self.found(r"^cluster\.((.*?)\.)"))
        self.assertEqual(("upst", "p"), self.found("(u(p)(s)t)"))
        self.assertIsNone(self.found("(x{7})"))
        self.assertRaises(IndexError, EcmaRegex("up").search, NAME)

    def test_unmatched(self) -> None:
        """A group that takes no part in the match is nowhere."""
        self.assertEqual(((-1, -1), (-1, -1)), EcmaRegex("(z)?upst").search(NAME))

    def test_beyond_re2(self) -> None:
        """Assertions and references back, which RE2 has not, are found all the same."""
        self.assertEqual(("x_", "x_"), self.found("c(?=x)(x_)"))
        self.assertEqual(("stream_cx", "stream_cx"), self.found(r"up(?!x)(.*)_t"))
        self.assertEqual(("tot", "t"), self.found(r"((t)o\2)"))

    def test_classes(self) -> None:
        """Classes of characters have names in C++, within brackets."""
        self.assertEqual(("upstream", "upstream"), self.found("([[:alpha:]]+)_cx"))
        self.assertEqual(("a[&", "a[&"), self.found(r"([[a&]+)(?!x)", "xa[&"))
        self.assertEqual((".", "."), self.found(r"([^[:alnum:]_])(?!y)"))

    def test_characters(self) -> None:
        """Where something is found is told in characters, whatever they are in bytes."""
        for expression in ("(b)", "(b)(?!z)"):
            self.assertEqual(("b", "b"), self.found(expression, "\u00fc\u20acb\udcff"))

    def test_refused(self) -> None:
        """What Envoy refuses is no expression, also where RE2 or Python would take it."""
        for text in (
            "x(",
            "x)",
            "x[a",
            "(?i)(UP)",
            "(?<=c)(x)",
            "(?<n>x)",
            "(?P<n>x)",
            "(?#x)",
            r"(\pL)",
            r"\A(c)",
            r"(c)\Z",
            "x\\",
            "a**",
            "a*+",
            "a{",
            "(*)",
            "[[:any:]]",
            r"(a)\2",
        ):
            with self.assertRaises(BadRegex, msg=text):
                EcmaRegex(text)

    @given(st.text(alphabet="ab.*+?{}[]()|^$\\:=!<1,", max_size=12))
    def test_any(self, text: str) -> None:
        """Any text is an expression or none, and nothing else."""
        try:
            regex = EcmaRegex(text)
        except BadRegex:
            return
        if regex.groups:
            regex.search(NAME)
