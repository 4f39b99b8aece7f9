"""A subscription to a file (`path_config_source`): read when it starts, and whenever a file is
moved to its place, or anything into its `watched_directory`.

A file that is written in place is not noticed, as in Envoy: whoever reads it then may find half of
it.  With `poll_interval` it is read anew at intervals too, changed or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from tcpmesh.config.fields.values import seconds
from tcpmesh.net.moves import watch_moves


class FileSubscription:
    """One file.

    :param source: the `core.v3.ConfigSource`.
    :param read: reads it.
    """

    def __init__(self, source: Any, clock: Any, read: Callable[[], object]) -> None:
        file = source.path_config_source
        self.path: str = file.path if source.HasField("path_config_source") else source.path
        self._folder = file.watched_directory.path if file.HasField("watched_directory") else ""
        self._interval = seconds(file.poll_interval) if file.HasField("poll_interval") else 0.0
        self._clock = clock
        self._read = read
        self._stop_watching: Callable[[], None] = lambda: None
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Read it, and look after it from now on.

        :raise tcpmesh.net.moves.CannotWatch: where its directory is not there.
        """
        watched = os.path.join(self._folder, "") if self._folder else os.path.abspath(self.path)
        self._stop_watching = watch_moves(self._clock, [watched], self._read)
        self._read()
        self._poll()

    def stop(self) -> None:
        """Look after it no more."""
        self._stop_watching()
        self._stop_watching = lambda: None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _poll(self) -> None:
        if self._interval:
            self._call = self._clock.callLater(self._interval, self._polled)

    def _polled(self) -> None:
        self._call = None
        self._read()
        self._poll()
