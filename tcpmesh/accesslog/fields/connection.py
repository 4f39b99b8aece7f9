"""Operators for the client's connection itself: who it is, what it moved and why it ended."""

from __future__ import annotations

import re
from collections.abc import Callable

from tcpmesh.accesslog.fields.value import Build, Value, Yield, encoded
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.stream.close_words import close_reason_text
from tcpmesh.values.stream.stream_info import StreamInfo

_BLANK = re.compile(r"[ \t\n\v\f\r]")
_UNFIT = re.compile(rb"[^A-Za-z0-9._-]")


def server_name(name: str) -> str | None:
    """A name that a client asked for, without what could not be part of one: it may be anything."""
    if not name:
        return None
    fit, unfit = _UNFIT.subn(b"_", encoded(name))
    return f"invalid:{fit.decode()}" if unfit else name


def _of(ask: Callable[[StreamInfo], Value]) -> Build:
    """An operator without arguments, whose value is known at any moment."""
    return lambda operator: lambda info, at: ask(info)


def _details(operator: Operator) -> Yield:
    """RESPONSE_CODE_DETAILS, in which blanks become underscores unless they are allowed."""
    if operator.argument == "ALLOW_WHITESPACES":
        return lambda info, at: info.details or None
    return lambda info, at: _BLANK.sub("_", info.details) or None


def _own(operator: Operator) -> Yield:
    """What Envoy does not have: TCPMESH(close_reason)."""
    return lambda info, at: close_reason_text(info)


OPERATORS: dict[str, Build] = {
    # One call less for what nearly every record has.
    "BYTES_RECEIVED": lambda operator: lambda info, at: info.bytes[0],
    "BYTES_SENT": lambda operator: lambda info, at: info.bytes[3],
    "RESPONSE_FLAGS": lambda operator: lambda info, at: str(info.flags),
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": _of(lambda info: info.bytes[0]),
    "DOWNSTREAM_WIRE_BYTES_SENT": _of(lambda info: info.bytes[3]),
    "UPSTREAM_WIRE_BYTES_SENT": _of(lambda info: info.bytes[1]),
    "UPSTREAM_WIRE_BYTES_RECEIVED": _of(lambda info: info.bytes[2]),
    "CONNECTION_ID": _of(lambda info: info.id),
    "STREAM_ID": _of(lambda info: info.stream_id),
    "RESPONSE_FLAGS_LONG": _of(lambda info: info.flags.long_name),
    "RESPONSE_CODE_DETAILS": _details,
    "CONNECTION_TERMINATION_DETAILS": _of(lambda info: info.termination_details or None),
    "DOWNSTREAM_LOCAL_CLOSE_REASON": _of(lambda info: info.local_close_reason or None),
    "DOWNSTREAM_DETECTED_CLOSE_TYPE": _of(lambda info: info.close_type.value),
    "REQUESTED_SERVER_NAME": _of(lambda info: server_name(info.hello.server_name)),
    "TLS_JA3_FINGERPRINT": _of(lambda info: info.hello.ja3 or None),
    "TLS_JA4_FINGERPRINT": _of(lambda info: info.hello.ja4 or None),
    "LISTENER_NAME": _of(lambda info: info.listener.name or None),
    "FILTER_CHAIN_NAME": _of(lambda info: info.listener.filter_chain_name or None),
    "TCPMESH": _own,
    "ACCESS_LOG_TYPE": lambda operator: lambda info, at: at.log_type.value,
}
