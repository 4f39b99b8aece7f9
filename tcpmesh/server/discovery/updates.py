"""Listeners and clusters as a file has them (LDS and CDS): each update brings all there are, and
those that an earlier one has brought and this one lacks go.

What the bootstrap has itself is never touched.  Of an update in which something is wrong the rest
is taken, as in Envoy; it counts as rejected, and the log says what, with lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from time import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.config.resources import NotReadable, Resources
from tcpmesh.facts import dataclass
from tcpmesh.net.listen import BindError
from tcpmesh.net.moves import CannotWatch
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.values.statuses import DynamicStatus
from tcpmesh.xds.stats import SubscriptionStats
from tcpmesh.xds.subscription import Outcome

log = Logger(namespace="config")

REFUSALS = (BindError, BrokenExtension, CannotLog, CannotWatch, UnknownExtension)


@dataclass(frozen=True)
class Manager:
    """What an update is applied to."""

    noun: str
    """`listener` or `cluster`."""

    add_or_update: Callable[[Any], bool]
    """Whether that made another one of it, which has the version of the update."""

    remove: Callable[[str], object]
    static: Callable[[], Collection[str]]
    """The names of the bootstrap's own."""

    prepare: Callable[[Any], Iterator[Deferred[None] | None]] = lambda message: iter(())
    """What `add_or_update` would do at once and may take long, in small steps."""


class Discovery:
    """One kind of resources.

    :param unknown_fields: is told how many fields nobody knows.
    :param changed: is told whenever an update has changed anything.
    """

    def __init__(
        self,
        manager: Manager,
        stats: SubscriptionStats,
        clock: IReactorTime,
        unknown_fields: Callable[[int], object],
        changed: Callable[[], object],
    ) -> None:
        self._manager = manager
        self._stats = stats
        self._clock = clock
        self._unknown_fields = unknown_fields
        self._changed = changed
        self._known: dict[str, DynamicStatus] = {}
        self.version = ""
        """Of the last update that has changed anything."""

    def statuses(self) -> tuple[DynamicStatus, ...]:
        """What it has brought, as it is now."""
        return tuple(self._known.values())

    def forget(self, name: str) -> None:
        """The bootstrap has one of this name itself now."""
        self._known.pop(name, None)

    def update(self, outcome: Outcome) -> Iterator[Deferred[None] | None]:
        """Apply what a file says, a resource in each step."""
        noun = self._manager.noun
        self._stats.attempts.tally += 1
        began = self._clock.seconds()
        if isinstance(outcome, NotReadable):
            self._stats.failures.tally += 1
            log.warn("the {noun}s stay as they are: {error}", noun=noun, error=outcome)
            return
        resources = outcome
        self._unknown_fields(resources.unknown_fields)
        for warning in resources.warnings:
            log.warn("{problem}", problem=str(warning))
        errors = [*map(str, resources.errors)]
        yield from self._apply(resources, errors)
        for text in errors:
            log.warn("a {noun} is not taken: {error}", noun=noun, error=text)
        if errors:
            self._stats.rejections.tally += 1
            return
        self._stats.updated(resources.version, time(), self._clock.seconds() - began)

    def _apply(self, resources: Resources, errors: list[str]) -> Iterator[Deferred[None] | None]:
        """Whatever of it can be; what is wrong with the rest is an error more."""
        static = self._manager.static()
        # A resource that is wrong leaves what there was of it.
        wanted = {each.name for each in resources.messages} | resources.wrong_names
        gone = [name for name in self._known if name not in wanted]
        for name in gone:
            self._manager.remove(name)
            del self._known[name]
            self._changed()
            yield None
        has_changed = bool(gone)
        seen: set[str] = set()
        for message in resources.messages:
            if message.name in static:
                log.info("{name} is the bootstrap's own, and stays", name=message.name)
            elif message.name in seen:
                errors.append(f"{message.name!r} is there twice")
            else:
                seen.add(message.name)
                if not self._is_known(message):
                    yield from self._manager.prepare(message)
                    has_changed |= self._take(message, resources.version, errors)
            yield None
        if has_changed:
            self.version = resources.version
            self._stats.reloaded(time())

    def _is_known(self, message: Any) -> bool:
        before = self._known.get(message.name)
        return before is not None and bool(before.message == message)

    def _take(self, message: Any, version: str, errors: list[str]) -> bool:
        before = self._known.get(message.name)
        try:
            is_new = self._manager.add_or_update(message)
        except REFUSALS as error:
            errors.append(f"{message.name!r}: {error}")
            return False
        self._changed()
        kept = before if before is not None and not is_new else None
        self._known[message.name] = DynamicStatus(
            message,
            version if kept is None else kept.version,
            time() if kept is None else kept.updated,
        )
        return True
