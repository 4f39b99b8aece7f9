"""What a wrapped transport knows of its connection because the transport below knows it."""

from __future__ import annotations

from typing import Any


class OnTransport:
    """A transport that stands on another one."""

    __slots__ = ("__weakref__", "_read_size", "below")

    def __init__(self) -> None:
        self.below: Any = None
        """The `IStreamTransport` that this one stands on."""
        self._read_size = 0

    def getPeer(self) -> Any:
        """The other side's address."""
        return self.below.getPeer()

    def getHost(self) -> Any:
        """This side's address."""
        return self.below.getHost()

    def quiet_for(self) -> Any:
        """For how many seconds no data has come or gone here, where the system knows."""
        return self.below.quiet_for()

    def tcp_facts(self) -> Any:
        """What the system knows of the TCP connection."""
        return self.below.tcp_facts()

    def before_close(self, call: Any) -> None:
        """Call this just before the descriptor is closed."""
        self.below.before_close(call)

    def original_destination(self) -> Any:
        """Where the peer wanted to connect to, where the packet filter has redirected it here."""
        return self.below.original_destination()

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is on."""
        return bool(self.below.getTcpNoDelay())

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once, or not."""
        self.below.setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is on."""
        return bool(self.below.getTcpKeepAlive())

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Let the kernel probe a silent peer, or not."""
        self.below.setTcpKeepAlive(enabled)

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call."""
        return self._read_size

    @read_size.setter
    def read_size(self, size: int) -> None:
        self._read_size = self.below.read_size = size
