"""Tests of strings."""

from __future__ import annotations

from envoy.type.matcher.v3 import string_pb2

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.strings import string_matcher
from tests.mesh import parse


class StringMatcherTests(SynchronousTestCase):
    """Each kind of `StringMatcher`."""

    def test_kinds(self) -> None:
        """A string is equal, begins, ends, contains or matches; upper and lower case may be the
        same.
        """
        for text, wanted in (
            ("exact: ab", ["ab"]),
            ("prefix: ab", ["ab", "abx"]),
            ("suffix: ab", ["ab", "xab"]),
            ("contains: ab", ["ab", "abx", "xab"]),
            ("safe_regex: {regex: ab|x.b}", ["ab", "xab"]),
            ("safe_regex: {regex: '(?i)ab'}", ["ab", "AB"]),
            ("exact: Ab\nignore_case: true", ["ab", "AB"]),
            ("contains: Ab\nignore_case: true", ["ab", "abx", "xab", "AB"]),
        ):
            matches = string_matcher(parse(string_pb2.StringMatcher, text))
            self.assertEqual(
                wanted, [each for each in ("ab", "abx", "xab", "AB", "") if matches(each)], text
            )
