"""JSON text becomes nodes, as Envoy reads JSON: a little more than the standard allows.

Single quotes, bare words as keys and a comma before the end of a list or mapping pass.  Nesting is
kept on a stack of our own.
"""

from __future__ import annotations

import re

from tcpmesh.config.text.problems import LINE_BREAK, ConfigError
from tcpmesh.config.text.source import MAX_DEPTH, Document, Mapping, Node, Scalar, Sequence, refuse

_TOKEN = re.compile(
    r"""(?P<open>[{\[])|(?P<close>[}\]])|(?P<mark>[:,])
    |(?P<string>"[^"\\]*"|'[^'\\]*')|(?P<quote>["'])
    |(?P<number>-?[0-9][0-9a-zA-Z.+-]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE | re.DOTALL,
)
# Not one expression for all strings: a repeated group keeps a mark of hundreds of bytes for each
# time.
_STOPS = {quote: re.compile(rf"[{quote}\\]") for quote in "\"'"}
_BLANKS = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<real>(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\Z")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}


def parse_json(text: str, file: str) -> Document:
    """Parse JSON as Envoy does: single quotes, bare words as keys and a comma before the end of a
    list are let pass.

    Raises `ConfigError` with the place of the first thing that is no JSON.
    """
    return Document(file, text, _Reader(text, file).read())


class _Frame:
    """A container being read; `filled` while the last element has no comma after it yet."""

    __slots__ = ("filled", "node")

    def __init__(self, node: Mapping | Sequence) -> None:
        self.node = node
        self.filled = False


class _Reader:
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
        blanks = _BLANKS.match(self.text, self.at)
        assert blanks is not None
        self._count_lines(self.at, blanks.end())
        self.start = blanks.end()
        found = _TOKEN.match(self.text, self.start)
        if found is None:
            self.kind = self.token = ""
            if self.start < len(self.text):
                raise self.refuse(f"unexpected {self.text[self.start]!r}")
            return
        self.kind, self.token, self.at = found.lastgroup or "", found[0], found.end()
        if self.kind == "quote":
            self._read_string()

    def _read_string(self) -> None:
        """Go on to the end of a string that has escapes, or no end."""
        text, at = self.text, self.at
        while found := _STOPS[self.token].search(text, at):
            if found[0] == self.token:
                self.kind, self.token, self.at = (
                    "string",
                    text[self.start : found.end()],
                    found.end(),
                )
                return
            at = found.end() + 1
        raise self.refuse(f"unexpected {self.token!r}")

    def _count_lines(self, start: int, end: int) -> None:
        for found in LINE_BREAK.finditer(self.text, start, end):
            self.line += 1
            self.line_start = found.end()

    def value(self) -> Node:
        """The value that begins with the current token; a container is only opened, its elements
        follow.
        """
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
        if self.kind == "word" and self.token in _WORDS:
            return _WORDS[self.token]
        raise self.refuse(
            f"unexpected {self.token!r}, expected a value"
            if self.kind
            else "the text ends too soon"
        )

    def string(self) -> str:
        """The text of a quoted token, which may hold line breaks."""
        inner = self.token[1:-1]
        if "\\" in inner:
            inner = self._unescaped(inner)
        self._count_lines(self.start, self.at)
        return inner

    def _unescaped(self, text: str) -> str:
        try:
            return (
                _ESCAPE.sub(self._unescape, text).encode("utf-16", "surrogatepass").decode("utf-16")
            )
        except UnicodeDecodeError:
            raise self.refuse("half of a surrogate pair") from None

    def _unescape(self, found: re.Match[str]) -> str:
        if found[1]:
            return chr(int(found[1], 16))
        if found[2] not in _ESCAPES:
            raise self.refuse(f"unknown escape \\{found[2]}")
        return _ESCAPES[found[2]]

    def number(self) -> int | float:
        found = _NUMBER.match(self.token)
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
            raise self.refuse(
                "expected ',' or the end of the list or mapping"
                if self.kind
                else "the text ends too soon"
            )
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
        raise self.refuse(
            f"unexpected {self.token!r}, expected a key" if self.kind else "the text ends too soon"
        )
