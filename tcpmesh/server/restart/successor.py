"""A process that is to take over from this one, as it is seen from here.

Until it says `drain` nothing has changed here: it may send anything, hang or die, and this process
serves on.  Whatever it was, the log has one line about it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger

from tcpmesh.server.channel.channel import Channel
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.restart.messages import (
    MOST_BYTES,
    decode,
    encode,
    encode_with,
    text,
    whole,
)
from tcpmesh.server.restart.sockets import Out, socket_frames
from tcpmesh.stats.exposition.plain import PlainNumbers
from tcpmesh.stats.store import Store
from tcpmesh.values.lifecycle.restart import VERSION, RestartFacts

log = Logger(namespace="main")

HELLO_TIME = 10.0
"""Seconds until a peer must have said hello."""


MOST_WORDS = 500
"""Characters of a reason that it gives: the log has one line."""


class Stage(Enum):
    """How far a successor is."""

    MET = auto()
    """It has said nothing yet."""
    STARTS = auto()
    """It has the sockets."""
    SERVES = auto()
    """It has taken over."""
    GONE = auto()


class Handing(Protocol):
    """The process that is taken over from: this one."""

    facts: RestartFacts

    @property
    def store(self) -> Store:
        """What this process has counted."""

    @property
    def served(self) -> float:
        """Seconds since the first process of the row began."""

    @property
    def clients(self) -> int:
        """Connections of this process and those before it."""

    def why_not(self, successor: Successor) -> str:
        """Why it cannot be taken over from now; empty where it can."""

    def sockets(self) -> list[Out]:
        """What is handed over."""

    def numbers(self) -> Deferred[None]:
        """Have workers tell what they have counted; fires when they have."""

    def begin_numbers(self) -> bool:
        """Statistics are asked for: bring them up to date.  Whether stats sinks had some."""

    def taken_over(self, successor: Successor, seconds: int, takes_clients: bool) -> None:
        """Accept no more clients, and end with the last of them, or after so many seconds.

        :param takes_clients: whether those that can move may.
        """

    def can_take(self, client: int, refused: str) -> None:
        """The successor can go on with a client that it was offered, or why not."""

    def successor_gone(self) -> None:
        """The process that has taken over is no more."""

    def met_again(self) -> None:
        """Somebody takes over who was not started by this process: let one before it end."""

    def reopen(self) -> None:
        """Open log files anew."""

    def quit(self) -> None:
        """End now."""


class Successor:
    """One that may take over.

    :param sock: the connection to it.
    :param ended: called with the reason where it does not take over after all.
    :param hello_time: seconds until it must have said hello; `None` where somebody else sees to
        that.
    """

    def __init__(
        self,
        sock: socket.socket,
        clock: Any,
        cooperator: Cooperator,
        handing: Handing,
        ended: Callable[[Successor, str], object],
        hello_time: float | None = HELLO_TIME,
    ) -> None:
        self._clock = clock
        self._cooperator = cooperator
        self._handing = handing
        self._ended = ended
        self._channel = Channel(sock, clock, self._receive, self._lost, MOST_BYTES)
        self._numbers = PlainNumbers(handing.store)
        self._telling: Iterator[Deferred[None] | None] | None = None
        self.stage = Stage.MET
        self.pid = 0
        """Its number, as it says."""
        self._failure = ""
        self._deadline: IDelayedCall | None = None
        if hello_time is not None:
            self._deadline = clock.callLater(hello_time, self._is_silent)
        self._kinds: Mapping[str, Callable[[Mapping[str, Any]], object]] = {
            "hello": self._hello,
            "starting": self._starts,
            "failed": self._fails,
            "drain": self._drain,
            "can_take": self._can_take,
            "ask": self._ask,
            "reopen": lambda told: handing.reopen(),
            "terminate": self._terminate,
        }

    @property
    def waits(self) -> bool:
        """Whether it reads less than it is told."""
        return self._channel.waits

    def give_up(self, reason: str) -> None:
        """Let it not take over."""
        self._finish(reason)

    def tell_numbers(self) -> None:
        """This process ends: tell at once what it has counted since it was last asked."""
        if self.stage is Stage.SERVES and self._channel.is_open:
            if self._telling is not None:
                for _ in self._telling:
                    pass
            for _ in self._tell():
                pass

    def close(self) -> None:
        """This process ends."""
        self._cancel()
        self.stage = Stage.GONE
        self._channel.close()

    # Clients that go there

    def offer(self, client: int, state: bytes, descriptors: Sequence[int]) -> None:
        """Can it go on with a client?

        :param client: a number for it.
        :param descriptors: are lent for the time of the call.
        """
        self._channel.send(encode_with(state, "client", client=client), descriptors)

    def take(self, client: int) -> None:
        """One that it can go on with is its own."""
        self._channel.send(encode("take", client=client))

    def forget(self, client: int) -> None:
        """One that it was offered stays here."""
        self._channel.send(encode("forget", client=client))

    def stay(self, reasons: Mapping[str, int]) -> None:
        """No more are offered; so many stay, and why."""
        self._channel.send(encode("stay", reasons=reasons))

    # What it says

    def _receive(self, body: bytes, descriptors: tuple[int, ...]) -> None:
        for fd in descriptors:
            os.close(fd)
        told = decode(body)
        act = self._kinds.get(told["kind"])
        if act is not None:
            act(told)

    def _hello(self, told: Mapping[str, Any]) -> None:
        self._cancel()
        version, epoch = text(told, "version"), whole(told, "epoch")
        wanted = self._handing.facts.epoch + 1
        self.pid = whole(told, "pid")
        if version != VERSION:
            self._refuse(f"hot restart version {version!r} cannot take over from {VERSION!r}")
        elif epoch != wanted:
            self._refuse(f"the next epoch is {wanted}, not {epoch}")
        elif reason := self._handing.why_not(self):
            self._refuse(reason)
        elif self.stage is Stage.MET:
            self._hand_out()
            if not told.get("is_upgrade"):
                self._handing.met_again()

    def _hand_out(self) -> None:
        self.stage = Stage.STARTS
        handing = self._handing
        frames = list(socket_frames(handing.sockets()))
        for number, (rows, fds) in enumerate(frames, 1):
            message = encode(
                "sockets",
                sockets=rows,
                more=number < len(frames),
                generation=handing.facts.generation,
                served=handing.served,
            )
            self._channel.send(message, fds)
        log.info("process {pid} is about to take over", pid=self.pid)

    def _refuse(self, reason: str) -> None:
        self._channel.send(encode("refused", reason=reason))
        self._finish(reason)

    def _starts(self, told: Mapping[str, Any]) -> None:
        self.pid = whole(told, "pid")

    def _fails(self, told: Mapping[str, Any]) -> None:
        words = " ".join(text(told, "reason").split())
        self._failure = words[:MOST_WORDS]

    def _drain(self, told: Mapping[str, Any]) -> None:
        if self.stage is not Stage.STARTS:
            raise FramingError("it takes over what it has not asked for")
        self.pid = whole(told, "pid", self.pid)
        seconds = max(0, whole(told, "parent_shutdown_time_s"))
        self.stage = Stage.SERVES
        self._handing.taken_over(self, seconds, told.get("takes_clients") is True)
        self._channel.send(encode("draining"))

    def _can_take(self, told: Mapping[str, Any]) -> None:
        if self.stage is Stage.SERVES:
            self._handing.can_take(whole(told, "client"), text(told, "refused"))

    def _terminate(self, told: Mapping[str, Any]) -> None:
        """Only who serves may end this process: one that fails to start ends itself alone."""
        if self.stage is Stage.SERVES:
            self._handing.quit()

    def _ask(self, told: Mapping[str, Any]) -> None:
        if self.stage is Stage.SERVES and self._telling is None:
            self._telling = self._tell()
            done: Deferred[Any] = self._cooperator.coiterate(self._telling)
            done.addErrback(lambda reason: reason.trap(SchedulerStopped))

    def _tell(self) -> Iterator[Deferred[None] | None]:
        try:
            yield self._handing.numbers()
            had_sinks = self._handing.begin_numbers()
            for part in self._numbers.telling(had_sinks):
                if part is not None:
                    self._channel.send(encode("numbers", **part))
                yield None
            self._channel.send(encode("numbers", connections=self._handing.clients, last=True))
        finally:
            self._telling = None

    # Its end

    def _is_silent(self) -> None:
        self._deadline = None
        self._finish(f"it has not said hello within {HELLO_TIME:g} s")

    def _lost(self, reason: str) -> None:
        if self.stage is Stage.SERVES:
            self.stage = Stage.GONE
            log.warn(
                "process {pid}, which has taken over, is gone ({reason}): clients are accepted no "
                "more, those that are here stay",
                pid=self.pid,
                reason=reason,
            )
            self._handing.successor_gone()
        else:
            self._finish(self._failure or reason)

    def _finish(self, reason: str) -> None:
        if self.stage is not Stage.GONE:
            self.close()
            self._ended(self, reason)

    def _cancel(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
