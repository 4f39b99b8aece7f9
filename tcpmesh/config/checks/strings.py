"""Regular expressions: those that Envoy can compile, and does not find too large."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.wire.regex import BadRegex, Regex

LARGEST = 100
"""Envoy's own limit for the size of a program, where the configuration has none."""


def _size(matcher: Any, field_path: FieldPath, report: Report) -> int:
    """Of the program of an expression; 0 of one that is none, which is said."""
    try:
        return Regex(matcher.regex).size
    except BadRegex as e:
        report.error((field_path, "regex"), f"no regular expression of RE2: {e}")
        return 0


def _check_unlimited(matcher: Any, field_path: FieldPath, report: Report) -> None:
    """In a matching tree Envoy has no limit but RE2's own."""
    _size(matcher, field_path, report)


def _check_regex(matcher: Any, field_path: FieldPath, report: Report) -> None:
    size = _size(matcher, field_path, report)
    given = matcher.google_re2.HasField("max_program_size")
    largest = matcher.google_re2.max_program_size.value if given else LARGEST
    if size > largest:
        advice = "a shorter expression, or fewer repetitions, will do"
        report.error(
            (field_path, "regex"),
            f"the program of this expression has size {size}, and {largest} is the most",
            advice,
        )


def _check_string(matcher: Any, field_path: FieldPath, report: Report) -> None:
    if matcher.HasField("safe_regex") and matcher.ignore_case:
        report.error(
            (field_path, "ignore_case"),
            "ignore_case has no effect on a regular expression",
            "begin it with (?i)",
        )


CHECKS = {
    "envoy.type.matcher.v3.RegexMatcher": _check_regex,
    "envoy.type.matcher.v3.StringMatcher": _check_string,
    "xds.type.matcher.v3.RegexMatcher": _check_unlimited,
    "xds.type.matcher.v3.StringMatcher": _check_string,
}
