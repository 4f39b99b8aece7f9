"""JSON as Envoy reads it."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.json_text import parse_json
from tcpmesh.config.text.problems import ConfigError
from tcpmesh.config.text.source import Mapping
from tests.config.text.test_yaml_text import plain


def parse(text: str) -> Any:
    """A JSON text as Python values."""
    return plain(parse_json(text, "t.json").root)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class JsonTests(SynchronousTestCase):
    """What is read."""

    def test_memory(self) -> None:
        """A long string, with escapes or without, takes memory in proportion."""
        size = 1 << 18
        for text in ("a" * size, "\\n" * (size // 2)):
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            parse(f'{{"a": "{text}"}}')
            self.assertLess(tracemalloc.get_traced_memory()[1], 20 * size)
            tracemalloc.stop()

    def test_quotes(self) -> None:
        """A string ends at the first quote of its kind that is not escaped, and it must end."""
        text = r"""["a\"b", 'c"\'', "\\", "d'"]"""
        self.assertEqual(['a"b', "c\"'", "\\", "d'"], parse(text))
        for text in ('"a', '"a\\"', '"a\\', "'a\"", '"'):
            self.assertRaises(ConfigError, parse, text)

    @given(VALUES, st.sampled_from((None, 1)), st.booleans())
    def test_standard(self, value: Any, indent: int | None, ascii_only: bool) -> None:
        """Whatever the json module writes is read back."""
        self.assertEqual(value, parse(json.dumps(value, indent=indent, ensure_ascii=ascii_only)))

    def test_more_than_the_standard(self) -> None:
        """Single quotes, bare keys and trailing commas pass, and the last of equal keys wins."""
        self.assertEqual({"a": "b", "c": [1]}, parse("{'a': 'x', a: \"b\", c: [1,],}"))

    def test_numbers(self) -> None:
        """Whole numbers stay whole, others are reals."""
        self.assertEqual([1, -1, 1.5, 8e1], parse("[1, -1, 1.5, 8e1]"))
        self.assertEqual([int, float], [type(value) for value in parse("[80, 80.0]")])

    def test_places(self) -> None:
        """Values and keys know their line and column, also after a string with a line break."""
        root = parse_json('{\n "a": "x\ny",  "b": 1}', "t.json").root

        assert isinstance(root, Mapping)
        self.assertEqual((2, 2), (root.keys["a"].line, root.keys["a"].column))
        self.assertEqual((3, 11), (root.items["b"].line, root.items["b"].column))


class RefusedTests(SynchronousTestCase):
    """What is refused, and where."""

    def test_each_has_a_place(self) -> None:
        """Each mistake is refused at its line and column."""
        expected = {
            "": "1:1",
            "{": "1:2",
            '{"a"': "1:5",
            '{"a": }': "1:7",
            "[1 2]": "1:4",
            "[1,,2]": "1:4",
            "{]": "1:2",
            "[}": "1:2",
            "[]\n x": "2:2",
            "[01]": "1:2",
            "[yes]": "1:2",
            '["\\x"]': "1:2",
            '["\\ud800"]': "1:2",
            '["a': "1:2",
            "{1: 2}": "1:2",
            "# a": "1:1",
        }
        got = {
            text: str(self.assertRaises(ConfigError, parse, text)).split(" ")[0]
            for text in expected
        }

        self.assertEqual({text: f"t.json:{place}:" for text, place in expected.items()}, got)

    def test_depth(self) -> None:
        """Nesting is bounded."""
        self.assertIn("nested more than", str(self.assertRaises(ConfigError, parse, "[" * 100_000)))
