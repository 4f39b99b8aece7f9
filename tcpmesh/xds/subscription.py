"""A subscription to a file (`path_config_source`): read when it starts, and whenever a file is
moved to its place, or anything into its `watched_directory`.

A file that is written in place is not noticed, as in Envoy, unless `watch_modify` says so: whoever
reads it then may find half of it.  With `poll_interval` it is read anew at intervals too, changed
or not.

Before clients are served a file is read and applied at once.  Later it is read and judged by a
thread, and applied a few resources in each turn of the reactor, so that nobody waits for a long
one.  What is moved meanwhile is read when that is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.config.fields.values import seconds
from tcpmesh.config.resources import NotReadable, Resources
from tcpmesh.interfaces import INetwork
from tcpmesh.net.cooperator import beside, do_all
from tcpmesh.net.moves import watch_moves

log = Logger(namespace="config")

Read = TypeVar("Read")

Outcome: TypeAlias = "Resources | NotReadable"
"""What a file has, or why it is no such file."""

Load: TypeAlias = Callable[[str], Resources]
"""Reads and judges a file, in a thread or not; raises `NotReadable`."""


class Reread(Generic[Read]):
    """Something that is read time and again: in a thread, and what came of it is applied in small
    steps, one after the other; where it is to be read while that goes on, it is read once more
    afterwards.

    :param load: reads it, from a thread or not.
    :param take: applies what came of that, in small steps.
    """

    def __init__(
        self, network: INetwork, load: Callable[[], Read], take: Callable[[Read], Iterator[object]]
    ) -> None:
        self._clock: Any = network.clock
        self._cooperator = network.cooperator
        self._load = load
        self._take = take
        self._is_busy = self._is_dirty = False
        """Whether it is being read or applied, and whether it is to be read once more then."""
        self._is_stopped = False

    def at_once(self) -> None:
        """Read it and apply all of it, before this call returns."""
        for _ in self._take(self._load()):
            pass

    def read(self) -> None:
        """Read it beside the traffic, and apply it."""
        self._is_dirty = self._is_busy
        if not self._is_busy:
            self._is_busy = True
            read = beside(self._clock, self._load)
            read.addCallback(self._apply).addErrback(_complain).addCallback(self._done)

    def stop(self) -> None:
        """What is being read is not applied."""
        self._is_stopped = True

    def _apply(self, outcome: Read) -> Deferred[None] | None:
        return None if self._is_stopped else do_all(self._cooperator, self._take(outcome))

    def _done(self, _: object) -> None:
        self._is_busy = False
        if self._is_dirty and not self._is_stopped:
            self.read()


class FileSubscription:
    """One file.

    :param source: the `core.v3.ConfigSource`.
    :param load: reads and judges the file, from a thread; raises `NotReadable`.
    :param take: applies what came of that, in small steps.
    """

    def __init__(
        self,
        source: Any,
        network: INetwork,
        load: Load,
        take: Callable[[Outcome], Iterator[object]],
    ) -> None:
        file = source.path_config_source
        self.path: str = file.path if source.HasField("path_config_source") else source.path
        directory = file.watched_directory
        self._folder = directory.path if file.HasField("watched_directory") else ""
        self._writes: bool = directory.watch_modify
        self._interval = seconds(file.poll_interval) if file.HasField("poll_interval") else 0.0
        self._clock: Any = network.clock
        self._load = load
        self._file: Reread[Outcome] = Reread(network, self._loaded, take)
        self._stop_watching: Callable[[], None] = lambda: None
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Read it, and look after it from now on.

        :raise tcpmesh.net.moves.CannotWatch: where its directory is not there.
        """
        watched = os.path.join(self._folder, "") if self._folder else os.path.abspath(self.path)
        self._stop_watching = watch_moves(self._clock, [watched], self._file.read, self._writes)
        self._file.at_once()
        self._poll()

    def stop(self) -> None:
        """Look after it no more; what is being read is not applied."""
        self._file.stop()
        self._stop_watching()
        self._stop_watching = lambda: None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def look(self) -> None:
        """Read it again, moved or not."""
        self._file.read()

    def _poll(self) -> None:
        if self._interval:
            self._call = self._clock.callLater(self._interval, self._polled)

    def _polled(self) -> None:
        self._call = None
        self._file.read()
        self._poll()

    def _loaded(self) -> Outcome:
        try:
            return self._load(self.path)
        except NotReadable as error:
            return error


def _complain(failure: Failure) -> None:
    log.failure("an update failed", failure)
