"""YAML and JSON text becomes a tree of nodes that know their line and column.

The scalars are Envoy's, not YAML 1.1's or 1.2's: what yaml-cpp takes for a boolean or a 32-bit integer is one, quoted text and
everything else is a string.  So `010` is 8, `yes` is true, and `1.5` is the string "1.5", which number fields then accept.

The parser's events are composed here, in a loop, and not by PyYAML's composer: a hostile text must not reach the interpreter's
recursion limit, and aliases that multiply (an "alias bomb") are counted before anything walks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from tcpmesh.config.problems import ConfigError, Place, Problem

#: Envoy's JSON parser takes a document this many mappings and lists deep, and none deeper.
MAX_DEPTH = 100

#: Nodes that aliases may add to a document.  Real files repeat a few blocks; a bomb makes billions out of ten lines.
MAX_ALIASED = 1_000_000

#: A mapping entry whose key has this tag is no part of the document: a place to keep anchors.
IGNORE_TAG = "!ignore"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Node:
    """A value in a source text; `line` and `column` count from 1."""

    __slots__ = ("column", "line")

    kind = ""

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


class Scalar(Node):
    """A string, a number, a boolean or null."""

    __slots__ = ("value",)

    def __init__(self, line: int, column: int, value: str | int | float | bool | None) -> None:
        self.line = line
        self.column = column
        self.value = value

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What a person would call it."""
        if self.value is None:
            return "null"
        if isinstance(self.value, bool):
            return "a boolean"
        return "a string" if isinstance(self.value, str) else "a number"


class Sequence(Node):
    """A list."""

    __slots__ = ("items",)

    kind = "a list"

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.items: list[Node] = []


class Mapping(Node):
    """A mapping; `keys` has the place of each key.  Of a repeated key the last one counts."""

    __slots__ = ("items", "keys")

    kind = "a mapping"

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.items: dict[str, Node] = {}
        self.keys: dict[str, Node] = {}


class Document:
    """A parsed source: its name, text and root node."""

    def __init__(self, file: str, text: str, root: Node) -> None:
        self.file = file
        self.text = text
        self.root = root

    def place(self, node: Node) -> Place:
        """Where a node of this document stands."""
        return Place(self.file, node.line, node.column)


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark; bytes that are neither become U+FFFD, as for Envoy."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def refuse(file: str, text: str, line: int, column: int, what: str) -> ConfigError:
    """The error for a text that cannot be parsed at all."""
    return ConfigError((Problem(Place(file, line, column), "", what),), sources={file: text})


# ---------------------------------------------------------------- scalars

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z")

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def _any_usual_case(words: Iterable[str]) -> frozenset[str]:
    return frozenset(form for word in words for form in (word, word.capitalize(), word.upper()))


_TRUE = _any_usual_case(("y", "yes", "true", "on"))
_FALSE = _any_usual_case(("n", "no", "false", "off"))


