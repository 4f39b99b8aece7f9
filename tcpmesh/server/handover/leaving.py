"""What a worker does with its clients where another process has taken over: those that can leave
do, a few at a time.

One that leaves is taken apart here, and told of with copies of its two descriptors.  From then on
nothing is read from it or written to it, neither here nor anywhere else, until main says what is to
be: either the other process goes on with it, and what is kept here is closed; or it comes back to
the filter chain that it had, as if nothing had happened.  Main decides once, so never do two
processes go on with one client, and nowhere is a moment in which none could.

Clients that are not connected yet when all others leave are looked at again, for some seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import IMovesConnections, INetwork
from tcpmesh.listener.filter_chain import FilterChain
from tcpmesh.listener.listeners import Listeners
from tcpmesh.listener.moving import OTHER_TRANSPORTS, Candidate
from tcpmesh.server.handover.descriptors import can_be_copied
from tcpmesh.server.handover.form import encode
from tcpmesh.values.lifecycle.moving import (
    ClientLeaves,
    ClientMoved,
    ClientsStay,
    ClientStays,
    MoveClients,
)
from tcpmesh.values.stream.moved import NONE_LEFT, PASSING, MovedConnection

log = Logger(namespace="main")

FIRST = 2
MOST_ON_THEIR_WAY = 64
"""Clients of one worker, at first and with each that has moved one more: each waits for those
before it, so more would wait longer, most of all as long as the other process is slow.
"""

MOST_BYTES = 1 << 20
"""... of which so many bytes are told, or one client."""

PAUSE = 0.05
"""Seconds until those that could not leave are looked at again."""

MOST_TIME = 10.0
"""Seconds for which that goes on."""

NO_TIME = "it could not leave in time"


class Held(NamedTuple):
    """A client on its way."""

    chain: FilterChain
    moved: MovedConnection
    descriptors: tuple[int, int]
    size: int

    def close(self) -> None:
        """Nobody goes on with it here."""
        for each in self.descriptors:
            os.close(each)


class Leaving:
    """The clients of one worker.

    :param send: tells main; descriptors are lent to it.
    """

    def __init__(
        self,
        worker: int,
        network: INetwork,
        listeners: Listeners,
        send: Callable[..., object],
    ) -> None:
        self._worker = worker
        self._network = network
        self._listeners = listeners
        self._send = send
        self._numbers = count(1)
        self._held: dict[int, Held] = {}
        self._bytes = self._moved = 0
        self._settled: dict[int, str] = {}
        """Why clients stay for good, by the numbers of their connections."""
        self._is_on = self._is_busy = False
        self._why_not = NO_TIME
        """Why those stay that could leave."""
        self._answered: Deferred[None] | None = None
        """Fires with the next answer, where one is waited for."""
        self._next: IDelayedCall | None = None
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            MoveClients: self._move,
            ClientMoved: self._has_moved,
            ClientStays: self._stays,
        }
        """What is done with each message of main's."""

    @property
    def held(self) -> int:
        """Clients on their way."""
        return len(self._held)

    def stop(self) -> None:
        """The worker ends: close those on their way, as all others."""
        self._is_on = False
        if self._next is not None and self._next.active():
            self._next.cancel()
        while self._held:
            self._held.popitem()[1].close()

    def _move(self, told: MoveClients) -> None:
        self._is_on, self._why_not = told.is_on, told.reason or NO_TIME
        if told.is_on and not self._is_busy:
            self._is_busy = True
            moving = self._network.cooperator.cooperate(self._steps())
            moving.whenDone().addErrback(_tell_failure)

    def _steps(self) -> Iterator[Deferred[None] | None]:
        if IMovesConnections.providedBy(self._network):
            yield from self._passes()
        while self._held:
            yield self._next_answer()
        self._is_on = self._is_busy = False
        reasons: dict[str, int] = {}
        yield from self._count(reasons)
        stay = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        self._send(ClientsStay(self._worker, self._moved, tuple(stay)))

    def _passes(self) -> Iterator[Deferred[None] | None]:
        """Look at all again and again, until nobody is left who may yet leave."""
        end = self._network.clock.seconds() + MOST_TIME
        may_leave_yet = True
        while self._is_on and may_leave_yet and self._network.clock.seconds() < end:
            may_leave_yet = self._listeners.inspected > 0
            for each in self._listeners.candidates():
                while self._is_full:
                    yield self._next_answer()
                if not self._is_on:
                    return
                may_leave_yet |= self._look_at(each)
                yield None
            while self._held:
                yield self._next_answer()
            if may_leave_yet:
                yield self._pause()

    def _look_at(self, candidate: Candidate) -> bool:
        """Let one leave, if it can; whether it cannot now, and perhaps can soon."""
        number = candidate.id
        if number in self._settled:
            return False
        reason = candidate.why_stays
        if not reason:
            self._leave(candidate)
        elif reason not in PASSING:
            self._settled[number] = reason
        return reason in PASSING

    def _count(self, reasons: dict[str, int]) -> Iterator[None]:
        """Find out why those that are here stay, and how many."""
        for each in self._listeners.candidates():
            reason = self._settled.get(each.id) or (each.why_stays or self._why_not)
            if not IMovesConnections.providedBy(self._network):
                reason = OTHER_TRANSPORTS
            reasons[reason] = reasons.get(reason, 0) + 1
            yield
        for reason, number in self._listeners.staying():
            reasons[reason] = reasons.get(reason, 0) + number

    @property
    def _is_full(self) -> bool:
        return bool(self._held) and (
            len(self._held) >= min(FIRST + self._moved, MOST_ON_THEIR_WAY)
            or self._bytes >= MOST_BYTES
        )

    def _next_answer(self) -> Deferred[None]:
        self._answered = Deferred()
        return self._answered

    def _pause(self) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        self._next = self._network.clock.callLater(PAUSE, over.callback, None)
        return over

    def _leave(self, candidate: Candidate) -> None:
        chain = candidate.chain
        assert chain is not None
        moved, descriptors = candidate.mover.leave(candidate.client)
        state = encode(moved)
        held = Held(chain, moved, descriptors, len(state))
        if not can_be_copied(descriptors):
            self._come_back(held, NONE_LEFT)
            return
        number = next(self._numbers)
        self._held[number] = held
        self._bytes += len(state)
        self._send(ClientLeaves(self._worker, number, state), descriptors)

    def _has_moved(self, told: ClientMoved) -> None:
        held = self._pop(told.client)
        if held is not None:
            self._moved += 1
            held.close()

    def _stays(self, told: ClientStays) -> None:
        held = self._pop(told.client)
        if held is not None:
            self._come_back(held, told.reason)

    def _come_back(self, held: Held, reason: str) -> None:
        """Go on with one that has left, and that does not leave any more."""
        self._settled[held.moved.id] = reason
        refused = self._listeners.come_back(held.chain, held.moved, held.descriptors)
        if refused:
            held.close()
            log.error(
                "[C{id}] is cut off: no other process takes it ({reason}), and here {refused}",
                id=held.moved.id,
                reason=reason,
                refused=refused,
            )

    def _pop(self, number: int) -> Held | None:
        held = self._held.pop(number, None)
        if held is not None:
            self._bytes -= held.size
            answered, self._answered = self._answered, None
            if answered is not None:
                answered.callback(None)
        return held


def _tell_failure(reason: Failure) -> None:
    """Clients that have not moved stay; where the process ends nothing more is to be done."""
    if reason.check(SchedulerStopped) is None:
        log.failure("clients cannot move", reason)
