"""Lines of the log that a slow reader has not taken are tried again after a while."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.python import threadable

from tcpmesh.logs.log import Log

LOG_RETRY = 0.1
"""Seconds until then."""


class LogRetries:
    """Sees to the lines that wait in a log, for as long as a process lasts."""

    def __init__(self, observer: Log, clock: IReactorTime) -> None:
        self._observer = observer
        self._clock = clock
        self._call: Any = None
        observer.on_behind = self._later

    def stop(self) -> None:
        """Nothing is tried any more."""
        self._observer.on_behind = lambda: None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _later(self) -> None:
        """The log may be written to by threads; only that of the reactor may set a timer."""
        if self._call is None and threadable.isInIOThread():
            self._call = self._clock.callLater(LOG_RETRY, self._flush)

    def _flush(self) -> None:
        self._call = None
        if not self._observer.flush():
            self._later()
