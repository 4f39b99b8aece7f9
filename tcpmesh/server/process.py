"""The server that is the whole process, as twistd runs it: it has the log, ends the reactor when it
is to quit, and gives the process its exit status.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, Logger
from twisted.python import threadable
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork
from tcpmesh.logs.log import Log
from tcpmesh.net.inherited import InheritedSockets, inherited_sockets
from tcpmesh.server.graceful_stop import GracefulStop
from tcpmesh.server.link.link import ILink
from tcpmesh.server.networks import default_network
from tcpmesh.server.notify import Notifier
from tcpmesh.server.service import CannotStart, Server
from tcpmesh.values.live.origin import NO_ORIGIN, Origin
from tcpmesh.values.server_options import ServerOptions

log = Logger(namespace="main")

LOG_RETRY = 0.1
"""Seconds until lines of the log that a slow reader has not taken are tried again."""

CANNOT_START = 1
"""Exit status of a process that could not serve its configuration."""


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
    ) -> None:
        super().__init__(reactor, bootstrap, options, observer.levels, network, link, origin)
        self._observer = observer
        observer.on_behind = self._flush_log_later
        self._log_call: Any = None
        self.exit_status = 0
        """What the process is to end with; twistd itself ends with 0 whenever its reactor stops."""
        self._is_quitting = False
        self.on_quit = self._end
        self.notifier = Notifier(os.environ, self._clock)
        """Whoever has started the process, and waits until it serves."""
        self.reloads.on_begin, self.reloads.on_end = self.notifier.reloading, self._reloaded
        self._inherited = InheritedSockets()
        self._graceful_stop = GracefulStop(
            self,
            self._clock,
            float(options.graceful_stop_time_s),
            self.quit,
            self.notifier.status,
        )

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
        for each in self._inherited.untaken():
            log.warn("no listener has taken the socket {socket} of LISTEN_FDS yet", socket=each)
        self.tell_ready()

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

    def finish(self) -> None:
        """Accept no more clients, and end with the last one, or when its time is over."""
        self._graceful_stop.begin()

    def _make_network(self) -> INetwork:
        self._inherited = inherited_sockets(os.environ)
        return default_network(self._clock, self._inherited)

    def _close_all(self) -> Deferred[None]:
        self._graceful_stop.cancel()
        self.notifier.close()
        self._observer.on_behind = lambda: None
        call, self._log_call = self._log_call, None
        if call is not None:
            call.cancel()
        return super()._close_all()

    def _end(self) -> None:
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

    def _flush_log_later(self) -> None:
        """The log may be written to by threads; only that of the reactor may set a timer."""
        if self._log_call is None and threadable.isInIOThread():
            self._log_call = self._clock.callLater(LOG_RETRY, self._flush_log)

    def _flush_log(self) -> None:
        self._log_call = None
        if not self._observer.flush():
            self._flush_log_later()
