"""What main does with clients that leave: they are offered to the process that has taken over, and
their workers are told what came of it.

Main is where it is decided whose a client is (see `tcpmesh.server.handover.leaving`).  Where the
other process takes one it is told so first, then the worker.  Where that process refuses, does not
answer in time, or is gone, the worker goes on with the client, and an answer that comes later
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from tcpmesh.server.handover.descriptors import can_be_copied
from tcpmesh.server.link.numbers import WorkerMessage
from tcpmesh.values.lifecycle.moving import (
    ClientLeaves,
    ClientMoved,
    ClientsStay,
    ClientStays,
    MoveClients,
)
from tcpmesh.values.stream.moved import NONE_LEFT

log = Logger(namespace="main")

PATIENCE = 2.0
"""Seconds that the other process has for an answer."""

GONE = "the process that takes over is gone"
LATE = f"the process that takes over has not answered within {PATIENCE:g} s"


class Taker(Protocol):
    """The process that clients go to, as it is seen here."""

    pid: int

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can it go on with this client?"""

    def take(self, client: int) -> None:
        """A client is its own."""

    def forget(self, client: int) -> None:
        """A client stays here."""

    def stay(self, reasons: Mapping[str, int]) -> None:
        """No more come; so many stay, and why."""


class OnItsWay(NamedTuple):
    """A client that is offered."""

    number: int
    worker: int
    client: int
    """The number that the worker has given it."""

    since: float


class Giving:
    """The clients of all workers.

    :param send: tells all workers.
    :param tell: tells one.
    :param joined: the workers there are at this moment.
    """

    def __init__(
        self,
        send: Callable[[WorkerMessage], object],
        tell: Callable[[int, WorkerMessage], object],
        clock: IReactorTime,
        joined: Callable[[], Collection[int]],
    ) -> None:
        self._send = send
        self._tell = tell
        self._clock = clock
        self._call: IDelayedCall | None = None
        """A look whether an answer is late."""
        self._joined = joined
        self._taker: Taker | None = None
        self._pid = 0
        self._why_none = GONE
        self._numbers = count(1)
        self._on_their_way: dict[int, OnItsWay] = {}
        self._left: set[int] = set()
        """Workers whose clients are not done with."""
        self._began = 0.0
        self._moved = 0
        self._longest = 0.0
        """Seconds that a client has waited for an answer at most."""
        self._reasons: dict[str, int] = {}
        self._over: Deferred[None] | None = None
        self.receivers: Mapping[type, Callable[[Any], object]] = {ClientsStay: self._stay}
        """What is done with each message of workers' but `ClientLeaves`, which has descriptors."""

    def begin(self, taker: Taker) -> Deferred[None]:
        """Let clients go there; fires when all have that can."""
        self._taker, self._pid = taker, taker.pid
        self._began = self._clock.seconds()
        self._left = set(self._joined())
        over: Deferred[None] = Deferred()
        self._over = over
        if self._left:
            self._send(MoveClients(is_on=True))
        else:
            self._look()
        return over

    # What workers say

    def leaves(self, told: ClientLeaves, descriptors: Sequence[int]) -> None:
        """A client has left its worker."""
        if self._taker is None or not can_be_copied(descriptors):
            reason = self._why_none if self._taker is None else NONE_LEFT
            self._tell(told.worker, ClientStays(told.client, reason))
            return
        number = next(self._numbers)
        now = self._clock.seconds()
        self._on_their_way[number] = OnItsWay(number, told.worker, told.client, now)
        if self._call is None:
            self._call = self._clock.callLater(PATIENCE, self._look_at_the_clock)
        self._taker.offer(number, told.state, descriptors)

    def lost(self, worker: int) -> None:
        """A worker is no more, with the clients that it has."""
        self._left.discard(worker)
        self._look()

    def _stay(self, told: ClientsStay) -> None:
        if told.worker not in self._left:
            return
        self._moved += told.moved
        for reason, number in told.reasons:
            self._reasons[reason] = self._reasons.get(reason, 0) + number
        self._left.discard(told.worker)
        self._look()

    def _look(self) -> None:
        """Whether all is done."""
        over = self._over
        if self._left or over is None:
            return
        self._over = None
        self._cancel()
        taker, self._taker = self._taker, None
        self._say()
        if taker is not None:
            taker.stay(self._reasons)
        over.callback(None)

    def _say(self) -> None:
        reasons = "; ".join(f"{number} ({reason})" for reason, number in self._reasons.items())
        log.info(
            "{moved} clients have moved to process {pid} in {seconds:.3f} s, none was on its way "
            "for longer than {longest:.3f} s, and {left} stay{why}",
            moved=self._moved,
            pid=self._pid,
            longest=self._longest,
            seconds=self._clock.seconds() - self._began,
            left=sum(self._reasons.values()),
            why=f": {reasons}" if reasons else "",
        )

    # What the other process says

    def answered(self, client: int, refused: str) -> None:
        """It takes a client, or refuses it, and why."""
        each = self._on_their_way.pop(client, None)
        if each is None or self._taker is None:
            return
        self._note_time(each)
        if refused:
            self._tell(each.worker, ClientStays(each.client, refused))
        else:
            self._taker.take(client)
            self._tell(each.worker, ClientMoved(each.client))

    def _note_time(self, each: OnItsWay) -> None:
        """It is known now whose a client is."""
        self._longest = max(self._longest, self._clock.seconds() - each.since)

    def taker_gone(self) -> None:
        """It is no more."""
        self._give_up(GONE)

    def stop(self) -> None:
        """This process ends."""
        self._taker = None
        self._on_their_way.clear()
        self._cancel()

    def _look_at_the_clock(self) -> None:
        """Whether the answer for the first on its way is late."""
        self._call = None
        first = next(iter(self._on_their_way.values()), None)
        if first is None:
            return
        left = first.since + PATIENCE - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look_at_the_clock)
        elif self._taker is not None:
            for number in self._on_their_way:
                self._taker.forget(number)
            self._give_up(LATE)

    def _give_up(self, reason: str) -> None:
        """Nobody is taken any more: those on their way go on where they were."""
        self._taker, self._why_none = None, reason
        on_their_way, self._on_their_way = self._on_their_way, {}
        for each in on_their_way.values():
            self._note_time(each)
        self._cancel()
        if self._over is not None:
            self._send(MoveClients(is_on=False, reason=reason))
        for each in on_their_way.values():
            self._tell(each.worker, ClientStays(each.client, reason))

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
