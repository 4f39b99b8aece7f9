"""A difference is applied: all of it, or nothing.

First what others are built with (secrets), then clusters, then listeners, whose clients want them;
what is no more goes last.  Each resource is a step of its own.  Where one cannot be had, what was
applied so far is put back, the last first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.config.changes.difference import Difference, Part, addresses_of
from tcpmesh.interfaces import INetwork
from tcpmesh.net.listen import BindError
from tcpmesh.net.moves import CannotWatch
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.server.reload.served import ServedMain

log = Logger(namespace="config")

REFUSALS = (BindError, BrokenExtension, CannotLog, CannotWatch, UnknownExtension)

WARMING = 15.0
"""Seconds that listeners wait at most for clusters that are new or changed to know their hosts."""


class Applying:
    """One difference.

    :param before: the bootstrap that is served.
    :param after: the one that is to be.
    """

    def __init__(
        self,
        main: ServedMain,
        network: INetwork,
        difference: Difference,
        before: Any,
        after: Any,
    ) -> None:
        self._main = main
        self._network = network
        self._difference = difference
        self._before = before
        self._after = after
        self._undo: list[Callable[[], object]] = []
        self._gone: set[str] = set()
        """Listeners that had to make room for others."""
        self.error = ""
        """Why it cannot be applied."""
        self.left: list[str] = []
        """What could not be put back."""

    def steps(self) -> Iterator[Deferred[None] | None]:
        """Do it, in small steps."""
        try:
            yield from self._apply()
            self._undo.clear()  # how to put back what is no more would keep all of it
        except REFUSALS as e:
            self.error = str(e)
            yield from self._put_back()
        except Exception as e:
            log.failure("a configuration cannot be applied")
            self.error = f"{type(e).__name__}: {e}"
            yield from self._put_back()

    def _apply(self) -> Iterator[Deferred[None] | None]:
        yield from self._set_secrets()
        self._undo.append(self._follow_before)
        self._main.discoveries.follow_bootstrap(self._after)
        yield from self._change_clusters()
        yield from self._change_listeners()

    def _follow_before(self) -> None:
        self._main.discoveries.follow_bootstrap(self._before)
        self._main.discoveries.look_again(self._after)

    def _set_secrets(self) -> Iterator[None]:
        if self._difference.secrets:
            main = self._main
            self._undo.append(lambda: main.set_secrets(self._before.static_resources.secrets))
            main.set_secrets(self._after.static_resources.secrets)
            yield

    # Clusters

    def _change_clusters(self) -> Iterator[Deferred[None] | None]:
        clusters = self._main.clusters
        changed = [part for part in self._difference.clusters if part.after is not None]
        for part in changed:
            clusters.add_or_update(_own(part.after), always=part.before is not None)
            self._undo.append(lambda part=part: self._put_back_cluster(part))  # type: ignore[misc]
            yield None
        warm = clusters.when_warm(part.change.name for part in changed)
        if not warm.called:
            warm.addTimeout(WARMING, self._network.clock)
            yield warm.addErrback(
                lambda failure: failure.trap(TimeoutError, CancelledError) and None
            )

    def _put_back_cluster(self, part: Part) -> None:
        if part.before is None:
            self._main.clusters.remove(part.change.name)
        else:
            self._main.clusters.add_or_update(part.before, always=True)

    # Listeners

    def _change_listeners(self) -> Iterator[Deferred[None] | None]:
        for part in self._difference.listeners:
            if part.after is not None:
                message = _own(part.after)
                yield from self._main.listeners.prepare(message, *self._which(part))
                self._change_listener(part, message)
                yield None

    def _which(self, part: Part) -> tuple[str, bool]:
        """The listener that is changed, and whether it is to be another one though it is equal."""
        is_there = part.before is not None and part.change.name not in self._gone
        name = self._main.listeners.name_of(part.before) if is_there else ""
        return name, part.before is not None and part.before == part.after

    def _change_listener(self, part: Part, message: Any) -> None:
        try:
            self._take_listener(part, message)
        except BindError:
            # Perhaps one of ours has the address, which another one has now.
            in_the_way = self._in_the_way(part)
            if not in_the_way:
                raise
            for other in in_the_way:
                self._remove_listener(other)
            self._take_listener(part, message)

    def _take_listener(self, part: Part, message: Any) -> None:
        listeners = self._main.listeners
        is_there = part.before is not None and part.change.name not in self._gone
        name, uses_others = self._which(part)
        listeners.add_or_update(message, name, always=uses_others)
        if is_there:
            self._undo.append(
                lambda: listeners.add_or_update(part.before, name, always=uses_others)
            )
        else:
            self._undo.append(lambda: listeners.remove(listeners.name_of(part.after)))

    def _in_the_way(self, part: Part) -> list[Part]:
        wanted = addresses_of(part.after)
        return [
            other
            for other in self._difference.listeners
            if other.before is not None
            and other.change.name not in self._gone
            and wanted & addresses_of(other.before)
        ]

    def _remove_listener(self, part: Part) -> None:
        listeners = self._main.listeners
        self._gone.add(part.change.name)
        listeners.remove(listeners.name_of(part.before))
        self._undo.append(lambda: listeners.add_or_update(part.before))

    # Its ends

    def removing(self) -> Iterator[None]:
        """All the rest can be had: remove what is no more."""
        listeners, clusters = self._main.listeners, self._main.clusters
        for part in self._difference.listeners:
            if part.after is None and part.change.name not in self._gone:
                listeners.remove(listeners.name_of(part.before))
                yield
        for part in self._difference.clusters:
            if part.after is None and clusters.is_static(part.change.name):
                clusters.remove(part.change.name)
                yield

    def _put_back(self) -> Iterator[None]:
        while self._undo:
            try:
                self._undo.pop()()
            except Exception as e:
                log.failure("what was changed cannot be put back")
                self.left.append(f"{type(e).__name__}: {e}")
            yield


def _own(message: Any) -> Any:
    """A copy, for a part of a message keeps all of it in memory: after many reloads that would be
    as many configurations.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
