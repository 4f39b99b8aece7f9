"""The writing half of a tunnel of HTTP/2: what waits for the proxy, producers, and the ways to end
that wait for it; `tcpmesh.rpc.http2.tunnel` builds on this and tells how the two work.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone

from tcpmesh.connection.wrapped.below import OnTransport
from tcpmesh.connection.wrapped.states import After
from tcpmesh.rpc.http2.stream import TwoWayStream


class Phase(Enum):
    """Where a tunnel is in its life."""

    ASKING = auto()
    """The proxy has not answered."""

    OPEN = auto()
    """Bytes go both ways."""

    CUT_OFF = auto()
    """The stream is over, and what came of it is not delivered yet."""

    LOST = auto()
    """It is over, and the protocol above was told."""


class TunnelWriteSide(OnTransport):
    """A tunnel that can be written to and ended."""

    __slots__ = (
        "_after",
        "_dropped",
        "_mark",
        "_phase",
        "_producer",
        "_producer_paused",
        "_stream",
        "_streaming",
    )

    def __init__(self) -> None:
        super().__init__()
        self._stream: TwoWayStream | None = None
        self._phase = Phase.ASKING
        self._after = After.NOTHING
        self._mark = self._dropped = 0
        self._producer: Any = None
        self._streaming = self._producer_paused = False

    # Writing

    @property
    def buffered(self) -> int:
        """Bytes that the proxy has not taken yet, or the socket to it."""
        return self._stream.buffered if self._stream is not None else 0

    @property
    def dropped(self) -> int:
        """Bytes that were never sent."""
        return self._dropped

    @property
    def high_watermark(self) -> int:
        """Above this many buffered bytes the producer is paused, at half of it resumed; 0 for no
        limit.
        """
        return self._mark

    @high_watermark.setter
    def high_watermark(self, mark: int) -> None:
        self._mark = mark

    def write(self, data: Any) -> None:
        """Send bytes after all that was written before."""
        stream = self._stream
        if stream is None or self._after is not After.NOTHING or not stream.is_open:
            self._dropped += len(data)
            return
        stream.send(data)
        if self._streaming and not self._producer_paused and 0 < self._mark < self.buffered:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(iovec))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """From now on pause this producer above the high watermark; a pull producer (not streaming)
        is asked when all is sent.
        """
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} is registered")
        if self._phase is Phase.LOST:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        self._consider_pull()

    def unregisterProducer(self) -> None:
        """Tell no producer any more."""
        self._producer = None
        self._streaming = self._producer_paused = False

    def _consider_resume(self) -> None:
        if self._producer_paused and 2 * self.buffered <= self._mark:
            self._producer_paused = False
            self._producer.resumeProducing()

    def _consider_pull(self) -> None:
        if self._producer is not None and not self._streaming and not self.buffered:
            self._producer.resumeProducing()

    # Ends

    def loseWriteConnection(self) -> None:
        """Send END_STREAM after what was written."""
        if self._after is After.NOTHING and self._stream is not None:
            self._after = After.FIN
            self._stream.end()

    def loseConnection(self) -> None:
        """End both ways once what was written is sent; what comes meanwhile is dropped."""
        self._end_after_flush(After.CLOSE)

    def resetConnection(self) -> None:
        """End with a reset once what was written is sent."""
        self._end_after_flush(After.RESET)

    def abortConnection(self) -> None:
        """End at once with a reset; what was not sent is lost."""
        self._end_now(ConnectionAborted())

    def cutConnection(self) -> None:
        """End at once; there is no other way than a reset, where not all is sent and received."""
        self._end_now(ConnectionDone())

    def _end_after_flush(self, how: After) -> None:
        if self._after >= After.CLOSE:
            return
        stream = self._stream
        if self._phase is not Phase.OPEN or stream is None:
            self._end_now(ConnectionDone())
            return
        self._after = how
        self.unregisterProducer()
        self._read_for_nobody()
        if how is After.CLOSE and not stream.is_ended:
            stream.end()
        if not stream.is_open or stream.is_last or (how is After.RESET and not stream.buffered):
            self._end_now_after_flush()

    def _end_now(self, reason: Exception) -> None:
        """End it from this side: see `tcpmesh.rpc.http2.tunnel`."""
        raise NotImplementedError

    def _end_now_after_flush(self) -> None:
        """All is sent, and this is what comes after it: likewise."""
        raise NotImplementedError

    def _read_for_nobody(self) -> None:
        """What comes from now on is for nobody: likewise."""
        raise NotImplementedError
