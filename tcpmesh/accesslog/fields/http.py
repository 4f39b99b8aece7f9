"""Operators that speak of HTTP or QUIC: there is nothing of the kind in a TCP connection, and Envoy
says so.  What was asked of the admin interface is HTTP, and has what a record of it is looked at
for.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from tcpmesh.accesslog.fields.value import Build, Value, Yield, always, with_room
from tcpmesh.config.fields.operators import Operator
from tcpmesh.values.stream.http_request import HttpRequest
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo

_ABSENT = """
    REQUEST_DURATION REQUEST_TX_DURATION RESPONSE_DURATION RESPONSE_TX_DURATION ROUNDTRIP_DURATION
    ROUTE_NAME VIRTUAL_CLUSTER_NAME TRAILER GRPC_STATUS GRPC_STATUS_NUMBER UPSTREAM_PROTOCOL
    TRACE_ID SPAN_ID RESPONSE_TRAILER REQ_WITHOUT_QUERY
    """
_ZERO = """
    REQUEST_HEADERS_BYTES RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES
    UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
    DOWNSTREAM_HEADER_BYTES_RECEIVED BYTES_RETRANSMITTED PACKETS_RETRANSMITTED
    """
_EMPTY = "LOCAL_REPLY_BODY CUSTOM_FLAGS"


def _constants(names: str, value: Value) -> dict[str, Build]:
    return {name: lambda operator: always(value) for name in names.split()}


def _of(ask: Callable[[HttpRequest], Value], absent: Value = None) -> Yield:
    """What is said of a request, and where there is none."""
    of_request = with_room(lambda info, at: ask(at.request) if at.request else None)

    def value(info: StreamInfo, at: Moment) -> Value:
        return of_request(info, at) if at.request is not None else absent

    return value


def _either(find: Callable[[HttpRequest, str], str | None]) -> Build:
    """A header field, or where that is not there another one."""

    def build(operator: Operator) -> Yield:
        name, _, other = (operator.argument or "").partition("?")
        if not other:
            return _of(lambda request: find(request, name))
        return _of(lambda request: find(request, name) or find(request, other))

    return build


def _path(operator: Operator) -> Yield:
    if operator.argument == "NQ":
        return _of(lambda request: request.path.partition("?")[0])
    return _of(lambda request: request.path)


def _query(operator: Operator) -> Yield:
    decode = unquote if operator.argument == "DECODED" else str
    return _of(lambda request: decode(request.path.partition("?")[2]) or None)


def _parameter(operator: Operator) -> Yield:
    def find(request: HttpRequest) -> str | None:
        return request.parameters.get(operator.argument or "")

    return _of(find)


OPERATORS: dict[str, Build] = {
    **_constants(_ABSENT, None),
    **_constants(_ZERO, 0),
    **_constants(_EMPTY, ""),
    "PATH": _path,
    "PROTOCOL": lambda operator: _of(lambda request: request.protocol),
    "QUERY_PARAM": _parameter,
    "QUERY_PARAMS": _query,
    "REQ": _either(HttpRequest.header),
    "REQUEST_HEADER": _either(HttpRequest.header),
    "RESP": _either(HttpRequest.response_header),
    "RESPONSE_CODE": lambda operator: _of(lambda request: request.status, absent=0),
    "RESPONSE_HEADER": _either(HttpRequest.response_header),
}
