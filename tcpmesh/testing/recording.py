"""Protocols and producers that write down what happens to them, for tests of transports and of what
stands on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IPullProducer,
    IPushProducer,
)
from twisted.python.failure import Failure

from tcpmesh.interfaces import IBufferedProtocol


def _nothing() -> None:
    """What a recorder does at an event, unless told."""


@implementer(IProtocol)
class OneWayRecordingProtocol:
    """Records its events; does not know half-close.

    `events` are "made", "data", "eof", "fin" (our FIN is sent) and "lost", in order.  The `on_...`
    attributes are called at the event, so that a test can act from inside it.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.events: list[str] = []
        self.received = bytearray()
        self.sizes: list[int] = []
        """How many bytes came with each delivery."""
        self.reason: Failure | None = None
        """Why the connection was lost."""
        self.on_made: Callable[[], object] = _nothing
        self.on_data: Callable[[], object] = _nothing
        self.on_eof: Callable[[], object] = _nothing
        self.on_lost: Callable[[], object] = _nothing

    @property
    def lost(self) -> bool:
        """True once the connection was lost."""
        return "lost" in self.events

    @property
    def ended(self) -> bool:
        """True once nothing more can come: EOF or loss."""
        return "eof" in self.events or self.lost

    @property
    def story(self) -> list[str]:
        """The events, with all deliveries in a row as one: how many there are of those is nobody's
        business.
        """
        return [
            event
            for event, before in zip(self.events, ["", *self.events], strict=False)
            if event != "data" or before != "data"
        ]

    def lost_to(self, *kinds: type[BaseException]) -> bool:
        """True where the connection was lost for a reason of one of these kinds."""
        return self.reason is not None and self.reason.check(*kinds) is not None

    def flaw(self) -> str | None:
        """What no transport may do and this one did: an event after the last, or an event twice."""
        for once in ("made", "eof", "fin", "lost"):
            if self.events.count(once) > 1:
                return f"{once} more than once: {self.events}"
        if self.lost and self.events[-1] != "lost":
            return f"{self.events[-1]} after lost: {self.events}"
        if "eof" in self.events and "data" in self.events[self.events.index("eof") :]:
            return f"data after eof: {self.events}"
        return None

    def makeConnection(self, transport: Any) -> None:
        """The connection is made."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """The connection is made, and `transport` set."""
        self.events.append("made")
        self.on_made()

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        self.events.append("data")
        self.sizes.append(len(data))
        self.received += data
        self.on_data()

    def connectionLost(self, reason: Failure) -> None:
        """The connection is gone."""
        self.events.append("lost")
        self.reason = reason
        self.on_lost()


@implementer(IHalfCloseableProtocol)
class PlainRecordingProtocol(OneWayRecordingProtocol):
    """Records its events; gets bytes by `dataReceived`."""

    def readConnectionLost(self) -> None:
        """The peer sends no more."""
        self.events.append("eof")
        self.on_eof()

    def writeConnectionLost(self) -> None:
        """Our FIN is sent."""
        self.events.append("fin")


@implementer(IBufferedProtocol)
class RecordingProtocol(PlainRecordingProtocol):
    """Records its events; gets bytes as views where the transport can."""

    def bufferReceived(self, data: memoryview) -> None:
        """Bytes came, in a buffer that is not ours."""
        self.dataReceived(bytes(data))


@implementer(IPushProducer, IPullProducer)
class RecordingProducer:
    """A producer that records "pause", "resume" and "stop"; `on_resume` is called when it may go
    on.
    """

    def __init__(self, on_resume: Callable[[], object] = _nothing) -> None:
        self.calls: list[str] = []
        self.on_resume = on_resume

    @property
    def paused(self) -> bool:
        """True while it was last told to pause."""
        return bool(self.calls) and self.calls[-1] == "pause"

    def pauseProducing(self) -> None:
        """Produce no more for now."""
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        """Go on."""
        self.calls.append("resume")
        self.on_resume()

    def stopProducing(self) -> None:
        """Nobody wants it any more."""
        self.calls.append("stop")
