"""Tells all who look at the page at `/` how things are.

Each message is made once for all viewers, and only while there are any.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.web.http import Request

from tcpmesh.admin.live.messages import Messages
from tcpmesh.admin.live.repeater import Repeater
from tcpmesh.admin.live.viewer import Viewer

MOST_VIEWERS = 20

RETRY_MS = 2000
"""After how long a browser that has lost the stream asks again."""


class Feed:
    """The viewers, and what they are told."""

    def __init__(self, messages: Messages, clock: IReactorTime, cooperator: Cooperator) -> None:
        self._clock = clock
        self._messages = messages
        self._viewers: set[Viewer] = set()
        self._latest: dict[str, bytes] = {}
        self._repeaters = [
            Repeater(make, partial(self._tell, kind), clock, cooperator)
            for kind, make in messages.kinds.items()
        ]

    @property
    def is_full(self) -> bool:
        """Whether as many look as may."""
        return len(self._viewers) >= MOST_VIEWERS

    def add(self, request: Request) -> None:
        """Somebody looks, for as long as this request lasts."""
        if request.method == b"HEAD":
            request.finish()
            return
        viewer = Viewer(request, self._latest, self._clock, self._left)
        is_first = not self._viewers
        self._viewers.add(viewer)
        viewer.start(b"retry: %d\n\n" % RETRY_MS + event("hello", self._messages.greeting()))
        if is_first and self._viewers:
            for repeater in self._repeaters:
                repeater.start()

    def _left(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            for repeater in self._repeaters:
                repeater.stop()
            self._latest.clear()

    def _tell(self, kind: str, message: str) -> None:
        self._latest[kind] = event(kind, message)
        for viewer in tuple(self._viewers):
            viewer.tell(kind)


def event(kind: str, message: str) -> bytes:
    """A message of an event stream; JSON has no line breaks outside of texts, and none inside."""
    return f"event: {kind}\ndata: {message}\n\n".encode(errors="backslashreplace")
