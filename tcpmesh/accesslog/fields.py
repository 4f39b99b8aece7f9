"""What each command operator yields for a connection.

An operator of a format becomes, when the format is built, a function of a `Subject`.  Its value is
one of JSON; `None` is what is not there, which a text shows as `-`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from tcpmesh.accesslog.subject import Subject
from tcpmesh.accesslog.times import LOCAL_FORMAT, UTC_FORMAT, format_time
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import ResponseFlag

Value = Any
"""A value of JSON."""

Yield = Callable[[Subject], Value]


class Typed:
    """A value that a text shows as JSON, quotes and all, and that JSON takes as it is."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value


def dumps(value: Value) -> str:
    """JSON without blanks, as protobuf writes it."""
    return (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )


def shown(value: Value) -> str | None:
    """A value as text; `None` where there is none."""
    if value is None or isinstance(value, str):
        return value
    return dumps(value.value if isinstance(value, Typed) else value)


def cut_to(text: str, length: int | None) -> str:
    """At most so many bytes of a text."""
    return (
        text
        if length is None
        else text.encode("utf-8", "surrogateescape")[:length].decode("utf-8", "surrogateescape")
    )


_Addresses = Callable[[Subject], Address]

_ADDRESSES: dict[str, _Addresses] = {
    "DOWNSTREAM_REMOTE": lambda subject: subject.connection.remote_address,
    "DOWNSTREAM_DIRECT_REMOTE": lambda subject: subject.connection.transport.getPeer(),
    "DOWNSTREAM_LOCAL": lambda subject: subject.connection.local_address,
    "DOWNSTREAM_DIRECT_LOCAL": lambda subject: subject.connection.transport.getHost(),
}


def _address(find: _Addresses) -> Callable[[Operator], Yield]:
    return lambda operator: lambda subject: str(find(subject))


def _port(find: _Addresses) -> Callable[[Operator], Yield]:
    def port(subject: Subject) -> int | None:
        address = find(subject)
        return None if address.family == socket.AF_UNIX else address.port

    return lambda operator: port


def _host(find: _Addresses) -> Callable[[Operator], Yield]:
    """The address without its port; the argument is the length of the prefix to show."""

    def build(operator: Operator) -> Yield:
        digits = operator.argument or ""
        length = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None
        return lambda subject: _masked(find(subject), length)

    return build


def _masked(address: Address, length: int | None) -> str:
    if length is None or address.family == socket.AF_UNIX:
        return address.host
    ip = ipaddress.ip_address(address.host.partition("%")[0])
    return str(ipaddress.ip_network((ip, min(length, ip.max_prefixlen)), strict=False))


def _time(local: bool, emit: bool) -> Callable[[Operator], Yield]:
    def build(operator: Operator) -> Yield:
        text = operator.argument or (LOCAL_FORMAT if local else UTC_FORMAT)
        try:
            format_time(0, text, local)
        except ValueError as error:
            raise FormatError(
                f"{operator.name} has a format that the system refuses: {error}"
            ) from None
        return lambda subject: format_time(
            subject.time_of(subject.now if emit else subject.connection.opened), text, local
        )

    return build


def _environment(operator: Operator) -> Yield:
    """The value that the variable has when the format is built; one that is not set is a dash in
    any case, as in Envoy.
    """
    return _always(os.environ.get(operator.argument or "", "-"))


def _always(value: Value) -> Yield:
    return lambda subject: value


def _filter_state(operator: Operator) -> Yield:
    key, form, name = (*(operator.argument or "").split(":"), "", "")[:3]

    def value(subject: Subject) -> Value:
        found = subject.connection.filter_state.get(key)
        if found is None:
            return None
        if form == "PLAIN":
            return found.text
        if form == "FIELD":
            return shown(found.field(name))
        return Typed(found.typed) if found.typed is not None else None

    return value


def _metadata(path: str) -> Yield:
    """A value of the dynamic metadata: a namespace, and keys from the outside in."""
    steps = path.split(":")

    return lambda subject: found_at(subject.connection.metadata, steps)


