"""A server: puts main and a worker together for a bootstrap, starts them in order, and stops them.
It knows nothing of the process: `tcpmesh.server.process` has the one of twistd, and
`tcpmesh.embedding` that of other programs.

Order matters.  The addresses of listeners and of the admin interface are bound while the process
may still be root (`privilegedStartService`); clients are accepted only once the clusters are warm,
that is, know their hosts and how these are (`startService`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from time import time
from typing import Any, NoReturn

from zope.interface import implementer

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, ensureDeferred, fail, maybeDeferred, succeed
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.accesslog.opening import CannotLog
from tcpmesh.admin.service import OPTIONS, AdminService
from tcpmesh.config import collector
from tcpmesh.config.arguments import node_with
from tcpmesh.config.fields.values import host_and_port, pipe_mode
from tcpmesh.config.load import Loaded
from tcpmesh.interfaces import INetwork, IServer
from tcpmesh.listener.listen_socket import options_at
from tcpmesh.logs.levels import Levels
from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.net.listen import BindError
from tcpmesh.net.moves import CannotWatch
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.runtime.layers import NoAdminLayer
from tcpmesh.server.assembly import Assembled, AssembledMain, assemble, assemble_main
from tcpmesh.server.link.link import ILink, NoSuchLink
from tcpmesh.server.live.steering import Steering
from tcpmesh.server.main import Main
from tcpmesh.server.networks import NoSuchTransport, default_network
from tcpmesh.server.rehearsal import Rehearsal
from tcpmesh.server.reload.reloads import Reloads
from tcpmesh.server.reload.source import Source
from tcpmesh.server.settings import Settings, flush_interval, guard_of
from tcpmesh.server.stats import ServerStats
from tcpmesh.server.stats_flush import StatsFlush
from tcpmesh.server.workers.interface import IWorkerProcesses
from tcpmesh.server.workers.workers import Workers
from tcpmesh.stats.settings import stats_store
from tcpmesh.values.address import Address
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.restart import ALONE, RestartFacts
from tcpmesh.values.live.clients import ClientQuery, TopClients
from tcpmesh.values.live.host_events import RecentEvents
from tcpmesh.values.live.origin import NO_ORIGIN, Origin
from tcpmesh.values.live.traffic import Sample, Traffic
from tcpmesh.values.runtime import Entry
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import (
    NO_DYNAMIC_RESOURCES,
    ChainStatus,
    ClusterStatus,
    DynamicResources,
    DynamicStatus,
    ListenerStatus,
    NotPossible,
    NotThere,
    TlsContextStatus,
)
from tcpmesh.values.stream.live import (
    CloseQuery,
    CloseRow,
    ConnectionQuery,
    Connections,
    FieldFilter,
)

log = Logger(namespace="main")

REFUSALS = (BindError, BrokenExtension, CannotLog, CannotWatch)
"""Why what a configuration asks for cannot be built."""


class CannotStart(Exception):
    """This configuration cannot be served here and now; the text says why."""


@implementer(IServer)
class Server(MultiService):
    """Serves a bootstrap, once.

    :param levels: of the log, as the admin interface shows and sets them.
    :param processes: starts the workers, where there are to be several.  Without it one serves all
        in this process, whatever `--concurrency` says.
    """

    def __init__(
        self,
        reactor: Any,
        bootstrap: Any,
        options: ServerOptions,
        levels: Levels,
        network: INetwork | None = None,
        link: ILink | None = None,
        origin: Origin = NO_ORIGIN,
        restart_facts: RestartFacts = ALONE,
        processes: IWorkerProcesses | None = None,
    ) -> None:
        super().__init__()
        self.reactor = reactor
        self.restart_facts = restart_facts
        self._clock: Any = network.clock if network is not None else MonotonicReactor(reactor)
        self._network = network
        self._link = link
        self._processes = processes if options.concurrency > 1 else None
        self._workers: Workers | None = None
        self.log_levels = levels
        self.bootstrap = bootstrap
        self.options = options
        self.origin = origin
        self.store = stats_store(bootstrap.stats_config, options.stats_tags)
        self.node = node_with(bootstrap.node, options.node_arguments)
        self.on_quit: Callable[[], object] = lambda: None
        """Called where the admin interface is asked to end all this."""
        self._state = "PRE_INITIALIZING"
        self._fails_health_checks = False
        self._started = self._clock.seconds()
        self.live: Deferred[None] = Deferred()
        """Fires when clients are accepted; with `CannotStart` where an address is lost while the
        clusters warm up.
        """
        self._closed: Deferred[None] | None = None
        self._proxy: Assembled | AssembledMain | None = None
        self.reloads = Reloads(self, Source(options), origin.loaded_at or time())
        workers = options.concurrency if self._processes is not None else 1
        self._stats = ServerStats(self.store, self, workers)
        self._flush = StatsFlush(self.store, self._update_stats, self._clock, ask=self.numbers)

    # Its life

    def privilegedStartService(self) -> None:
        """Build everything and bind all addresses.

        :raise CannotStart: where an address cannot be bound, an event log cannot be opened, a
            runtime layer's directory is not there, or another package's extension fails.
        """
        try:
            self._open_network()
            assert self._network is not None
            proxy = self._proxy = self._assemble(self._network)
            self.log_levels.on_change = proxy.main.set_log_levels
            with collector.paused():
                proxy.main.build()
            if self.bootstrap.admin.HasField("address"):
                self._add_admin(self._network.cooperator)
            super().privilegedStartService()
        except UnknownExtension as e:
            self._give_up(f"no installed package has the extension {e}")
        except (*REFUSALS, NoSuchLink, NoSuchTransport) as e:
            self._give_up(e)
        except Exception:
            self.stopService()
            raise

    def _open_network(self) -> None:
        self._network = self._network or self._make_network()

    def _assemble(self, network: INetwork) -> Assembled | AssembledMain:
        bootstrap, node, store, options = self.bootstrap, self.node, self.store, self.options
        generation = self.restart_facts.generation
        if self._processes is None:
            return assemble(
                bootstrap,
                node,
                network,
                store,
                link=self._link,
                options=options,
                generation=generation,
            )
        self._processes.prepare(self._clock)
        try:
            made = assemble_main(
                bootstrap,
                node,
                network,
                store,
                options.concurrency,
                options=options,
                generation=generation,
                processes=self.pids,
            )
        except OSError as e:
            self._give_up(f"there can be no memory that workers share: {e.strerror}")
        self._workers = made.workers
        return made

    def pids(self) -> Sequence[int]:
        """The numbers of all processes, this one's the first."""
        return [os.getpid(), *(self._processes.pids() if self._processes is not None else ())]

    def _make_network(self) -> INetwork:
        return default_network(self._clock)

    def _update_stats(self) -> None:
        self._stats.update()

    def _give_up(self, reason: object) -> NoReturn:
        self._close_all()
        raise CannotStart(str(reason)) from None

    def startService(self) -> None:
        """Answer the admin interface, and serve as soon as the clusters know their hosts.

        :raise CannotStart: where another process has taken an address since it was bound; and, by a
            program that starts services without privileges, as `privilegedStartService`.
        """
        if self._proxy is None:
            self.privilegedStartService()
        super().startService()
        assert self._proxy is not None
        if self._processes is not None and self._workers is not None:
            self._processes.start(self._workers, self.store)
        with collector.paused():
            warm = self._proxy.main.initialize()
        if warm.called:
            self._serve()
        else:
            warm.addCallback(lambda _: self._serve()).addErrback(self.live.errback)

    def _serve(self) -> None:
        """Open the listeners, then everything that watches them."""
        assert self._proxy is not None and self._network is not None
        self._state = "INITIALIZING"
        try:
            self._proxy.main.start_workers()
        except BindError as e:
            self._give_up(e)
        self._state = "LIVE"
        self._stats.initialized()
        self._flush.start(
            self._proxy.main.sinks, self._network.cooperator, flush_interval(self.bootstrap)
        )
        self.live.callback(None)
        log.info("all dependencies initialized. starting workers")

    def stopService(self) -> Deferred[None]:
        """Accept no more, and close at once all that is open: clients, what they are connected to,
        checks, questions and the admin interface.

        :return: fires when nothing of it is left, no descriptor and no timer.
        """
        return self._close_all()

    def _close_all(self) -> Deferred[None]:
        """The same; also where it was begun before."""
        if self._closed is None:
            self._closed = ensureDeferred(self._stop())
        stopped: Deferred[None] = Deferred()
        self._closed.addBoth(_told, stopped)
        return stopped

    async def _stop(self) -> None:
        await self.numbers()
        self._flush.stop()
        self._stops_serving()
        if self._proxy is not None:
            await self._proxy.main.stop()
        if self._processes is not None:
            await self._processes.stop()
        if self._workers is not None:
            self._workers.close()
        await maybeDeferred(super().stopService)
        await self._stopped_serving()
        if self._proxy is not None:
            await self._proxy.main.access_logs.stop()
        if self._network is not None:
            await self._network.stop()
        if isinstance(self._clock, MonotonicReactor):
            self._clock.stop()

    def _stops_serving(self) -> None:
        """Clients are about to be cut off, and all is counted until now."""

    async def _stopped_serving(self) -> None:
        """Clients and the admin interface are gone, and all is counted."""

    # Its configuration is another one

    @property
    def main(self) -> Main:
        """Main, where it serves."""
        assert self._proxy is not None
        return self._proxy.main

    @property
    def network(self) -> INetwork:
        """The network, where it serves."""
        assert self._network is not None
        return self._network

    @property
    def is_stopping(self) -> bool:
        """Whether it closes all that it has."""
        return self._closed is not None

    def why_not_now(self) -> str:
        """Why its configuration cannot be replaced now; empty where it can."""
        if self.is_stopping:
            return "the proxy stops"
        if self._state != "LIVE":
            return "the proxy does not serve yet"
        if self._fails_health_checks:
            return "the proxy fails its health checks, as it was told: /healthcheck/ok ends that"
        if self.main.listeners.is_draining:
            return "the proxy drains"
        return ""

    def rehearsal(self, loaded: Loaded) -> Rehearsal:
        """Builds the listeners and clusters of a configuration, to see whether they can be."""
        return Rehearsal(loaded)

    def settings(self, bootstrap: Any) -> Settings:
        """What it has of its own by this bootstrap, not yet in effect.

        :raise CannotLog: where an access log cannot be opened.
        :raise tcpmesh.registry.BrokenExtension: where another package's extension fails.
        """
        admin: Any = self.namedServices.get("admin")
        return Settings(bootstrap, self.main, self._flush, admin, self.options)

    def serves(self, bootstrap: Any, origin: Origin) -> None:
        """Its configuration is this one now."""
        self.bootstrap = bootstrap
        self.origin = origin
        self._stats.show_version()

    def drain_listeners(
        self, scope: DrainScope, is_graceful: bool = False, stops_listening: bool = True
    ) -> None:
        """Accept no more clients at these listeners, whose clients stay; or, where it is graceful,
        have them leave in the drain time first.

        :param stops_listening: whether a graceful drain ends with that.
        """
        if self._proxy is None:
            return
        if is_graceful:
            self._proxy.main.listeners.drain(scope, stops_listening)
        else:
            self._proxy.main.listeners.stop_listening(scope)

    def fail_health_checks(self, fails: bool) -> None:
        """Say of this proxy that it drains, so that others send no more clients, or take that
        back.
        """
        self._fails_health_checks = fails
        if self._proxy is not None:
            self._proxy.main.listeners.fail_health_checks(fails)
        self._stats.show_live(not fails)

    @property
    def state(self) -> str:
        """Where it is in its life, in Envoy's words."""
        fails = self._fails_health_checks and self._state == "LIVE"
        return "DRAINING" if fails else self._state

    def quit(self) -> None:
        """End all this; see `on_quit`."""
        self.on_quit()

    def reopen_logs(self) -> None:
        """Open log files anew."""
        if self._proxy is not None:
            self._proxy.main.reopen_logs()

    # What the admin interface asks

    @property
    def uptime(self) -> float:
        """Seconds since this process started."""
        return float(self._clock.seconds() - self._started)

    @property
    def parent_connections(self) -> int:
        """Clients of processes that this one has taken over from."""
        return 0

    def upgrade(self) -> Deferred[int]:
        """See `IServer`: only a server that is the whole process can be replaced by another."""
        return fail(NotPossible("this program is not tcpmesh's own"))

    def numbers(self) -> Deferred[None]:
        """See `IServer`."""
        return self._proxy.main.numbers() if self._proxy is not None else succeed(None)

    def flushing_for_admin(self) -> Iterator[Deferred[None] | None]:
        """See `IServer`."""
        on_demand = flush_interval(self.bootstrap) is None
        return self._flush.flushing() if on_demand else iter(())

    def host_numbers(self) -> Deferred[None]:
        """See `IServer`."""
        return self._proxy.main.host_numbers() if self._proxy is not None else succeed(None)

    @property
    def host_events(self) -> RecentEvents:
        """What has happened to hosts of late."""
        return self._proxy.main.events if self._proxy is not None else RecentEvents()

    def cluster_statuses(self) -> Sequence[ClusterStatus]:
        """All clusters, in order of configuration."""
        return self._proxy.main.cluster_statuses() if self._proxy is not None else []

    def listener_statuses(self) -> list[ListenerStatus]:
        """All listeners, in order of configuration."""
        return self._proxy.main.listener_statuses() if self._proxy is not None else []

    def filter_chains(self, listener: str) -> tuple[ChainStatus, ...]:
        """The filter chains of a listener, the default one last."""
        return self._proxy.main.filter_chains(listener) if self._proxy is not None else ()

    def tls_statuses(self) -> Sequence[TlsContextStatus]:
        """The certificates of all TLS contexts, in order of configuration."""
        return self._proxy.main.tls_statuses() if self._proxy is not None else []

    @property
    def samples(self) -> Sequence[Sample]:
        """See `IServer`."""
        return self._proxy.main.watching.samples if self._proxy is not None else ()

    def traffic(self) -> Deferred[Traffic]:
        """See `IServer`."""
        if self._proxy is None:
            return succeed(Traffic(Sample(time(), 0, 0, 0, 0), {}))
        return self._proxy.main.watching.traffic()

    def connections(self, query: ConnectionQuery) -> Deferred[Connections]:
        """See `IServer`."""
        if self._proxy is None:
            return succeed(Connections((), 0, 0))
        return self._proxy.main.live.connections(query)

    def closes(self, query: CloseQuery) -> Deferred[tuple[CloseRow, ...]]:
        """See `IServer`."""
        return self._proxy.main.live.closes(query) if self._proxy is not None else succeed(())

    def top_clients(self, query: ClientQuery) -> Deferred[TopClients]:
        """See `IServer`."""
        if self._proxy is None:
            return succeed(TopClients((), 0))
        return self._proxy.main.live.top_clients(query)

    def close_connections(
        self, filters: tuple[FieldFilter, ...], percent: int = 100, gently: bool = False
    ) -> Deferred[int]:
        """See `IServer`."""
        if self._proxy is None:
            return succeed(0)
        return self._proxy.main.live.close(filters, percent, gently)

    def drain_host(self, cluster: str, address: str, drained: bool) -> int:
        """See `IServer`."""
        return self._steering.drain_host(cluster, address, drained)

    def rebalance(self, cluster: str, percent: int) -> Deferred[int]:
        """See `IServer`."""
        return self._steering.rebalance(cluster, percent)

    def pause_cluster(self, cluster: str, seconds: float) -> None:
        """See `IServer`."""
        self._steering.pause(cluster, seconds)

    @property
    def _steering(self) -> Steering:
        if self._proxy is None:
            raise NotThere("nothing is served yet")
        return self._proxy.main.steering

    @property
    def first_ends(self) -> tuple[int | None, int | None]:
        """When the first certificate expires, and the first OCSP response."""
        if self._proxy is None:
            return None, None
        certificates = self._proxy.main.certificates
        return certificates.first_end, certificates.first_ocsp_end

    @property
    def open_connections(self) -> int:
        """Clients of all listeners, as workers have last told."""
        return self._proxy.main.connections if self._proxy is not None else 0

    def count_connections(self) -> Deferred[int]:
        """The same, as of now."""
        return self._proxy.main.count_connections() if self._proxy is not None else succeed(0)

    def dynamic_listeners(self) -> DynamicResources:
        """What discovery has brought of listeners."""
        found = self._proxy.main.discoveries.of_listeners() if self._proxy is not None else None
        return found or NO_DYNAMIC_RESOURCES

    def dynamic_secrets(self) -> Sequence[DynamicStatus]:
        """... of secrets."""
        return self._proxy.main.secrets.statuses() if self._proxy is not None else ()

    def dynamic_clusters(self) -> DynamicResources:
        """... and of clusters."""
        found = self._proxy.main.discoveries.of_clusters() if self._proxy is not None else None
        return found or NO_DYNAMIC_RESOURCES

    def is_warming(self, cluster: str) -> bool:
        """Whether what a name will stand for cannot be used yet."""
        return self._proxy is not None and self._proxy.main.clusters.is_warming(cluster)

    def runtime_layers(self) -> Sequence[tuple[str, Mapping[str, Entry]]]:
        """The layers of runtime values that are there."""
        return self._proxy.main.layers.shown() if self._proxy is not None else []

    def modify_runtime(self, overrides: Mapping[str, str]) -> None:
        """Set runtime values in the admin layer.

        :raise NoAdminLayer: where there is none.
        :raise tcpmesh.runtime.entries.NotReadable: where a text is no value.
        """
        if self._proxy is None:
            raise NoAdminLayer("nothing is served yet")
        self._proxy.main.layers.modify(overrides)

    def _add_admin(self, cooperator: Cooperator) -> None:
        assert self._proxy is not None
        admin = self.bootstrap.admin
        place = admin.address
        address = Address(*host_and_port(place))
        AdminService(
            self,
            self._clock,
            address,
            cooperator,
            replace(
                OPTIONS,
                mode=pipe_mode(place),
                dual_stack=place.socket_address.ipv4_compat,
                namespace=place.socket_address.network_namespace_filepath,
                before_bind=options_at(admin.socket_options, "STATE_PREBIND"),
                after_bind=options_at(admin.socket_options, "STATE_BOUND"),
                after_listen=options_at(admin.socket_options, "STATE_LISTENING"),
            ),
            self._proxy.main.admin_logs(self.bootstrap),
            guard_of(self.bootstrap, self.options),
            self._handed_admin(address),
        ).setServiceParent(self)

    def _handed_admin(self, address: Address) -> socket.socket | None:
        """The socket of the admin interface where a predecessor has it."""
        return None


def _told(result: Failure | None, waiting: Deferred[None]) -> Failure | None:
    """Tell one of several who wait for a result."""
    waiting.callback(result)
    return result
