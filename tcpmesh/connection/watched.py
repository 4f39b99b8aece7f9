"""A relay that somebody looks at: told of whenever bytes were passed on, or asked before.

Usually nobody is, and bytes go past all Python that they can.  While a listener drains, tcp_proxy
closes connections at a moment when they carry bytes (`check_drain_close`), and where resources run
short what a client sends may be the last that it does; so somebody has to hear of bytes.  From then
on, and only for those connections, each read is one call more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from tcpmesh.net.protocol import QuietHalfCloseableProtocol


class Watched(QuietHalfCloseableProtocol):
    """The protocol of a source in place of its `Direction`, which gets everything.

    :param look: called after bytes, or their end, were passed on; it may close the relay.
    """

    __slots__ = ("_direction", "_look")

    def __init__(self, direction: Any, look: Callable[[], object]) -> None:
        self._direction = direction
        self._look = look

    def bufferReceived(self, data: memoryview) -> None:
        """Pass bytes on."""
        self._direction.bufferReceived(data)
        self._look()

    def dataReceived(self, data: bytes) -> None:
        """Pass bytes on."""
        self._direction.dataReceived(data)
        self._look()

    def readConnectionLost(self) -> None:
        """The source has sent all."""
        self._direction.readConnectionLost()
        self._look()

    def connectionLost(self, reason: Failure) -> None:
        """The source is gone."""
        self._direction.connectionLost(reason)


class Gate(QuietHalfCloseableProtocol):
    """The protocol of a client's transport in place of its `Direction`, or of what watches that,
    which gets what is let through.

    :param inner: gets it.
    :param sheds: called before bytes, or their end, are passed on; where it returns true it has
        closed the relay.
    """

    __slots__ = ("_direction", "_inner", "_sheds")

    def __init__(self, direction: Any, inner: Any, sheds: Callable[[], bool]) -> None:
        self._direction = direction
        self._inner = inner
        self._sheds = sheds

    def bufferReceived(self, data: memoryview) -> None:
        """Pass bytes on.  Those that are not count as received, and are lost at a sink that takes
        no more.
        """
        if not self._sheds():
            self._inner.bufferReceived(data)
        elif self._direction.sink is not None:
            self._direction.bufferReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """The same."""
        self.bufferReceived(memoryview(data))

    def readConnectionLost(self) -> None:
        """The client has sent all."""
        if not self._sheds():
            self._inner.readConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self._direction.connectionLost(reason)


class Watchers(NamedTuple):
    """Who hears of the bytes of a relay."""

    look: Callable[[], object] | None = None
    """Called after they were passed on."""

    sheds: Callable[[], bool] | None = None
    """Called before those of the client are; where it returns true they are not."""

    def of_client(self, direction: Any) -> Any:
        """The protocol of the client's transport."""
        inner = self.of_upstream(direction)
        return inner if self.sheds is None else Gate(direction, inner, self.sheds)

    def of_upstream(self, direction: Any) -> Any:
        """... of the upstream's."""
        return direction if self.look is None else Watched(direction, self.look)


NOBODY = Watchers()
