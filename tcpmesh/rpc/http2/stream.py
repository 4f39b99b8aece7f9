"""One request and its response on a connection that many share."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, Protocol

from twisted.python.failure import Failure

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.rpc.http2.codec import Fields


class ResetReason(Enum):
    """Why a stream was broken off, in Envoy's words."""

    CONNECTION_FAILURE = "remote connection failure"
    CONNECTION_TIMEOUT = "connection timeout"
    CONNECTION_TERMINATION = "connection termination"
    REMOTE_RESET = "remote reset"
    REMOTE_REFUSED = "remote refused stream reset"
    PROTOCOL_ERROR = "protocol error"
    OVERFLOW = "overflow"
    NO_HOST = "no healthy upstream"
    LOCAL_RESET = "local reset"
    TIMEOUT = "timeout"
    ANSWERED = "answered before it was whole"
    """The response is there, and the rest of the request is not wanted."""


class Reset(NamedTuple):
    """How a stream was broken off."""

    reason: ResetReason
    details: str = ""
    code: int = 0
    """The error code of the host's RST_STREAM."""

    failure: Failure | None = None
    """Why there was no connection, where that is the reason."""


class StreamObserver(Protocol):
    """Who has made a request.  After `on_end` or `on_reset` nothing is told any more."""

    def on_headers(self, fields: Fields, ended: bool) -> None:
        """The header fields of the response, with a `:status` of three digits.

        :param ended: whether that is all of it.
        """

    def on_data(self, data: bytes) -> None:
        """Some of its body."""

    def on_trailers(self, fields: Fields) -> None:
        """The fields after its body."""

    def on_end(self) -> None:
        """The response is whole, and the request, where it was not, is broken off."""

    def on_reset(self, reset: Reset) -> None:
        """There will be no response, or no more of it."""

    def on_drained(self) -> None:
        """All that was given to `send` is sent, after some of it had to wait."""


class StreamCarrier(Protocol):
    """What a stream is on: a connection, or whoever waits for one with it."""

    def wants_to_send(self, stream: Http2Stream) -> None:
        """There is more to send."""

    def give_up(self, stream: Http2Stream, reset: Reset) -> None:
        """The stream is not wanted any more; nobody is to be told."""

    def charge(self, count: int) -> None:
        """The host has sent so many small things in one frame."""

    def took(self, stream: TwoWayStream, size: int) -> None:
        """So many bytes of what the host has sent are no longer kept."""


