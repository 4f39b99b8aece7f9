"""What a client sends before there is an upstream.

Usually a client is not read until its upstream is connected: TCP itself makes it wait.  A proxy
that connects only once the client has spoken, or that wants to know of a client's end while it
connects, has to read; then what was read is kept here and goes first once the relay starts.  With
the read that reaches a limit the client is read no further, so nothing is ever dropped.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.python.failure import Failure

from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.stream.relay_state import LOST

SLICE = 1 << 14
"""Bytes that may be read at once however little is to be buffered, as in Envoy."""


class EarlyDataObserver(Protocol):
    """Who waits for a client to speak."""

    def on_early_data(self) -> None:
        """The client has sent something."""

    def on_early_end(self) -> None:
        """The client has sent all it will."""

    def on_early_loss(self, reason: Failure) -> None:
        """The client is gone."""


class EarlyData(QuietHalfCloseableProtocol):
    """The protocol of a client's transport until its upstream is connected.

    :param direction: the `Direction` whose source this is; it counts the bytes.
    :param limit: bytes after which the client is read no more.
    """

    __slots__ = ("_direction", "_limit", "_observer", "data", "eof", "read_size")

    def __init__(self, direction: Any, limit: int, observer: EarlyDataObserver) -> None:
        self._direction = direction
        self._limit = limit
        self._observer: EarlyDataObserver | None = observer
        self.data = bytearray()
        self.eof = False
        transport = direction.source
        self.read_size = transport.read_size
        """What the transport's `read_size` is when nothing is early any more."""
        if transport.high_watermark:
            transport.read_size = min(self.read_size, max(transport.high_watermark, SLICE))
        direction.relay.read_source.protocol = self

    @property
    def relay(self) -> Any:
        """The relay that is to be, as long as it has not begun."""
        return self._direction.relay if self._direction is not None else None

    def stop(self) -> None:
        """From now on somebody else is the transport's protocol."""
        self._direction.source.read_size = self.read_size
        self._direction = self._observer = None

    def dataReceived(self, data: bytes) -> None:
        """Keep bytes, and at the limit read no more."""
        self.data += data
        self._direction.bytes += len(data)
        if len(self.data) >= self._limit:
            self._direction.source.pauseProducing()
        if self._observer is not None:
            self._observer.on_early_data()

    def readConnectionLost(self) -> None:
        """The client has sent all: the upstream is told once it is there."""
        self.eof = True
        if self._observer is not None:
            self._observer.on_early_end()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone, and what it sent with it."""
        self._direction.state = LOST
        if self._observer is not None:
            self._observer.on_early_loss(reason)
