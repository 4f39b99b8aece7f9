"""YAML as Envoy reads it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.config.text.source import MAX_DEPTH, Mapping, Node, Scalar, Sequence, decode
from tcpmesh.config.text.yaml_text import parse_yaml, plain_value


def plain(node: Node) -> Any:
    """A tree as Python values."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Mapping)
    return {key: plain(value) for key, value in node.items.items()}


def parse(text: str) -> Any:
    """A YAML text as Python values."""
    return plain(parse_yaml(text, "t.yaml").root)


class ScalarTests(SynchronousTestCase):
    """What scalars stand for."""

    def test_integers(self) -> None:
        """Integers of 32 bits are numbers, decimal, octal and hexadecimal."""
        expected = {
            "5": 5,
            "-5": -5,
            "+5": 5,
            "010": 8,
            "0x10": 16,
            "2147483647": 2**31 - 1,
            "-2147483648": -(2**31),
        }

        self.assertEqual(expected, {text: plain_value(text) for text in expected})

    def test_other_numbers_stay_text(self) -> None:
        """Everything else that looks like a number is a string."""
        for text in (
            "080",
            "0o17",
            "0b11",
            "1_000",
            "1e3",
            "1.5",
            ".5",
            ".inf",
            "1:30",
            "2001-01-01",
            "2147483648",
            "9" * 40,
        ):
            self.assertEqual(text, plain_value(text))

    def test_booleans(self) -> None:
        """y, yes, true and on are true in the usual cases, and only in those."""
        self.assertEqual(
            [True] * 6, [plain_value(text) for text in ("y", "Y", "yes", "True", "ON", "on")]
        )
        self.assertEqual([False] * 4, [plain_value(text) for text in ("n", "No", "FALSE", "off")])
        self.assertEqual("tRUE", plain_value("tRUE"))

    def test_null(self) -> None:
        """Nothing, a tilde and null are null, quoted ones are not."""
        self.assertEqual([None, None, None, "null", ""], parse("[~, null, Null, 'null', '']"))

    def test_quoted(self) -> None:
        """Quoted text is a string, whatever it looks like."""
        self.assertEqual(["5", "yes", "it's"], parse("['5', \"yes\", 'it''s']"))

    def test_tags(self) -> None:
        """A tag changes nothing but that quoted text is looked at, too."""
        self.assertEqual([5, 7, True], parse("[!!str 5, !!int '7', !!str yes]"))


class StructureTests(SynchronousTestCase):
    """Documents, mappings, anchors."""

    def test_places(self) -> None:
        """Every value and every key knows its line and column."""
        root = parse_yaml("a: 1\nbb:\n  - x\n  - {c: d}\n", "t.yaml").root

        assert isinstance(root, Mapping)
        items = root.items["bb"]
        assert isinstance(items, Sequence)
        self.assertEqual((1, 4), (root.items["a"].line, root.items["a"].column))
        self.assertEqual((2, 1), (root.keys["bb"].line, root.keys["bb"].column))
        self.assertEqual((4, 5), (items.items[1].line, items.items[1].column))

    def test_last_key_wins(self) -> None:
        """Of a repeated key the last value counts."""
        self.assertEqual({"a": 2}, parse("a: 1\na: 2\n"))

    def test_first_document(self) -> None:
        """Only the first document counts, whatever follows it."""
        self.assertEqual({"a": 1}, parse("a: 1\n---\nb: [\n"))

    def test_merge_key_is_a_key(self) -> None:
        """<< is a key like any other."""
        self.assertEqual({"<<": {"a": 1}}, parse("<<: {a: 1}"))

    def test_aliases(self) -> None:
        """An alias stands for its anchor, as a value and as a key."""
        self.assertEqual({"a": [1], "b": [1]}, parse("a: &x [1]\nb: *x\n"))
        self.assertEqual({"a": "k", "k": 1}, parse("a: &x k\n*x : 1\n"))

    def test_ignored_key(self) -> None:
        """An entry tagged !ignore only holds anchors."""
        self.assertEqual({"b": 1}, parse("!ignore a: {x: &x 1}\nb: *x\n"))

    def test_empty(self) -> None:
        """An empty text is null."""
        self.assertIsNone(parse("# nothing\n"))

    def test_decode(self) -> None:
        """A byte order mark is no part of the text, UTF-16 is read, and bad bytes are replaced."""
        self.assertEqual("a", decode(b"\xef\xbb\xbfa"))
        self.assertEqual("a", decode("a".encode("utf-16")))
        self.assertEqual("caf�", decode(b"caf\xe9"))


