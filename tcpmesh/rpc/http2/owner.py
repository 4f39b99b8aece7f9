"""Who has a connection, and what the connection tells its owner."""

from __future__ import annotations

from typing import Any, TypeAlias

OwnedConnection: TypeAlias = Any
"""A `tcpmesh.rpc.http2.connection.Http2Connection`."""


class ConnectionOwner:
    """Who has a connection, and streams for it.  A subclass has what it wants to hear."""

    __slots__ = ()

    def ready(self, connection: OwnedConnection) -> None:
        """It is connected."""

    def has_room(self, connection: OwnedConnection) -> None:
        """It may take streams again."""

    def idled(self, connection: OwnedConnection) -> None:
        """It had no stream for as long as one may be idle, where that is watched."""

    def leaves(self, connection: OwnedConnection, code: int) -> None:
        """It takes no more streams; it is closed when those that it has are over.

        :param code: the error that the host has given as the reason, or 0.
        """

    def told_to_leave(self) -> None:
        """The host wants no more streams; `leaves` follows, where that is not known already."""

    def ended(self, connection: OwnedConnection, remote: bool) -> None:
        """It is gone: by the host, or from this side.  Its streams are told after this."""

    def protocol_error(self) -> None:
        """The host does not speak HTTP/2, or too much of it."""

    def silent(self) -> None:
        """The host has not answered a ping in time."""

    def most_requests(self) -> None:
        """It has had as many streams as it may."""

    def bytes_received(self, size: int) -> None:
        """So many bytes have come."""

    def bytes_sent(self, size: int) -> None:
        """So many bytes are sent."""
