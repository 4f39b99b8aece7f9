"""Regular expressions of `stats_tags`: those of ECMAScript, as C++ has them (`std::regex`), which
Envoy takes for these alone, and RE2 for all others.

They have assertions and references back, which RE2 has not; RE2 and Python have a lot that they
have not, and what Envoy refuses is refused here.  What RE2 can search it does, in a time that is
linear in the text; only what it cannot is left to Python's `re`.
"""

from __future__ import annotations

import re
from typing import Any

from tcpmesh.wire.regex import BadRegex, compiled

Span = tuple[int, int]
"""Where a group was found; (-1, -1) where it was not."""

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\x0b\x0c\r ",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}

_TOKEN = r"""
    (?P<escape>\\(?:[dDsSwWbBfnrtv0]|[1-9]\d?|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^a-zA-Z0-9_]))
    |(?P<wrong>\\.?)
    |(?P<class>\[\^?(?:\[:\w+:\]|\\.|[^\]\\])*\])
    |(?P<group>\((?:\?[:=!])?)(?P<strange>\?)?
    |(?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\})\??)(?P<again>[*+?{])?
    |(?P<other>.)
    """
"""Compiled where an expression is read, which few configurations have."""

_PART = re.compile(r"\[:(\w+):\]|(\\.)|([\[&|~])", re.DOTALL)


class EcmaRegex:
    """A compiled expression.

    :raise BadRegex: where it is none.
    """

    __slots__ = ("_search", "_texts_are_bytes", "groups")

    def __init__(self, text: str) -> None:
        pattern = _for_python(text)
        try:
            own = re.compile(pattern, re.ASCII)
        except (re.error, OverflowError, RecursionError) as e:
            raise BadRegex(str(e)) from None
        self.groups: int = own.groups
        try:
            self._search: Any = compiled(text.encode(), has_groups=True).search
            self._texts_are_bytes = True
        except BadRegex:
            self._search = own.search
            self._texts_are_bytes = False

    def search(self, text: str) -> tuple[Span, Span] | None:
        """Where the first two groups were found, of the first match; the second is the first where
        there is no second.  `None` where there is no match.

        :raise IndexError: where the expression has no group.
        """
        if self._texts_are_bytes:
            encoded = text.encode("utf-8", "surrogateescape")
            found = self._search(encoded)
            if found is not None and len(encoded) != len(text):
                return _in_text(encoded, found.span(1)), _in_text(encoded, self._second(found))
        else:
            found = self._search(text)
        return None if found is None else (found.span(1), self._second(found))

    def _second(self, found: Any) -> Span:
        span: Span = found.span(2 if self.groups > 1 else 1)
        return span


def _in_text(encoded: bytes, span: Span) -> Span:
    """A span of bytes as one of characters."""
    if span[0] < 0:
        return span
    start, end = (len(encoded[:at].decode("utf-8", "surrogateescape")) for at in span)
    return start, end


def _for_python(text: str) -> str:
    """The same expression as Python writes it.

    :raise BadRegex: where C++ would not take it, but Python might.
    """
    found = []
    for token in re.finditer(_TOKEN, text, re.VERBOSE | re.DOTALL):
        kind, piece = token.lastgroup, token[0]
        if kind == "wrong":
            raise BadRegex(f"an invalid escape: {piece}")
        if kind == "strange":
            raise BadRegex("only (?:, (?= and (?! may follow a parenthesis")
        if kind == "again" or (kind == "other" and piece == "{"):
            raise BadRegex("nothing to repeat before a repetition")
        if kind == "other" and piece == "[":
            raise BadRegex("a [ without its ]")
        found.append("[" + _in_class(piece[1:-1]) + "]" if kind == "class" else piece)
    return "".join(found)


def _in_class(text: str) -> str:
    def piece(found: re.Match[str]) -> str:
        name, escape, special = found.groups()
        if name:
            if name not in _CLASSES:
                raise BadRegex(f"no class of characters is named {name}")
            return _CLASSES[name]
        return str(escape) if escape else "\\" + special

    return _PART.sub(piece, text)
