"""What is counted of the connections to a host, and by which limits they go."""

from __future__ import annotations

from twisted.python.failure import Failure

from tcpmesh.rpc.http2.stream import Reset


class HostCounts:
    """What is counted of a host, and its limits: nothing and none, but what a subclass says."""

    __slots__ = ()

    def may_connect(self) -> bool:
        """Whether a connection more may be made, where there is another."""
        return True

    def may_wait(self) -> bool:
        """Whether a stream more may wait for a connection."""
        return True

    def may_begin(self) -> bool:
        """Whether there may be a stream more."""
        return True

    def dialled(self) -> None:
        """A connection is being made."""

    def connected(self, seconds: float) -> None:
        """It is there, after so many seconds."""

    def failed(self, reason: Failure) -> bool:
        """It could not be made; whether that was the host's doing."""
        return True

    def closed(self, seconds: float, remote: bool, active: bool) -> None:
        """It is gone, after so many seconds; whether it had streams."""

    def protocol_error(self) -> None:
        """The host does not keep to HTTP/2."""

    def silent(self) -> None:
        """It has not answered a ping in time."""

    def most_requests(self) -> None:
        """A connection has had as many streams as it may."""

    def idle_timeout(self) -> None:
        """A connection had no stream for too long."""

    def bytes_received(self, size: int) -> None:
        """So many bytes have come."""

    def bytes_sent(self, size: int) -> None:
        """So many bytes are sent."""

    def waits(self, change: int) -> None:
        """A stream waits for a connection, or does so no more."""

    def begins(self) -> None:
        """A stream has a connection."""

    def over(self, status: int, reset: Reset | None) -> None:
        """Such a one is over.

        :param status: of its response, or 0.
        :param reset: what has broken it off.
        """

    def tunnel_over(self, reset: Reset | None) -> None:
        """Such a one is over that was a tunnel's."""

    def refused(self, reset: Reset, is_tunnel: bool = False) -> None:
        """A stream is over that got no connection."""

    def told_to_leave(self) -> None:
        """The host wants no more streams on a connection."""
