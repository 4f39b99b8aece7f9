"""The gRPC client of everything here that makes calls, such as access logs.

A call goes to a cluster (`envoy_grpc`), with its hosts, balancing, limits and statistics, or to a
target that is its own (`google_grpc`).  It is a stream on a connection to a host that many calls
share: no threads, no second event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from twisted.internet.defer import Deferred

from tcpmesh.config.fields.values import seconds
from tcpmesh.registry import Context
from tcpmesh.rpc.call import CONTENT_TYPE, GrpcObserver, GrpcStream
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, ResetReason, StreamObserver
from tcpmesh.rpc.status import GrpcError, GrpcStatus
from tcpmesh.rpc.target import Target
from tcpmesh.rpc.upstream import ClusterUpstream, Upstream, no_stream
from tcpmesh.wire.grpc import framed, timeout_text

MOST_RECEIVED = 4 << 20
"""Bytes of a message that a server may send where nothing is said, as in gRPC's own library; in
Envoy any number.
"""


class GrpcClient:
    """Makes the calls of one `core.v3.GrpcService`: see `grpc_client`.

    :param upstream: where they go.
    :param timeout: seconds that a call may take (`timeout`), or `None`.
    :param metadata: header fields that go with each.
    :param most: bytes of a message that a server may send.
    """

    def __init__(
        self,
        upstream: Upstream,
        context: Context,
        timeout: float | None = None,
        metadata: Fields = (),
        most: int = MOST_RECEIVED,
    ) -> None:
        self._upstream = upstream
        self._clock = context.network.clock
        self._metadata = metadata
        self._most = most
        self.timeout = timeout
        self._calls: dict[GrpcStream, None] = {}
        self._is_closed = False

    def unary(
        self,
        method: str,
        request: Message,
        reply: type[Message],
        timeout: float | None = None,
    ) -> Deferred[Any]:
        """Make a call of one message and one answer; cancel the Deferred to break it off.

        :param method: such as `/package.Service/Method`.
        :param reply: the type of the answer.
        :param timeout: seconds; where none are given, those of the configuration.
        :return: the answer; or it fails with `GrpcError`.
        """
        answer = _Answer()
        call = self._call(reply, answer, answer.on_cancel)
        answer.call = call
        body = framed(request.SerializeToString())
        self._begin(call, method, self.timeout if timeout is None else timeout, body)
        return answer.made

    def stream(
        self,
        method: str,
        reply: type[Message],
        observer: GrpcObserver,
        timeout: float | None = None,
    ) -> GrpcStream:
        """Begin a call of any number of messages either way.

        :param method: such as `/package.Service/Method`.
        :param reply: the type of the server's messages.
        :param timeout: seconds for all of it; for ever where none are given.
        """
        call = self._call(reply, observer)
        self._begin(call, method, timeout, None)
        return call

    def _call(
        self,
        reply: type[Message],
        observer: GrpcObserver,
        cancelled: Callable[[], object] | None = None,
    ) -> GrpcStream:
        call = GrpcStream(reply, observer, self._clock, self._most, self._over, cancelled)
        self._calls[call] = None
        return call

    def _over(self, call: GrpcStream, status: GrpcStatus) -> None:
        if call in self._calls:
            del self._calls[call]
            self._upstream.over(status)

    def _begin(
        self,
        call: GrpcStream,
        method: str,
        timeout: float | None,
        body: bytes | None,
    ) -> None:
        """`body`: all of the request, where it is known."""
        fields = self._fields(method, timeout)
        self._upstream.begins()

        def begin(observer: StreamObserver) -> Http2Stream:
            return self._upstream.open(fields, observer, body or b"", ended=body is not None)

        call.begin(_refused if self._is_closed else begin, timeout)

    def _fields(self, method: str, timeout: float | None) -> Fields:
        fields: Fields = (
            (":method", "POST"),
            (":scheme", "http"),
            (":path", method),
            (":authority", self._upstream.authority),
            ("te", "trailers"),
            ("content-type", CONTENT_TYPE),
        )
        if timeout is not None:
            fields += (("grpc-timeout", timeout_text(timeout)),)
        return fields + self._upstream.fields + self._metadata

    def close(self) -> None:
        """Make no more calls, and break off those there are: unary ones fail with CANCELLED, the
        observers of streams hear nothing more.
        """
        self._is_closed = True
        for call in tuple(self._calls):
            call.cancel()
        self._upstream.close()


class _Answer:
    """The observer of a unary call."""

    def __init__(self) -> None:
        self.call: GrpcStream | None = None
        self.made: Deferred[Any] = Deferred(self._cancel)
        self._message: Any = None

    def _cancel(self, made: Deferred[Any]) -> None:
        if self.call is not None:
            self.call.cancel()

    def on_message(self, message: Any) -> None:
        """The answer."""
        if self._message is not None:
            self._fail(GrpcError(GrpcStatus.INTERNAL, "a second answer"))
            return
        self._message = message

    def on_drained(self) -> None:
        """The request has left."""

    def on_cancel(self) -> None:
        """It was broken off from this side."""
        self._fail(GrpcError(GrpcStatus.CANCELLED))

    def on_end(self, error: GrpcError | None) -> None:
        """It is over."""
        if error is None and self._message is None:
            error = GrpcError(GrpcStatus.INTERNAL, "no answer")
        if error is not None:
            self._fail(error)
        elif not self.made.called:
            self.made.callback(self._message)

    def _fail(self, error: GrpcError) -> None:
        if not self.made.called:
            self.made.errback(error)
        if self.call is not None:
            self.call.cancel()


def _refused(observer: StreamObserver) -> Http2Stream:
    return no_stream(observer, Reset(ResetReason.LOCAL_RESET, "the client is closed"))


def grpc_client(message: Any, context: Context, most: int = MOST_RECEIVED) -> GrpcClient:
    """The client for a `core.v3.GrpcService`.

    :param most: bytes of a message that a server may send, where `max_receive_message_length` says
        nothing.
    """
    timeout = seconds(message.timeout) if message.HasField("timeout") else None
    # No call is made for a connection yet, and then Envoy takes a value as it is written.
    metadata = tuple(
        (each.key.lower(), each.value) for each in message.initial_metadata if each.value
    )
    upstream: Upstream
    if message.HasField("google_grpc"):
        upstream = Target(message.google_grpc, context)
    else:
        envoy = message.envoy_grpc
        upstream = ClusterUpstream(envoy, context)
        if envoy.max_receive_message_length.value:
            most = envoy.max_receive_message_length.value
    return GrpcClient(upstream, context, timeout or None, metadata, most)
