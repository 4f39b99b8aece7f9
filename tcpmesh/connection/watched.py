"""A relay that somebody looks at: told of whenever bytes were passed on.

Usually nobody is, and bytes go past all Python that they can.  While a listener drains, tcp_proxy
closes connections at a moment when they carry bytes (`check_drain_close`), so it has to hear of
them; from then on, and only for those connections, each read is one call more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
