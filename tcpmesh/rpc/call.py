"""One gRPC call: messages there and back on a stream of HTTP/2, and its end (gRPC over HTTP2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from google.protobuf.message import DecodeError, Message

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpmesh.rpc.endings import of_field, of_http, of_reset
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, StreamObserver
from tcpmesh.rpc.status import GrpcError, GrpcStatus
from tcpmesh.wire.grpc import MessageReader, MessageTooLarge, framed, message_text

log = Logger(namespace="grpc")

CONTENT_TYPE = "application/grpc"

SMALL = 64
"""Bytes of a message below which it counts as a small frame does."""

MOST_BUFFERED = 1 << 20
"""Bytes that a call keeps for a server that does not take them."""


class GrpcObserver(Protocol):
    """Who has made a call.  Nothing is called from within the call that begins it."""

    def on_message(self, message: Any) -> None:
        """The server has sent this."""

    def on_end(self, error: GrpcError | None) -> None:
        """It is over: the last call; without an error the server said OK."""

    def on_drained(self) -> None:
        """All that was sent has left, after some of it had to wait."""


Open = Callable[[StreamObserver], Http2Stream]
"""Begins the stream of a call."""


class GrpcStream:
    """A call, and the observer of its stream.

    :param reply: the type of the server's messages.
    :param most: bytes that one of these may have.
    :param over: called when it is over, perhaps more than once.
    :param cancelled: called when it is broken off from this side, of which the observer hears
        nothing.
    """

    def __init__(
        self,
        reply: type[Message],
        observer: GrpcObserver,
        clock: IReactorTime,
        most: int,
        over: Callable[[GrpcStream, GrpcStatus], object],
        cancelled: Callable[[], object] | None = None,
    ) -> None:
        self._reply = reply
        self._observer: GrpcObserver | None = observer
        self._clock = clock
        self._reader = MessageReader(most)
        self._over = over
        self._cancelled = cancelled
        self._stream: Http2Stream | None = None
        self._has_begun = False
        """Whether the server has begun to answer."""
        self._status: GrpcError | None = GrpcError(GrpcStatus.UNKNOWN, "no grpc-status")
        """What trailers say."""
        self._deadline: IDelayedCall | None = None
        self._is_starting = True

    def begin(self, open_stream: Open, timeout: float | None) -> None:
        """Make the call.

        :param timeout: seconds for all of it, or `None`.
        """
        if timeout is not None:
            self._deadline = self._clock.callLater(timeout, self._is_late)
        self._stream = open_stream(self)
        self._is_starting = False

    # What its user does

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self._observer is not None

    @property
    def buffered(self) -> int:
        """Bytes that were sent and have not left."""
        return self._stream.buffered if self._stream is not None else 0

    def send(self, message: Message) -> bool:
        """Send a message, unless too much waits already.

        :return: whether it is sent, or kept to be.
        """
        stream = self._stream
        if stream is None or not stream.is_open or stream.is_ended:
            return False
        if stream.buffered > MOST_BUFFERED:
            return False
        stream.send(framed(message.SerializeToString()))
        return True

    def half_close(self) -> None:
        """There are no more messages."""
        if self._stream is not None:
            self._stream.end()

    def cancel(self) -> None:
        """Break it off; its observer hears nothing more."""
        self._observer = None
        cancelled, self._cancelled = self._cancelled, None
        self._stop(GrpcStatus.CANCELLED)
        if cancelled is not None:
            cancelled()

    def _stop(self, status: GrpcStatus) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        stream = self._stream
        if stream is not None:
            stream.cancel()
        self._over(self, status)

    # What the stream tells

    def on_headers(self, fields: Fields, ended: bool) -> None:
        """The server answers."""
        self._has_begun = True
        found = dict(fields)
        status, kind = found[":status"], found.get("content-type", "")
        if ended and "grpc-status" in found:
            self._take_status(found)
        elif status != "200":
            self._end(of_http(status))
        elif not (kind == CONTENT_TYPE or kind.startswith(CONTENT_TYPE + "+")):
            self._end(GrpcError(GrpcStatus.UNKNOWN, f"content-type {kind!r}"))
        elif found.get("grpc-encoding", "identity") != "identity":
            encoding = found["grpc-encoding"]
            self._end(GrpcError(GrpcStatus.UNIMPLEMENTED, f"grpc-encoding {encoding!r}"))

    def on_data(self, data: bytes) -> None:
        """Messages, or some of one."""
        try:
            found = self._reader.feed(data)
        except MessageTooLarge as e:
            self._end(GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, str(e)))
            return
        small = sum(len(raw) < SMALL for _, raw in found)
        if small > 1 and self._stream is not None:
            self._stream.charge(small - 1)
        for flags, raw in found:
            if self._observer is None:
                return
            if flags:
                self._end(GrpcError(GrpcStatus.INTERNAL, "a compressed message"))
            else:
                self._take(raw)

    def _take(self, raw: bytes) -> None:
        try:
            message = self._reply.FromString(raw)
        except DecodeError:
            name = self._reply.DESCRIPTOR.full_name
            self._end(GrpcError(GrpcStatus.INTERNAL, f"a message that is no {name}"))
            return
        if self._observer is not None:
            self._tell(self._observer.on_message, message)

    def on_trailers(self, fields: Fields) -> None:
        """How it came out."""
        self._take_status(dict(fields))

    def _take_status(self, found: dict[str, str]) -> None:
        if "grpc-status" in found:
            text = message_text(found.get("grpc-message", ""))
            self._status = of_field(found["grpc-status"], text)

    def on_end(self) -> None:
        """The server has said all."""
        error = self._status
        if error is None and not self._reader.is_between:
            error = GrpcError(GrpcStatus.INTERNAL, "the last message is not complete")
        self._end(error)

    def on_reset(self, reset: Reset) -> None:
        """It was broken off."""
        self._end(of_reset(reset, self._has_begun))

    def on_drained(self) -> None:
        """All has left."""
        if self._observer is not None:
            self._tell(self._observer.on_drained)

    # Its end

    def _is_late(self) -> None:
        if self._stream is not None:
            self._stream.cancel(late=True)
        self._end(GrpcError(GrpcStatus.DEADLINE_EXCEEDED, "the timeout is over"))

    def _end(self, error: GrpcError | None) -> None:
        """It is over; told later where the call that began it has not returned."""
        observer, self._observer = self._observer, None
        self._cancelled = None
        self._stop(GrpcStatus.OK if error is None else error.status)
        if observer is None:
            return
        if self._is_starting:
            self._clock.callLater(0, self._tell, observer.on_end, error)
        else:
            self._tell(observer.on_end, error)

    def _tell(self, method: Callable[..., object], *arguments: object) -> None:
        """An observer that fails ends its call, and no other on the connection."""
        try:
            method(*arguments)
        except Exception:
            log.failure("the observer of a gRPC call failed")
            self.cancel()