class HostileTests(SynchronousTestCase):
    """Texts that are wrong, or mean harm."""

    def refused(self, text: str) -> str:
        """Why a text is refused."""
        return str(self.assertRaises(ConfigError, parse, text))

    def test_syntax(self) -> None:
        """A syntax error names line and column."""
        self.assertIn("t.yaml:2:1: not YAML", self.refused("a:\n\tb: 1\n"))

    def test_control_character(self) -> None:
        """A control character is refused where it stands."""
        self.assertIn("t.yaml:2:5: not YAML", self.refused('a: 1\nb: "\x01"\n'))

    def test_place_at_the_end(self) -> None:
        """What is missing at the end is placed at the end of the last line there is."""
        self.assertIn("t.yaml:1:5:", self.refused("a: ["))

    def test_undefined_alias(self) -> None:
        """An alias without an anchor is refused by name."""
        self.assertIn("nope", self.refused("a: *nope"))

    def test_alias_of_itself(self) -> None:
        """An alias inside of what it stands for is refused."""
        self.assertIn("inside of its own anchor", self.refused("&a [*a]"))

    def test_container_as_key(self) -> None:
        """A list cannot be a key."""
        self.assertIn("cannot be a key", self.refused("[a]: 1"))

    def test_depth(self) -> None:
        """A hundred levels pass, one more does not, however it is made."""
        parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)

        self.assertIn(
            "nested more than", self.refused("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
        )
        self.assertIn("nest", self.refused("[" * 100_000))
        half = "[" * 60 + "]" * 60
        self.assertIn(
            "nested more than", self.refused(f"a: &x {half}\nb: {'[' * 60}*x{']' * 60}\n")
        )

    def test_alias_bomb(self) -> None:
        """Aliases that multiply are counted, not followed."""
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]

        self.assertIn("aliases add more than", self.refused("\n".join(lines)))


class RemarkTests(SynchronousTestCase):
    """What is YAML and surely not meant, and what is none for a reason that can be named."""

    def remarks(self, text: str) -> list[tuple[int, str]]:
        """The line and the text of each."""
        return [(node.line, remark) for node, remark in parse_yaml(text, "t.yaml").remarks]

    def refused(self, text: str) -> str:
        """Why a text is no YAML."""
        error = self.assertRaises(ConfigError, parse_yaml, text, "t.yaml")
        return str(error.problems[0])

    def test_key_twice(self) -> None:
        """Of a key that comes twice the last one counts, as in Envoy, which is said at that one."""
        self.assertEqual(
            [(3, "the key 'a' is already in line 1: only this one counts")],
            self.remarks("a: 1\nb: 2\na: 3\n"),
        )
        self.assertEqual([], self.remarks("a: {b: 1}\nc: {b: 1}\n"))

    def test_second_document(self) -> None:
        """Envoy takes the first document of a file, and passes over what follows."""
        self.assertEqual(
            [(2, "a second document begins here: only the first one counts")],
            self.remarks("a: 1\n---\na: 2\n"),
        )
        self.assertEqual([], self.remarks("---\na: 1\n...\n"))
        self.assertEqual(1, len(self.remarks("a: 1\n---\n\tno yaml\n")))

    def test_tab(self) -> None:
        """A tab in the indentation is called one."""
        self.assertIn("t.yaml:2:1: not YAML: a tab: YAML is indented", self.refused("a:\n\t- b\n"))

    def test_unquoted(self) -> None:
        """Characters with which nothing may begin are named, with what to write."""
        self.assertIn('unless it is quoted: write "@type"', self.refused("a:\n  @type: x\n"))
        self.assertIn('unless it is quoted: write "%x"', self.refused("a: %x\n"))
