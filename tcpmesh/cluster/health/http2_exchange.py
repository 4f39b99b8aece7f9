"""HTTP/2 as health checks speak it (RFC 9113): one request at a time over a connection of the
probe's own, `tcpmesh.rpc.http2.connection`.

Only this module and those above it need h2, and are imported only where a configuration asks for
such checks: proxies without them do not pay for it.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.health.probe import ExchangeProbe, Failed, IResults, Terms
from tcpmesh.cluster.health.request_headers import Headers
from tcpmesh.rpc.http2.connection import Http2Connection
from tcpmesh.rpc.http2.options import LEAST_WINDOW, Http2Options
from tcpmesh.rpc.http2.owner import ConnectionOwner
from tcpmesh.rpc.http2.stream import Http2Stream, Reset, StreamObserver
from tcpmesh.values.address import Address
from tcpmesh.wire import http2

SMALL_FRAME = 1024
MOST_SMALL_FRAMES = 128
"""Frames of less than `SMALL_FRAME` bytes that a host may send from the start of one check to the
start of the next.  To read a frame takes some 50 us however small it is, or empty, and where many
come at once all others wait.
"""

OPTIONS = Http2Options(stream_window=LEAST_WINDOW, connection_window=LEAST_WINDOW)


class ProbeLimits:
    """Which frames a host may send from the start of one check to the start of the next.

    :param most: bytes of them.
    :param counts_body: whether the body of the answer is among these.
    """

    __slots__ = ("_counts_body", "_left", "_most", "_small_left", "is_asking")

    def __init__(self, most: int, counts_body: bool) -> None:
        self._most = most
        self._counts_body = counts_body
        self.is_asking = False
        self.begin()

    def begin(self) -> None:
        """A check begins."""
        self._left = self._most
        self._small_left = MOST_SMALL_FRAMES

    def sent(self, count: int = 1) -> None:
        """The host gets a frame, and may send no more for that."""

    def allows(self, frame: bytes) -> bool:
        """A frame has come; whether it may."""
        if self._counts_body or http2.kind_of(frame) != http2.DATA or not self.is_asking:
            self._left -= len(frame)
        return self.spend(len(frame) < SMALL_FRAME) and self._left >= 0

    def spend(self, count: int) -> bool:
        """It has so many small things in it beyond one; whether it may."""
        self._small_left -= count
        return self._small_left >= 0


class Http2Probe(ConnectionOwner, ExchangeProbe):
    """Asks one host over HTTP/2, and owns the connection.

    A subclass begins its request in `begin_stream`, and calls `settle` before it gives its result.
    """

    __slots__ = ("_body", "_http2", "_limits")

    most_received = 1 << 14
    """Bytes that a host may send from the start of one check to the start of the next."""

    counts_body = True
    """Whether the body of the answer is among these."""

    def __init__(self, terms: Terms, address: Address, results: IResults, body: bytes) -> None:
        super().__init__(terms, address, results)
        self._body = body
        self._http2: Http2Connection | None = None
        self._limits = ProbeLimits(self.most_received, self.counts_body)

    def headers(self) -> Headers:
        """The fields of the request, those with a colon first."""
        raise NotImplementedError

    def begin_stream(self, connection: Http2Connection) -> None:
        """Ask; `request` makes the stream."""
        raise NotImplementedError

    def request(self, connection: Http2Connection, observer: StreamObserver) -> Http2Stream:
        """The request, on its way."""
        stream = Http2Stream(self.headers(), observer, _over)
        stream.send(self._body)
        stream.end()
        connection.begin(stream)
        return stream

    def start(self) -> None:
        """Ask; on a new connection where the host has not made room for a question on the one that
        was kept.
        """
        if self._http2 is not None and self._http2.window < len(self._body):
            self.hang_up()
        super().start()

    def ask(self, transport: Any) -> None:
        """Send the request."""
        self._limits.begin()
        self._limits.is_asking = True
        connection = self._http2
        if connection is None:
            network = self._terms.network
            connection = Http2Connection(OPTIONS, network, self, limits=self._limits)
            self._http2 = connection
            connection.makeConnection(transport)
        self.begin_stream(connection)

    def received(self, data: bytes) -> None:
        """Read frames; what is no HTTP/2, or too much of it, ends the connection."""
        if self._http2 is not None:
            self._http2.dataReceived(data)

    def lost(self) -> None:
        """A failure while an answer is awaited, and of no importance between two checks."""
        self._line = None
        connection, self._http2 = self._http2, None
        if connection is not None:
            connection.lost()

    def hang_up(self) -> None:
        """Close the connection, and forget what was read from it."""
        connection, self._http2 = self._http2, None
        if connection is not None:
            connection.abandon()
        super().hang_up()

    def settle(self) -> None:
        """Have done with the request, and with the connection where it is not to be kept."""
        self._limits.is_asking = False
        if not self._terms.reuse:
            self.hang_up()

    def broken_off(self) -> None:
        """The answer will not come: a failure of the network."""
        self.settle()
        if self.asking:
            self.fail(Failed.NETWORK)

    # As the owner of the connection

    def leaves(self, connection: Http2Connection, code: int) -> None:
        """The host leaves: a request that it still answers is waited for (RFC 9113, 6.8), unless it
        says that something is wrong.
        """
        if code:
            connection.close()

    def ended(self, connection: Http2Connection, remote: bool) -> None:
        """The connection closes, and tells its request after this."""
        if connection is self._http2:
            self._http2 = None
        line, self._line = self._line, None
        if line is not None:
            line.probe = None


def _over(stream: Http2Stream, reset: Reset | None) -> None:
    """Nobody counts the requests of checks."""
