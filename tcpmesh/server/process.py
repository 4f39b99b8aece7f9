"""The server that is the whole process, as twistd runs it: it has the log, ends the reactor when it
is to quit, and gives the process its exit status.
"""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Any, NamedTuple, NoReturn

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from tcpmesh.admin.service import AdminService
from tcpmesh.interfaces import INetwork
from tcpmesh.logs.log import Log
from tcpmesh.net.inherited import inherited_sockets
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.server.graceful_stop import LOOK, GracefulStop
from tcpmesh.server.link.link import ILink
from tcpmesh.server.log_retries import LogRetries
from tcpmesh.server.networks import default_network
from tcpmesh.server.restart.beginning import Beginning
from tcpmesh.server.restart.pid_file import PidFile
from tcpmesh.server.restart.restart import Restart
from tcpmesh.server.restart.sockets import ADMIN, KEPT, LISTENER, Out
from tcpmesh.server.restart.successor import Successor
from tcpmesh.server.restart.upgrade import Program, Upgrade
from tcpmesh.server.service import CannotStart, Server
from tcpmesh.server.system.notify import Notifier
from tcpmesh.server.workers.interface import IWorkerProcesses
from tcpmesh.values.address import Address
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tcpmesh.values.live.origin import NO_ORIGIN, Origin
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.stream.live import ConnectionQuery, Connections

log = Logger(namespace="main")

CANNOT_START = 1
"""Exit status of a process that could not serve its configuration."""

UNDER_WAY = "an upgrade is under way"

ANSWER_TIME = 1.0
"""Seconds that clients of the admin interface have for an answer once another process serves."""


class Row(NamedTuple):
    """What a process has to do with those before and after it."""

    beginning: Beginning = Beginning()
    pid_file: PidFile = PidFile({})
    program: Program | None = None
    """How it was started; `None` where another program cannot be started in its place."""


class EndOfProcess(Exception, SystemExit):
    """The configuration cannot be served here and now; the log says why.

    Both kinds at once, because twistd wants to see an Exception, of which it tells the process that
    daemonized it, and Python ends with the status, and without a traceback, at a SystemExit.
    """

    def __init__(self, reason: CannotStart) -> None:
        super().__init__(str(reason))
        self.code = CANNOT_START


