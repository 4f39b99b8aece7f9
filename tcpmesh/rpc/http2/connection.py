"""One HTTP/2 connection to a host, which many requests share.

Theory of operation.  `wire/http2.py` cuts frames out of what comes, h2 reads each, and what it says
goes to the stream that it concerns.  A response is taken at once, whatever its size, so a host's
windows are opened again with each frame, and nothing is kept here.  What is sent has to wait for
three things: the host's window for the stream, its window for the connection, and the socket.  So
each stream has a queue, and streams take turns, a few frames each.

A tunnel (`TwoWayStream`) is another thing: what comes for it has to wait for a client.  Its own
window is opened as the client takes what came, and that of the connection at once, so that a slow
client holds up nobody but itself.

Everything happens in the loop that all connections share, and h2 is slow, so how much is read in
one turn is bounded (`incoming`), as is what is sent (`outgoing`).  Frames that are small and that
nobody has asked for are counted (`allowance`), and so are heads that answer no request (`heads`):
who sends too many of them is hung up on.  Header fields are bounded, on the wire and when they are
read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from random import Random
from typing import Any

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import H2Error
from zope.interface import implementer

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork, IStreamTransport
from tcpmesh.net.protocol import QuietProtocol
from tcpmesh.rpc.http2.allowance import Allowance, FrameLimits
from tcpmesh.rpc.http2.codec import Fields, Http2Codec, encoded
from tcpmesh.rpc.http2.heads import MOST_FIELDS, HeadLimits
from tcpmesh.rpc.http2.incoming import READ_SIZE, Incoming
from tcpmesh.rpc.http2.keepalive import Pings
from tcpmesh.rpc.http2.options import LEAST_WINDOW, Http2Options
from tcpmesh.rpc.http2.outgoing import Outgoing
from tcpmesh.rpc.http2.owner import ConnectionOwner
from tcpmesh.rpc.http2.stream import (
    Http2Stream,
    Reset,
    ResetReason,
    StreamObserver,
    TwoWayStream,
)
from tcpmesh.wire import http2
from tcpmesh.wire.http2 import FrameTooLarge

TOLD_AT = 4
"""A host is told of room for a tunnel once that is this part of the window."""

LAST_STREAM = (1 << 31) - 3
"""The number of the last stream but one that a connection can have."""

STREAMS_BEFORE_SETTINGS = 100
"""Streams at a time while the host has not said how many it takes (RFC 9113, 6.5.2: it should be no
less than this).
"""


class _Life(Enum):
    OPEN = auto()
    LEAVING = auto()
    """It takes no more streams."""

    CLOSED = auto()


@implementer(IPushProducer)
class Http2Connection(QuietProtocol):
    """A connection, and the protocol of its transport."""

    __slots__ = (
        "_allowance",
        "_flushes_soon",
        "_h2",
        "_heads",
        "_incoming",
        "_life",
        "_most_streams",
        "_network",
        "_options",
        "_outgoing",
        "_pings",
        "_streams",
        "_untold",
        "had_streams",
        "owner",
        "transport",
    )

    def __init__(
        self,
        options: Http2Options,
        network: INetwork,
        owner: ConnectionOwner,
        random: Random | None = None,
        limits: FrameLimits | None = None,
    ) -> None:
        """
        :param random: by which pings are spread, where there are any.
        :param limits: which frames the host may send, where it is not `Allowance` that says so.
        """
        self.transport: IStreamTransport | None = None
        self._options = options
        self._network = network
        self.owner = owner
        self._h2 = Http2Codec(MOST_FIELDS, options.settings)
        self._incoming = Incoming(network, self._read_one, self.close)
        self._allowance = limits or Allowance(network.clock)
        self._pings = Pings(options.keepalive, network.clock, random, self._ping, self._silent)
        self._life = _Life.OPEN
        self._streams: dict[int, Http2Stream] = {}
        self._outgoing = Outgoing(
            self._h2, network.clock, self._allowance, self._flush, self._has_sent_all
        )
        self._flushes_soon = False
        """Whether what waits for the socket is given to it in this turn of the loop."""
        self._untold = 0
        """Bytes of tunnels that have come, and of which the host was not told."""
        self.had_streams = False
        """Whether it had streams when it ended, where that is not why it did."""
        self._heads = HeadLimits()
        self._most_streams = min(options.most_streams, STREAMS_BEFORE_SETTINGS)

    # Its streams

    @property
    def active(self) -> int:
        """How many streams it has."""
        return len(self._streams)

    @property
    def _is_closed(self) -> bool:
        return self._life is _Life.CLOSED

    @property
    def window(self) -> int:
        """Bytes that the host takes of all streams together, as of now."""
        return self._h2.outbound_flow_control_window

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
        if isinstance(stream, TwoWayStream):
            stream.begun(self.transport)
        self._outgoing.add(stream)
        self._outgoing.send()
        if stream.id == 2 * self._options.most_requests - 1:
            self.owner.most_requests()
            self.leave()
        elif stream.id >= LAST_STREAM:
            self.leave()

    def wants_to_send(self, stream: Http2Stream) -> None:
        """There is more to send of this one.  Others that are served in this turn may have more,
        too, and the socket takes all of it as one.
        """
        self._outgoing.add(stream)
        if self._outgoing.put() and not self._flushes_soon:
            self._flushes_soon = True
            self._network.call_soon(self._flush_all)

    def _flush_all(self) -> None:
        self._flushes_soon = False
        self._outgoing.flush()

    def give_up(self, stream: Http2Stream, reset: Reset) -> None:
        """Break a stream off."""
        self._drop(stream)
        self._over(stream, reset)
        self._flush()

    def charge(self, count: int) -> None:
        """The host has sent so many small things beyond one in a frame."""
        if not self._allowance.spend(count):
            self._wrong("too many small messages", ErrorCodes.ENHANCE_YOUR_CALM)

    def took(self, stream: TwoWayStream, size: int) -> None:
        """A tunnel keeps so many bytes less: once that is much, the host is told."""
        stream.untold += size
        if stream.has_ended or stream.untold < self._options.stream_window // TOLD_AT:
            return
        size, stream.untold = stream.untold, 0
        with suppress(H2Error):  # where the host has reset it, in what was read just now
            self._h2.increment_flow_control_window(size, stream.id)
        self._allowance.sent()
        self._flush()

    def _take_for_tunnel(self, size: int) -> None:
        """So many bytes of tunnels have come, which are no matter of the connection any more."""
        self._untold += size
        if self._untold >= self._options.connection_window // TOLD_AT:
            size, self._untold = self._untold, 0
            self._h2.increment_flow_control_window(size)

    def _has_sent_all(self, stream: Http2Stream) -> None:
        if isinstance(stream, TwoWayStream) and stream.has_ended:
            self._end_tunnel(stream)

    def _end_tunnel(self, stream: TwoWayStream) -> None:
        """Both sides have sent all."""
        observer = self._over(stream)
        if observer is not None:
            observer.on_end()

    def _drop(self, stream: Http2Stream) -> None:
        with suppress(H2Error):  # where the host has reset it, in what was read just now
            self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)

    def _over(self, stream: Http2Stream, reset: Reset | None = None) -> StreamObserver | None:
        """A stream is over; its observer."""
        self._streams.pop(stream.id, None)
        self._outgoing.discard(stream)
        observer = stream.finish(reset)
        if self._life is _Life.LEAVING and not self._streams:
            self.close()
        elif self.takes_streams:
            self.owner.has_room(self)
        return observer

    # Sending

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None:
            self.owner.bytes_sent(len(data))
            self.transport.write(data)

    def _ping(self) -> None:
        self._h2.ping(b"tcpmesh\0")
        self._flush()

    def _silent(self) -> None:
        """The host has not answered a ping in time."""
        self.owner.silent()
        self._break_off(Reset(ResetReason.CONNECTION_TERMINATION, "keepalive timeout"))

    # As the producer of the transport

    def pauseProducing(self) -> None:
        """The socket takes no more."""
        self._outgoing.pause()

    def resumeProducing(self) -> None:
        """It does again."""
        self._outgoing.resume()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` follows."""

    # Reading

    def dataReceived(self, data: bytes) -> None:
        """Read what came."""
        transport = self.transport
        if self._is_closed or transport is None:
            return
        self.owner.bytes_received(len(data))
        self._pings.heard()
        self._incoming.received(transport, data)

    def _read_one(self) -> bool:
        """Read a frame, if there is one; whether there was, and the connection is still there."""
        try:
            frame = self._incoming.frames.take()
            if frame is None:
                return False
            tunnel = self._tunnel_of(frame)
            if tunnel is None or not self._passes_on(tunnel, frame):
                if tunnel is None and not self._allowance.allows(frame):
                    return self._wrong("too many frames", ErrorCodes.ENHANCE_YOUR_CALM)
                last = self._h2.highest_outbound_stream_id
                if not self._heads.allows(frame, self._streams, last):
                    return self._wrong("header fields without end", ErrorCodes.ENHANCE_YOUR_CALM)
                self._read(frame)
        except FrameTooLarge as e:
            return self._wrong(str(e), ErrorCodes.FRAME_SIZE_ERROR)
        except H2Error as e:
            return self._wrong(str(e) or type(e).__name__)
        if self._is_closed:
            return False
        self._outgoing.send()  # and with it what h2 answers
        return True

    def _tunnel_of(self, frame: bytes) -> TwoWayStream | None:
        """The tunnel of which it has bytes, which may come in pieces as small as a host likes."""
        if not http2.has_data(frame):
            return None
        stream = self._streams.get(http2.stream_of(frame))
        return stream if isinstance(stream, TwoWayStream) else None

    def _passes_on(self, tunnel: TwoWayStream, frame: bytes) -> bool:
        """Take a frame that has bytes of a tunnel and nothing else; whether it is one."""
        size = len(frame) - http2.HEAD
        if frame[4] or not tunnel.status or not self._h2.count_received(tunnel.id, size):
            return False
        self._take_for_tunnel(size)
        if tunnel.observer is not None:
            tunnel.observer.on_data(frame[http2.HEAD :])
        return True

    def _wrong(self, why: str, code: ErrorCodes | None = None) -> bool:
        """The host is hung up on; False."""
        if code is not None:
            self._h2.close_connection(code)
        self.owner.protocol_error()
        self._break_off(Reset(ResetReason.PROTOCOL_ERROR, why))
        return False

    def _read(self, frame: bytes) -> None:
        if http2.kind_of(frame) == http2.GOAWAY:
            self._goaway(frame)
            return
        for event in self._h2.receive_data(frame):
            if self._is_closed:
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
            if stream.is_two_way:
                self._h2.ignore_length(stream.id)
            stream.observer.on_headers(fields, event.stream_ended is not None)
        else:
            self._wrong(f":status {status!r}", ErrorCodes.PROTOCOL_ERROR)

    def _on_interim(self, event: Any) -> None:
        """HTTP/2 has no 101."""
        self._heads.interim()
        if dict(_texts(event))[":status"] == "101":
            self._wrong(":status '101'", ErrorCodes.PROTOCOL_ERROR)

    def _on_data(self, event: Any) -> None:
        size = event.flow_controlled_length
        stream = self._streams.get(event.stream_id)
        if isinstance(stream, TwoWayStream):
            self._take_for_tunnel(size)
            self.took(stream, size - len(event.data))
        else:
            self._h2.acknowledge_received_data(size, event.stream_id)
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
        if isinstance(stream, TwoWayStream):
            stream.has_ended = True
            if stream.is_last:
                self._end_tunnel(stream)
            elif stream.observer is not None:
                stream.observer.on_end()
            return
        reset = None
        if not stream.is_last:
            self._drop(stream)
            reset = Reset(ResetReason.ANSWERED)
        observer = self._over(stream, reset)
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
        self._outgoing.rouse(self._streams.values())
        if self.takes_streams:
            self.owner.has_room(self)

    def _on_window(self, event: Any) -> None:
        if not event.stream_id:
            self._outgoing.rouse(self._streams.values())
            return
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._outgoing.add(stream)

    def _on_pong(self, event: Any) -> None:
        self._pings.answered()

    def _goaway(self, frame: bytes) -> None:
        """The host leaves: requests that it still answers are waited for (RFC 9113, 6.8)."""
        told = http2.goaway(frame)
        if told is None:
            self._wrong("a GOAWAY that is too short")
            return
        last, code = told
        self.owner.told_to_leave()
        self.leave(code)
        for stream in [each for number, each in self._streams.items() if number > last]:
            self._tell_reset(stream, Reset(ResetReason.REMOTE_REFUSED, "the host leaves"))

    # Its life

    def makeConnection(self, transport: IStreamTransport) -> None:
        """Connected: begin."""
        self.transport = transport
        transport.read_size = min(transport.read_size, READ_SIZE)
        transport.high_watermark = self._options.high_watermark
        transport.registerProducer(self, True)
        more = self._options.connection_window - LEAST_WINDOW
        if more > 0:
            self._h2.increment_flow_control_window(more)
        self._pings.start()
        self.owner.ready(self)
        self._flush()

    def leave(self, code: int = 0) -> None:
        """Take no more streams; close when those there are have ended."""
        if self._life is not _Life.OPEN:
            return
        self._life = _Life.LEAVING
        self.owner.leaves(self, code)
        if not self._streams:
            self.close()

    def retire(self, reset: Reset) -> None:
        """Take no more streams, and break off what is no tunnel."""
        self.leave()
        for stream in [each for each in self._streams.values() if not each.is_two_way]:
            self._drop(stream)
            self._tell_reset(stream, reset)
        self._flush()

    def close(self) -> None:
        """Close now; streams that there are are broken off."""
        if not self._is_closed:
            self._h2.close_connection()
            self._break_off(Reset(ResetReason.LOCAL_RESET))

    def connectionLost(self, reason: Failure) -> None:
        """The host has closed, or is gone."""
        self.lost("" if reason.check(ConnectionDone) else "the connection was reset")

    def lost(self, details: str = "") -> None:
        """The transport is gone."""
        if not self._is_closed:
            self._end(Reset(ResetReason.CONNECTION_TERMINATION, details), remote=True)

    def abandon(self) -> None:
        """Forget all, and tell nobody: whoever has the transport closes it."""
        self._forget()
        for stream in self._take_streams():
            stream.finish(Reset(ResetReason.LOCAL_RESET))

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
        self._forget()
        streams = self._take_streams()
        self.had_streams = bool(streams) and reset.reason is not ResetReason.PROTOCOL_ERROR
        self.owner.ended(self, remote)
        for stream in streams:
            stream.fail(reset)

    def _take_streams(self) -> tuple[Http2Stream, ...]:
        streams, self._streams = self._streams, {}
        return tuple(streams.values())

    def _forget(self) -> None:
        self._life = _Life.CLOSED
        self._pings.stop()
        self._incoming.stop()
        self._outgoing.stop()
        self._h2.stop()


def _texts(event: Any) -> Fields:
    return tuple((str(name), str(value)) for name, value in event.headers or ())


_EVENTS: dict[type[Event], Callable[[Http2Connection, Any], None]] = {
    InformationalResponseReceived: Http2Connection._on_interim,
    ResponseReceived: Http2Connection._on_response,
    DataReceived: Http2Connection._on_data,
    TrailersReceived: Http2Connection._on_trailers,
    StreamEnded: Http2Connection._on_end,
    StreamReset: Http2Connection._on_reset,
    RemoteSettingsChanged: Http2Connection._on_settings,
    WindowUpdated: Http2Connection._on_window,
    PingAckReceived: Http2Connection._on_pong,
}