def found_at(values: Any, steps: Iterable[str]) -> Value:
    """What is found in mappings within mappings, by keys from the outside in; `None` where nothing
    is.
    """
    for step in steps:
        if not isinstance(values, Mapping) or step not in values:
            return None
        values = values[step]
    return values


def _dynamic_metadata(operator: Operator) -> Yield:
    return _metadata(operator.argument or "")


def _any_metadata(operator: Operator) -> Yield:
    """Of METADATA(DYNAMIC:...) the same; routes and virtual hosts are HTTP's."""
    kind, _, path = (operator.argument or "").partition(":")
    return _metadata(path) if kind == "DYNAMIC" else _always(None)


def _flags(names: Callable[[ResponseFlag], str]) -> Callable[[Operator], Yield]:
    def value(subject: Subject) -> str:
        flags = subject.connection.flags
        return ",".join(names(flag) for flag in ResponseFlag if flag in flags) or "-"

    return lambda operator: value


_LONG = {
    ResponseFlag.UF: "UpstreamConnectionFailure",
    ResponseFlag.UH: "NoHealthyUpstream",
    ResponseFlag.UO: "UpstreamOverflow",
    ResponseFlag.NC: "NoClusterFound",
    ResponseFlag.URX: "UpstreamRetryLimitExceeded",
    ResponseFlag.UR: "UpstreamRemoteReset",
    ResponseFlag.DT: "DurationTimeout",
    ResponseFlag.NR: "NoRouteFound",
}

#: Of HTTP: there is nothing of the kind in a TCP connection, and Envoy says so.
_HTTP = """
    REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION ROUNDTRIP_DURATION
    PROTOCOL ROUTE_NAME VIRTUAL_CLUSTER_NAME REQ RESP TRAILER GRPC_STATUS GRPC_STATUS_NUMBER
    UPSTREAM_PROTOCOL TRACE_ID SPAN_ID PATH QUERY_PARAM QUERY_PARAMS REQUEST_HEADER RESPONSE_HEADER
    RESPONSE_TRAILER
    """
_HTTP_COUNTS = """
    RESPONSE_CODE REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES
    UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
    DOWNSTREAM_HEADER_BYTES_RECEIVED BYTES_RETRANSMITTED PACKETS_RETRANSMITTED
    """
_EMPTY = "LOCAL_REPLY_BODY CUSTOM_FLAGS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID"


def _constants(names: str, value: Value) -> dict[str, Callable[[Operator], Yield]]:
    return {name: lambda operator: _always(value) for name in names.split()}


OPERATORS: dict[str, Callable[[Operator], Yield]] = {
    **{f"{side}_ADDRESS": _address(find) for side, find in _ADDRESSES.items()},
    **{f"{side}_ADDRESS_WITHOUT_PORT": _host(find) for side, find in _ADDRESSES.items()},
    **{f"{side}_PORT": _port(find) for side, find in _ADDRESSES.items()},
    **_constants(_HTTP, None),
    **_constants(_HTTP_COUNTS, 0),
    **_constants(_EMPTY, ""),
    "START_TIME": _time(local=False, emit=False),
    "START_TIME_LOCAL": _time(local=True, emit=False),
    "EMIT_TIME": _time(local=False, emit=True),
    "EMIT_TIME_LOCAL": _time(local=True, emit=True),
    "DURATION": lambda operator: (
        lambda subject: int((subject.now - subject.connection.opened) * 1000)
    ),
    "CONNECTION_ID": lambda operator: lambda subject: subject.connection.id,
    "UNIQUE_ID": lambda operator: lambda subject: str(uuid4()),
    "HOSTNAME": lambda operator: _always(socket.gethostname()),
    "ENVIRONMENT": _environment,
    "RESPONSE_FLAGS": _flags(lambda flag: flag.name or ""),
    "RESPONSE_FLAGS_LONG": _flags(lambda flag: _LONG[flag]),
    "FILTER_STATE": _filter_state,
    "DYNAMIC_METADATA": _dynamic_metadata,
    "METADATA": _any_metadata,
}
"""What builds the function for an operator, by its name;
`tcpmesh.config.fields.operators.SUPPORTED` has the same names.
"""
