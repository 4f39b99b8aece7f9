"""The end of a process that cuts nobody off: it accepts no more clients, and ends with the last of
those it has, or when the time is over that it may take (SIGQUIT, as for nginx).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpmesh.values.drain import DrainScope

log = Logger(namespace="main")

LOOK = 0.25
"""Seconds between two looks whether somebody is left."""

TELL = 10.0
"""Seconds between two lines of the log that say how many are."""


class Stoppable(Protocol):
    """What is to end."""

    @property
    def waited_for(self) -> int:
        """Clients that are left."""

    def drain_listeners(self, scope: DrainScope) -> None:
        """Accept no more clients."""


class GracefulStop:
    """Ends a server by and by.

    :param most: the seconds it may take; 0 for any time.
    :param end: ends the process.
    :param tell: is told who is waited for.
    """

    def __init__(
        self,
        server: Stoppable,
        clock: IReactorTime,
        most: float,
        end: Callable[[], object],
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._server = server
        self._clock = clock
        self._most = most
        self._end = end
        self._tell = tell
        self._call: IDelayedCall | None = None
        self._began = self._told = 0.0

    def begin(self) -> None:
        """Accept no more clients from now on; once it has begun nothing happens."""
        if self._call is not None:
            return
        self._began = self._told = self._clock.seconds()
        self._server.drain_listeners(DrainScope.ALL)
        log.info("no more clients are accepted; the last one's end is waited for")
        self._say(self._server.waited_for)
        self._call = self._clock.callLater(0, self._look)

    @property
    def is_begun(self) -> bool:
        """Whether the process ends."""
        return self._call is not None

    def cancel(self) -> None:
        """The process ends by another way."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _look(self) -> None:
        now, left = self._clock.seconds(), self._server.waited_for
        if not left:
            log.info("the last client has left")
            self._end()
        elif self._most and now - self._began >= self._most:
            log.warn("{left} clients are cut off: {most:g} s are over", left=left, most=self._most)
            self._end()
        else:
            if now - self._told >= TELL:
                self._told = now
                self._say(left)
            self._call = self._clock.callLater(LOOK, self._look)

    def _say(self, left: int) -> None:
        text = f"{left} clients are left"
        if self._most:
            seconds = self._most - (self._clock.seconds() - self._began)
            text += f", for {seconds:.0f} s at most"
        log.info("{text}", text=text)
        self._tell(text)
