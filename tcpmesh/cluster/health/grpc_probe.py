"""The gRPC health check: one unary call of `grpc.health.v1.Health/Check` over HTTP/2."""

from __future__ import annotations

from time import time
from typing import Any

from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from tcpmesh.cluster.health.http2_exchange import Http2Probe
from tcpmesh.cluster.health.http_check import USER_AGENT
from tcpmesh.cluster.health.probe import (
    Connect,
    Failed,
    HostConnect,
    IResults,
    MakeProbe,
    Terms,
    hostname,
)
from tcpmesh.cluster.health.request_headers import Headers, RequestHeaders
from tcpmesh.interfaces import INetwork
from tcpmesh.rpc.call import CONTENT_TYPE, GrpcStream
from tcpmesh.rpc.http2.connection import Http2Connection
from tcpmesh.rpc.status import GrpcError
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.wire.grpc import framed, timeout_text

PATH = "/grpc.health.v1.Health/Check"
FIELDS = (("te", "trailers"), ("content-type", CONTENT_TYPE), ("user-agent", USER_AGENT))
NO_ANSWER, SERVING = 0, 1


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

    __slots__ = ("_answer", "_call", "_check")

    def __init__(self, terms: Terms, address: Address, results: IResults, check: GrpcCheck) -> None:
        super().__init__(terms, address, results, check.body)
        self._check = check
        self._call: GrpcStream | None = None
        self._answer = NO_ANSWER

    def headers(self) -> Headers:
        """As the check has them."""
        return self._check.headers(self._results.spec, time())

    def begin_stream(self, connection: Http2Connection) -> None:
        """Send the call."""
        self._answer = NO_ANSWER
        call = GrpcStream(
            Int32Value, self, self._terms.network.clock, self.most_received, lambda *_: None
        )
        self._call = call
        call.begin(lambda observer: self.request(connection, observer), None)

    def hang_up(self) -> None:
        """Close the connection, and forget the call, which has this as its observer."""
        self._call = None
        super().hang_up()

    # As the observer of the call

    def on_message(self, message: Any) -> None:
        """The answer; as in Envoy, an empty one is none."""
        if self._answer and message.value and self._call is not None:
            self._call.cancel()
            self._judge(False)
        self._answer = message.value or self._answer

    def on_drained(self) -> None:
        """The question has left."""

    def on_end(self, error: GrpcError | None) -> None:
        """The end of the call: by its trailers, or where it was broken off."""
        if error is not None and error.reset is not None:
            self.broken_off()
        else:
            self._judge(error is None and self._answer == SERVING)

    def _judge(self, is_well: bool) -> None:
        self.settle()
        if is_well:
            self.succeed()
        else:
            self.fail(Failed.ACTIVE)


def grpc_probes(
    message: Any,
    connect: Connect,
    network: INetwork,
    cluster: str,
    host_connect: HostConnect | None = None,
) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with a `grpc_health_check`.

    :param host_connect: what connects in place of `connect`, where it matters which host it is.
    """
    terms = Terms.of(message, connect, network, host_connect)
    check = GrpcCheck(message.grpc_health_check, terms.timeout, cluster)
    return lambda address, spec, results: GrpcProbe(terms.of_host(spec), address, results, check)