def plain_value(text: str) -> str | int | bool:
    """What a plain scalar other than null stands for."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] in "-+0123456789" and _INTEGER.match(text):
        return _integer(text)
    return text


def _integer(text: str) -> str | int:
    """A 32-bit integer as such; a 64-bit one as its decimal digits, so that a double never rounds it; others as they are."""
    digits = text.lstrip("+-")
    base = 10
    if len(digits) > 1 and digits[0] == "0":
        base = 16 if digits[1] in "xX" else 8
    if len(digits) > 30:
        return text
    number = int(digits, base) * (-1 if text[0] == "-" else 1)
    if -(2**31) <= number < 2**31:
        return number
    return str(number) if -(2**63) <= number < 2**63 else text


# ---------------------------------------------------------------- YAML


def parse_yaml(text: str, file: str) -> Document:
    """Parse the first document of a YAML text.

    Raises `ConfigError` with the place of the first thing that is no YAML; a parser cannot find a second one.
    """

    def refuse_at(mark: Any, what: str) -> ConfigError:
        return refuse(file, text, mark.line + 1, mark.column + 1, what)

    try:
        return Document(file, text, _Composer(_Loader(text), refuse_at).compose())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise refuse(file, text, line, column, f"not YAML: {what} at line {line}, column {column}") from None
    except yaml.reader.ReaderError as error:
        line, column = _unprintable(text)
        raise refuse(file, text, line, column, f"not YAML: {error.reason} (line {line}, column {column})") from None


def _unprintable(text: str) -> tuple[int, int]:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    before = text[: found.start()] if found else ""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


class _Open:
    """A mapping or list whose end has not come yet."""

    __slots__ = ("anchor", "before", "height", "node")

    def __init__(self, node: Mapping | Sequence, anchor: str | None, before: int) -> None:
        self.node = node
        self.anchor = anchor
        self.before = before
        self.height = 1


@dataclass(frozen=True)
class _Anchored:
    """What an alias stands for: the node, its text as a key, how many nodes it holds and how deep they go."""

    node: Node
    key: str | None
    size: int
    height: int


class _Composer:
    """Builds the tree of one document from the parser's events, with a stack of its own."""

    def __init__(self, loader: Any, refuse_at: Callable[[Any, str], ConfigError]) -> None:
        self.next_event = loader.get_event
        self.refuse = refuse_at
        self.stack: list[_Open] = [_Open(Sequence(1, 1), None, 0)]
        self.key: tuple[str | None, Node] | None = None
        self.anchors: dict[str, _Anchored | None] = {}
        self.count = 0
        self.aliased = 0

    def compose(self) -> Node:
        """The root of the first document; an empty text is null, as in YAML."""
        holder = self.stack[0].node
        self.next_event()
        if type(self.next_event()) is StreamEndEvent:
            return Scalar(1, 1, None)
        steps = self.steps()
        while (event := self.next_event()).__class__ is not DocumentEndEvent:
            steps[event.__class__](event)
        assert isinstance(holder, Sequence)
        return holder.items[0]

    def steps(self) -> dict[type, Callable[[Any], None]]:
        return {
            ScalarEvent: self.scalar,
            MappingStartEvent: self.open_mapping,
            SequenceStartEvent: self.open_sequence,
            MappingEndEvent: self.close,
            SequenceEndEvent: self.close,
            AliasEvent: self.alias,
        }

    def scalar(self, event: Any) -> None:
        mark = event.start_mark
        tag = event.tag
        value = event.value
        key = value
        if tag is not None:
            resolved = plain_value(value) if value else value
        elif not event.implicit[0]:
            resolved = value
        elif value in _NULLS:
            resolved, key = None, "null"
        else:
            resolved = plain_value(value)
        node = Scalar(mark.line + 1, mark.column + 1, resolved)
        self.count += 1
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(node, key, 1, 0)
        self.attach(node, None if tag == IGNORE_TAG else key, event)

    def attach(self, node: Node, key: str | None, event: Any) -> None:
        """Put a node where the innermost open container wants it: as an item, as a key or as the value of the last key."""
        container = self.stack[-1].node
        if type(container) is Sequence:
            container.items.append(node)
        elif self.key is None:
            if type(node) is not Scalar:
                raise self.refuse(event.start_mark, f"{node.kind} cannot be a key")
            self.key = (key, node)
        else:
            name, place = self.key
            self.key = None
            if name is not None:
                container.items[name] = node  # type: ignore[attr-defined]
                container.keys[name] = place  # type: ignore[union-attr]

    def open_mapping(self, event: Any) -> None:
        mark = event.start_mark
        self.open(Mapping(mark.line + 1, mark.column + 1), event)

    def open_sequence(self, event: Any) -> None:
        mark = event.start_mark
        self.open(Sequence(mark.line + 1, mark.column + 1), event)

    def open(self, node: Mapping | Sequence, event: Any) -> None:
        if len(self.stack) > MAX_DEPTH:
            raise self.refuse(event.start_mark, f"mappings and lists nested more than {MAX_DEPTH} deep")
        self.attach(node, None, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(node, event.anchor, self.count))
        self.count += 1

    def close(self, event: Any) -> None:
        closed = self.stack.pop()
        outer = self.stack[-1]
        if closed.height >= outer.height:
            outer.height = closed.height + 1
        if closed.anchor is not None:
            self.anchors[closed.anchor] = _Anchored(closed.node, None, self.count - closed.before, closed.height)

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise self.refuse(event.start_mark, f"alias of an anchor that is not defined: {event.anchor!r}")
        target = self.anchors[event.anchor]
        if target is None:
            raise self.refuse(event.start_mark, f"alias inside of its own anchor: {event.anchor!r}")
        self.count += target.size
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            raise self.refuse(event.start_mark, f"aliases add more than {MAX_ALIASED} values to the document")
        if len(self.stack) - 1 + target.height > MAX_DEPTH:
            raise self.refuse(event.start_mark, f"mappings and lists nested more than {MAX_DEPTH} deep")
        self.stack[-1].height = max(self.stack[-1].height, target.height + 1)
        self.attach(target.node, target.key, event)


# ---------------------------------------------------------------- JSON

