"""What a runtime value is worth, as it was seen of Envoy."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.runtime.entries import DENOMINATORS, NotReadable, entry_of, entry_of_text
from tcpmesh.values.runtime import Entry


def entry(value: Any) -> Entry:
    """The entry for a plain value of a static layer."""
    return entry_of(json_format.Parse(json.dumps(value), Value()))


class NumberTests(SynchronousTestCase):
    """Numbers, and text that reads as one."""

    def test_numbers(self) -> None:
        """A number from 0 on is an integer without what comes after the point."""
        for value, whole in ((5, 5), (0, 0), (0.5, 0), (99.9, 99), (1e15, 10**15)):
            self.assertEqual((entry(value).whole, entry(value).number), (whole, value))

    def test_no_integers(self) -> None:
        """A number below 0 or beyond 64 bits is no integer, and a number all the same."""
        for value in (-3, -0.5, 1e20):
            self.assertEqual((entry(value).whole, entry(value).number), (None, value))
        self.assertEqual(entry(2.0**64).whole, 2**64 - 1)

    def test_text_of_a_number(self) -> None:
        """Text that is a number in C, with or without blanks around it, is that number."""
        cases = {
            "42": 42,
            " 42 ": 42,
            "+42": 42,
            "4.5": 4,
            "5.": 5,
            ".5": 0,
            "1e+2": 100,
            "010": 10,
            "0x10": 16,
            "0X1f": 31,
            "+0x10": 16,
            "0x1.8p1": 3,
            "1e-400": 0,
            "\t5\n": 5,
            "4294967295.9": 4294967295,
            "0" * 400 + "7": 7,
            "18446744073709551615": 2**64 - 1,
        }
        for text, whole in cases.items():
            self.assertEqual((entry(text).whole, entry(text).text), (whole, text), text)

    def test_text_of_no_number(self) -> None:
        """Other text is no number at all."""
        for text in (
            *("", "~", "hello", "+ 5", "--5", "+-5", "5e", "1,5", "0b1", "5f", "nan(1)", "0x"),
            *("1_000", "5 5", "\u00a05", "\u0665", "0x-5", "5\x00", "5 #c", "'5'", "9" * 5000),
        ):
            self.assertIsNone(entry(text).number, text)

    def test_text_beyond_all_integers(self) -> None:
        """A text of infinity, of nothing or of far too much is a number and no integer."""
        for text in ("inf", "-inf", "INF", "infinity", "nan", "1e400", "1" + "0" * 400, "-4"):
            self.assertIsNone(entry(text).whole, text)
            self.assertIsNotNone(entry(text).number, text)
        self.assertEqual(entry("0x1p9999").number, float("inf"))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text makes an entry that shows it as it is."""
        self.assertEqual(entry(text).text, text)


class TruthTests(SynchronousTestCase):
    """What is a truth."""

    def test_truths(self) -> None:
        """A boolean is one, and so is a whole number of 32 bits: whether it is not 0."""
        for value, truth in (
            *((True, True), (False, False), (5, True), (0, False), (-3, True)),
            *(("1", True), ("0", False), ("007", True), ("1.0", True), ("-0x10", True)),
            *((2147483646, True), (-2147483648, True)),
        ):
            self.assertIs(entry(value).truth, truth)

    def test_no_truths(self) -> None:
        """Text that says true is none, nor are other numbers."""
        for value in ("true", "TRUE", "", 0.5, "4.5", 2147483647, -2147483649, 1e15, "nan", "inf"):
            self.assertIsNone(entry(value).truth, value)

    def test_a_truth_is_no_number(self) -> None:
        """Who asks for a number gets no 1 for true."""
        self.assertEqual((entry(True).whole, entry(True).number), (None, None))


