"""A downstream connection: the transport that a listener accepted, and what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zope.interface import implementer

from twisted.python.failure import Failure

from tcpmesh.connection.filter_state import NO_FILTER_STATE, FilterState, Sharing, StateObject
from tcpmesh.interfaces import IConnection
from tcpmesh.net.protocol import QuietHalfCloseableProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import NO_FLAGS

NO_METADATA: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


@implementer(IConnection)
class Connection(QuietHalfCloseableProtocol):
    """What a listener's factory builds.

    The first events belong to the filter chain; once tcp_proxy relays, the transport's protocol is
    a `Direction` of the relay, and this object stays as the place of what is known about the
    client.
    """

    __slots__ = (
        "__weakref__",
        "_owner",
        "filter_state",
        "flags",
        "id",
        "metadata",
        "opened",
        "read_source",
        "restored_local",
        "restored_remote",
        "transport",
    )

    def __init__(self, owner: Any, number: int = 0) -> None:
        self._owner = owner
        self.id = number
        self.flags = NO_FLAGS
        self.metadata = NO_METADATA
        """Dynamic metadata: what filters found out, by their names, each a mapping of plain values
        as in JSON.
        """
        self.filter_state = NO_FILTER_STATE
        """Objects that filters leave for others; read here, set with `set_filter_state`."""
        self.transport: Any = None
        self.read_source: Any = None
        """Whose `protocol` gets what the client sends: the transport, or the `Passage` through
        filters before the last.
        """
        self.opened = 0.0
        """When it was accepted, in seconds of the network's clock."""
        self.restored_local: Address | None = None
        """Where the client wanted to go, where a listener filter knows it better than the
        socket.
        """
        self.restored_remote: Address | None = None
        """Where the client came from, likewise."""

    @property
    def local_address(self) -> Any:
        """Where the client wanted to go."""
        return self.restored_local or self.transport.getHost()

    @property
    def remote_address(self) -> Any:
        """Where the client came from; the other end of the socket is `transport.getPeer`."""
        return self.restored_remote or self.transport.getPeer()

    def hand_to(self, owner: Any) -> Any:
        """From now on this one hears of its end: a listener, or the filters before or after it.

        :return: who would have heard of it.
        """
        before, self._owner = self._owner, owner
        return before

    def set_filter_state(
        self, key: str, value: StateObject, read_only: bool = False, sharing: Sharing = Sharing.NONE
    ) -> None:
        """Put an object under a name, as `FilterState.set` does."""
        if self.filter_state is NO_FILTER_STATE:
            self.filter_state = FilterState()
        self.filter_state.set(key, value, read_only, sharing)

    def makeConnection(self, transport: Any) -> None:
        """The listener accepted it."""
        self.transport = self.read_source = transport
        self._owner.connection_made(self)

    def bufferReceived(self, data: memoryview) -> None:
        """Bytes for which nobody has asked: the chain has closed the connection already."""

    def connectionLost(self, reason: Failure | None) -> None:
        """The connection is over; told once, by the transport or by the relay that had taken
        over.
        """
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.connection_lost(self)