_JSON_TOKEN = re.compile(
    r"""(?P<open>[{\[])|(?P<close>[}\]])|(?P<mark>[:,])
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>-?[0-9][0-9a-zA-Z.+-]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE | re.DOTALL,
)
_JSON_BLANKS = re.compile(r"[ \t\r\n]*")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\Z")
_JSON_WORDS = {"true": True, "false": False, "null": None}
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_JSON_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parse_json(text: str, file: str) -> Document:
    """Parse JSON as Envoy does: single quotes, bare words as keys and a comma before the end of a list are let pass.

    Raises `ConfigError` with the place of the first thing that is no JSON.
    """
    return Document(file, text, _JsonReader(text, file).read())


class _Frame:
    """A container being read; `filled` while the last element has no comma after it yet."""

    __slots__ = ("filled", "node")

    def __init__(self, node: Mapping | Sequence) -> None:
        self.node = node
        self.filled = False


class _JsonReader:
    """Builds the tree of a JSON text, token by token, with a stack of its own."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.at = 0
        self.kind = ""
        self.token = ""
        self.start = 0
        self.line = 1
        self.line_start = 0
        self.stack: list[_Frame] = []

    def read(self) -> Node:
        """The root; nothing but white space may follow it."""
        self.advance()
        root = self.value()
        while self.stack:
            self.element(self.stack[-1])
        self.advance()
        if self.kind:
            raise self.refuse("text after the end of the document")
        return root

    def refuse(self, what: str) -> ConfigError:
        line, column = self.place()
        return refuse(self.file, self.text, line, column, f"not JSON: {what}")

    def place(self) -> tuple[int, int]:
        return self.line, self.start - self.line_start + 1

    def advance(self) -> None:
        """Read the next token; `kind` is empty at the end of the text."""
        blanks = _JSON_BLANKS.match(self.text, self.at)
        assert blanks is not None
        self._count_lines(self.at, blanks.end())
        self.start = blanks.end()
        found = _JSON_TOKEN.match(self.text, self.start)
        if found is None:
            self.kind = self.token = ""
            if self.start < len(self.text):
                raise self.refuse(f"unexpected {self.text[self.start]!r}")
            return
        self.kind, self.token, self.at = found.lastgroup or "", found[0], found.end()

    def _count_lines(self, start: int, end: int) -> None:
        newlines = self.text.count("\n", start, end)
        if newlines:
            self.line += newlines
            self.line_start = self.text.rindex("\n", start, end) + 1

    def value(self) -> Node:
        """The value that begins with the current token; a container is only opened, its elements follow."""
        line, column = self.place()
        if self.kind == "open":
            if len(self.stack) >= MAX_DEPTH:
                raise self.refuse(f"mappings and lists nested more than {MAX_DEPTH} deep")
            node = Mapping(line, column) if self.token == "{" else Sequence(line, column)
            self.stack.append(_Frame(node))
            return node
        return Scalar(line, column, self.scalar())

    def scalar(self) -> str | int | float | bool | None:
        if self.kind == "string":
            return self.string()
        if self.kind == "number":
            return self.number()
        if self.kind == "word" and self.token in _JSON_WORDS:
            return _JSON_WORDS[self.token]
        raise self.refuse(f"unexpected {self.token!r}, expected a value" if self.kind else "the text ends too soon")

    def string(self) -> str:
        """The text of a quoted token, which may hold line breaks."""
        inner = self.token[1:-1]
        if "\\" in inner:
            inner = self._unescaped(inner)
        self._count_lines(self.start, self.at)
        return inner

    def _unescaped(self, text: str) -> str:
        try:
            return _JSON_ESCAPE.sub(self._unescape, text).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise self.refuse("half of a surrogate pair") from None

    def _unescape(self, found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] not in _JSON_ESCAPES:
            raise self.refuse(f"unknown escape \\{found[2]}")
        return _JSON_ESCAPES[found[2]]

    def number(self) -> int | float:
        found = _JSON_NUMBER.match(self.token)
        if found is None:
            raise self.refuse(f"{self.token!r} is no number")
        if found["real"] or len(self.token) > 30:
            return float(self.token)
        return int(self.token)

    def element(self, frame: _Frame) -> None:
        """Read one comma, element or end of the innermost open container."""
        self.advance()
        if self.token == "," and frame.filled:
            frame.filled = False
        elif self.kind == "close":
            if (self.token == "}") != isinstance(frame.node, Mapping):
                raise self.refuse(f"unexpected {self.token!r}")
            self.stack.pop()
        elif frame.filled:
            raise self.refuse("expected ',' or the end of the list or mapping" if self.kind else "the text ends too soon")
        else:
            frame.filled = True
            self.attach(frame.node)

    def attach(self, container: Mapping | Sequence) -> None:
        """Read an element of a list, or a key and its value of a mapping."""
        if isinstance(container, Sequence):
            container.items.append(self.value())
            return
        key = Scalar(*self.place(), self.key())
        self.advance()
        if self.token != ":":
            raise self.refuse("expected ':' after a key" if self.kind else "the text ends too soon")
        self.advance()
        name = str(key.value)
        container.items[name] = self.value()
        container.keys[name] = key

    def key(self) -> str:
        if self.kind == "string":
            return self.string()
        if self.kind == "word":
            return self.token
        raise self.refuse(f"unexpected {self.token!r}, expected a key" if self.kind else "the text ends too soon")
