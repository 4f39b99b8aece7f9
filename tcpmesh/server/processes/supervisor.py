"""Main's worker processes: started by a fork server, joined to main, watched over and replaced.

Theory of operation.  Each worker has a place, with a number from 0.  To fill it main makes the two
ends of a link, sends one of them to the fork server, and joins the other one to the workers at
once: what main tells meanwhile waits in the socket, while the fork server may still be importing.

A worker is over when its link has ended: from then on main counts on it no more.  Its process is
killed, in case it is there, and for `EXIT` seconds main waits to hear how it has ended, for the
log.  Then the place is filled anew: at once, or after a pause, if workers have ended there soon
after their start, the longer the more of them.

The fork server may die as well.  Its workers serve on, and main starts another one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from tcpmesh.logs.log import Log
from tcpmesh.server.channel.channel import ENDED
from tcpmesh.server.channel.framing import FramingError
from tcpmesh.server.link.frames import TO_MAIN
from tcpmesh.server.processes.forking import (
    LOOK,
    PATIENCE,
    ForkServerEvents,
    ForkServerLink,
    become_reaper,
    end_of,
    is_there,
    kill,
    modules_for_workers,
    reap,
)
from tcpmesh.server.processes.messages import Fork, LogSettings, decode
from tcpmesh.server.processes.pauses import Pauses
from tcpmesh.server.processes.watchdog import Watchdogs
from tcpmesh.server.processes.worker_link import WorkerLink
from tcpmesh.server.workers.interface import IWorkers
from tcpmesh.stats.store import Store
from tcpmesh.values.lifecycle.moving import ClientLeaves
from tcpmesh.values.link import Alive
from tcpmesh.values.workers import worker_name

log = Logger(namespace="main")

EXIT = 0.5
"""Seconds in which is heard how a worker has ended."""

IMPORTING, FORKING = 60.0, 10.0
"""Seconds that a fork server has for starting its first worker, and any other one."""


class IForkServer(Protocol):
    """What starts workers: see `ForkServerLink`."""

    pid: int
    """Its number."""

    def bring_in(self, modules: list[str]) -> None:
        """Have modules imported, and then be the user that this process is now."""

    def fork(self, message: Fork, descriptors: list[int]) -> None:
        """Start a worker."""

    def kill(self, pid: int) -> None:
        """End a worker at once."""

    def give_up(self, reason: str) -> None:
        """It does not do what it is for: end it at once, and tell that it is gone."""

    def stop(self) -> Deferred[None]:
        """Let it end."""


class Place:
    """Where a worker is, or is to be.

    :param pauses: between the workers there.
    """

    def __init__(self, index: int, pauses: Pauses) -> None:
        self.index = index
        self.pauses = pauses
        self.link: WorkerLink | None = None
        """`None` where there is no worker."""
        self.pid = 0
        """0 as long as nobody has told it."""
        self.status: int | None = None
        self.reason = ""
        """Why it was ended by main."""
        self.is_orphan = False
        """Whether the fork server that has started it is gone."""
        self.is_over = False
        """Whether nothing comes from the worker any more."""
        self.call: Any = None
        """What is to be done next."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        process = f" (process {self.pid})" if self.pid else ""
        return worker_name(self.index) + process

    def cancel(self) -> None:
        """Nothing is to be done."""
        call, self.call = self.call, None
        if call is not None and call.active():
            call.cancel()


