"""Reloads, one after the other: SIGHUP and the admin interface ask for them.

A configuration is read, judged and compared by a thread; whether it can be had is looked at, and it
is applied, in small steps beside the traffic.  Whatever is wrong with it, nothing has changed then,
and the log and the answer say why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from time import perf_counter, time
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import IReloads
from tcpmesh.net.cooperator import beside, do_all
from tcpmesh.server.reload.history import History
from tcpmesh.server.reload.packing import pack
from tcpmesh.server.reload.replacing import Refused, Replacing
from tcpmesh.server.reload.served import Served
from tcpmesh.server.reload.source import NoSource, Read, Source, judge
from tcpmesh.server.reload.stats import ReloadStats
from tcpmesh.values.lifecycle.reload import (
    Change,
    Configuration,
    How,
    NoSuchConfiguration,
    Reloaded,
    Verdict,
)

log = Logger(namespace="config")

LOGGED = 100
"""Lines that the log has at most of what one reload changes, or of what is wrong."""

MOST_AT_ONCE = 2
"""One goes on, and one may wait."""

Find = Callable[[], "tuple[Read, str]"]
"""What is to be read, and by whom that is wanted."""


@implementer(IReloads)
class Reloads:
    """Those of one proxy.

    :param at: since when its first configuration is served, in seconds since 1970.
    :param wall: tells the time as that.
    :param monotonic: tells how long one has taken.
    """

    def __init__(
        self,
        server: Served,
        source: Source,
        at: float,
        wall: Callable[[], float] = time,
        monotonic: Callable[[], float] = perf_counter,
    ) -> None:
        self._server = server
        self._source = source
        self._wall = wall
        self._monotonic = monotonic
        self._history = History(at)
        self._stats = ReloadStats(server.store)
        self._turn = DeferredLock()
        self._count = 0
        """How many go on or wait."""
        self.on_begin: Callable[[], object] = lambda: None
        """Called when a configuration begins to be replaced."""
        self.on_end: Callable[[], object] = lambda: None
        """Called when that is done, or cannot be."""
        self.updated: dict[tuple[str, str], float] = {}
        """When resources have changed since the start, by kind and name, and `bootstrap` as a
        whole.
        """

    def reload(self, by: str, dry_run: bool = False) -> Deferred[Reloaded]:
        """Read the configuration again; see `IReloads`."""
        return self._one(lambda: (self._source.read, by), dry_run)

    def rollback(self, to: int | None = None) -> Deferred[Reloaded]:
        """Serve an earlier one again; see `IReloads`."""

        def find() -> tuple[Read, str]:
            number, packed = self._history.find(to)
            return self._source.again(packed), f"rollback to {number}"

        return self._one(find, False)

    def history(self) -> Deferred[tuple[Configuration, ...]]:
        """The last configurations; see `IReloads`."""
        return ensureDeferred(self._told())

    async def _told(self) -> tuple[Configuration, ...]:
        if self._history.packed is None and not self._server.why_not_now():
            bootstrap = self._server.bootstrap
            packed = await beside(self._server.network.clock, partial(pack, bootstrap))
            if self._server.bootstrap is bootstrap:
                self._history.served_is(packed)
        return self._history.all()

    # One after the other

    def _one(self, find: Find, dry_run: bool) -> Deferred[Reloaded]:
        if self._count == MOST_AT_ONCE:
            text = "a reload is under way, and another one waits already"
            return succeed(self._refused(Refused(Verdict.UNTIMELY, (text,))))
        self._count += 1
        done = self._turn.run(lambda: ensureDeferred(self._timed(find, dry_run)))
        return done.addBoth(self._over)

    def _over(self, result: Any) -> Any:
        self._count -= 1
        if isinstance(result, Failure):
            log.failure("a reload has failed", result)
            result = self._refused(Refused(Verdict.FAILED, ("it has failed: see the log",)))
        return result

    async def _timed(self, find: Find, dry_run: bool) -> Reloaded:
        if dry_run:
            return await self._checked(find, dry_run)
        self._stats.begins()
        self.on_begin()
        began, done = self._monotonic(), None
        try:
            done = await self._checked(find, dry_run)
            return done
        finally:
            verdict = Verdict.FAILED if done is None else done.verdict
            self._stats.ended(verdict, self._monotonic() - began)
            self.on_end()

    async def _checked(self, find: Find, dry_run: bool) -> Reloaded:
        try:
            reason = self._server.why_not_now()
            if reason:
                raise Refused(Verdict.UNTIMELY, (reason,))
            return await self._judged(*find(), dry_run)
        except Refused as refused:
            return self._refused(refused)
        except (NoSource, NoSuchConfiguration) as e:
            return self._refused(Refused(Verdict.REFUSED, (str(e),)))

    async def _judged(self, read: Read, by: str, dry_run: bool) -> Reloaded:
        """
        :raise Refused: where it cannot be served.
        :raise NoSource: where there is none.
        """
        server, source, packed = self._server, self._source, self._history.packed
        clock, wall = server.network.clock, self._wall()
        work = partial(judge, read, source, server.bootstrap, packed, wall)
        judged = await beside(clock, work)
        try:
            replacing = Replacing(server, judged)
            await replacing.check()
            changes = judged.difference.changes
            await self._say(judged.warnings, log.warn)
            verdict = Verdict.SHOWN
            if not dry_run:
                verdict = Verdict.APPLIED if changes else Verdict.UNCHANGED
                await self._replace(replacing, by, changes)
            return Reloaded(verdict, self._history.number, changes, warnings=judged.warnings)
        finally:
            await beside(clock, judged.let_go)

    async def _replace(self, replacing: Replacing, by: str, changes: tuple[Change, ...]) -> None:
        judged, wall = replacing.judged, self._wall()
        assert judged.packed is not None and judged.served is not None
        if not changes:
            log.info("the configuration is the one that is served: nothing changes")
            return
        await replacing.apply()
        self._history.served_is(judged.served)
        self._history.add(wall, by, judged.packed, changes)
        self._stats.serves(self._history.number, judged.packed.version, wall)
        await do_all(self._server.network.cooperator, self._noting(changes, wall))
        log.info(
            "configuration {number} is served ({by}), with {count} change{s}",
            number=self._history.number,
            by=by,
            count=len(changes),
            s="" if len(changes) == 1 else "s",
        )
        await self._say(changes, log.info)

    def _noting(self, changes: Iterable[Change], wall: float) -> Iterator[None]:
        """What has changed when: in steps."""
        self.updated["bootstrap", ""] = wall
        for change in changes:
            if change.how is How.REMOVED:
                self.updated.pop((change.kind, change.name), None)
            else:
                self.updated[change.kind, change.name] = wall
            yield

    def _refused(self, refused: Refused) -> Reloaded:
        log.error("the configuration is not replaced: {reason}", reason=refused.errors[0])
        if refused.errors[1:]:
            self._say(refused.errors[1:], log.error)
        return Reloaded(refused.verdict, self._history.number, refused.changes, refused.errors)

    def _say(self, lines: Sequence[object], say: Callable[..., object]) -> Deferred[None]:
        """Log these in turns to come, for each takes a system call."""
        return do_all(self._server.network.cooperator, _saying(lines, say))


def _saying(lines: Sequence[object], say: Callable[..., object]) -> Iterator[None]:
    """A line of the log for each, as long as these are not too many."""
    for line in islice(lines, LOGGED):
        say("{line}", line=str(line))
        yield
    if len(lines) > LOGGED:
        say("... and {count} more", count=len(lines) - LOGGED)