class Http2Stream:
    """One request.

    :param fields: its header fields.
    :param over: called once, when it is over, before its observer hears of that; with what broke it
        off, or `None`.
    """

    __slots__ = (
        "_has_waited",
        "_observer",
        "_over",
        "_queue",
        "carrier",
        "fields",
        "id",
        "is_ended",
        "is_last",
        "status",
    )

    is_two_way = False
    """Whether it is a `TwoWayStream`."""

    def __init__(
        self,
        fields: Fields,
        observer: StreamObserver,
        over: Callable[[Http2Stream, Reset | None], object],
    ) -> None:
        self.fields = fields
        self.carrier: StreamCarrier | None = None
        self.id = 0
        """Its number on the connection; 0 while it waits for one."""
        self.status = 0
        """The `:status` of the response, once there is one."""
        self.is_ended = False
        """Whether no more will be given to `send`."""
        self._has_waited = False
        """Whether there was no room at once for something that was given to `send`."""
        self.is_last = False
        """Whether the end of the request was sent."""
        self._observer: StreamObserver | None = observer
        self._over: Callable[[Http2Stream, Reset | None], object] | None = over
        self._queue = bytearray()

    # What its user does

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self._over is not None

    @property
    def buffered(self) -> int:
        """Bytes that wait for room at the host, or for a connection."""
        return len(self._queue)

    def send(self, data: bytes | memoryview) -> None:
        """Send a part of the body, of which nothing is kept; nothing where the stream is over."""
        if self.is_open and not self.is_ended:
            self._queue += data
            self._wants_to_send()
            self._has_waited = self._has_waited or bool(self._queue)

    def end(self) -> None:
        """The body is whole."""
        if self.is_open and not self.is_ended:
            self.is_ended = True
            self._wants_to_send()

    def cancel(self, *, late: bool = False) -> None:
        """Break it off: its observer is told nothing any more.

        :param late: whether that is because the response takes too long.
        """
        carrier, self._observer = self.carrier, None
        if self.is_open and carrier is not None:
            reason = ResetReason.TIMEOUT if late else ResetReason.LOCAL_RESET
            carrier.give_up(self, Reset(reason))

    def charge(self, count: int) -> None:
        """The host has sent so many small messages beyond one in a frame: where that is too much,
        it is hung up on.
        """
        if self.carrier is not None:
            self.carrier.charge(count)

    def _wants_to_send(self) -> None:
        if self.carrier is not None:
            self.carrier.wants_to_send(self)

    # What its carrier does

    @property
    def has_to_send(self) -> bool:
        """Whether there are bytes or the end to send."""
        return bool(self._queue) or (self.is_ended and not self.is_last)

    def take(self, most: int) -> bytes:
        """The next bytes to send."""
        with memoryview(self._queue) as queue, queue[:most] as part:
            piece = bytes(part)
        del self._queue[:most]
        return piece

    def sent(self) -> None:
        """Some of what there is was sent."""
        if self._has_waited and not self._queue and self._observer is not None:
            self._has_waited = False
            self._observer.on_drained()

    @property
    def observer(self) -> StreamObserver | None:
        """Who is to be told; nobody once it is over."""
        return self._observer

    def finish(self, reset: Reset | None = None) -> StreamObserver | None:
        """It is over; who is to be told, if anybody."""
        over, self._over = self._over, None
        observer, self._observer = self._observer, None
        self.carrier = None
        self._queue.clear()
        if over is not None:
            over(self, reset)
        return observer

    def fail(self, reset: Reset) -> None:
        """It is broken off."""
        observer = self.finish(reset)
        if observer is not None:
            observer.on_reset(reset)


class TwoWayObserver(StreamObserver, Protocol):
    """Who has a stream whose two directions are each for itself."""

    def on_begun(self, transport: IStreamTransport) -> None:
        """The request is sent, on this transport."""

    def on_sent(self) -> None:
        """Some of what was given to `send`, or the end, is sent."""


class TwoWayStream(Http2Stream):
    """A stream whose two directions end each for itself, as those of a tunnel do; `on_end` tells
    that the host has sent all, and the stream is over once this side has too.

    What the host sends is kept by who has the stream, which says when it is no longer: until then
    the host has less room.
    """

    __slots__ = ("has_ended", "unsent", "untold")

    is_two_way = True

    def __init__(
        self,
        fields: Fields,
        observer: StreamObserver,
        over: Callable[[Http2Stream, Reset | None], object],
    ) -> None:
        super().__init__(fields, observer, over)
        self.has_ended = False
        """Whether the host has sent all."""
        self.unsent = 0
        """Bytes that were never sent, once it is over."""
        self.untold = 0
        """Bytes that are no longer kept, and that the host was not told of."""

    def took(self, size: int) -> None:
        """So many bytes of what the host has sent are no longer kept."""
        if self.carrier is not None:
            self.carrier.took(self, size)

    def begun(self, transport: Any) -> None:
        """The request is sent."""
        observer: Any = self._observer
        if observer is not None:
            observer.on_begun(transport)

    def sent(self) -> None:
        """Some of what there is was sent."""
        observer: Any = self._observer
        if observer is not None:
            observer.on_sent()

    def finish(self, reset: Reset | None = None) -> StreamObserver | None:
        """It is over; who is to be told, if anybody."""
        self.unsent += len(self._queue)
        return super().finish(reset)
