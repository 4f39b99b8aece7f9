"""What a connection has to send: streams take turns, a few frames each, as far as the socket and
the windows of the host allow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.rpc.http2.allowance import FrameLimits
from tcpmesh.rpc.http2.codec import Http2Codec
from tcpmesh.rpc.http2.stream import Http2Stream

SENT_AT_ONCE = 64
"""Streams that have their turn in one turn of the loop."""

BYTES_AT_ONCE = 1 << 20
"""Bytes after which no further one has its turn."""

LARGEST_SENT = 1 << 16
"""Bytes of a stream's turn, and of what the socket is given as one."""


class Outgoing:
    """That of one connection.

    :param limits: is told of each frame.
    :param flush: has the socket take what there is.
    :param ended: is told of each stream of which all was sent.
    """

    __slots__ = (
        "_clock",
        "_ended",
        "_flush",
        "_h2",
        "_is_paused",
        "_is_sending",
        "_limits",
        "_more",
        "_streams",
        "_unflushed",
    )

    def __init__(
        self,
        h2: Http2Codec,
        clock: IReactorTime,
        limits: FrameLimits,
        flush: Callable[[], object],
        ended: Callable[[Http2Stream], object],
    ) -> None:
        self._h2 = h2
        self._clock = clock
        self._limits = limits
        self._flush = flush
        self._ended = ended
        self._streams: dict[Http2Stream, None] = {}
        """Those that have something to send and were not told to wait for a window."""
        self._is_paused = False
        """Whether the socket takes no more for now."""
        self._is_sending = False
        self._unflushed = 0
        """Bytes of streams that the socket was not given yet."""
        self._more: IDelayedCall | None = None
        """The call that sends what was too much for one turn."""

    def add(self, stream: Http2Stream) -> None:
        """It has something to send, or may go on."""
        if stream.is_open and stream.has_to_send:
            self._streams[stream] = None

    def rouse(self, streams: Iterable[Http2Stream]) -> None:
        """The host has made room for all of these."""
        for stream in streams:
            self.add(stream)

    def discard(self, stream: Http2Stream) -> None:
        """It is over."""
        self._streams.pop(stream, None)

    def send(self) -> None:
        """Send what may be sent, and what else is to be."""
        if self.put():
            self.flush()

    def put(self) -> bool:
        """Make frames of what may be sent, for the socket to take with `flush`.

        :return: whether that is to be called; not where one of the streams was told that all is
            sent, and has more.
        """
        if self._is_sending:
            return False
        self._is_sending = True
        try:
            self._send_frames()
        finally:
            self._is_sending = False
        if self._streams and not self._is_paused and self._more is None:
            self._more = self._clock.callLater(0, self._send_more)
        return True

    def flush(self) -> None:
        """Have the socket take what there is."""
        self._unflushed = 0
        self._flush()

    def _send_frames(self) -> None:
        streams, sent = self._streams, 0
        for _ in range(SENT_AT_ONCE):
            if not streams or self._is_paused or sent >= BYTES_AT_ONCE:
                return
            stream = next(iter(streams))
            del streams[stream]
            size = self._send_some(stream)
            if size is not None:
                self.add(stream)
                sent += size
                self._unflushed += size
            if self._unflushed >= LARGEST_SENT:
                self.flush()  # so that the socket can say that it takes no more

    def _send_more(self) -> None:
        self._more = None
        self.send()

    def _send_some(self, stream: Http2Stream) -> int | None:
        """Send some of a stream: so many bytes; `None` where it has to wait for a window."""
        h2, waiting = self._h2, stream.buffered
        size = min(h2.local_flow_control_window(stream.id), LARGEST_SENT, waiting)
        if size <= 0 < waiting:
            return None
        piece = stream.take(size)
        stream.is_last = stream.is_ended and not stream.buffered
        self._limits.sent(h2.send_bytes(stream.id, piece, stream.is_last))
        stream.sent()
        if stream.is_last:
            self._ended(stream)
        return size

    def pause(self) -> None:
        """The socket takes no more."""
        self._is_paused = True

    def resume(self) -> None:
        """It does again."""
        self._is_paused = False
        self.send()

    def stop(self) -> None:
        """The connection is gone, and is not kept."""
        self._streams.clear()
        self._flush = _nothing
        self._ended = _nobody
        more, self._more = self._more, None
        if more is not None:
            more.cancel()


def _nothing() -> None:
    """There is nobody to send to."""


def _nobody(stream: Http2Stream) -> None:
    """There is nobody to be told."""
