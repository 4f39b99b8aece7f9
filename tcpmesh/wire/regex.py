"""Regular expressions of users: RE2, which is what Envoy has.

Python's own `re` would take other expressions than Envoy does, and some that take it years to
match.  RE2 takes a time that is linear in the text.  As in Envoy it looks at bytes, so that a dot
stands for one byte, of which a character may have several.  Nobody asks where groups were found, so
that is not worked out: with a thousand groups it would take a thousand times as long.  The library
is imported with the first expression, so a proxy without any does not carry it.
"""

from __future__ import annotations

import re
from typing import Any

MEMORY = 8 << 20
"""RE2's own default."""


_PLAIN = re.compile(r"[\^]?([A-Za-z0-9_.:/-]+)[$]?")
"""Expressions that say no more than what is to be there, with dots, which may be any byte."""


class BadRegex(ValueError):
    """This is no expression of RE2."""


class Regex:
    """A compiled expression.

    :param text: in RE2's syntax.
    :param memory: bytes that it may take at most, which bounds what compiling and searching costs.
    :raise BadRegex: it is none, or too large; with the library's own words, which are Envoy's.
    """

    __slots__ = ("_pattern", "_text", "needed", "steps")

    def __init__(self, text: str, memory: int = MEMORY) -> None:
        self._text = _encoded(text)
        self._pattern = compiled(self._text, memory, has_groups=False)
        self.steps = int(self._pattern.programsize)
        """What a search costs at most, for each byte of a text."""
        plain = _PLAIN.fullmatch(text)
        self.needed = max(plain[1].split("."), key=len) if plain is not None else ""
        """A text that is found wherever the expression is: to look for it first costs a fraction.
        Empty where that is not plain to see."""

    @property
    def size(self) -> int:
        """Of the program as Envoy compiles it, which Envoy has limits for."""
        return int(compiled(self._text, has_groups=True).programsize)

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in a text."""
        return self._pattern.search(_encoded(text)) is not None

    def fullmatch(self, text: str) -> bool:
        """Whether it matches the whole of a text."""
        return self._pattern.fullmatch(_encoded(text)) is not None


def compiled(text: bytes, memory: int = MEMORY, *, has_groups: bool) -> Any:
    """The library's own object, of the bytes of an expression.

    :raise BadRegex: as `Regex`.
    """
    import re2

    options = re2.Options()
    options.log_errors = False
    options.encoding = options.Encoding.LATIN1
    options.max_mem = memory
    options.never_capture = not has_groups
    try:
        return re2.compile(text, options)
    except re2.error as e:
        reason = e.args[0]
        raise BadRegex(
            reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        ) from None


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # the bytes as they came
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
