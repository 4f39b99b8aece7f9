"""Tests of strings that a configuration asks for: `type.matcher.v3.StringMatcher`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.wire.regex import Regex

_TESTS: dict[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


def string_matcher(message: Any) -> Callable[[str], bool]:
    """What a `StringMatcher` tests; a regular expression has to match the whole string.

    :raise tcpmesh.wire.regex.BadRegex: for an expression that is none, which the checks of a
        configuration do not let pass.
    """
    kind = message.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return Regex(message.safe_regex.regex).fullmatch
    test, wanted = _TESTS[kind], getattr(message, kind)
    if message.ignore_case:
        folded = wanted.lower()
        return lambda text: test(text.lower(), folded)
    return lambda text: test(text, wanted)
