"""HTTP/2 as health checks speak it (RFC 9113): one request at a time over a connection without TLS,
begun without an upgrade.

Only this module and those above it need h2, and are imported only where a configuration asks for
such checks: proxies without them do not pay for it.  h2 takes a connection for closed as soon as it
has read GOAWAY.  A server that leaves in an orderly way answers after it, so frames are told apart
here, and h2 never sees that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, StreamReset
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from tcpmesh.cluster.health.probe import ExchangeProbe, Failed, IResults, Terms
from tcpmesh.cluster.health.request_headers import Headers
from tcpmesh.values.address import Address

FRAME_HEAD = 9
LARGEST_FRAME = FRAME_HEAD + (1 << 14)

SMALL_FRAME = 1024
MOST_SMALL_FRAMES = 128
"""Frames of less than `SMALL_FRAME` bytes that a host may send from the start of one check to the
start of the next.  To read a frame takes some 50 us however small it is, or empty, and where many
come at once all others wait.
"""

DATA = 0
GOAWAY = 7


class Connection(H2Connection):
    """A connection that remembers only a few of its streams: a host may be asked over it for
    months.
    """

    MAX_CLOSED_STREAMS = 16

    def __init__(self, most: int) -> None:
        """`most`: bytes of the header fields of one response."""
        super().__init__(H2Configuration(client_side=True, header_encoding="latin-1"))
        sizes = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: most}
        self.local_settings = Settings(client=True, initial_values=sizes)
        self.initiate_connection()


class Http2Probe(ExchangeProbe):
    """Asks one host over HTTP/2.

    A subclass says in `headers` what it asks, reads the answer in `event`, and calls `close_stream`
    before it gives its result.
    """

    __slots__ = (
        "_body",
        "_h2",
        "_is_last",
        "_left",
        "_rest",
        "_small_left",
        "_stream",
        "_unread",
    )

    most_received = 1 << 14
    """Bytes that a host may send from the start of one check to the start of the next."""

    counts_body = True
    """Whether the body of the answer is among these."""

    def __init__(self, terms: Terms, address: Address, results: IResults, body: bytes) -> None:
        super().__init__(terms, address, results)
        self._body = body
        self._rest = b""
        """What is still to be sent of the body."""
        self._h2: Connection | None = None
        self._stream = 0
        self._is_last = False
        """Whether the host has said that it will answer nothing more on this connection."""
        self._left = self._small_left = 0
        self._unread = bytearray()

    def headers(self) -> Headers:
        """The fields of the request, those with a colon first."""
        raise NotImplementedError

    def event(self, event: Event) -> None:
        """Something of the answer came."""
        raise NotImplementedError

    def start(self) -> None:
        """Ask; on a new connection where the host has not made room for a question on the one that
        was kept.
        """
        if self._h2 is not None and self._h2.outbound_flow_control_window < len(self._body):
            self.hang_up()
        super().start()

    def ask(self, transport: Any) -> None:
        """Send the request."""
        if self._h2 is None:
            self._h2 = Connection(self.most_received)
        self._left = self.most_received
        self._small_left = MOST_SMALL_FRAMES
        self._rest = self._body
        fields = [
            (name.encode("ascii"), value.encode("utf-8", "surrogateescape"))
            for name, value in self.headers()
        ]
        try:
            self._stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(self._stream, fields, end_stream=not self._body)
            self._send_body(self._h2)
        except H2Error:
            self.break_off()
        else:
            self._flush()

    def received(self, data: bytes) -> None:
        """Read frames; what is no HTTP/2, or too much of it, ends the connection."""
        self._unread += data
        try:
            for frame in self._frames():
                self._read(frame)
        except H2Error:
            self.break_off()
        else:
            self._flush()

    def lost(self) -> None:
        """A failure while an answer is awaited, and of no importance between two checks."""
        self._line = None
        self.break_off()

    def hang_up(self) -> None:
        """Close the connection, and forget what was read from it."""
        self._h2 = None
        self._is_last = False
        self._stream = 0
        self._rest = b""
        self._unread.clear()
        super().hang_up()

    def break_off(self) -> None:
        """Give the connection up, which is a failure of the network where an answer was awaited."""
        self.hang_up()
        if self.asking:
            self.fail(Failed.NETWORK)

    def close_stream(self, ended: bool) -> None:
        """Have done with the request, and with the connection where it is not to be kept.

        :param ended: whether the host has said that there comes no more.
        """
        stream, self._stream = self._stream, 0
        whole = ended and not self._rest
        self._rest = b""
        if not self._terms.reuse or self._is_last:
            self.hang_up()
        elif not whole and self._h2 is not None:
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)

    def _send_body(self, h2: Connection) -> None:
        """As much as the host has room for."""
        while self._rest and self._stream:
            size = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size)
            if size <= 0:
                return
            piece, self._rest = self._rest[:size], self._rest[size:]
            h2.send_data(self._stream, piece, end_stream=not self._rest)

    def _flush(self) -> None:
        if self._h2 is not None and self._line is not None:
            data = self._h2.data_to_send()
            if data:
                self._line.transport.write(data)

    def _frames(self) -> Iterator[bytes]:
        """The frames that are complete; none once the connection was given up."""
        while len(self._unread) >= FRAME_HEAD:
            size = FRAME_HEAD + int.from_bytes(self._unread[:3], "big")
            if size > LARGEST_FRAME:
                self.break_off()
            if len(self._unread) < size:
                return
            frame = bytes(self._unread[:size])
            del self._unread[:size]
            yield frame

    def _read(self, frame: bytes) -> None:
        if self.counts_body or frame[3] != DATA or not self._stream:
            self._left -= len(frame)
        if len(frame) < SMALL_FRAME:
            self._small_left -= 1
        if self._left < 0 or self._small_left < 0:
            self.break_off()
        elif frame[3] == GOAWAY:
            self._goaway(frame[FRAME_HEAD:])
        else:
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        """Let h2 read a frame."""
        h2 = self._h2
        assert h2 is not None
        for event in h2.receive_data(frame):
            if isinstance(event, DataReceived) and self._h2 is not None:
                h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if not self._stream or getattr(event, "stream_id", None) != self._stream:
                continue
            if isinstance(event, StreamReset):
                self._rest = b""
                self.close_stream(True)
                self.fail(Failed.NETWORK)
            else:
                self.event(event)
        if self._rest:
            self._send_body(h2)

    def _goaway(self, payload: bytes) -> None:
        """The host leaves: a request that it still answers is waited for (RFC 9113, 6.8)."""
        last, error = (
            int.from_bytes(payload[:4], "big") & 0x7FFFFFFF,
            int.from_bytes(payload[4:8], "big"),
        )
        if len(payload) >= 8 and self.asking and not error and self._stream <= last:
            self._is_last = True
        else:
            self.break_off()
