"""Protocols and client factories that do nothing: what ours inherit, to show only what each does.

Twisted calls every method of its interfaces, also those in which one protocol or factory out of
ten has an interest.  All bases here have empty `__slots__`, so that what inherits them may have
slots of its own; a method that is inherited costs a call no more than one that is not.
"""

from __future__ import annotations

from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure

from tcpmesh.interfaces import IBufferedProtocol


@implementer(IProtocol)
class QuietProtocol:
    """A protocol without interest in its connection.

    Its transport closes the connection at the peer's end of stream, for it is not told of that.
    """

    __slots__ = ()

    def makeConnection(self, transport: Any) -> None:
        """The connection is there: `transport` is its transport."""

    def connectionMade(self) -> None:
        """The connection is there.  Our transports call `makeConnection` alone."""

    def dataReceived(self, data: bytes) -> None:
        """The peer has sent something."""

    def bufferReceived(self, data: memoryview) -> None:
        """The peer has sent something, in a buffer that is only lent: here a copy of it goes to
        `dataReceived`.
        """
        self.dataReceived(bytes(data))

    def connectionLost(self, reason: Failure) -> None:
        """The connection is over: the last call."""


@implementer(IBufferedProtocol)
class QuietHalfCloseableProtocol(QuietProtocol):
    """A protocol without interest in its connection, which stays open at the peer's end of
    stream.
    """

    __slots__ = ()

    def readConnectionLost(self) -> None:
        """The peer has sent all it will."""

    def writeConnectionLost(self) -> None:
        """Our own FIN has left."""


class OneShotFactory:
    """The client factory of one connector at a time, which does not dial again by itself.

    What inherits this has `buildProtocol`, and mostly `clientConnectionFailed`.
    """

    __slots__ = ()

    def doStart(self) -> None:
        """A connector will use this factory."""

    def doStop(self) -> None:
        """No connector uses this factory any more."""

    def startedConnecting(self, connector: Any) -> None:
        """Connecting has begun."""

    def buildProtocol(self, addr: Any) -> Any:
        """Connected: the protocol for the connection, `None` to close it.

        What our networks give as address is of no use; the transport's `getPeer` tells it.
        """
        raise NotImplementedError

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """There is no connection, and none will come of this attempt."""

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        """The connection was closed, as its protocol has been told."""
