"""Regular expressions of users: RE2, which is what Envoy has.

Python's own `re` would take other expressions than Envoy does, and some that take it years to
match.  RE2 takes a time that is linear in the text.  As in Envoy it looks at bytes, so that a dot
stands for one byte, of which a character may have several. Its library is imported with the first
expression, so a proxy without any does not carry it.
"""

from __future__ import annotations


class BadRegex(ValueError):
    """This is no expression of RE2."""


class Regex:
    """A compiled expression.

    :param text: in RE2's syntax.
    :raise BadRegex: it is none; with the library's own words, which are Envoy's.
    """

    __slots__ = ("_pattern",)

    def __init__(self, text: str) -> None:
        import re2

        options = re2.Options()
        options.log_errors = False
        options.encoding = options.Encoding.LATIN1
        try:
            self._pattern = re2.compile(_encoded(text), options)
        except re2.error as e:
            reason = e.args[0]
            raise BadRegex(
                reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            ) from None

    @property
    def size(self) -> int:
        """Of the compiled program, which Envoy has limits for."""
        return int(self._pattern.programsize)

    def search(self, text: str) -> bool:
        """Whether it matches anywhere in a text."""
        return self._pattern.search(_encoded(text)) is not None

    def fullmatch(self, text: str) -> bool:
        """Whether it matches the whole of a text."""
        return self._pattern.fullmatch(_encoded(text)) is not None


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")  # the bytes as they came
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
