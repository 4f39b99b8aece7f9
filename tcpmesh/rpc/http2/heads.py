"""How many header fields a host may send: in one head, which is counted before it is whole, and in
heads that no request has asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpmesh.rpc.http2.stream import Http2Stream
from tcpmesh.wire import http2

MOST_FIELDS = 1 << 14
"""Bytes of the header fields of a response, on the wire and when they are read."""

MOST_STRAYS = 32
"""Heads that a host may send beyond two for each request."""


class HeadLimits:
    """Those of one connection."""

    __slots__ = ("_size", "_strays")

    def __init__(self) -> None:
        self._size = 0
        """Bytes of the head that is being read."""
        self._strays = 0
        """Heads that were no answer to a request, trailers among them."""

    def allows(self, frame: bytes, streams: Mapping[int, Http2Stream], last: int) -> bool:
        """A frame has come; whether it may.

        :param streams: those that are open, by their numbers.
        :param last: the number of the last stream; clients have every second one.
        """
        kind = http2.kind_of(frame)
        if kind == http2.HEADERS:
            self._size = len(frame)
            stream = streams.get(http2.stream_of(frame))
            self._strays += stream is None or stream.status != 0
        elif kind == http2.CONTINUATION:
            self._size += len(frame)
        return self._size <= MOST_FIELDS + http2.HEAD and self._strays <= MOST_STRAYS + last

    def interim(self) -> None:
        """A head was none of the response yet."""
        self._strays += 1
