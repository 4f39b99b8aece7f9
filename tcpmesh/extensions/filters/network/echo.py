"""echo: sends a client what it has sent.

Ends its chain; for trying things out.  Different from Envoy 1.40: a client that ends its stream
right after its last bytes gets these back before it is closed.
"""

from __future__ import annotations

from typing import Any

from envoy.extensions.filters.network.echo.v3 import echo_pb2
from zope.interface import implementer

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import NetworkFilter
from tcpmesh.interfaces import INetworkFilter
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import FILTERING

DONE = CloseReason(EndedBy.DOWNSTREAM, FILTERING, Cause.END_OF_STREAM)


@extension(echo_pb2.Echo)
@implementer(INetworkFilter)
class Echo(NetworkFilter):
    """What a chain's `Echo` message says: nothing."""

    serves_many_chains = True

    def __init__(self, message: Any, context: WorkerContext) -> None:
        """There are no settings."""

    def attach(self, connection: Connection) -> None:
        """Answer a client from now on."""
        echoing = Echoing(connection)
        connection.transport.registerProducer(echoing, True)
        connection.read_source.protocol = echoing


@implementer(IPushProducer)
class Echoing(QuietHalfCloseableProtocol):
    """One client, which is not read while it does not take what is for it."""

    __slots__ = ("_connection", "_received")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._received = 0

    def dataReceived(self, data: bytes) -> None:
        """Send it back."""
        self._received += len(data)
        self._connection.transport.write(data)

    def readConnectionLost(self) -> None:
        """The client has sent all it will: close once it has all of it."""
        self._connection.close(DONE)

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        transport, info = self._connection.transport, self._connection.stream_info
        sent = self._received - transport.dropped - transport.buffered
        info.bytes = (self._received + info.withheld, 0, 0, sent)
        self._connection.connectionLost(reason)

    def pauseProducing(self) -> None:
        """The client takes no more at the moment."""
        self._connection.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It does again."""
        self._connection.transport.resumeProducing()

    def stopProducing(self) -> None:
        """It never will: its transport tells so by itself."""