class FractionTests(SynchronousTestCase):
    """Mappings with a numerator and a denominator."""

    def test_fractions(self) -> None:
        """What is not given is 0 of 100; a numerator that is no number is 0, one below 0 wraps."""
        for value, fraction in (
            ({"numerator": 5}, (5, 100)),
            ({"numerator": 5, "denominator": "MILLION"}, (5, 1_000_000)),
            ({"denominator": "TEN_THOUSAND"}, (0, 10_000)),
            ({}, (0, 100)),
            ({"numerator": "100"}, (0, 100)),
            ({"numerator": True}, (0, 100)),
            ({"numerator": 99.5}, (99, 100)),
            ({"numerator": -1}, (2**32 - 1, 100)),
        ):
            self.assertEqual(entry(value).fraction, fraction, value)

    def test_no_fractions(self) -> None:
        """A denominator that is none of the three names, or anything else in it, makes it none."""
        for value in (
            {"numerator": 1, "denominator": 2},
            {"numerator": 1, "denominator": "BOGUS"},
            {"numerator": 1, "Denominator": "MILLION"},
            {"denominator": "HUNDRED", "x": 1},
        ):
            self.assertIsNone(entry(value).fraction, value)

    def test_infinite_numerator(self) -> None:
        """A numerator that is not finite is 0."""
        value = Value()
        value.struct_value.fields["numerator"].number_value = float("inf")
        self.assertEqual(entry_of(value).fraction, (0, 100))

    def test_denominators(self) -> None:
        """There are three."""
        self.assertEqual(sorted(DENOMINATORS.values()), [100, 10_000, 1_000_000])


class TextTests(SynchronousTestCase):
    """What is shown of a value that was no text."""

    def test_shown(self) -> None:
        """A number has six digits, as in Envoy; a mapping is shown as protobuf shows it."""
        for value, text in (
            *((5, "5"), (0.1, "0.1"), (1234567, "1.23457e+06"), (1e20, "1e+20"), (3.0, "3")),
            *((99999.5, "99999.5"), (-0.5, "-0.5"), (1.234e-6, "1.234e-06"), (True, "true")),
            *((False, "false"), (None, ""), ([1], "")),
            ({"numerator": 5}, 'fields {\n  key: "numerator"\n'),
        ):
            self.assertTrue(entry(value).text.startswith(text), value)


class FileTests(SynchronousTestCase):
    """Text of a file or of a request, which is YAML."""

    def test_numbers(self) -> None:
        """A number counts as YAML has it, and may have a comment."""
        for text, whole in (
            *(("5", 5), ("010", 8), ("0x10", 16), ("1.50", 1), ("+5", 5), (" 7 ", 7)),
            *(("5 #c", 5), ("\n5", 5), ("---\n5", 5), ("12345678901", 12345678901), ("1e3", 1000)),
        ):
            self.assertEqual((entry_of_text(text).whole, entry_of_text(text).text), (whole, text))

    def test_quoted(self) -> None:
        """In quotes it is none: the quotes belong to the text."""
        for text in ("'5'", '"5"', "|\n  5", "[5]", "{a: 5}", "1_0", "99999999999999999999"):
            self.assertIsNone(entry_of_text(text).whole, text)

    def test_truths(self) -> None:
        """A word for true or false is a truth."""
        for text, truth in (("true", True), ("TRUE", True), ("off", False), ("no", False)):
            self.assertEqual(entry_of_text(text), Entry(text, truth=truth))
        for text in ("tRue", "'true'", "~", "null", "hello", "", "  ", "a\nb"):
            self.assertEqual(entry_of_text(text), Entry(text))

    def test_fractions(self) -> None:
        """A mapping may be a share, written in one line or in two."""
        for text in ("{numerator: 5, denominator: MILLION}", "numerator: 5\ndenominator: MILLION"):
            self.assertEqual(entry_of_text(text), Entry(text, fraction=(5, 1_000_000)))
        for text in ("{numerator: true}", "{numerator: '7'}", "{numerator: 99.5}", "{}"):
            self.assertEqual(entry_of_text(text), Entry(text, fraction=(0, 100)))
        for text in ("{numerator: 5, denominator: 2}", "{a: {b: 1}}", "{numerator: 1, x: 2}"):
            self.assertEqual(entry_of_text(text), Entry(text))

    def test_no_yaml(self) -> None:
        """What is no YAML is no value at all."""
        for text in ("{a", "a: b: c", "@x", "*a", "{a:{b:1}}"):
            self.assertRaises(NotReadable, entry_of_text, text)

    def test_long(self) -> None:
        """A long text, or one with control characters, is taken as it is, and quickly."""
        for text in ("{" * 5000, "9" * 1_000_000, "a\0b", "a: b: c\x01"):
            self.assertEqual(entry_of_text(text), Entry(text))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Any text is a value with this text, or no value."""
        try:
            self.assertEqual(entry_of_text(text).text, text)
        except NotReadable as e:
            self.assertTrue(str(e))
