"""The gRPC health check: one unary call of `grpc.health.v1.Health/Check` over HTTP/2 without TLS, begun without an upgrade.

This module alone needs h2, and is imported only where a configuration asks for such checks: proxies without them do not pay for it.
h2 takes a connection for closed as soon as it has read GOAWAY.  A server that leaves in an orderly way answers after it, so frames
are told apart here, and h2 never sees that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import Int32Value, StringValue
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, ResponseReceived, StreamReset, TrailersReceived
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from tcpmesh.cluster.http_probe import USER_AGENT, Headers, changed
from tcpmesh.cluster.probes import Connect, ExchangeProbe, Failed, IResults, MakeProbe, Terms, hostname
from tcpmesh.net.address import Address
from tcpmesh.net.timers import Timers
from tcpmesh.wire.grpc import MalformedAnswer, UnaryReader, framed, timeout_text

PATH = "/grpc.health.v1.Health/Check"
CONTENT_TYPE = "application/grpc"
SERVING = 1
MOST_RECEIVED = 1 << 14
"""Bytes that a host may send from the start of one check to the start of the next; an answer takes some hundreds."""

FRAME_HEAD = 9
GOAWAY = 7


class GrpcCheck:
    """What a `core.v3.HealthCheck.GrpcHealthCheck` asks."""

    def __init__(self, message: Any, timeout: float, cluster: str) -> None:
        """C{timeout}: seconds, of which the host is told."""
        self._authority: str = message.authority or cluster
        fields = (("te", "trailers"), ("content-type", CONTENT_TYPE), ("user-agent", USER_AGENT))
        self._fields = (*changed(fields, message.initial_metadata, set()), ("grpc-timeout", timeout_text(timeout)))
        # On the wire StringValue is HealthCheckRequest, and Int32Value HealthCheckResponse: one field, of number 1.
        self.body = framed(StringValue(value=message.service_name).SerializeToString())

    def headers(self, hostname: str) -> Headers:
        """The header fields for a host; C{hostname} is what its endpoint says to be asked as, or empty."""
        pseudo = ((":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", hostname or self._authority))
        return (*pseudo, *self._fields)


class Connection(H2Connection):
    """A connection that remembers only a few of its streams: a host may be asked over it for months."""

    MAX_CLOSED_STREAMS = 16

    def __init__(self) -> None:
        super().__init__(H2Configuration(client_side=True, header_encoding="latin-1"))
        sizes = {SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: MOST_RECEIVED}
        self.local_settings = Settings(client=True, initial_values=sizes)
        self.initiate_connection()


class GrpcProbe(ExchangeProbe):
    """Asks one host."""

    __slots__ = ("_answer", "_body", "_h2", "_headers", "_is_last", "_left", "_stream", "_unread")

    def __init__(self, terms: Terms, address: Address, results: IResults, headers: Headers, body: bytes) -> None:
        super().__init__(terms, address, results)
        self._headers = headers
        self._body = body
        self._h2: Connection | None = None
        self._stream = 0
        self._is_last = False
        """Whether the host has said that it will answer nothing more on this connection."""
        self._left = 0
        self._unread = bytearray()
        self._answer = UnaryReader()

    def start(self) -> None:
        """Ask; on a new connection where the host has not made room for a question on the one that was kept."""
        if self._h2 is not None and self._h2.outbound_flow_control_window < len(self._body):
            self.hang_up()
        super().start()

    def ask(self, transport: Any) -> None:
        """Send the call."""
        if self._h2 is None:
            self._h2 = Connection()
        self._left = MOST_RECEIVED
        self._answer = UnaryReader()
        try:
            self._stream = self._h2.get_next_available_stream_id()
            self._h2.send_headers(self._stream, self._headers)
            self._h2.send_data(self._stream, self._body, end_stream=True)
        except H2Error:
            self._break()
        else:
            self._flush()

    def received(self, data: bytes) -> None:
        """Read frames; what is no HTTP/2, or too much of it, ends the connection."""
        self._left -= len(data)
        if self._left < 0:
            self._break()
            return
        self._unread += data
        try:
            for frame in self._frames():
                self._read(frame)
        except H2Error:
            self._break()
        else:
            self._flush()

    def lost(self) -> None:
        """A failure while an answer is awaited, and of no importance between two checks."""
        self._line = None
        self._break()

    def hang_up(self) -> None:
        """Close the connection, and forget what was read from it."""
        self._h2 = None
        self._is_last = False
        self._stream = 0
        self._unread.clear()
        super().hang_up()

    def _break(self) -> None:
        self.hang_up()
        if self.asking:
            self.fail(Failed.NETWORK)

    def _flush(self) -> None:
        if self._h2 is not None and self._line is not None:
            data = self._h2.data_to_send()
            if data:
                self._line.transport.write(data)

    def _frames(self) -> Iterator[bytes]:
        """The frames that are complete; none once the connection was given up."""
        while len(self._unread) >= FRAME_HEAD:
            size = FRAME_HEAD + int.from_bytes(self._unread[:3], "big")
            if size > MOST_RECEIVED:
                self._break()
            if len(self._unread) < size:
                return
            frame = bytes(self._unread[:size])
            del self._unread[:size]
            yield frame

    def _read(self, frame: bytes) -> None:
        if frame[3] == GOAWAY:
            self._goaway(frame[FRAME_HEAD:])
            return
        assert self._h2 is not None
        for event in self._h2.receive_data(frame):
            if isinstance(event, DataReceived) and self._h2 is not None:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if self._stream and getattr(event, "stream_id", None) == self._stream:
                self._event(event)

    def _goaway(self, payload: bytes) -> None:
        """The host leaves: a question that it still answers is waited for (RFC 9113, 6.8)."""
        last, error = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big")
        if len(payload) >= 8 and self.asking and not error and self._stream <= last:
            self._is_last = True
        else:
            self._break()

    def _event(self, event: Event) -> None:
        if isinstance(event, ResponseReceived):
            self._head(dict(event.headers or ()), event.stream_ended is not None)
        elif isinstance(event, DataReceived):
            self._data(event.data or b"", event.stream_ended is not None)
        elif isinstance(event, TrailersReceived):
            self._judge(dict(event.headers or ()), True)
        elif isinstance(event, StreamReset):
            self._close_stream(True)
            self.fail(Failed.NETWORK)

    def _head(self, headers: dict[Any, Any], ended: bool) -> None:
        kind = headers.get("content-type", "")
        if ended:
            self._judge(headers, True)
        elif headers.get(":status") != "200" or not (kind == CONTENT_TYPE or kind.startswith(CONTENT_TYPE + "+")):
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
        self._close_stream(ended)
        status = headers.get("grpc-status", "")
        if status and not status.strip("0") and is_serving(self._answer.message):
            self.succeed()
        else:
            self.fail(Failed.ACTIVE)

    def _close_stream(self, ended: bool) -> None:
        """Have done with the call, and with the connection where it is not to be kept."""
        stream, self._stream = self._stream, 0
        if not self._terms.reuse or self._is_last:
            self.hang_up()
        elif not ended and self._h2 is not None:
            self._h2.reset_stream(stream, ErrorCodes.CANCEL)


def is_serving(answer: bytes | None) -> bool:
    """Whether this is a HealthCheckResponse that says SERVING."""
    try:
        return answer is not None and Int32Value.FromString(answer).value == SERVING
    except DecodeError:
        return False


def grpc_probes(message: Any, connect: Connect, timers: Timers, cluster: str) -> MakeProbe:
    """How hosts are asked by a `core.v3.HealthCheck` with a `grpc_health_check`."""
    terms = Terms.of(message, connect, timers)
    check = GrpcCheck(message.grpc_health_check, terms.timeout, cluster)
    return lambda address, spec, results: GrpcProbe(terms, address, results, check.headers(hostname(spec)), check.body)
