"""What has something to do on a connection to a host before its transport socket has: once it is
done nothing of it is between the connection and who uses it.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.interfaces import IUpstreamTransportSocketFactory
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions


class FirstOnConnection(QuietHalfCloseableProtocol):
    """The protocol of a connection until it is there; one that inherits it overrides `begin`.

    :param inner: the transport socket that comes next; `None` where bytes go as they are.
    :param observer: the `HandshakeObserver`.
    """

    __slots__ = ("_address", "_inner", "_observer", "_transport", "options")

    def __init__(
        self,
        inner: IUpstreamTransportSocketFactory | None,
        address: Address,
        observer: Any,
        options: TransportSocketOptions,
    ) -> None:
        self._inner = inner
        self._address = address
        self._observer = observer
        self.options = options
        self._transport: Any = None

    def begin(self, transport: Any) -> None:
        """The connection is there: do it."""

    def makeConnection(self, transport: Any) -> None:
        """The connection is there."""
        self._transport = transport
        self.begin(transport)
        observer, self._observer = self._observer, None
        if self._inner is None:
            observer.handshake_done(transport)
        else:
            inner = self._inner.connected(self._address, observer, self.options)
            transport.protocol = inner
            inner.makeConnection(transport)

    def loseConnection(self) -> None:
        """Close the connection, in whatever state it is."""
        self._transport.loseConnection()

    def abortConnection(self) -> None:
        """Reset the connection, in whatever state it is."""
        self._transport.abortConnection()