class WorkerProcesses:
    """The workers of a proxy as processes.

    :param reactor: the module whose `install` makes the reactor of a worker.
    :param observer: the log of main.
    :param make_fork_server: starts a fork server, and has it tell of what happens.
    """

    def __init__(
        self,
        bootstrap: Any,
        observer: Log,
        reactor: str,
        make_fork_server: Callable[[Any, ForkServerEvents], IForkServer] = ForkServerLink,
    ) -> None:
        self._bootstrap = bootstrap
        self._observer = observer
        self._reactor = reactor
        self._make_fork_server = make_fork_server
        self._clock: Any = None
        self._fork_server: IForkServer | None = None
        self._has_forked = False
        """Whether this one has."""
        self._call: Any = None
        self._places: list[Place] = []
        self._strays: set[int] = set()
        """Processes of workers of before of which nobody has told that they have ended."""
        self._is_stopping = self._is_retired = False

    def prepare(self, clock: Any) -> None:
        """Start the fork server.

        :param clock: the reactor, with its monotonic clock.
        """
        self._clock = clock
        self._pauses = Pauses(clock)
        become_reaper()
        self._start_fork_server()

    def start(self, workers: IWorkers, store: Store) -> None:
        """Start all of them.

        :param store: where ends and misses are counted.
        """
        clock = self._clock
        self._workers = workers
        self._watchdogs = Watchdogs(clock, store, self._bootstrap, workers.count, self._stuck)
        self._failures = store.scope("server").counter("worker_failures")
        self._failures.touch()
        self._places = [Place(index, Pauses(clock)) for index in range(workers.count)]
        self._bring_in()
        for place in self._places:
            self._fill(place)
        self._watchdogs.start()

    def retire(self) -> None:
        """Another process serves instead of this one: who ends now is not replaced."""
        self._is_retired = True

    def pids(self) -> Sequence[int]:
        """Workers and their fork server."""
        server = [self._fork_server.pid] if self._fork_server is not None else []
        return [*server, *(place.pid for place in self._places if place.pid and not place.is_over)]

    def stop(self) -> Deferred[None]:
        """End those that have not ended; fires when no process is left."""
        if self._clock is None:
            return succeed(None)
        self._is_stopping = True
        if self._places:
            self._watchdogs.stop()
        if self._call is not None and self._call.active():
            self._call.cancel()
        for place in self._places:
            place.cancel()
            if place.link is not None:
                place.link.close()
        server, self._fork_server = self._fork_server, None
        ended = server.stop() if server is not None else succeed(None)
        return ended.addCallback(lambda _: self._orphans_gone())

    # What the fork server tells

    def forked(self, index: int, pid: int) -> None:
        """A worker was started."""
        place = self._places[index]
        place.pid, place.status = pid, None
        self._has_forked = True
        log.info("{name} has started", name=place.name)
        if place.link is None:
            self._kill(place)
        else:
            place.cancel()
            self._watchdogs.begins(index)

    def fork_failed(self, index: int, reason: str) -> None:
        """A worker could not be started."""
        place = self._places[index]
        place.reason = f"it cannot be started: {reason}"
        self._over(place, reason)

    def exited(self, pid: int, status: int) -> None:
        """A worker has ended."""
        self._strays.discard(pid)
        for place in self._places:
            if place.pid == pid:
                place.status = status
                place.cancel()
                if place.is_over:
                    self._replace(place)
                elif place.link is not None and not place.link.is_closed:
                    # What it has said is read first, but not for ever.
                    place.call = self._clock.callLater(EXIT, self._over, place, "")

    def fork_server_lost(self, reason: str) -> None:
        """The fork server is gone, and its workers are not."""
        self._fork_server = None
        for place in self._places:
            place.is_orphan = place.is_orphan or bool(place.pid)
        pause = self._pauses.after_an_end()
        log.error(
            "the fork server is gone ({reason}); workers go on{more}",
            reason=reason,
            more="" if self._is_retired else ", and another one is started",
        )
        if self._is_retired:
            return
        self._call = self._clock.callLater(pause, self._start_fork_server)

    # Inside

    def _start_fork_server(self) -> None:
        try:
            self._fork_server = self._make_fork_server(self._clock, self)
        except OSError as e:
            pause = self._pauses.after_an_end()
            log.error("cannot start the fork server: {reason}", reason=e.strerror)
            self._call = self._clock.callLater(pause, self._start_fork_server)
            return
        self._pauses.begins()
        self._has_forked = False
        if self._places:
            self._bring_in()

    def _bring_in(self) -> None:
        """Have what workers need imported, now that all is built that is configured."""
        if self._fork_server is not None:
            self._fork_server.bring_in([self._reactor, *modules_for_workers()])

    def _fill(self, place: Place) -> None:
        """Start a worker there."""
        place.cancel()
        if self._is_retired:
            return
        if self._fork_server is None:
            place.call = self._clock.callLater(LOOK, self._fill, place)
            return
        try:
            ours, theirs = socket.socketpair()
        except OSError as e:
            place.reason = f"it cannot be started: {e.strerror}"
            self._replace(place)
            return
        self._reap_strays(place)
        place.pid, place.status, place.reason = 0, None, ""
        place.is_over = place.is_orphan = False
        place.pauses.begins()
        with theirs:
            descriptors = [theirs.fileno(), self._workers.counts_fd]
            if self._observer.descriptor is not None:
                descriptors.append(self._observer.descriptor)
            self._fork_server.fork(self._message(place.index), descriptors)
        place.link = WorkerLink(
            ours,
            self._clock,
            lambda body, descriptors: self._receive(place, body, descriptors),
            lambda reason: self._over(place, reason),
        )
        patience = FORKING if self._has_forked else IMPORTING
        place.call = self._clock.callLater(patience, self._not_forked)
        self._workers.join(place.index, place.link)

    def _not_forked(self) -> None:
        """The fork server does not start workers any more, whatever has become of it."""
        if self._fork_server is not None:
            self._fork_server.give_up("it does not answer and was killed")

    def _reap_strays(self, place: Place) -> None:
        if place.pid and place.status is None:
            self._strays.add(place.pid)
        self._strays = {pid for pid in self._strays if reap(pid) is None}

    def _message(self, index: int) -> Fork:
        log_of_main = self._observer
        settings = LogSettings(
            log_of_main.path,
            log_of_main.pattern,
            log_of_main.is_escaped,
            log_of_main.levels.default,
            tuple(log_of_main.levels.get().items()),
        )
        return Fork(index, self._reactor, self._watchdogs.of_workers.beat, settings)

    def _receive(self, place: Place, body: bytes, descriptors: Sequence[int]) -> None:
        message = decode(TO_MAIN, body)
        if descriptors and not isinstance(message, ClientLeaves):
            raise FramingError(f"descriptors came with {type(message).__name__}")
        if isinstance(message, Alive):
            self._watchdogs.touch(place.index)
        else:
            self._workers.receive(place.index, message, descriptors)

    def _stuck(self, index: int) -> None:
        place = self._places[index]
        place.reason = "it did not answer and was killed"
        self._over(place, "")

    def _over(self, place: Place, reason: str) -> None:
        """Nothing comes from a worker any more."""
        link, place.link = place.link, None
        if place.is_over or link is None or self._is_stopping:
            return
        place.is_over = True
        place.reason = place.reason or (reason if reason != ENDED else "")
        place.cancel()
        link.close()
        self._watchdogs.forget(place.index)
        self._workers.lost(place.index)
        if place.status is not None:
            self._replace(place)
        else:
            self._kill(place)
            place.call = self._clock.callLater(EXIT, self._replace, place)

    def _replace(self, place: Place) -> None:
        if place.is_orphan and place.status is None:
            place.status = reap(place.pid)
        self._failures.tally += 1
        pause = place.pauses.after_an_end()
        when = f" in {pause:g} s" if pause else ""
        log.error(
            "{name} {how}{why}{then}",
            name=place.name,
            how=end_of(place.status) if place.pid else "has not started",
            why=f" ({place.reason})" if place.reason else "",
            then="" if self._is_retired else f"; another one takes its place{when}",
        )
        if not self._is_retired:
            place.call = self._clock.callLater(pause, self._fill, place)

    def _kill(self, place: Place) -> None:
        if not place.pid or place.status is not None:
            return
        if place.is_orphan:
            kill(place.pid)
        elif self._fork_server is not None:
            self._fork_server.kill(place.pid)

    def _orphans_gone(self) -> Deferred[None]:
        """Workers whose fork server was gone before them have ended."""
        gone: Deferred[None] = Deferred()
        limit = self._clock.seconds() + PATIENCE

        def look() -> None:
            left = [each for each in self._places if each.is_orphan and _is_there(each)]
            if not left:
                gone.callback(None)
                return
            if self._clock.seconds() >= limit:
                for each in left:
                    self._kill(each)
            self._clock.callLater(LOOK, look)

        look()
        return gone


def _is_there(place: Place) -> bool:
    """Whether an orphan has not ended yet."""
    if place.status is None:
        place.status = reap(place.pid)
    return place.status is None and is_there(place.pid)
