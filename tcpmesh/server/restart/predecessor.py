"""The process that this one takes over from, as it is seen from here: told when to drain, asked
what it counts, and done without once it is gone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.restart.messages import (
    MOST_BYTES,
    behind,
    decode,
    encode,
    numbers,
    whole,
)
from tcpmesh.stats.exposition.plain import SOURCE, merging
from tcpmesh.stats.store import Store

log = Logger(namespace="main")


class Counting(Protocol):
    """The process that takes over: this one."""

    store: Store

    def numbers(self) -> Deferred[None]:
        """Have workers tell what they have counted, and which statistics they have; fires when they
        have.
        """


PATIENCE = 5.0
"""Seconds that it may take to accept no more clients: then this process goes on without an
answer."""


class Arrivals(Protocol):
    """Who takes clients of the older process."""

    giver: Any
    """Who is told whether a client can be taken: the `Predecessor`."""

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can a client go on here?

        :param descriptors: those of the client and of its host, lent for the time of the call; none
            where this process had no room for them.
        """

    def take(self, client: int) -> None:
        """One that can is to."""

    def forget(self, client: int) -> None:
        """One is not to."""

    def giver_gone(self) -> None:
        """The older process is no more."""


class Predecessor:
    """The older process.

    :param sock: the connection to it.
    :param clock: a reactor that watches descriptors and tells the time.
    :param imports: whether what it counts is counted here too.
    """

    def __init__(
        self,
        sock: socket.socket,
        clock: Any,
        process: Counting,
        cooperator: Cooperator,
        imports: bool = True,
    ) -> None:
        self._clock = clock
        self._process = process
        self._cooperator = cooperator
        self._imports = imports
        self._channel = Channel(
            sock, clock, self._receive, self._lost, MOST_BYTES, cut=self._receive_cut
        )
        self._drained: Deferred[None] | None = None
        self._deadline: IDelayedCall | None = None
        self._takes: list[Iterator[None]] = []
        self._is_asked = self._is_over = self._is_taking = False
        self.connections = 0
        """Its clients, and those of processes before it, as it was last told."""
        self.reasons: Mapping[str, int] = {}
        """Why its clients have stayed with it, and how many did."""
        self._arrivals: Arrivals | None = None
        self.gone: Callable[[], object] = lambda: None
        """Called when it is no more."""
        self._channel.send(encode("starting", pid=os.getpid()))

    @property
    def is_there(self) -> bool:
        """Whether it may have clients yet."""
        return self._channel.is_open

    def failed(self, reason: str) -> None:
        """This process cannot start, so the other serves on."""
        self._channel.send(encode("failed", reason=reason))
        self.close()

    def drain(self, seconds: int, arrivals: Arrivals | None = None) -> Deferred[None]:
        """Have it accept no more clients, and end with the last it has, or after so many seconds;
        fires when it does, or where that is not to be waited for any more.

        :param arrivals: takes its clients, where they may come.
        """
        drained: Deferred[None] = Deferred()
        if self.is_there:
            self._arrivals = arrivals
            if arrivals is not None:
                arrivals.giver = self
            self._drained = drained
            self._deadline = self._clock.callLater(PATIENCE, self._is_late)
            drain = encode(
                "drain",
                pid=os.getpid(),
                parent_shutdown_time_s=seconds,
                takes_clients=arrivals is not None,
            )
            self._channel.send(drain)
        else:
            drained.callback(None)
        return drained

    def ask(self) -> None:
        """Have it tell what it has counted, unless it is about to."""
        if self._imports and self.is_there and not self._is_asked:
            self._is_asked = True
            self._channel.send(encode("ask"))

    def answer(self, client: int, refused: str) -> None:
        """A client that it has offered can go on here, or why it cannot."""
        self._channel.send(encode("can_take", client=client, refused=refused))

    def reopen_logs(self) -> None:
        """Have it open its log files anew."""
        self._channel.send(encode("reopen"))

    def terminate(self) -> None:
        """Have it end now."""
        self._channel.send(encode("terminate"))

    def close(self) -> None:
        """This process ends."""
        self._channel.close()
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    # What it says

    def _receive(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        try:
            told = decode(body)
            kind = told["kind"]
            if kind == "draining":
                self._has_drained()
            elif kind == "numbers":
                self._take(told)
            elif self._arrivals is not None:
                self._take_client(self._arrivals, told, body, descriptors)
        finally:
            for fd in descriptors:
                os.close(fd)

    def _receive_cut(self, body: bytes) -> None:
        """There was no room for descriptors: they were those of a client."""
        self._receive(body, ())

    def _take_client(
        self,
        arrivals: Arrivals,
        told: Mapping[str, Any],
        body: bytes,
        descriptors: tuple[int, ...],
    ) -> None:
        match told["kind"]:
            case "client":
                arrivals.offer(whole(told, "client"), behind(body), descriptors)
            case "take":
                arrivals.take(whole(told, "client"))
            case "forget":
                arrivals.forget(whole(told, "client"))
            case "stay":
                self.reasons = numbers(told, "reasons")
                self.ask()

    def _take(self, told: Mapping[str, Any]) -> None:
        self.connections = whole(told, "connections", self.connections)
        if told.get("last"):
            self._is_asked = False
        try:
            self._takes.append(merging(self._process.store, told))
        except ValueError as e:
            raise FramingError(f"numbers that are none: {e}") from None
        self._begin_taking()

    def _begin_taking(self) -> None:
        if not self._is_taking:
            self._is_taking = True
            self._cooperator.coiterate(self._taking()).addErrback(_only_when_stopped)

    def _taking(self) -> Iterator[Deferred[None] | None]:
        """Each message after the one before.  Names that only the other process had go when it has
        them no more, but not those that workers of this one have: they are asked first.
        """
        yield self._process.numbers()
        yield from self._process.store.collecting()
        while self._takes:
            yield from self._takes[0]
            self._takes.pop(0)
        if self._is_over:
            yield from self._process.store.forgetting(SOURCE)
        self._is_taking = False

    def _has_drained(self) -> None:
        drained, self._drained = self._drained, None
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        if drained is not None:
            drained.callback(None)
            if self._arrivals is None:  # else that would be in the way of its clients
                self.ask()

    def _is_late(self) -> None:
        log.warn("the process before this one does not say that it accepts no more clients")
        self._has_drained()

    def _lost(self, reason: str) -> None:
        """It has ended; what it has told last is still taken in."""
        self.connections = 0
        self._is_over = True
        if self._arrivals is not None:
            self._arrivals.giver_gone()
        self._begin_taking()
        log.info("the process before this one is gone: {reason}", reason=reason)
        self._has_drained()
        self.gone()


def _only_when_stopped(reason: Failure) -> None:
    """This process ends, and shows no numbers any more."""
    reason.trap(SchedulerStopped)
