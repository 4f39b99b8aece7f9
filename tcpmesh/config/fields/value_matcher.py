"""Tests of values of metadata that a configuration asks for: `type.matcher.v3.ValueMatcher`, and
`MetadataMatcher`, which says where a value is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.config.fields.strings import string_matcher

Test = Callable[[Any], bool]
"""Of a value of JSON that is there."""


_MISSING = object()


def metadata_matcher(message: Any) -> Callable[[Mapping[str, Any]], bool]:
    """What a `MetadataMatcher` tests of metadata; a value that is not there is none of any kind."""
    namespace, path = message.filter, [segment.key for segment in message.path]
    test, invert = value_matcher(message.value), message.invert

    def matches(metadata: Mapping[str, Any]) -> bool:
        found: Any = metadata.get(namespace, _MISSING)
        for key in path:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        return (found is not _MISSING and test(found)) is not invert

    return matches


def value_matcher(message: Any) -> Test:
    """What a `ValueMatcher` tests."""
    kind = message.WhichOneof("match_pattern")
    return _KINDS[kind](getattr(message, kind))


def _double(message: Any) -> Test:
    if message.WhichOneof("match_pattern") == "exact":
        exact = message.exact
        return lambda value: _is_number(value) and value == exact
    start, end = message.range.start, message.range.end
    return lambda value: _is_number(value) and start <= value < end


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _string(message: Any) -> Test:
    test = string_matcher(message)
    return lambda value: isinstance(value, str) and test(value)


def _list(message: Any) -> Test:
    test = value_matcher(message.one_of)
    return lambda value: isinstance(value, list | tuple) and any(map(test, value))


def _or(message: Any) -> Test:
    tests = [value_matcher(each) for each in message.value_matchers]
    return lambda value: any(test(value) for test in tests)


_KINDS: dict[str, Callable[[Any], Test]] = {
    "null_match": lambda message: lambda value: value is None,
    "double_match": _double,
    "string_match": _string,
    "bool_match": lambda wanted: lambda value: value is wanted,
    "present_match": lambda wanted: lambda value: bool(wanted),
    "list_match": _list,
    "or_match": _or,
}
