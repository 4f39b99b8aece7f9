"""The gRPC health check: one unary call of `grpc.health.v1.Health/Check` over HTTP/2."""

from __future__ import annotations

from time import time
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from h2.events import DataReceived, Event, ResponseReceived, TrailersReceived

from tcpmesh.cluster.health.http2_exchange import Http2Probe
from tcpmesh.cluster.health.http_check import USER_AGENT
from tcpmesh.cluster.health.probe import Connect, Failed, IResults, MakeProbe, Terms, hostname
from tcpmesh.cluster.health.request_headers import Headers, RequestHeaders
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.wire.grpc import MalformedAnswer, UnaryReader, framed, timeout_text

PATH = "/grpc.health.v1.Health/Check"
CONTENT_TYPE = "application/grpc"
FIELDS = (("te", "trailers"), ("content-type", CONTENT_TYPE), ("user-agent", USER_AGENT))
SERVING = 1


class GrpcCheck:
    """What a `core.v3.HealthCheck.GrpcHealthCheck` asks."""

    def __init__(self, message: Any, timeout: float, cluster: str) -> None:
        """`timeout`: seconds, of which the host is told."""
        self._authority: str = message.authority or cluster
        self._add = RequestHeaders(message.initial_metadata, "HTTP/2")
        self._timeout = ("grpc-timeout", timeout_text(timeout))
        # On the wire StringValue is HealthCheckRequest, and Int32Value HealthCheckResponse: one
        # field, of number 1.
        self.body = framed(StringValue(value=message.service_name).SerializeToString())

    def headers(self, spec: HostSpec, now: float) -> Headers:
        """The header fields for a host; the hostname of its endpoint goes before the authority.

        :param now: seconds since 1970.
        """
        authority = hostname(spec) or self._authority
        pseudo = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", authority),
        )
        return (*pseudo, *self._add.added_to(FIELDS, spec, now), self._timeout)


class GrpcProbe(Http2Probe):
    """Asks one host; an answer takes some hundreds of bytes."""

    __slots__ = ("_answer", "_check")

    def __init__(self, terms: Terms, address: Address, results: IResults, check: GrpcCheck) -> None:
        super().__init__(terms, address, results, check.body)
        self._check = check
        self._answer = UnaryReader()

    def ask(self, transport: Any) -> None:
        """Send the call."""
        self._answer = UnaryReader()
        super().ask(transport)

    def headers(self) -> Headers:
        """As the check has them."""
        return self._check.headers(self._results.spec, time())

    def event(self, event: Event) -> None:
        """Read the answer."""
        if isinstance(event, ResponseReceived):
            self._head(dict(event.headers or ()), event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            self._data(event.data or b"", event.stream_ended is not None)
        elif isinstance(event, TrailersReceived):
            self._judge(dict(event.headers or ()), True)

    def _head(self, headers: dict[Any, Any], ended: bool) -> None:
        kind = headers.get("content-type", "")
        if ended:
            self._judge(headers, True)
        elif headers.get(":status") != "200" or not (
            kind == CONTENT_TYPE or kind.startswith(CONTENT_TYPE + "+")
        ):
            self._judge({}, False)

    def _data(self, data: bytes, ended: bool) -> None:
        """Take the message out; after the body trailers must follow."""
        if ended:
            self._judge({}, True)
            return
        try:
            self._answer.feed(data)
        except MalformedAnswer:
            self._judge({}, False)

    def _judge(self, headers: dict[Any, Any], ended: bool) -> None:
        """The end of the call, by its trailers; there are none where it was broken off."""
        self.close_stream(ended)
        status = headers.get("grpc-status", "")
        if status and not status.strip("0") and is_serving(self._answer.message):
            self.succeed()
        else:
            self.fail(Failed.ACTIVE)


def is_serving(answer: bytes | None) -> bool:
    """Whether this is a HealthCheckResponse that says SERVING."""
    try:
        return answer is not None and Int32Value.FromString(answer).value == SERVING
    except DecodeError:
        return False


def grpc_probes(message: Any, connect: Connect, timers: TimeoutQueues, cluster: str) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with a `grpc_health_check`."""
    terms = Terms.of(message, connect, timers)
    check = GrpcCheck(message.grpc_health_check, terms.timeout, cluster)
    return lambda address, spec, results: GrpcProbe(terms, address, results, check)