class ProcessServer(Server):
    """One process that serves a bootstrap.

    :param observer: the log.
    :param processes: starts the workers, where there are to be several.
    """

    def __init__(
        self,
        reactor: Any,
        bootstrap: Any,
        options: ServerOptions,
        observer: Log,
        network: INetwork | None = None,
        link: ILink | None = None,
        origin: Origin = NO_ORIGIN,
        row: Row | None = None,
        processes: IWorkerProcesses | None = None,
    ) -> None:
        row = Row() if row is None else row
        super().__init__(
            reactor,
            bootstrap,
            options,
            observer.levels,
            network,
            link,
            origin,
            row.beginning.facts,
            processes,
        )
        self._observer = observer
        self._log_retries = LogRetries(observer, self._clock)
        self.exit_status = 0
        """What the process is to end with; twistd itself ends with 0 whenever its reactor stops."""
        self._is_quitting = False
        self.on_quit = self._end
        self.notifier = Notifier(os.environ, self._clock)
        """Whoever has started the process, and waits until it serves."""
        self.reloads.on_begin, self.reloads.on_end = self.notifier.reloading, self._reloaded
        self._listening = ListeningSockets()
        self._row = row
        imports = not options.skip_hot_restart_parent_stats
        self._restart = Restart(self, row.beginning, self._clock, imports)
        self._upgrade: Upgrade | None = None
        self._goodbye: IDelayedCall | None = None
        self._graceful_stop = self._stop_within(float(options.graceful_stop_time_s))

    def _stop_within(self, seconds: float) -> GracefulStop:
        """What ends the process with its last client, or after so many seconds."""
        return GracefulStop(self, self._clock, seconds, self.quit, self.notifier.status)

    def setServiceParent(self, parent: Any) -> None:
        """twistd: also make our log the log of the whole application."""
        parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Build everything and bind all addresses.

        :raise EndOfProcess: where that cannot be.
        """
        try:
            super().privilegedStartService()
        except CannotStart as e:
            raise self._refused(e) from None

    def startService(self) -> None:
        """Answer the admin interface, and serve as soon as the clusters know their hosts.

        :raise EndOfProcess: where that cannot be.
        """
        try:
            super().startService()
        except CannotStart as e:
            raise self._refused(e) from None
        self.live.addCallbacks(lambda _: self._is_live(), self._failed)

    def stopService(self) -> Deferred[None]:
        """Accept no more, and close all that is open."""
        log.info("exiting")
        self.notifier.stopping("closing all connections")
        return super().stopService()

    def _is_live(self) -> None:
        for each in self._listening.inherited.untaken():
            log.warn("no listener has taken the socket {socket} of LISTEN_FDS yet", socket=each)
        for each in self._listening.settle():
            log.info("the listener {listener} is no more", listener=each)
        if self._admin is not None:
            self._admin.serve()
        self._row.pid_file.write()
        self.main.workers_heard().addCallback(lambda _: self._take_over())

    def _take_over(self) -> None:
        """Workers serve: the process before this one, if there is one, is to accept no more."""
        if not self.is_stopping:
            arrivals = self.main.taking if self.options.moves_clients else None
            served = self._restart.serve(self.options.parent_shutdown_time_s, arrivals)
            served.addCallback(lambda _: self.tell_ready())

    def tell_ready(self) -> None:
        """Tell whoever has started the process that the configuration is served."""
        listeners, clusters = len(self.listener_statuses()), len(self.cluster_statuses())
        self.notifier.ready(f"serving (listeners: {listeners}, clusters: {clusters})")

    def _reloaded(self) -> None:
        if not self.is_stopping:
            self.tell_ready()

    def reopen_logs(self) -> None:
        """Open log files anew."""
        self._observer.reopen()
        super().reopen_logs()
        self._restart.reopen_logs()

    def finish(self) -> None:
        """Accept no more clients, and end with the last one, or when its time is over."""
        self._graceful_stop.begin()

    @property
    def state(self) -> str:
        """Where it is in its life, in Envoy's words: it drains, too, while it waits for its last
        client, for it lets no other in.
        """
        state = super().state
        return "DRAINING" if state == "LIVE" and self._graceful_stop.is_begun else state

    def count_waited_for(self) -> Deferred[int]:
        """Clients of this process and, as long as they are there, those before it."""
        return self.count_connections().addCallback(lambda own: own + self._restart.left_before)

    def _open_network(self) -> None:
        super()._open_network()
        self._restart.start(self.network.cooperator)

    def _make_network(self) -> INetwork:
        taken = self._restart.taken
        inherited = inherited_sockets(os.environ)
        inherited.add(taken.kept)
        self._listening = ListeningSockets(inherited, taken.listening)
        taken.kept, taken.listening = [], []
        return default_network(self._clock, self._listening)

    def _close_all(self) -> Deferred[None]:
        self._graceful_stop.cancel()
        if self._goodbye is not None and self._goodbye.active():
            self._goodbye.cancel()
        if self._upgrade is not None:
            self._upgrade.cancel()
        self._log_retries.stop()
        self.notifier.close()
        return super()._close_all()

    def _stops_serving(self) -> None:
        # Names of listeners and clusters go with these, so what was counted is told before.
        self._restart.tell_numbers()

    async def _stopped_serving(self) -> None:
        await self._restart.stop()

    # It takes over from another process, and another one from it

    def _give_up(self, reason: object) -> NoReturn:
        self._restart.fail(str(reason))
        super()._give_up(reason)

    def _update_stats(self) -> None:
        self._restart.ask()
        super()._update_stats()

    def upgrade(self) -> Deferred[int]:
        """See `IServer`."""
        if self._row.program is None:
            return super().upgrade()
        if self._upgrade is not None and self._upgrade.is_under_way:
            log.error("there is no second upgrade: one is under way")
            return fail(CannotTakeOver(UNDER_WAY))
        self._upgrade = Upgrade(self._restart, self.reactor, self._clock, self._row.program)
        return self._upgrade.begin(os.environ)

    def upgrade_on_signal(self) -> None:
        """The same, where the log alone tells of the outcome."""
        self.upgrade().addErrback(lambda reason: reason.trap(CannotTakeOver))

    @property
    def parent_connections(self) -> int:
        """Clients of processes that this one has taken over from."""
        return self._restart.parent_connections

    def connections(self, query: ConnectionQuery) -> Deferred[Connections]:
        """See `IServer`: also how many are with the processes before this one, and why."""
        before = self._restart.predecessor
        found = super().connections(query)
        if before is None or not before.connections:
            return found
        left, why = before.connections, tuple(before.reasons.items())
        return found.addCallback(lambda shown: replace(shown, before=left, why_before=why))

    def why_not_now(self) -> str:
        """Why its configuration cannot be replaced now; empty where it can."""
        if self._upgrade is not None and self._upgrade.is_under_way:
            return UNDER_WAY
        return self._restart.why_not_alone(None) or super().why_not_now()

    def why_not_taken_over(self) -> str:
        """Why no process can take over from this one now; empty where one can."""
        if os.getpid() == 1:
            return "process 1 of a container ends it, and is not to be replaced"
        if self._graceful_stop.is_begun:
            return "it ends with its last client"
        return super().why_not_now()

    def sockets_to_hand_over(self) -> list[Out]:
        """All that listen."""
        found = [
            Out(LISTENER, each, each.asked, each.name, each.namespace)
            for each in self._listening.opened()
        ]
        for kept in self._listening.inherited.all():
            found.append(Out(KEPT, kept.sock, kept.address, kept.name))
        admin = self._admin.listening if self._admin is not None else None
        if admin is not None:
            found.append(Out(ADMIN, admin[1], admin[0]))
        return found

    def flush_server_stats(self) -> bool:
        """Bring statistics of the process up to date; whether there are stats sinks."""
        self._stats.update()
        return bool(self.main.sinks)

    def hand_over(self, pid: int, seconds: int, taker: Successor | None) -> None:
        """Process `pid` accepts clients from now on: end with the last one that is here, or after
        so many seconds.

        :param taker: takes those that can move, where it does.
        """
        log.warn("process {pid} has taken over: this one ends with its last client", pid=pid)
        self._flush.stop()
        self._row.pid_file.give_up()
        self.notifier.hand_over(pid)
        if self._admin is not None:
            self._admin.stop_listening()
        if self._processes is not None:
            self._processes.retire()
        self.drain_listeners(DrainScope.ALL)
        if taker is not None and self.options.moves_clients:
            self.main.giving.begin(taker).addCallback(lambda _: self._drain_rest())
        else:
            self._drain_rest()
        self._graceful_stop = self._stop_within(max(float(seconds), LOOK))
        self._goodbye = self._clock.callLater(ANSWER_TIME, self._graceful_stop.begin)

    def _drain_rest(self) -> None:
        """Those clients that are here stay, and leave by and by."""
        if not self.is_stopping:
            self.drain_listeners(DrainScope.ALL, is_graceful=True, stops_listening=False)

    def can_take(self, client: int, refused: str) -> None:
        """The process that takes clients can go on with one, or why not."""
        self.main.giving.answered(client, refused)

    def taker_gone(self) -> None:
        """Nobody takes clients any more."""
        self.main.giving.taker_gone()

    def _handed_admin(self, address: Address) -> socket.socket | None:
        handed = self._restart.taken.admin
        if handed is None or handed[0] != address:
            return None
        self._restart.taken.admin = None
        return handed[1]

    @property
    def _admin(self) -> AdminService | None:
        found: Any = self.namedServices.get("admin")
        return found  # type: ignore[no-any-return]

    def _end(self) -> None:
        self._restart.end_predecessor()
        if self.reactor.running and not self._is_quitting:
            self._is_quitting = True
            self.reactor.stop()

    def _refused(self, error: CannotStart) -> EndOfProcess:
        log.critical("{reason}", reason=error)
        return EndOfProcess(error)

    def _failed(self, failure: Failure) -> None:
        """It could not serve once the reactor runs, where nobody would see an exception."""
        if isinstance(failure.value, CannotStart):
            self._refused(failure.value)
            self.exit_status = CANNOT_START
            self.quit()
        else:
            log.failure("cannot serve", failure)
