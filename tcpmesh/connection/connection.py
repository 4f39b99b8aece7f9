"""A downstream connection: the transport that a listener accepted, and what is known about it."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tcpmesh.interfaces import IConnection
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import ACCEPTING, CLOSED, CONNECTING, FILTERING, FLUSHING, PEEKING
from tcpmesh.values.stream.stream_info import StreamInfo

UNRELAYED = frozenset((ACCEPTING, PEEKING, FILTERING, CONNECTING))
"""The phases that end with the client; the later ones are a relay's to change."""


@implementer(IConnection)
class Connection(QuietHalfCloseableProtocol):
    """What a listener's factory builds.

    The first events belong to the filter chain; once tcp_proxy relays, the transport's protocol is
    a `Direction` of the relay, and this object stays as the place of what is known about the
    client.
    """

    __slots__ = ("__weakref__", "owner", "read_source", "stream_info", "transport")

    def __init__(self, owner: Any, number: int = 0) -> None:
        self.owner = owner
        """Who hears of its end: a listener, or the filters before or after it."""
        self.stream_info = StreamInfo(number)
        self.transport: Any = None
        self.read_source: Any = None
        """Whose `protocol` gets what the client sends: the transport, or the `FilterManager` that
        shows it to filters before the last.
        """

    def close(self, reason: CloseReason, words: str = "", reset: bool = False) -> None:
        """Close it from this side.  A relay that has it takes that for the end of the client, and
        closes the other side too.

        :param words: Envoy's for the reason (`DOWNSTREAM_LOCAL_CLOSE_REASON`).
        :param reset: whether the client gets a reset at once, and not FIN after what was written.
        """
        info = self.stream_info
        info.close(reason)
        info.local_close_reason = info.local_close_reason or words
        if info.phase in UNRELAYED:
            info.phase = FLUSHING
        if reset:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def leave(self) -> None:
        """Another process goes on with it: here nobody hears of its end."""
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.connection_left(self)

    def makeConnection(self, transport: Any) -> None:
        """The listener accepted it."""
        self.transport = self.read_source = self.stream_info.addresses = transport
        self.owner.connection_made(self)

    def bufferReceived(self, data: memoryview) -> None:
        """Bytes for which nobody has asked: the chain has closed the connection already."""

    def connectionLost(self, reason: Failure | None) -> None:
        """The connection is over, and there is no other side of it."""
        info = self.stream_info
        if info.close_reason is None and reason is not None:
            is_done = isinstance(reason.value, ConnectionDone)
            cause = Cause.END_OF_STREAM if is_done else Cause.RESET
            info.close_reason = CloseReason(EndedBy.DOWNSTREAM, info.phase, cause)
        info.phase = CLOSED
        self.downstream_lost()

    def downstream_lost(self) -> None:
        """The client's side is over: told once, by the transport or by who relays it, which may
        have an upstream connection that still flushes.
        """
        owner, self.owner = self.owner, None
        if owner is not None:
            owner.connection_lost(self)
