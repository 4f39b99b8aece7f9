"""What is open of one network of Twisted's own sockets: they are kept by the reactor, which has
those of others too, and so nobody else could say when the last one of ours is closed.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Stoppable(Protocol):
    """A port, a connection, or an attempt to make one."""

    def stop(self) -> object:
        """Close at once."""


class OpenSockets:
    """Ports, attempts to connect and connections.

    :param clock: an `IReactorTime`.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._open: set[Stoppable] = set()
        self._stopped: Deferred[None] | None = None

    def add(self, one: Stoppable) -> None:
        """This is open; where all are to be closed, it is soon closed too."""
        self._open.add(one)
        if self._stopped is not None:
            self._clock.callLater(0, self._stop_one, one)

    def discard(self, one: Stoppable) -> None:
        """This is closed."""
        self._open.discard(one)
        if not self._open and self._stopped is not None:
            stopped, self._stopped = self._stopped, None
            stopped.callback(None)

    def stop(self) -> Deferred[None]:
        """Close all; fires when nothing is open."""
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        for one in tuple(self._open):
            self._stop_one(one)
        if self._stopped is not None and not self._open:
            self._stopped = None
            stopped.callback(None)
        return stopped

    def _stop_one(self, one: Stoppable) -> None:
        if one in self._open:
            one.stop()
