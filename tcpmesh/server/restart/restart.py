"""A process as one of a row of which each takes over from the one before: both of its ends.

Theory of operation.  The newer process asks for the sockets before it builds anything
(`beginning`), takes those that its configuration has, and warms up, while the older one serves as
if nothing had happened.  Once it accepts clients itself it says so, and from that moment the older
one accepts no more and waits for the last client it has, or until `--parent-shutdown-time-s` is
over.  Both have the same sockets, so the queue of clients to be accepted is never without
somebody who accepts from it.

What goes wrong before that moment goes wrong in the newer process alone.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Cooperator, deferLater
from twisted.logger import Logger

from tcpmesh.server.restart.beginning import Beginning
from tcpmesh.server.restart.predecessor import Arrivals, Predecessor
from tcpmesh.server.restart.rendezvous import RestartSocket
from tcpmesh.server.restart.sockets import RESTART, Out
from tcpmesh.server.restart.successor import HELLO_TIME, Stage, Successor
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address

log = Logger(namespace="main")

MOST_SUCCESSORS = 8
"""Peers that have not taken over: more are not listened to."""

LAST_TIME = 1.0
"""Seconds that a successor has to read the last numbers."""

LOOK = 0.01


class Restartable(Protocol):
    """The process, as it is needed here."""

    store: Store

    @property
    def open_connections(self) -> int:
        """Clients of all listeners."""

    def why_not_taken_over(self) -> str:
        """Why this is no time to take over from it; empty where it is."""

    def sockets_to_hand_over(self) -> list[Out]:
        """Those of listeners and of the admin interface."""

    def numbers(self) -> Deferred[None]:
        """Have workers tell what they have counted, and which statistics they have; fires when they
        have.
        """

    def flush_server_stats(self) -> bool:
        """Bring statistics of the process up to date.  Whether there are stats sinks."""

    def hand_over(self, pid: int, seconds: int, taker: Successor | None) -> None:
        """Accept no more clients, and end with the last of them, or after so many seconds.

        :param taker: takes those that can move, where it does.
        """

    def can_take(self, client: int, refused: str) -> None:
        """Who takes clients can go on with one, or why not."""

    def taker_gone(self) -> None:
        """Nobody takes clients any more."""

    def reopen_logs(self) -> None:
        """Open log files anew."""

    def quit(self) -> None:
        """End now."""


class Restart:
    """One process of a row.

    :param beginning: how it has begun.
    :param imports: whether it counts on from its predecessor (`--skip-hot-restart-parent-stats`).
    """

    def __init__(
        self, process: Restartable, beginning: Beginning, clock: Any, imports: bool = True
    ) -> None:
        self.facts = beginning.facts
        self.taken = beginning.taken
        self._process = process
        self._beginning = beginning
        self._clock = clock
        self._imports = imports
        self._started = clock.seconds()
        self._cooperator: Cooperator | None = None
        self._successors: list[Successor] = []
        self._socket: RestartSocket | None = None
        self.predecessor: Predecessor | None = None
        """The process before this one, as long as it is there."""
        self.on_taken_over: Callable[[Successor], object] = lambda successor: None
        """Told which process serves instead of this one."""

    # This process begins

    def start(self, cooperator: Cooperator) -> None:
        """twistd has detached the process by now."""
        self._cooperator = cooperator
        begun, self._beginning = self._beginning, Beginning()
        if begun.restart_socket is not None or self.taken.restart is not None:
            sock = begun.restart_socket or self.taken.restart
            assert sock is not None
            self.taken.restart = None
            self._socket = RestartSocket(sock, self._clock, self._come)
        if begun.predecessor is not None:
            before = Predecessor(
                begun.predecessor, self._clock, self._process, cooperator, self._imports
            )
            before.gone = self._forget_predecessor
            self.predecessor = before

    def serve(self, seconds: int, arrivals: Arrivals | None = None) -> Deferred[None]:
        """Clients are accepted here: those before this one accept no more.  Fires when that is so.

        :param seconds: until the one before ends, though it has clients.
        :param arrivals: takes those that it has, where they may come.
        """
        self.taken.close()
        before = self.predecessor
        drained = succeed(None) if before is None else before.drain(seconds, arrivals)
        return drained.addCallback(self._listen)

    def _listen(self, _: None) -> None:
        if self._socket is not None:
            self._socket.serve()

    def fail(self, reason: str) -> None:
        """This process cannot start."""
        if self.predecessor is not None:
            self.predecessor.failed(reason)

    def ask(self) -> None:
        """Have the process before this one tell its numbers."""
        if self.predecessor is not None:
            self.predecessor.ask()

    def end_predecessor(self) -> None:
        """Nobody waits for the clients of processes before this one."""
        if self.predecessor is not None:
            self.predecessor.terminate()

    def reopen_logs(self) -> None:
        """Those before this one open log files anew."""
        if self.predecessor is not None:
            self.predecessor.reopen_logs()

    @property
    def parent_connections(self) -> int:
        """Clients of processes before this one."""
        return self.predecessor.connections if self.predecessor is not None else 0

    @property
    def left_before(self) -> int:
        """Clients of processes before this one that are waited for: one at least, as long as one of
        these is there.
        """
        return 0 if self.predecessor is None else max(1, self.parent_connections)

    def _forget_predecessor(self) -> None:
        self.predecessor = None

    # Another one takes over

    def _come(self, sock: socket.socket) -> None:
        """Somebody has come to the restart socket."""
        if len(self._successors) >= MOST_SUCCESSORS:
            sock.close()
            log.warn("a process that wants to take over is refused: there are too many of them")
        else:
            self.meet(sock, _tell_failure, HELLO_TIME)

    def meet(
        self,
        sock: socket.socket,
        failed: Callable[[Successor, str], object],
        patience: float | None = None,
    ) -> Successor:
        """Here is one who wants to take over.

        :param failed: told why it does not.
        :param patience: seconds until it must have said hello; `None` where whoever has started it
            knows for how long to wait.
        """
        assert self._cooperator is not None
        ended = partial(self._ended, failed)
        successor = Successor(sock, self._clock, self._cooperator, self, ended, patience)
        self._successors.append(successor)
        return successor

    def why_not(self, successor: Successor | None) -> str:
        """Why this process cannot be taken over from now; empty where it can."""
        return self.why_not_alone(successor) or self._process.why_not_taken_over()

    def why_not_alone(self, successor: Successor | None) -> str:
        """Which process but this successor has what this one has, or is about to; empty where none
        has.
        """
        for each in self._successors:
            if each is not successor and each.stage is not Stage.MET:
                done = "has taken over" if each.stage is Stage.SERVES else "is about to take over"
                return f"process {each.pid} {done}"
        return ""

    def sockets(self) -> list[Out]:
        """What is handed over."""
        found = self._process.sockets_to_hand_over()
        if self._socket is not None:
            found.append(Out(RESTART, self._socket.sock, Address("")))
        return found

    @property
    def store(self) -> Store:
        """What this process has counted."""
        return self._process.store

    @property
    def served(self) -> float:
        """Seconds since the first process of the row began."""
        return self.facts.before + float(self._clock.seconds() - self._started)

    @property
    def clients(self) -> int:
        """Connections of this process and those before it."""
        return self._process.open_connections + self.parent_connections

    def numbers(self) -> Deferred[None]:
        """See `Handing`."""
        return self._process.numbers()

    def begin_numbers(self) -> bool:
        """See `Handing`."""
        self.ask()
        return self._process.flush_server_stats()

    def taken_over(self, successor: Successor, seconds: int, takes_clients: bool) -> None:
        """See `Handing`."""
        if self._socket is not None:
            self._socket.close()
        self._process.hand_over(successor.pid, seconds, successor if takes_clients else None)
        self.on_taken_over(successor)

    def can_take(self, client: int, refused: str) -> None:
        """See `Handing`."""
        self._process.can_take(client, refused)

    def successor_gone(self) -> None:
        """See `Handing`."""
        self._process.taker_gone()

    def met_again(self) -> None:
        """See `Handing`: as in Envoy there are two processes at most then."""
        self.end_predecessor()

    def reopen(self) -> None:
        """See `Handing`: the process has those before it do so, too."""
        self._process.reopen_logs()

    def quit(self) -> None:
        """End now."""
        self._process.quit()

    def _ended(
        self, tell: Callable[[Successor, str], object], successor: Successor, reason: str
    ) -> None:
        self._successors.remove(successor)
        tell(successor, reason)

    # The end of this process

    def tell_numbers(self) -> None:
        """Tell whoever has taken over what is counted, all at once: this process ends."""
        for each in self._successors:
            each.tell_numbers()

    async def stop(self) -> None:
        """All is closed: tell whoever has taken over what was counted last."""
        self.tell_numbers()
        end = self._clock.seconds() + LAST_TIME
        while any(each.waits for each in self._successors) and self._clock.seconds() < end:
            await deferLater(self._clock, LOOK)
        for each in self._successors:
            each.close()
        if self.predecessor is not None:
            self.predecessor.close()
        if self._socket is not None:
            self._socket.close()
        self.taken.close()


def _tell_failure(successor: Successor, reason: str) -> None:
    log.warn(
        "process {pid} does not take over, and this one serves on: {reason}",
        pid=successor.pid or "?",
        reason=reason,
    )
