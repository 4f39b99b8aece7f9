"""What each command operator yields for a connection.

An operator of a format becomes, when the format is built, a function of what is known about a
connection (`StreamInfo`) and of the moment at which it is asked.  Its value is one of JSON; `None`
is what is not there, which a text shows as `-`.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from tcpmesh.accesslog.times import LOCAL_FORMAT, UTC_FORMAT, format_time
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

Value = Any
"""A value of JSON."""

Yield = Callable[[StreamInfo, Moment], Value]


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


_Addresses = Callable[[StreamInfo], Address]

_ADDRESSES: dict[str, _Addresses] = {
    "DOWNSTREAM_REMOTE": lambda info: info.remote_address,
    "DOWNSTREAM_DIRECT_REMOTE": lambda info: info.direct_remote_address,
    "DOWNSTREAM_LOCAL": lambda info: info.local_address,
    "DOWNSTREAM_DIRECT_LOCAL": lambda info: info.direct_local_address,
}


def _address(find: _Addresses) -> Callable[[Operator], Yield]:
    return lambda operator: lambda info, at: str(find(info))


def _port(find: _Addresses) -> Callable[[Operator], Yield]:
    def port(info: StreamInfo, at: Moment) -> int | None:
        address = find(info)
        return None if address.family == socket.AF_UNIX else address.port

    return lambda operator: port


def _host(find: _Addresses) -> Callable[[Operator], Yield]:
    """The address without its port; the argument is the length of the prefix to show."""

    def build(operator: Operator) -> Yield:
        digits = operator.argument or ""
        length = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None
        return lambda info, at: _masked(find(info), length)

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
        if emit:
            return lambda info, at: format_time(at.wall, text, local)
        return lambda info, at: format_time(at.wall_of(info.started), text, local)

    return build


def _environment(operator: Operator) -> Yield:
    """The value that the variable has when the format is built; one that is not set is a dash in
    any case, as in Envoy.
    """
    return _always(os.environ.get(operator.argument or "", "-"))


def _always(value: Value) -> Yield:
    return lambda info, at: value


def _filter_state(operator: Operator) -> Yield:
    key, form, name = (*(operator.argument or "").split(":"), "", "")[:3]

    def value(info: StreamInfo, at: Moment) -> Value:
        found = info.filter_state.get(key)
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

    return lambda info, at: found_at(info.metadata, steps)


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


def _duration(info: StreamInfo, at: Moment) -> int:
    """Milliseconds: of a connection that has not ended, until now."""
    ended = info.ended if info.ended is not None else at.seconds
    return int((ended - info.started) * 1000)


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
    "DURATION": lambda operator: _duration,
    "BYTES_RECEIVED": lambda operator: lambda info, at: info.bytes[0],
    "BYTES_SENT": lambda operator: lambda info, at: info.bytes[3],
    "UPSTREAM_HOST": lambda operator: (
        lambda info, at: str(info.upstream.host.address) if info.upstream.host else None
    ),
    "ACCESS_LOG_TYPE": lambda operator: lambda info, at: at.log_type.value,
    "CONNECTION_ID": lambda operator: lambda info, at: info.id,
    "UNIQUE_ID": lambda operator: lambda info, at: str(uuid4()),
    "HOSTNAME": lambda operator: _always(socket.gethostname()),
    "ENVIRONMENT": _environment,
    "RESPONSE_FLAGS": lambda operator: lambda info, at: str(info.flags),
    "RESPONSE_FLAGS_LONG": lambda operator: lambda info, at: info.flags.long_name,
    "FILTER_STATE": _filter_state,
    "DYNAMIC_METADATA": _dynamic_metadata,
    "METADATA": _any_metadata,
}
"""What builds the function for an operator, by its name;
`tcpmesh.config.fields.operators.SUPPORTED` has the same names.
"""
