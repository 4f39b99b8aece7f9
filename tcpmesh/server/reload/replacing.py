"""One configuration takes the place of another: it is looked at first, and then applied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import SchedulerStopped

from tcpmesh.config.text.problems import Problem
from tcpmesh.server.reload.applying import REFUSALS, Applying
from tcpmesh.server.reload.checking import checking
from tcpmesh.server.reload.served import Served
from tcpmesh.server.reload.source import Judged, texts
from tcpmesh.values.lifecycle.reload import Change, Verdict


class Refused(Exception):
    """A configuration that is not served."""

    def __init__(
        self, verdict: Verdict, errors: tuple[str, ...], changes: tuple[Change, ...] = ()
    ) -> None:
        super().__init__(errors[0])
        self.verdict = verdict
        self.errors = errors
        self.changes = changes


class Replacing:
    """A configuration that was judged, and the one that is served."""

    def __init__(self, server: Served, judged: Judged) -> None:
        self._server = server
        self.judged = judged

    async def check(self) -> None:
        """See whether it can be applied.

        :raise Refused: where it cannot.
        """
        errors = self.judged.errors
        if not errors:
            self._check_time()
            problems: list[Problem] = []
            await self._go_through(checking(self.judged, self._server, problems))
            errors = texts(problems)
        if errors:
            raise Refused(Verdict.REFUSED, errors, self.judged.difference.changes)

    async def apply(self) -> None:
        """Apply it, all or nothing.

        :raise Refused: where something of it cannot be had after all; nothing has changed then,
            unless the verdict is that it failed.
        """
        server, judged = self._server, self.judged
        assert judged.loaded is not None
        before, after = server.bootstrap, judged.loaded.bootstrap
        self._check_time()
        try:
            settings = server.settings(after)
        except REFUSALS as e:
            raise Refused(Verdict.REFUSED, (str(e),), judged.difference.changes) from None
        applying = Applying(server.main, server.network, judged.difference, before, after)
        await self._go_through(applying.steps())
        if applying.error:
            settings.close()
            verdict = Verdict.FAILED if applying.left else Verdict.REFUSED
            raise Refused(verdict, (applying.error, *applying.left), judged.difference.changes)
        server.serves(after, judged.origin)
        await self._go_through(applying.removing())
        await self._go_through(settings.taking_effect())
        server.main.discoveries.look_again(before)
        await self._go_through(server.main.looking_at_all())

    def _check_time(self) -> None:
        """
        :raise Refused: where it cannot be replaced any more.
        """
        reason = self._server.why_not_now()
        if reason:
            raise Refused(Verdict.UNTIMELY, (reason,))

    async def _go_through(self, steps: Iterator[Deferred[None] | None] | Iterator[None]) -> None:
        """
        :raise Refused: where the proxy stops meanwhile.
        """
        try:
            await self._server.network.cooperator.coiterate(self._until_stopped(steps))
        except SchedulerStopped:
            raise Refused(Verdict.UNTIMELY, ("the proxy stops",)) from None

    def _until_stopped(self, steps: Iterator[Any]) -> Iterator[Any]:
        for each in steps:
            yield each
            if self._server.is_stopping:
                raise Refused(Verdict.UNTIMELY, ("the proxy stops",))
