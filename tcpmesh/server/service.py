"""The root service: builds all rooms from a bootstrap, opens them in order, and closes them.

Order matters.  The addresses of listeners and of the admin interface are bound while the process
may still be root (`privilegedStartService`); clients are accepted only once the clusters are warm,
that is, know their hosts and how these are (`startService`).
"""

from __future__ import annotations

import gc
import resource
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from zope.interface import implementer

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.task import Cooperator, LoopingCall
from twisted.logger import ILogObserver, Logger

from tcpmesh.admin.service import AdminService
from tcpmesh.cluster.discovery.dns import named_resolver
from tcpmesh.cluster.health.event_log import CannotLog
from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.config.arguments import node_with
from tcpmesh.config.fields.values import host_and_port, pipe_mode, seconds
from tcpmesh.interfaces import INetwork, IServer
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.logs.log import Log
from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.listen import BindError
from tcpmesh.registry import BrokenExtension, Context, UnknownExtension
from tcpmesh.server.networks import NoSuchTransport, default_network
from tcpmesh.server.stats import ServerStats
from tcpmesh.stats.store import Store
from tcpmesh.values.address import Address
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import ClusterStatus, ListenerStatus

log = Logger(namespace="main")

STATS_FLUSH_INTERVAL = 5.0

GC_THRESHOLD = 20_000
"""Objects made before the collector looks for cycles.  Connections leave none, so it should look
rarely: with the default of 700 its pauses were the p99 of new connections."""


CANNOT_START = 1
"""Exit status of a process that could not serve its configuration."""


class CannotStart(Exception, SystemExit):
    """This configuration cannot be served here and now; the log says why.

    Both kinds at once, because twistd wants to see an Exception, of which it tells the process that
    daemonized it, and Python ends with the status, and without a traceback, at a SystemExit.
    """

    def __init__(self, reason: object) -> None:
        super().__init__(str(reason))
        self.code = CANNOT_START


