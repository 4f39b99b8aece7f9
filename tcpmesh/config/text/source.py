"""A source text as a tree of nodes that know their line and column; `yaml_text` and `json_text`
make them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tcpmesh.config.text.problems import ConfigError, Place, Problem, lines_of

#: Envoy's JSON parser, through which its YAML goes too, takes a document this many mappings and
#: lists deep, and none deeper.
MAX_DEPTH = 100


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
    """A parsed source: its name, text and root node.

    `remarks` say, of a node each, what is legal and surely not meant.
    """

    def __init__(
        self, file: str, text: str, root: Node, remarks: Iterable[tuple[Node, str]] = ()
    ) -> None:
        self.file = file
        self.text = text
        self.root = root
        self.remarks = tuple(remarks)

    def place(self, node: Node) -> Place:
        """Where a node of this document stands."""
        return Place(self.file, node.line, node.column)


def taking_apart(root: Node) -> Iterator[None]:
    """Let go of what is in a tree little by little: Python lets go of a tree at once, and all
    threads wait, a tenth of a second for ten thousand clusters.
    """
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if isinstance(node, Sequence):
            nodes.extend(node.items)
            node.items.clear()
            yield
        elif isinstance(node, Mapping) and _is_long(node):
            nodes.extend(node.items.values())
            node.items.clear()
            yield


def _is_long(mapping: Mapping) -> bool:
    """Whether it has more than scalars in it, which are lists or have some."""
    return any(not isinstance(each, Scalar) for each in mapping.items.values())


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 with a byte order mark; bytes that are neither become
    U+FFFD, as for Envoy.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    return data.decode("utf-8-sig", "replace")


def refuse(file: str, text: str, line: int, column: int, what: str) -> ConfigError:
    """The error for a text that cannot be parsed at all.  A place beyond the text is moved to its
    end.
    """
    lines = lines_of(text)
    if lines[-1] == "" and len(lines) > 1:
        lines.pop()
    if line > len(lines):
        line, column = len(lines), len(lines[-1]) + 1
    return ConfigError((Problem(Place(file, line, column), "", what),), sources={file: text})


def camel_case(name: str) -> str:
    """The lowerCamelCase spelling of a field's name."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
