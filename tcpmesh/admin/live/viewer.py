"""Somebody who looks: a request that is answered with events for as long as the client stays
(`text/event-stream` of the HTML standard).

Nothing waits in memory for a slow one.  While its buffer is full it is told nothing; after that it
gets the newest message of each kind that it has missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zope.interface import implementer

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.http import Request

STALL_TIMEOUT = 60
"""Seconds that a viewer may take nothing."""


@implementer(IPushProducer)
class Viewer:
    """One of those who look.

    :param latest: the last message of each kind, which whoever tells it keeps up to date.
    :param left: called once it is gone.
    """

    def __init__(
        self,
        request: Request,
        latest: Mapping[str, bytes],
        clock: IReactorTime,
        left: Callable[[Viewer], object],
    ) -> None:
        self._request = request
        self._latest = latest
        self._clock = clock
        self._left = left
        self._missed: dict[str, None] = {}
        self._is_full = False
        self._stall: IDelayedCall | None = None

    def start(self, greeting: bytes) -> None:
        """Tell what only a newcomer needs, then all there is."""
        self._request.notifyFinish().addBoth(self._gone)
        self._request.registerProducer(self, True)
        self._request.write(greeting)
        self._missed = dict.fromkeys(self._latest)
        self._catch_up()

    def tell(self, kind: str) -> None:
        """There is a new message of this kind."""
        if self._is_full:
            self._missed[kind] = None
        else:
            self._request.write(self._latest[kind])

    def _catch_up(self) -> None:
        missed, self._missed = self._missed, {}
        for kind in missed:
            self.tell(kind)

    def pauseProducing(self) -> None:
        """The client takes no more for now."""
        self._is_full = True
        if self._stall is None:
            self._stall = self._clock.callLater(STALL_TIMEOUT, self._leave)

    def resumeProducing(self) -> None:
        """The client takes more."""
        self._is_full = False
        self._forget_stall()
        self._catch_up()

    def stopProducing(self) -> None:
        """The client is gone, as `notifyFinish` tells too."""

    def _leave(self) -> None:
        self._stall = None
        self._request.channel.forceAbortClient()

    def _gone(self, _: object) -> None:
        self._is_full = True
        self._missed.clear()
        self._forget_stall()
        self._left(self)

    def _forget_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
