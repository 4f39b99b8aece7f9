"""What main does with clients that come from the process before: workers are offered them by
turns, and that process is told what they answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from tcpmesh.server.handover.descriptors import can_be_copied
from tcpmesh.server.link.numbers import WorkerMessage
from tcpmesh.values.lifecycle.moving import ForgetClient, OfferAnswered, OfferClient, TakeClient
from tcpmesh.values.stream.moved import NO_DESCRIPTORS

NOBODY = "no worker is there that could take it"
GONE = "the worker that was to take it is gone"


class Giver(Protocol):
    """The process that clients come from, as it is seen here."""

    def answer(self, client: int, refused: str) -> None:
        """A client can go on here, and is waited for; or why it cannot."""


class Tells(Protocol):
    """Tells one worker something, and lends it descriptors."""

    def __call__(
        self, worker: int, message: WorkerMessage, descriptors: Sequence[int] = ()
    ) -> object: ...


class Taking:
    """The clients that come to all workers.

    :param tell: tells one of them.
    :param ready: the workers that can be told at this moment.
    """

    def __init__(self, tell: Tells, ready: Callable[[], Collection[int]]) -> None:
        self._tell = tell
        self._ready = ready
        self._next = 0
        self._offered: dict[int, int] = {}
        """Which worker was offered a client that it does not have yet."""
        self.giver: Giver | None = None
        """The process that clients come from."""
        self.receivers: Mapping[type, Callable[[Any], object]] = {OfferAnswered: self._answered}
        """What is done with each message of workers'."""

    # What the other process says

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can a client go on here?"""
        ready = sorted(self._ready())
        if not ready or not can_be_copied(descriptors):
            self._answer(client, NO_DESCRIPTORS if ready else NOBODY)
            return
        worker = ready[self._next % len(ready)]
        self._next += 1
        self._offered[client] = worker
        self._tell(worker, OfferClient(client, state), descriptors)

    def take(self, client: int) -> None:
        """A client is ours."""
        worker = self._offered.pop(client, None)
        if worker is not None:
            self._tell(worker, TakeClient(client))

    def forget(self, client: int) -> None:
        """A client stays where it is."""
        worker = self._offered.pop(client, None)
        if worker is not None:
            self._tell(worker, ForgetClient(client))

    def giver_gone(self) -> None:
        """It is no more.  Whether a client that was offered last is ours nobody can tell: perhaps
        the other process only does not listen any more, and goes on with it.
        """
        self.giver = None
        for client in tuple(self._offered):
            self.forget(client)

    # What workers say

    def lost(self, worker: int) -> None:
        """A worker is no more."""
        for client, its in tuple(self._offered.items()):
            if its == worker:
                del self._offered[client]
                self._answer(client, GONE)

    def _answered(self, told: OfferAnswered) -> None:
        if self._offered.get(told.client) != told.worker:
            return
        if told.refused:
            del self._offered[told.client]
        self._answer(told.client, told.refused)

    def _answer(self, client: int, refused: str) -> None:
        if self.giver is not None:
            self.giver.answer(client, refused)