@implementer(IServer)
class Server(MultiService):
    """One process that serves a bootstrap."""

    def __init__(
        self,
        reactor: Any,
        bootstrap: Any,
        options: ServerOptions,
        observer: Log,
        network: INetwork | None = None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._clock: Any = network.clock if network is not None else MonotonicReactor(reactor)
        self._network = network
        self._observer = observer
        self.log_levels = observer.levels
        self.bootstrap = bootstrap
        self.options = options
        self.store = Store()
        self.node = node_with(bootstrap.node, options.node_arguments)
        self.exit_status = 0
        """What the process is to end with; twistd itself ends with 0 whenever its reactor stops."""
        self.state = "PRE_INITIALIZING"
        self._started = self._clock.seconds()
        self._clusters: ClusterManager | None = None
        self._listeners: ListenerManager | None = None
        self._stats = ServerStats(self.store, self)
        self._flush = LoopingCall(self._flush_stats)
        self._flush.clock = self._clock

    # Its life

    def setServiceParent(self, parent: Any) -> None:
        """twistd: also make our log the log of the whole application."""
        parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Build everything and bind all addresses.

        :raise CannotStart: where an address cannot be bound, an event log cannot be opened, or
            another package's extension fails.
        """
        _raise_descriptor_limit()
        try:
            self._network = self._network or default_network(self._clock)
            context = self._context(self._network)
            self._listeners = ListenerManager(context)
            self._clusters = ClusterManager(context)
            for cluster in self.bootstrap.static_resources.clusters:
                self._clusters.add_or_update(cluster)
            self._listeners.add_static(self.bootstrap.static_resources.listeners)
            if self.bootstrap.admin.HasField("address"):
                self._add_admin(self._network.cooperator)
            super().privilegedStartService()
        except UnknownExtension as e:
            self._give_up(f"no installed package has the extension {e}")
        except (BindError, BrokenExtension, CannotLog, NoSuchTransport) as e:
            self._give_up(e)

    def _context(self, network: INetwork) -> Context:
        settings = self.bootstrap.cluster_manager
        context = Context(
            network=network,
            store=self.store,
            cluster=self._find_cluster,
            node=self.node,
            local_cluster=settings.local_cluster_name,
            bind_config=settings.upstream_bind_config,
            outlier_log=settings.outlier_detection.event_log_path,
        )
        return replace(context, resolver=named_resolver(self.bootstrap, context))

    def _give_up(self, reason: object) -> NoReturn:
        self.stopService()
        log.critical("{reason}", reason=reason)
        raise CannotStart(reason) from None

    def startService(self) -> None:
        """Answer the admin interface, and serve as soon as the clusters know their hosts.

        :raise CannotStart: where another process has taken an address since it was bound.
        """
        super().startService()
        assert self._clusters is not None
        warm = self._clusters.initialize()
        if warm.called:
            self._serve()
        else:
            warm.addCallback(self._serve_later).addErrback(
                lambda failure: log.failure("cannot serve", failure)
            )

    def _serve(self) -> None:
        """Open the listeners, then everything that watches them."""
        assert self._listeners is not None
        self.state = "INITIALIZING"
        # What clusters put off until somebody asks is there before the garbage collector is told to
        # forget what is there.
        self.store.collect()
        try:
            self._listeners.start()
        except BindError as e:
            self._give_up(e)
        self.state = "LIVE"
        self._stats.initialized()
        interval = self.bootstrap.stats_flush_interval
        self._flush.start(
            seconds(interval)
            if self.bootstrap.HasField("stats_flush_interval")
            else STATS_FLUSH_INTERVAL,
            now=False,
        )
        _calm_collector()
        log.info("all dependencies initialized. starting workers")

    def _serve_later(self, _: None) -> None:
        """The same once the reactor runs, where nobody would see an exception."""
        try:
            self._serve()
        except CannotStart:
            self.exit_status = CANNOT_START
            self.quit()

    def stopService(self) -> Deferred[None]:
        """Accept no more, and close at once all that is open: clients, what they are connected to,
        checks, questions and the admin interface.

        :return: fires when nothing of it is left, no descriptor and no timer.
        """
        if self._flush.running:
            self._flush.stop()
        log.info("exiting")
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        if self._listeners is not None:
            await self._listeners.stop()
        if self._clusters is not None:
            await self._clusters.stop()
        await maybeDeferred(super().stopService)
        if self._network is not None:
            await self._network.stop()
        if isinstance(self._clock, MonotonicReactor):
            self._clock.stop()

    def quit(self) -> None:
        """End the process, exit status 0."""
        if self._reactor.running:
            self._reactor.stop()

    def reopen_logs(self) -> None:
        """Open log files anew."""
        self._observer.reopen()
        if self._clusters is not None:
            self._clusters.reopen_logs()

    # What the admin interface asks

    @property
    def uptime(self) -> float:
        """Seconds since this process started."""
        return float(self._clock.seconds() - self._started)

    def cluster_statuses(self) -> Sequence[ClusterStatus]:
        """All clusters, in order of configuration."""
        return self._clusters.statuses() if self._clusters is not None else []

    def listener_statuses(self) -> list[ListenerStatus]:
        """All listeners, in order of configuration."""
        return self._listeners.statuses() if self._listeners is not None else []

    @property
    def open_connections(self) -> int:
        """Clients of all listeners."""
        return self._listeners.open_connections if self._listeners is not None else 0

    def _find_cluster(self, name: str) -> Any:
        return self._clusters.get(name) if self._clusters is not None else None

    def _add_admin(self, cooperator: Cooperator) -> None:
        address = self.bootstrap.admin.address
        bound_to = Address(*host_and_port(address))
        AdminService(self, self._clock, bound_to, cooperator, pipe_mode(address)).setServiceParent(
            self
        )

    def _flush_stats(self) -> None:
        self._stats.flush()
        self.store.merge_histograms()


def _raise_descriptor_limit() -> None:
    """Take all the descriptors that the process may have: each client needs two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _calm_collector() -> None:
    """Let the garbage collector forget what exists now and look rarely at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 100)
