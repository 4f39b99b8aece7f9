"""Which connections an access log writes down: `accesslog.v3.AccessLogFilter`.

A filter is a function of what is known of a connection and of the moment at which a record would be
written.  Those made for HTTP have an answer for TCP too, and it is Envoy's: the status is 0, no
header is there, the gRPC status is UNKNOWN, nothing is traced, and nothing is a health check.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tcpmesh.accesslog.fields.times import duration_ms
from tcpmesh.config.fields.strings import string_matcher
from tcpmesh.config.fields.value_matcher import value_matcher
from tcpmesh.interfaces import IAccessLogFilter
from tcpmesh.registry import Context, build_checked, check_provides
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.numbers import signed
from tcpmesh.wire.regex import Regex

Passes = Callable[[StreamInfo, Moment], bool]
"""Whether a connection is written down at a moment."""

UNKNOWN = 2
"""The gRPC status of what has none."""


def access_log_filter(
    message: Any, context: Context, built: Callable[[Any], object] = lambda each: None
) -> Passes:
    """What an `AccessLogFilter` lets pass.

    :param built: told of each `IAccessLogFilter` that this is made of, which are to be closed.
    :raise tcpmesh.registry.UnknownExtension: where nothing understands the type of an
        `extension_filter`.
    :raise tcpmesh.registry.BrokenExtension: where another package's filter fails.
    """
    return _made(message, _Making(context, built))


class _Making(NamedTuple):
    """What filters are made with."""

    context: Context
    built: Callable[[Any], object]


def _made(message: Any, making: _Making) -> Passes:
    kind = message.WhichOneof("filter_specifier")
    return _FILTERS[kind](getattr(message, kind), making)


def _always(answer: bool) -> Passes:
    return lambda info, at: answer


_COMPARED: dict[int, Callable[[int, int], bool]] = {
    0: operator.eq,
    1: operator.ge,
    2: operator.le,
    3: operator.ne,
}
"""By the numbers of `ComparisonFilter.Op`."""


def _status_code(message: Any, making: _Making) -> Passes:
    compare = _COMPARED[message.comparison.op]
    wanted = making.context.runtime.uint32(message.comparison.value)
    return lambda info, at: compare(at.request.status if at.request else 0, wanted.value)


def _duration(message: Any, making: _Making) -> Passes:
    compare = _COMPARED[message.comparison.op]
    wanted = making.context.runtime.uint32(message.comparison.value)
    return lambda info, at: compare(duration_ms(info, at), wanted.value)


def _runtime(message: Any, making: _Making) -> Passes:
    """A share of the connections: all records of one are in it, or none is, and so it is in all
    logs; unless each record is to be drawn by itself.
    """
    key, default, sampled = (
        message.runtime_key,
        message.percent_sampled,
        making.context.runtime.sampled,
    )
    if message.use_independent_randomness:
        draw = making.context.random.getrandbits
        return lambda info, at: sampled(key, default, draw(64))
    return lambda info, at: sampled(key, default, int(info.stream_id[:8], 16))


def _and(message: Any, making: _Making) -> Passes:
    filters = [_made(each, making) for each in message.filters]
    return lambda info, at: all(passes(info, at) for passes in filters)


def _or(message: Any, making: _Making) -> Passes:
    filters = [_made(each, making) for each in message.filters]
    return lambda info, at: any(passes(info, at) for passes in filters)


def _header(message: Any, making: _Making) -> Passes:
    """What a header field is; of TCP, there is none."""
    matcher = message.header
    name, invert = matcher.name, matcher.invert_match
    kind = matcher.WhichOneof("header_match_specifier") or "present_match"
    if kind == "present_match":
        wanted = not matcher.HasField("present_match") or matcher.present_match
        return lambda info, at: ((_field(name, at) is not None) is wanted) is not invert
    test = _HEADER_TESTS[kind](getattr(matcher, kind))
    stands_for_absent = "" if matcher.treat_missing_header_as_empty else None

    def passes(info: StreamInfo, at: Moment) -> bool:
        value = _field(name, at)
        if value is None:
            value = stands_for_absent
        return value is not None and test(value) is not invert

    return passes


def _field(name: str, at: Moment) -> str | None:
    return at.request.header(name) if at.request is not None else None


def _range(message: Any) -> Callable[[str], bool]:
    def test(value: str) -> bool:
        number = signed(value, 64)
        return number is not None and message.start <= number < message.end

    return test


_HEADER_TESTS: dict[str, Callable[[Any], Callable[[str], bool]]] = {
    "string_match": string_matcher,
    "safe_regex_match": lambda message: Regex(message.regex).fullmatch,
    "range_match": _range,
    "exact_match": lambda wanted: lambda value: value == wanted,
    "prefix_match": lambda wanted: lambda value: value.startswith(wanted),
    "suffix_match": lambda wanted: lambda value: value.endswith(wanted),
    "contains_match": lambda wanted: lambda value: wanted in value,
}


def _response_flags(message: Any, making: _Making) -> Passes:
    """One of these flags, or any where none is named."""
    wanted = 0
    for name in message.flags:
        wanted |= ResponseFlag[name].value
    if not message.flags:
        return lambda info, at: bool(info.flags.value)
    return lambda info, at: bool(info.flags.value & wanted)


def _grpc_status(message: Any, making: _Making) -> Passes:
    return _always((UNKNOWN in message.statuses) is not message.exclude)


_MISSING = object()


def _metadata(message: Any, making: _Making) -> Passes:
    """A value of the dynamic metadata.  `invert` of the matcher has no effect, as in Envoy."""
    absent = message.match_if_key_not_found
    otherwise = absent.value if message.HasField("match_if_key_not_found") else True
    if not message.HasField("matcher"):
        return _always(otherwise)
    namespace = message.matcher.filter
    path = [segment.key for segment in message.matcher.path]
    test = value_matcher(message.matcher.value)

    def passes(info: StreamInfo, at: Moment) -> bool:
        found: Any = info.metadata.get(namespace, _MISSING)
        for key in path:
            found = found.get(key, _MISSING) if isinstance(found, Mapping) else _MISSING
        return otherwise if found is _MISSING else test(found)

    return passes


def _log_type(message: Any, making: _Making) -> Passes:
    """Records of one of these kinds, or of none of them."""
    names = message.DESCRIPTOR.fields_by_name["types"].enum_type.values_by_number
    wanted = frozenset(names[number].name for number in message.types)
    exclude = message.exclude
    return lambda info, at: (at.log_type.value in wanted) is not exclude


def _extension(message: Any, making: _Making) -> Passes:
    config = message.typed_config
    made = build_checked(
        config, making.context, lambda each: check_provides(each, IAccessLogFilter, config)
    )
    making.built(made)
    passes: Passes = made.passes
    return passes


_FILTERS: dict[str, Callable[[Any, _Making], Passes]] = {
    "status_code_filter": _status_code,
    "duration_filter": _duration,
    "not_health_check_filter": lambda message, making: _always(True),
    "traceable_filter": lambda message, making: _always(False),
    "runtime_filter": _runtime,
    "and_filter": _and,
    "or_filter": _or,
    "header_filter": _header,
    "response_flag_filter": _response_flags,
    "grpc_status_filter": _grpc_status,
    "metadata_filter": _metadata,
    "log_type_filter": _log_type,
    "extension_filter": _extension,
}
