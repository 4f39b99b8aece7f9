"""The single rules of `validate.rules`, kind by kind: each becomes a test that says what is wrong
with a value, or nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from google.protobuf.descriptor import FieldDescriptor
from validate import validate_pb2

from tcpmesh.config.fields.values import nanoseconds

#: Returns what is wrong with a value; empty where nothing is.
Test = Callable[[Any], str]

#: Envoy counts time in signed 64-bit nanoseconds: about 292 years.
MAX_SECONDS = (2**63 - 1) // 1_000_000_000

_NUMBERS = frozenset(
    {
        "float",
        "double",
        "int32",
        "int64",
        "uint32",
        "uint64",
        "sint32",
        "sint64",
        "fixed32",
        "fixed64",
        "sfixed32",
        "sfixed64",
    }
)


def tests_of(kind: str, own: Any, field: FieldDescriptor) -> list[Test]:
    """The tests of one set of rules, such as `validate.StringRules`, for a field (or its items,
    keys or values).
    """
    if kind == "enum":
        return _enum_tests(own, field)
    if kind in _NUMBERS:
        return _skip_empty(
            own, _bounds(own, lambda value: value, _number) + _membership(own, _number)
        )
    make = {
        "string": _string_tests,
        "bytes": _bytes_tests,
        "bool": _bool_tests,
        "any": _any_tests,
    }.get(kind)
    if make is not None:
        return make(own)
    if kind in ("duration", "timestamp"):
        return [_sane_time, *_bounds(own, nanoseconds, _seconds), *_membership(own, _seconds)]
    return []


def _skip_empty(own: Any, tests: list[Test]) -> list[Test]:
    if not own.ignore_empty:
        return tests
    return [lambda value, test=test: test(value) if value else "" for test in tests]  # type: ignore[misc]


def _test(holds: Callable[[Any], bool], text: str) -> Test:
    return lambda value: "" if holds(value) else text


# ---------------------------------------------------------------- numbers and times


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _seconds(value: Any) -> str:
    text = f"{value.seconds}.{abs(value.nanos):09d}".rstrip("0").rstrip(".")
    return f"{text}s"


def duration_problem(value: Any) -> str:
    """What is wrong with any duration that Envoy counts down; empty where nothing is."""
    if value.seconds < 0 or value.nanos < 0:
        return "the duration must not be negative"
    if value.nanos > 999_999_999:
        return "the duration must have less than 1,000,000,000 nanos beside its seconds"
    return (
        "the duration is out of range, at most about 292 years"
        if value.seconds >= MAX_SECONDS
        else ""
    )


def _sane_time(value: Any) -> str:
    return duration_problem(value) if value.DESCRIPTOR.name == "Duration" else ""


def _bounds(own: Any, measure: Callable[[Any], Any], show: Callable[[Any], str]) -> list[Test]:
    """Tests for lt, lte, gt and gte; an upper bound below the lower one means "outside of", as
    protoc-gen-validate has it.
    """
    bounds = {name: getattr(own, name) for name in ("gt", "gte", "lt", "lte") if own.HasField(name)}
    holds = {
        "gt": lambda value, bound: value > bound,
        "gte": lambda value, bound: value >= bound,
        "lt": lambda value, bound: value < bound,
        "lte": lambda value, bound: value <= bound,
    }
    words = {"gt": "greater than", "gte": "at least", "lt": "less than", "lte": "at most"}
    singles = [
        (holds[name], measure(bound), f"{words[name]} {show(bound)}")
        for name, bound in bounds.items()
    ]
    what = "the duration" if own.DESCRIPTOR.name == "DurationRules" else "the value"
    if _is_outside(bounds, measure):
        text = f"{what} must be " + " or ".join(said for _, _, said in singles)
        return [
            _test(
                lambda value: any(compare(measure(value), bound) for compare, bound, _ in singles),
                text,
            )
        ]
    return [
        _bound_test(compare, bound, measure, f"{what} must be {said}")
        for compare, bound, said in singles
    ]


def _bound_test(
    compare: Callable[[Any, Any], bool], bound: Any, measure: Callable[[Any], Any], text: str
) -> Test:
    return _test(lambda value: compare(measure(value), bound), text)


def _is_outside(bounds: dict[str, Any], measure: Callable[[Any], Any]) -> bool:
    low = next((measure(bounds[name]) for name in ("gt", "gte") if name in bounds), None)
    high = next((measure(bounds[name]) for name in ("lt", "lte") if name in bounds), None)
    return low is not None and high is not None and high < low


def _membership(own: Any, show: Callable[[Any], str]) -> list[Test]:
    """Tests for const, in and not_in."""
    tests: list[Test] = []
    if own.HasField("const"):
        tests.append(
            _test(lambda value: value == own.const, f"the value must be {show(own.const)}")
        )
    allowed = list(getattr(own, "in"))
    if allowed:
        tests.append(
            _test(
                lambda value: value in allowed,
                f"the value must be one of {', '.join(map(show, allowed))}",
            )
        )
    banned = list(own.not_in)
    if banned:
        tests.append(
            _test(
                lambda value: value not in banned,
                f"the value must not be one of {', '.join(map(show, banned))}",
            )
        )
    return tests


# ---------------------------------------------------------------- booleans, enums, types of an Any


def _bool_tests(own: Any) -> list[Test]:
    if not own.HasField("const"):
        return []
    return [_test(lambda value: value == own.const, f"the value must be {str(own.const).lower()}")]


def _enum_tests(own: Any, field: FieldDescriptor) -> list[Test]:
    enum = field.enum_type
    assert enum is not None
    numbers = enum.values_by_number

    def show(number: int) -> str:
        return numbers[number].name if number in numbers else str(number)

    tests = _membership(own, show)
    if own.defined_only:
        names = ", ".join(value.name for value in enum.values)
        tests.append(_test(lambda value: value in numbers, f"the value must be one of {names}"))
    return tests


def _any_tests(own: Any) -> list[Test]:
    allowed, banned = list(getattr(own, "in")), list(own.not_in)
    tests: list[Test] = []
    if allowed:
        tests.append(
            _test(
                lambda value: value.type_url in allowed,
                f"the type must be one of {', '.join(allowed)}",
            )
        )
    if banned:
        tests.append(
            _test(
                lambda value: value.type_url not in banned,
                f"the type must not be one of {', '.join(banned)}",
            )
        )
    return tests


# ---------------------------------------------------------------- strings and bytes


def _string_tests(own: Any) -> list[Test]:
    tests = _membership(own, repr)
    tests += _sizes(own, len, ("len", "min_len", "max_len"), "character")
    tests += _sizes(
        own, lambda value: len(value.encode()), ("len_bytes", "min_bytes", "max_bytes"), "byte"
    )
    tests += _contents(own)
    if own.HasField("not_contains"):
        tests.append(
            _test(
                lambda value: own.not_contains not in value,
                f"the value must not contain {own.not_contains!r}",
            )
        )
    known = own.WhichOneof("well_known")
    if known == "well_known_regex":
        tests.append(_header_test(own.well_known_regex, own.strict))
    elif known:
        tests.append(_test(_WELL_KNOWN[known], f"the value must be {_WELL_KNOWN_WORDS[known]}"))
    return _skip_empty(own, tests)


def _bytes_tests(own: Any) -> list[Test]:
    tests = (
        _membership(own, repr)
        + _sizes(own, len, ("len", "min_len", "max_len"), "byte")
        + _contents(own)
    )
    known = own.WhichOneof("well_known")
    if known:
        sizes = {"ip": (4, 16), "ipv4": (4,), "ipv6": (16,)}[known]
        tests.append(
            _test(
                lambda value: len(value) in sizes, f"the value must be {_WELL_KNOWN_WORDS[known]}"
            )
        )
    return _skip_empty(own, tests)


def _sizes(
    own: Any, measure: Callable[[Any], int], names: tuple[str, str, str], unit: str
) -> list[Test]:
    exact, least, most = (getattr(own, name) if own.HasField(name) else None for name in names)
    tests: list[Test] = []
    if exact is not None:
        tests.append(
            _test(lambda value: measure(value) == exact, f"the value must have {exact} {unit}s")
        )
    if least is not None:
        text = f"the value must have at least {least} {unit}{'s' * (least != 1)}"
        tests.append(_test(lambda value: measure(value) >= least, text))
    if most is not None:
        tests.append(
            _test(
                lambda value: measure(value) <= most,
                f"the value must have at most {most} {unit}{'s' * (most != 1)}",
            )
        )
    return tests


def _contents(own: Any) -> list[Test]:
    """Tests for pattern, prefix, suffix and contains, of strings and of bytes."""
    tests: list[Test] = []
    if own.HasField("pattern"):
        pattern = re.compile(_python_pattern(own.pattern))
        tests.append(
            _test(lambda value: _matches(pattern, value), f"the value must match {own.pattern!r}")
        )
    if own.HasField("prefix"):
        tests.append(
            _test(
                lambda value: value.startswith(own.prefix),
                f"the value must begin with {own.prefix!r}",
            )
        )
    if own.HasField("suffix"):
        tests.append(
            _test(
                lambda value: value.endswith(own.suffix), f"the value must end with {own.suffix!r}"
            )
        )
    if own.HasField("contains"):
        tests.append(
            _test(lambda value: own.contains in value, f"the value must contain {own.contains!r}")
        )
    return tests


def _python_pattern(pattern: str) -> str:
    """An RE2 pattern for `re`: `$` means the very end there."""
    return re.sub(r"(?<!\\)\$\Z", r"\\Z", pattern)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return pattern.search(text) is not None


_HEADER = {
    (validate_pb2.KnownRegex.HTTP_HEADER_NAME, True): re.compile(
        r":?[0-9a-zA-Z!#$%&'*+\-.^_|~`]+\Z"
    ),
    (validate_pb2.KnownRegex.HTTP_HEADER_VALUE, True): re.compile("[^\x00-\x08\x0a-\x1f\x7f]*\\Z"),
}
_NO_LINE_BREAKS = re.compile("[^\x00\n\r]*\\Z")


def _header_test(kind: int, strict: bool) -> Test:
    pattern = _HEADER.get((kind, strict), _NO_LINE_BREAKS)
    what = (
        "an HTTP header name"
        if kind == validate_pb2.KnownRegex.HTTP_HEADER_NAME
        else "an HTTP header value"
    )
    return _test(lambda value: pattern.match(value) is not None, f"the value must be {what}")


def _is_ip(value: str, version: int | None = None) -> bool:
    try:
        return version in (None, ipaddress.ip_address(value).version)
    except ValueError:
        return False


_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?\Z"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def _is_host(value: str) -> bool:
    return _HOST.match(value) is not None


def _is_email(value: str) -> bool:
    user, at, host = value.rpartition("@")
    return bool(at) and 0 < len(user) <= 64 and _is_host(host)


def _is_uri(value: str) -> bool:
    return _is_uri_reference(value) and bool(urlsplit(value).scheme)


def _is_uri_reference(value: str) -> bool:
    try:
        urlsplit(value)
    except ValueError:
        return False
    return not re.search(r"[\x00-\x20\x7f]", value)


_WELL_KNOWN: dict[str, Callable[[str], bool]] = {
    "email": _is_email,
    "hostname": _is_host,
    "ip": _is_ip,
    "ipv4": lambda value: _is_ip(value, 4),
    "ipv6": lambda value: _is_ip(value, 6),
    "uri": _is_uri,
    "uri_ref": _is_uri_reference,
    "address": lambda value: _is_ip(value) or _is_host(value),
    "uuid": lambda value: _UUID.match(value) is not None,
}
_WELL_KNOWN_WORDS = {
    "email": "an e-mail address",
    "hostname": "a host name",
    "ip": "an IP address",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "an absolute URI",
    "uri_ref": "a URI",
    "address": "a host name or an IP address",
    "uuid": "a UUID",
}
