"""One HTTP/2 connection to a host, which many requests share.

Theory of operation.  `wire/http2.py` cuts frames out of what comes, h2 reads each, and what it says
goes to the stream that it concerns.  A response is taken at once, whatever its size, so a host's
windows are opened again with each frame, and nothing is kept here.  What is sent has to wait for
three things: the host's window for the stream, its window for the connection, and the socket.  So
each stream has a queue, and streams take turns, a frame each.

Everything happens in the loop that all connections share, and h2 is slow: some 50 us a frame,
however small.  So a few frames are read at once, and where more have come, the socket is paused
and the rest are steps of the network's cooperator.  Frames that are small and that nobody has asked
for are counted (`Allowance`): who sends too many of them is hung up on.  Header fields are bounded
by h2, as is what continues them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum, auto
from random import Random
from typing import Any, Protocol

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork
from tcpmesh.net.protocol import QuietProtocol
from tcpmesh.rpc.http2.allowance import Allowance
from tcpmesh.rpc.http2.codec import Fields, Http2Codec, encoded
from tcpmesh.rpc.http2.keepalive import Pings
from tcpmesh.rpc.http2.options import LEAST_WINDOW, Http2Options
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, ResetReason, StreamObserver
from tcpmesh.wire import http2
from tcpmesh.wire.http2 import FrameReader, FrameTooLarge

READ_SIZE = 1 << 14
READ_AT_ONCE = 16
SENT_AT_ONCE = 64
"""Frames that are read or sent in one go."""

MOST_FIELDS = 1 << 14
"""Bytes of the header fields of a response, on the wire and when they are read."""

LAST_STREAM = (1 << 31) - 3
"""The number of the last stream but one that a connection can have."""

STREAMS_BEFORE_SETTINGS = 100
"""Streams at a time while the host has not said how many it takes (RFC 9113, 6.5.2: it should be no
less than this).
"""


class ConnectionOwner(Protocol):
    """Who has a connection, and streams for it."""

    def ready(self, connection: Http2Connection) -> None:
        """It is connected."""

    def has_room(self, connection: Http2Connection) -> None:
        """It may take streams again."""

    def leaves(self, connection: Http2Connection) -> None:
        """It takes no more streams; it is closed when those that it has are over."""

    def ended(self, connection: Http2Connection, remote: bool) -> None:
        """It is gone: by the host, or from this side.  Its streams are told after this."""

    def protocol_error(self) -> None:
        """The host does not speak HTTP/2, or too much of it."""

    def silent(self) -> None:
        """The host has not answered a ping in time."""

    def received(self, size: int) -> None:
        """So many bytes have come."""

    def sent(self, size: int) -> None:
        """So many bytes are sent."""


class _Life(Enum):
    OPEN = auto()
    LEAVING = auto()
    """It takes no more streams."""

    CLOSED = auto()


class Http2Connection(QuietProtocol):
    """A connection, and the protocol of its transport."""

    __slots__ = (
        "_allowance",
        "_frames",
        "_h2",
        "_head",
        "_is_full",
        "_is_sending",
        "_life",
        "_more",
        "_most_streams",
        "_network",
        "_options",
        "_owner",
        "_pings",
        "_sending",
        "_streams",
        "_task",
        "had_streams",
        "transport",
    )

    def __init__(
        self, options: Http2Options, network: INetwork, random: Random, owner: ConnectionOwner
    ) -> None:
        self.transport: Any = None
        self._options = options
        self._network = network
        self._owner = owner
        self._h2 = Http2Codec(MOST_FIELDS, options.settings)
        self._frames = FrameReader()
        self._allowance = Allowance(network.clock)
        self._pings = Pings(options.keepalive, network.clock, random, self._ping, self._silent)
        self._life = _Life.OPEN
        self._streams: dict[int, Http2Stream] = {}
        self._sending: dict[Http2Stream, None] = {}
        """Streams that have something to send and were not told to wait."""
        self._is_full = False
        """Whether the socket takes no more for now."""
        self._is_sending = False
        self._more: Any = None
        """The call that sends what was too much for one turn."""
        self.had_streams = False
        """Whether it had streams when it ended."""
        self._head = 0
        """Bytes of the header fields that are being read."""
        self._task: Any = None
        """What reads the frames that were too many for one turn."""
        self._most_streams = min(options.most_streams, STREAMS_BEFORE_SETTINGS)

    # Its streams

    @property
    def active(self) -> int:
        """How many streams it has."""
        return len(self._streams)

    @property
    def takes_streams(self) -> bool:
        """Whether one more may begin here, at this moment."""
        return (
            self._life is _Life.OPEN
            and self.transport is not None
            and len(self._streams) < self._most_streams
            and self._h2.highest_outbound_stream_id < LAST_STREAM
        )

    def begin(self, stream: Http2Stream) -> None:
        """Send a request, and what there is of its body."""
        h2 = self._h2
        try:
            stream.id = h2.get_next_available_stream_id()
            stream.carrier = self
            self._streams[stream.id] = stream
            stream.is_last = stream.is_ended and not stream.buffered
            h2.send_headers(stream.id, encoded(stream.fields), end_stream=stream.is_last)
        except (H2Error, UnicodeError) as e:
            self._streams.pop(stream.id, None)
            stream.fail(Reset(ResetReason.LOCAL_RESET, str(e)))
            self.leave()
            return
        self._allowance.sent()
        self._pings.stream_begins()
        if stream.has_to_send:
            self._sending[stream] = None
        self._send()

    def wants_to_send(self, stream: Http2Stream) -> None:
        """There is more to send of this one."""
        self._sending[stream] = None
        self._send()

    def give_up(self, stream: Http2Stream, reset: Reset) -> None:
        """Break a stream off."""
        self._drop(stream)
        self._over(stream, reset)
        self._flush()

    def _drop(self, stream: Http2Stream) -> None:
        with suppress(H2Error):  # where the host has reset it, in what was read just now
            self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)

    def _over(self, stream: Http2Stream, reset: Reset | None = None) -> StreamObserver | None:
        """A stream is over; its observer."""
        self._streams.pop(stream.id, None)
        self._sending.pop(stream, None)
        observer = stream.finish(reset)
        if self._life is _Life.LEAVING and not self._streams:
            self.close()
        elif self.takes_streams:
            self._owner.has_room(self)
        return observer

    # Sending

    def _send(self) -> None:
        """Send what may be sent, a frame of each stream in turn."""
        if self._is_sending:
            return  # one of them was told that all is sent, and has more
        self._is_sending = True
        sending = self._sending
        left = SENT_AT_ONCE
        while sending and not self._is_full and left:
            stream = next(iter(sending))
            del sending[stream]
            if self._send_frame(stream) and stream.has_to_send:
                sending[stream] = None
            left -= 1
        self._is_sending = False
        self._flush()
        if sending and not self._is_full and self._more is None:
            self._more = self._network.clock.callLater(0, self._send_more)

    def _send_more(self) -> None:
        self._more = None
        self._send()

    def _send_frame(self, stream: Http2Stream) -> bool:
        """Send some of a stream; whether it may send more."""
        h2 = self._h2
        waiting = stream.buffered
        size = min(h2.local_flow_control_window(stream.id), h2.max_outbound_frame_size, waiting)
        if size <= 0 < waiting:
            return False
        piece = stream.take(size)
        stream.is_last = stream.is_ended and not stream.buffered
        h2.send_data(stream.id, piece, end_stream=stream.is_last)
        self._allowance.sent()
        if not stream.buffered and stream.observer is not None:
            stream.observer.on_drained()
        return True

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None:
            self._owner.sent(len(data))
            self.transport.write(data)

    def _rouse(self) -> None:
        """The host has made room: streams that wait for it go on."""
        for stream in self._streams.values():
            if stream.has_to_send:
                self._sending[stream] = None

    def _ping(self) -> None:
        self._h2.ping(b"tcpmesh\0")
        self._flush()

    def _silent(self) -> None:
        """The host has not answered a ping in time."""
        self._owner.silent()
        self._break_off(Reset(ResetReason.CONNECTION_TERMINATION, "keepalive timeout"))

    # As the producer of the transport

    def pauseProducing(self) -> None:
        """The socket takes no more."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._is_full = False
        self._send()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Read what came: some at once, and the rest, where there is more, later."""
        if self._life is _Life.CLOSED:
            return
        self._owner.received(len(data))
        self._pings.heard()
        self._frames.add(data)
        if self._task is not None:
            return
        for _ in range(READ_AT_ONCE):
            if not self._read_one():
                break
        else:
            if self._frames.has_frame:
                self._read_later()
        self._after_reading()

    def _read_later(self) -> None:
        self.transport.pauseProducing()
        self._task = self._network.cooperator.cooperate(self._steps())

    def _steps(self) -> Iterator[None]:
        """Read a frame with each step."""
        while self._read_one():
            self._after_reading()
            yield
        self._task = None
        if self._life is not _Life.CLOSED:
            self.transport.resumeProducing()

    def _after_reading(self) -> None:
        if self._life is not _Life.CLOSED:
            self._send()  # and with it what h2 answers

    def _read_one(self) -> bool:
        """Read a frame, if there is one; whether there was, and the connection is still there."""
        try:
            frame = self._frames.take()
            if frame is None:
                return False
            if not self._allowance.allows(len(frame)):
                return self._wrong("too many small frames", ErrorCodes.ENHANCE_YOUR_CALM)
            if self._is_head_too_long(frame):
                return self._wrong("header fields without end", ErrorCodes.ENHANCE_YOUR_CALM)
            self._read(frame)
        except FrameTooLarge as e:
            return self._wrong(str(e), ErrorCodes.FRAME_SIZE_ERROR)
        except H2Error as e:
            return self._wrong(str(e) or type(e).__name__)
        return self._life is not _Life.CLOSED

    def _is_head_too_long(self, frame: bytes) -> bool:
        kind = http2.kind_of(frame)
        if kind == http2.HEADERS:
            self._head = len(frame)
        elif kind == http2.CONTINUATION:
            self._head += len(frame)
        return self._head > MOST_FIELDS + http2.HEAD

    def _wrong(self, why: str, code: ErrorCodes | None = None) -> bool:
        """The host is hung up on; False."""
        if code is not None:
            self._h2.close_connection(code)
        self._owner.protocol_error()
        self._break_off(Reset(ResetReason.PROTOCOL_ERROR, why))
        return False

    def _read(self, frame: bytes) -> None:
        if http2.kind_of(frame) == http2.GOAWAY:
            self._goaway(frame)
            return
        for event in self._h2.receive_data(frame):
            if self._life is _Life.CLOSED:
                return
            take = _EVENTS.get(type(event))
            if take is not None:
                take(self, event)

    def _on_response(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None or stream.observer is None:
            return
        fields = _texts(event)
        status = dict(fields)[":status"]
        if len(status) == 3 and status.isascii() and status.isdigit():
            stream.status = int(status)
            stream.observer.on_headers(fields)
        else:
            self._drop(stream)
            self._tell_reset(stream, Reset(ResetReason.PROTOCOL_ERROR, f":status {status!r}"))

    def _on_data(self, event: Any) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self._streams.get(event.stream_id)
        if stream is not None and stream.observer is not None and event.data:
            stream.observer.on_data(event.data)

    def _on_trailers(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and stream.observer is not None:
            stream.observer.on_trailers(_texts(event))

    def _on_end(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        if not stream.is_last:
            self._drop(stream)
        observer = self._over(stream)
        if observer is not None:
            observer.on_end()

    def _on_reset(self, event: Any) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        code = int(event.error_code or 0)
        refused = code == ErrorCodes.REFUSED_STREAM
        reason = ResetReason.REMOTE_REFUSED if refused else ResetReason.REMOTE_RESET
        self._tell_reset(stream, Reset(reason, "", code))

    def _tell_reset(self, stream: Http2Stream, reset: Reset) -> None:
        observer = self._over(stream, reset)
        if observer is not None:
            observer.on_reset(reset)

    def _on_settings(self, event: Any) -> None:
        most: int = self._h2.remote_settings.max_concurrent_streams
        self._most_streams = min(self._options.most_streams, most)
        self._rouse()
        if self.takes_streams:
            self._owner.has_room(self)

    def _on_window(self, event: Any) -> None:
        if not event.stream_id:
            self._rouse()
            return
        stream = self._streams.get(event.stream_id)
        if stream is not None and stream.has_to_send:
            self._sending[stream] = None

    def _on_pong(self, event: Any) -> None:
        self._pings.answered()

    def _goaway(self, frame: bytes) -> None:
        """The host leaves: requests that it still answers are waited for (RFC 9113, 6.8)."""
        told = http2.goaway(frame)
        if told is None:
            self._wrong("a GOAWAY that is too short")
            return
        last, _ = told
        self.leave()
        for stream in [each for number, each in self._streams.items() if number > last]:
            self._tell_reset(stream, Reset(ResetReason.REMOTE_REFUSED, "the host leaves"))

    # Its life

    def makeConnection(self, transport: Any) -> None:
        """Connected: begin."""
        self.transport = transport
        transport.read_size = min(transport.read_size, READ_SIZE)
        transport.high_watermark = self._options.high_watermark
        transport.registerProducer(self, True)
        more = self._options.connection_window - LEAST_WINDOW
        if more > 0:
            self._h2.increment_flow_control_window(more)
        self._pings.start()
        self._owner.ready(self)
        self._flush()

    def leave(self) -> None:
        """Take no more streams; close when those there are have ended."""
        if self._life is not _Life.OPEN:
            return
        self._life = _Life.LEAVING
        self._owner.leaves(self)
        if not self._streams:
            self.close()

    def close(self) -> None:
        """Close now; streams that there are are broken off."""
        if self._life is not _Life.CLOSED:
            self._h2.close_connection()
            self._break_off(Reset(ResetReason.LOCAL_RESET))

    def connectionLost(self, reason: Failure) -> None:
        """The host has closed, or is gone."""
        if self._life is not _Life.CLOSED:
            done = reason.check(ConnectionDone) is not None
            details = "" if done else "the connection was reset"
            self._end(Reset(ResetReason.CONNECTION_TERMINATION, details), remote=True)

    def _break_off(self, reset: Reset) -> None:
        """End it from this side: the host gets what the kernel takes, and no more is waited
        for.
        """
        self._flush()
        transport = self.transport
        self._end(reset, remote=False)
        if transport is not None:
            transport.cutConnection()

    def _end(self, reset: Reset, remote: bool) -> None:
        self._life = _Life.CLOSED
        self._pings.stop()
        self._frames.clear()
        self._sending.clear()
        more, self._more = self._more, None
        if more is not None:
            more.cancel()
        streams, self._streams = self._streams, {}
        self.had_streams = bool(streams)
        self._owner.ended(self, remote)
        for stream in streams.values():
            stream.fail(reset)


def _texts(event: Any) -> Fields:
    return tuple((str(name), str(value)) for name, value in event.headers or ())


_EVENTS: dict[type[Event], Callable[[Http2Connection, Any], None]] = {
    ResponseReceived: Http2Connection._on_response,
    DataReceived: Http2Connection._on_data,
    TrailersReceived: Http2Connection._on_trailers,
    StreamEnded: Http2Connection._on_end,
    StreamReset: Http2Connection._on_reset,
    RemoteSettingsChanged: Http2Connection._on_settings,
    WindowUpdated: Http2Connection._on_window,
    PingAckReceived: Http2Connection._on_pong,
}
