"""How OpenTelemetry's requests travel: as gRPC calls, or as POST requests over HTTP."""

from __future__ import annotations

from time import time
from typing import Any, Protocol

from google.protobuf.unknown_fields import UnknownFieldSet

from twisted.internet.defer import Deferred, fail

from tcpmesh.accesslog.collectors.exports import TIMEOUT
from tcpmesh.accesslog.operators import Operators
from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.config.fields.grpc_target import destination
from tcpmesh.config.fields.headers import Fields, with_headers
from tcpmesh.config.fields.operators import names_of_formatters
from tcpmesh.config.fields.values import seconds
from tcpmesh.interfaces import ICluster
from tcpmesh.registry import Context
from tcpmesh.rpc.client import grpc_client
from tcpmesh.rpc.post import post
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.version import __version__
from tcpmesh.wire.http1 import request

USER_AGENT = f"OTel-OTLP-Exporter-tcpmesh/{__version__}"
"""As OpenTelemetry wants it (specification/protocol/exporter.md)."""

_OK = 200


class NotTaken(Exception):
    """A collector did not take a request; the text says why."""


class Transport(Protocol):
    """A way to a collector."""

    destination: str
    """Where it leads, in words."""

    def __call__(self, message: Any) -> Deferred[int]:
        """Make a request; the result is how many of its records the collector refused."""

    def close(self) -> None:
        """No more requests are made."""


class GrpcTransport:
    """Calls of one method.

    :param message: the `core.v3.GrpcService`.
    :param reply: the type of the answers.
    """

    def __init__(self, message: Any, context: Context, method: str, reply: Any) -> None:
        self.destination = destination(message)
        self._client = grpc_client(message, context)
        self._timeout = self._client.timeout or TIMEOUT
        self._method = method
        self._reply = reply

    def __call__(self, message: Any) -> Deferred[int]:
        """See `Transport`."""
        call = self._client.unary(self._method, message, self._reply, self._timeout)
        return call.addCallback(rejected)

    def close(self) -> None:
        """See `Transport`."""
        self._client.close()


def rejected(reply: Any) -> int:
    """How many records an answer says were rejected: the first field of its first field,
    `partial_success`, which the early version of OTLP does not have.
    """
    inner = _unknown(reply, _BYTES)
    return int(_unknown(type(reply).FromString(inner), _VARINT) or 0) if inner else 0


_VARINT, _BYTES = 0, 2


def _unknown(message: Any, wire_type: int) -> Any:
    """The first field of a message that its type does not know, if it is of this wire type."""
    fields: Any = UnknownFieldSet(message)
    found = (each for each in fields if (each.field_number, each.wire_type) == (1, wire_type))
    return next((each.data for each in found), None)


class HttpTransport:
    """POST requests to a URI.

    :param message: the `core.v3.HttpService`.
    :raise tcpmesh.config.fields.operators.FormatError: where Envoy refuses the value of a header
        field.
    """

    def __init__(self, message: Any, context: Context) -> None:
        uri = message.http_uri
        self._cluster_name: str = uri.cluster
        self.destination = f"cluster {uri.cluster!r}"
        self._cluster = context.cluster
        self._clock = context.network.clock
        self._timeout = seconds(uri.timeout)
        self._host, self._path = host_and_path(uri.uri)
        known = Operators(context.node, names_of_formatters(message.formatters))
        self._headers = [
            (each, TextFormat(each.header.value, True, known))
            for each in message.request_headers_to_add
        ]

    def __call__(self, message: Any) -> Deferred[int]:
        """See `Transport`."""
        cluster = self._cluster(self._cluster_name)
        if cluster is None:
            return fail(NotTaken(f"there is no cluster {self._cluster_name!r}"))
        body = message.SerializeToString()
        return self._post(cluster, self._fields(len(body)), body).addCallback(_judged)

    def _post(self, cluster: ICluster, fields: Fields, body: bytes) -> Deferred[int]:
        """In the version of HTTP that the cluster speaks."""
        if not cluster.speaks_http2:
            posted: Deferred[int] = cluster.http1.send(
                request("POST", self._path, fields, body), self._timeout
            )
            return posted
        found = dict(fields)
        head = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", self._path),
            (":authority", found.pop("host", self._host)),
        )
        return post(cluster.http2, (*head, *found.items()), body, self._clock, self._timeout)

    def _fields(self, length: int) -> Fields:
        fields = [
            ("host", self._host),
            ("content-type", "application/x-protobuf"),
            ("user-agent", USER_AGENT),
        ]
        now = time()
        info, at = StreamInfo(started=now), Moment(now, now)
        added = ((option, words.format(info, at)) for option, words in self._headers)
        fields = with_headers(fields, added)
        return [*fields, ("content-length", str(length))]

    def close(self) -> None:
        """The cluster has the connections, for others too."""


def _judged(status: int) -> int:
    if status != _OK:
        raise NotTaken(f"HTTP status {status}")
    return 0


def host_and_path(uri: str) -> tuple[str, str]:
    """The two parts of a URI that a request has, as Envoy takes it apart: the scheme is of no
    importance, for the cluster says whether there is TLS.
    """
    rest = uri.partition("://")[2] or uri
    host, slash, path = rest.partition("/")
    return host, f"{slash}{path}" or "/"
