"""YAML text becomes nodes, as Envoy reads YAML.

The scalars are Envoy's, not YAML 1.1's or 1.2's: what yaml-cpp takes for a boolean or a 32-bit
integer is one, quoted text and everything else is a string.  So `010` is 8, `yes` is true, and
`1.5` is the string "1.5", which number fields then accept.

The parser's events are composed here, in a loop, and not by PyYAML's composer: a hostile text must
not reach the interpreter's recursion limit, and aliases that multiply (an "alias bomb") are counted
before anything walks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
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

from tcpmesh.config.text.problems import ConfigError, lines_of
from tcpmesh.config.text.source import (
    MAX_DEPTH,
    Document,
    Mapping,
    Node,
    Scalar,
    Sequence,
    refuse,
    taking_apart,
)
from tcpmesh.facts import dataclass

#: Nodes that aliases may add to a document.  Real files repeat a few blocks; a bomb makes billions
#: out of ten lines.
MAX_ALIASED = 1_000_000

#: A mapping entry whose key has this tag is no part of the document: a place to keep anchors.
IGNORE_TAG = "!ignore"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

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
    """A 32-bit integer as such; a 64-bit one as its decimal digits, so that a double never rounds
    it; others as they are.
    """
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

    Raises `ConfigError` with the place of the first thing that is no YAML; a parser cannot find a
    second one.
    """

    def refuse_at(mark: Any, what: str) -> ConfigError:
        return refuse(file, text, mark.line + 1, mark.column + 1, what)

    composer = _Composer(_Loader(text), refuse_at)
    try:
        with _taken_apart_otherwise(composer):
            return Document(file, text, composer.compose(), composer.remarks)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        what = _in_plain_words(text, line, column) or what
        raise refuse(
            file, text, line, column, f"not YAML: {what} (line {line}, column {column})"
        ) from None
    except yaml.reader.ReaderError as error:
        line, column = _unprintable(text)
        raise refuse(
            file, text, line, column, f"not YAML: {error.reason} (line {line}, column {column})"
        ) from None


@contextmanager
def _taken_apart_otherwise(composer: _Composer) -> Iterator[None]:
    """Where a text turns out to be no YAML, let go of what was read little by little."""
    try:
        yield
    except (yaml.YAMLError, ConfigError):
        for _ in taking_apart(composer.stack[0].node):
            pass
        raise


def _in_plain_words(text: str, line: int, column: int) -> str:
    """What is wrong with the character at which YAML ends; empty where only the parser knows."""
    lines = lines_of(text)
    rest = lines[line - 1][column - 1 :] if line <= len(lines) else ""
    if rest.startswith("\t"):
        return "a tab: YAML is indented with spaces"
    if rest[:1] in ("@", "`", "%"):
        word = re.split(r"[\s:,\]}]", rest, maxsplit=1)[0]
        return f'nothing may begin with {rest[0]!r}, unless it is quoted: write "{word}"'
    return ""


def _unprintable(text: str) -> tuple[int, int]:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    lines = lines_of(text[: found.start()] if found else "")
    return len(lines), len(lines[-1]) + 1


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
    """What an alias stands for: the node, its text as a key, how many nodes it holds and how deep
    they go.
    """

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
        self.remarks: list[tuple[Node, str]] = []

    def compose(self) -> Node:
        """The root of the first document; an empty text is null, as in YAML."""
        holder = self.stack[0].node
        self.next_event()
        if type(self.next_event()) is StreamEndEvent:
            return Scalar(1, 1, None)
        steps = self.steps()
        while (event := self.next_event()).__class__ is not DocumentEndEvent:
            steps[event.__class__](event)
        self._look_beyond()
        assert isinstance(holder, Sequence)
        return holder.items[0]

    def _look_beyond(self) -> None:
        """Envoy reads the first document of a file and passes over the others in silence."""
        with suppress(yaml.YAMLError):
            event = self.next_event()
            if not isinstance(event, StreamEndEvent):
                mark = event.start_mark
                text = "a second document begins here: only the first one counts"
                self.remarks.append((Scalar(mark.line + 1, mark.column + 1, None), text))

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
        """Put a node where the innermost open container wants it: as an item, as a key or as the
        value of the last key.
        """
        container = self.stack[-1].node
        if isinstance(container, Sequence):
            container.items.append(node)
        elif self.key is None:
            if type(node) is not Scalar:
                raise self.refuse(event.start_mark, f"{node.kind} cannot be a key")
            self.key = (key, node)
        else:
            name, place = self.key
            self.key = None
            if name is not None:
                if name in container.items:
                    before = container.keys[name].line
                    text = f"the key {name!r} is already in line {before}: only this one counts"
                    self.remarks.append((place, text))
                container.items[name] = node
                container.keys[name] = place

    def open_mapping(self, event: Any) -> None:
        mark = event.start_mark
        self.open(Mapping(mark.line + 1, mark.column + 1), event)

    def open_sequence(self, event: Any) -> None:
        mark = event.start_mark
        self.open(Sequence(mark.line + 1, mark.column + 1), event)

    def open(self, node: Mapping | Sequence, event: Any) -> None:
        if len(self.stack) > MAX_DEPTH:
            raise self.refuse(
                event.start_mark, f"mappings and lists nested more than {MAX_DEPTH} deep"
            )
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
            self.anchors[closed.anchor] = _Anchored(
                closed.node, None, self.count - closed.before, closed.height
            )

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            raise self.refuse(
                event.start_mark, f"alias of an anchor that is not defined: {event.anchor!r}"
            )
        target = self.anchors[event.anchor]
        if target is None:
            raise self.refuse(event.start_mark, f"alias inside of its own anchor: {event.anchor!r}")
        self.count += target.size
        self.aliased += target.size
        if self.aliased > MAX_ALIASED:
            raise self.refuse(
                event.start_mark, f"aliases add more than {MAX_ALIASED} values to the document"
            )
        if len(self.stack) - 1 + target.height > MAX_DEPTH:
            raise self.refuse(
                event.start_mark, f"mappings and lists nested more than {MAX_DEPTH} deep"
            )
        self.stack[-1].height = max(self.stack[-1].height, target.height + 1)
        self.attach(target.node, target.key, event)
