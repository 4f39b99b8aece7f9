"""Main: it knows the configuration and decides, and workers serve.

Which clusters, listeners and hosts there are, how the hosts are and who is out: all that is decided
here, and told by messages.  Main makes connections of its own, for health checks and to name
servers, and serves no client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog

from twisted.internet.defer import Deferred, ensureDeferred, succeed

from tcpmesh.accesslog.access_logs import AccessLogs, access_logs
from tcpmesh.accesslog.manager import AccessLogManager
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.discovery.dns import named_resolver
from tcpmesh.cluster.manager import ClusterManager
from tcpmesh.cluster.names.cache import NameCaches
from tcpmesh.config.fields.tls.secrets import static_secrets
from tcpmesh.interfaces import IAccessLogManager, INetwork, IStatsSink
from tcpmesh.listener.manager import ListenerManager
from tcpmesh.net.internal.listeners import BUFFER
from tcpmesh.registry import MainContext, build
from tcpmesh.runtime.layers import Layers
from tcpmesh.server.certificates import Certificates
from tcpmesh.server.discovery.discoveries import Discoveries
from tcpmesh.server.discovery.secrets import SecretDiscoveries
from tcpmesh.server.handover.giving import Giving
from tcpmesh.server.handover.taking import Taking
from tcpmesh.server.link.numbers import MainMessage, Numbers, WorkerMessage
from tcpmesh.server.live.gathering import Gathering
from tcpmesh.server.live.steering import Steering
from tcpmesh.server.live.watching import Watching
from tcpmesh.server.overload.manager import OverloadManager
from tcpmesh.server.stats_flush import build_sinks, wants_values
from tcpmesh.server.workers.merging import Merging
from tcpmesh.server.workers.workers import Workers
from tcpmesh.stats.store import Store
from tcpmesh.values.drain import DrainStrategy, DrainTimes
from tcpmesh.values.lifecycle.moving import ClientLeaves
from tcpmesh.values.link import (
    AskClients,
    AskNumbers,
    Begin,
    Clients,
    KeepValues,
    LogLevels,
    Prepare,
    Prepared,
    ReopenLogs,
    Secrets,
)
from tcpmesh.values.live.host_events import RecentEvents
from tcpmesh.values.overload import NO_OVERLOAD_MANAGER
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.shared.secrets import SecretTable
from tcpmesh.values.statuses import ChainStatus, ClusterStatus, ListenerStatus, TlsContextStatus
from tcpmesh.values.workers import only_process, only_worker, worker_name

HEARD = 2.0
"""Seconds that workers have for beginning to serve."""


class Main:
    """Main of one proxy.

    :param node: the `core.v3.Node` that the proxy is.
    :param send: tells workers a `WorkerMessage`; where there is one only, descriptors are lent to
        it beside.
    :param several: the workers, where there are several.
    :param generation: how many processes there were that have taken over from each other.
    :param processes: tells the numbers of all processes of the proxy, main's the first.
    """

    def __init__(
        self,
        bootstrap: Any,
        node: Any,
        network: INetwork,
        store: Store,
        send: Callable[..., object],
        random: Random,
        options: ServerOptions,
        make_access_logs: Callable[..., IAccessLogManager] = AccessLogManager,
        several: Workers | None = None,
        generation: int = 1,
        processes: Callable[[], Sequence[int]] = only_process,
    ) -> None:
        self._bootstrap = bootstrap
        self._static_secrets = tuple(bootstrap.static_resources.secrets)
        self._keeps_values = _keeps_values(store, bootstrap)
        self._send, self._options = send, options
        self._several, self._generation = several, generation
        self._workers = several.count if several is not None else 1
        self._connections: dict[int, int] = {}
        """Clients of each worker, as last told."""
        self._levels: LogLevels | None = None
        self._prepared: Deferred[None] = Deferred()
        flush = options.file_flush_interval_msec, options.file_flush_min_size_kb
        self.access_logs = make_access_logs(store, network.clock, *flush)
        self.layers = Layers(bootstrap, node.cluster, store, send)
        self.names = NameCaches(send)
        """The DNS caches that clients' names are looked up in."""
        self.context = self._context(network, store, random, node, processes)
        self.names.serve(self.context)
        self._internal_buffer = self._buffer_between_listeners()
        secrets = self.context.secrets
        self.secrets = SecretDiscoveries(bootstrap, secrets, send, store, network, options)
        """Those that discovery brings."""
        self.certificates = Certificates(self.context.secrets)
        self.sinks: list[IStatsSink] = []
        self.clusters = ClusterManager(self.context, send, self.secrets.hold, self._workers)
        self.overload = self._overload_manager()
        joined, ready = (several.joined, several.ready) if several else (only_worker, only_worker)
        self.giving = Giving(send, self._tell, network.clock, joined)
        """Clients that go to the process that takes over."""
        self.taking = Taking(self._tell, ready)
        """Those that come from the one before."""
        self.live = Gathering(send, joined)
        """What workers are asked about connections."""
        self.steering = Steering(self.clusters, self.live, network.clock, send)
        """What operators do with clusters and hosts."""
        drain, hold = float(options.drain_time_s), self.secrets.hold
        self.listeners = ListenerManager(store, send, network.clock, drain, hold, self._workers)
        self.discoveries = Discoveries(
            bootstrap, self.clusters, self.listeners, self.layers, store, network, options
        )
        self.watching = Watching(send, network.clock, joined)
        """How much traffic there is and was."""
        self._receivers = self._what_is_done()
        if several is None:
            store.add_collector(self.ask_numbers)
        self._merging = Merging(store, network)

    def _buffer_between_listeners(self) -> int:
        """Bytes, as a bootstrap extension says."""
        packed = (each.typed_config for each in self._bootstrap.bootstrap_extensions)
        extensions = (build(each, self.context) for each in packed)
        return next((each.internal_buffer for each in extensions), BUFFER)

    def _overload_manager(self) -> OverloadManager | None:
        if not self._bootstrap.HasField("overload_manager"):
            return None
        return OverloadManager(self._bootstrap.overload_manager, self.context, self._send)

    def _what_is_done(self) -> dict[type, Callable[[Any], object]]:
        """With each message of a worker's."""
        return {
            **self.clusters.receivers,
            **self.listeners.receivers,
            **self.live.receivers,
            **self.watching.receivers,
            **self.giving.receivers,
            **self.taking.receivers,
            **self.names.receivers,
            Numbers: self._take_numbers,
            Clients: self._take_clients,
            Prepared: self._take_prepared,
        }

    def _context(
        self,
        network: INetwork,
        store: Store,
        random: Random,
        node: Any,
        processes: Callable[[], Sequence[int]],
    ) -> MainContext:
        """What main's parts share."""
        settings = self._bootstrap.cluster_manager
        context = MainContext(
            network=network,
            store=store,
            random=random,
            node=node,
            bind_config=settings.upstream_bind_config
            if settings.HasField("upstream_bind_config")
            else None,
            outlier_log=settings.outlier_detection.event_log_path,
            cluster=self._cluster,
            local_cluster=settings.local_cluster_name,
            access_logs=self.access_logs,
            runtime=self.layers.runtime,
            secrets=SecretTable(
                static_secrets(self._bootstrap.static_resources.secrets), counts_changes=False
            ),
            bootstrap=_basis(self._bootstrap),
            options=self._options,
            names=self.names,
            processes=processes,
        )
        return replace(context, resolver=named_resolver(self._bootstrap, context))

    def begin(self, index: int) -> Begin:
        """The first message to a worker."""
        local_cluster = self._bootstrap.cluster_manager.local_cluster_name
        return Begin(
            index,
            self.context.node,
            local_cluster,
            self.context.bind_config,
            self._bootstrap.stats_config,
            self._keeps_values,
            file_flush_interval_msec=self._options.file_flush_interval_msec,
            file_flush_min_size_kb=self._options.file_flush_min_size_kb,
            runtime=self.layers.begin(),
            secrets=self._static_secrets,
            drain=DrainTimes(
                self._options.drain_time_s, DrainStrategy(self._options.drain_strategy)
            ),
            discovered_secrets=self.secrets.told(),
            overload=self.overload.settings() if self.overload else NO_OVERLOAD_MANAGER,
            workers=self._workers,
            generation=self._generation,
            internal_buffer=self._internal_buffer,
        )

    def present(self) -> Iterator[WorkerMessage]:
        """What a worker that joins others is to be told, after `Begin`."""
        if self._levels is not None:
            yield self._levels
        yield from self.clusters.present()
        yield from self.listeners.present()
        yield from self.names.present()
        yield AskNumbers()

    def lost(self, worker: int) -> None:
        """A worker is no more, with its connections; another one may take its place."""
        self.left(worker)
        self._connections.pop(worker, None)
        self._merging.lost(worker)

    def left(self, worker: int) -> None:
        """A worker answers nothing any more."""
        self.live.lost(worker)
        self.watching.lost(worker)
        self.giving.lost(worker)
        self.taking.lost(worker)

    @property
    def is_asking(self) -> bool:
        """Whether somebody waits for what workers say of their connections."""
        return self.live.is_asking or self.watching.is_asking

    def silent(self, worker: int) -> None:
        """A worker does not answer at present: nobody waits for it."""
        self.live.silent(worker)
        self.watching.silent(worker)

    def receive(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """A worker says something.

        :param descriptors: are lent for the time of the call.
        """
        if isinstance(message, ClientLeaves):
            self.giving.leaves(message, descriptors)
        else:
            self._receivers[type(message)](message)

    def _tell(self, worker: int, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Tell one worker."""
        if self._several is not None:
            self._several.tell(worker, message, descriptors)
        else:
            self._send(message, descriptors)

    def build(self) -> None:
        """Add all that the bootstrap has; listeners are bound and not yet open.

        :raise tcpmesh.net.listen.BindError: where an address cannot be bound.
        :raise LookupError: where an extension is not known.
        :raise tcpmesh.registry.BrokenExtension: where another package's extension fails.
        :raise CannotLog: where an event log or an access log cannot be opened.
        :raise tcpmesh.net.moves.CannotWatch: where the directory of a runtime layer or of a file of
            discovery is not there.
        """
        self.sinks = build_sinks(self._bootstrap.stats_sinks, self.context)
        self.discoveries.start_runtime()
        network = self.context.network
        self.layers.start(network.clock, network.cooperator)
        if self.overload is not None:
            self.overload.build()
        resources = self._bootstrap.static_resources
        for cluster in resources.clusters:
            self.clusters.add_or_update(cluster)
        self.discoveries.start_clusters()
        self.listeners.add_static(resources.listeners)
        self.discoveries.start_listeners()
        self.certificates.look_at(self._messages())
        for changing in (self.secrets, self.discoveries):
            changing.on_change = self._look_at_certificates

    def _look_at_certificates(self) -> None:
        cooperator = self.context.network.cooperator
        self.certificates.look_again(cooperator, self._messages)

    def admin_logs_differ(self, bootstrap: Any) -> bool:
        """Whether the access logs of the admin interface are others in this bootstrap."""
        old, new = self._bootstrap.admin, bootstrap.admin
        return bool(old.access_log != new.access_log or old.access_log_path != new.access_log_path)

    def admin_logs(self, bootstrap: Any) -> AccessLogs | None:
        """The access logs of the admin interface of this bootstrap.

        :raise CannotLog: where a file cannot be opened.
        """
        admin = bootstrap.admin
        messages = list(admin.access_log)
        if admin.access_log_path:
            messages.append(AccessLog())
            messages[-1].typed_config.Pack(FileAccessLog(path=admin.access_log_path))
        return access_logs(messages, self.context)

    # While it runs

    def set_secrets(self, messages: Iterable[Any]) -> None:
        """These are the static secrets, for what is built from now on."""
        self._static_secrets = secrets = tuple(messages)
        self.context.secrets.replace_static(static_secrets(secrets))
        self.certificates.forget()
        self._send(Secrets(secrets))

    def build_sinks(self, messages: Iterable[Any]) -> list[IStatsSink]:
        """The sinks of these `metrics.v3.StatsSink`, of which those stay that are there already.

        :raise LookupError: where one is not known.
        :raise tcpmesh.registry.BrokenExtension: where another package's fails.
        """
        there = list(zip(self._bootstrap.stats_sinks, self.sinks, strict=True))
        wanted = [(each, _taken(each, there)) for each in messages]
        new = iter(build_sinks([each for each, sink in wanted if sink is None], self.context))
        return [sink if sink is not None else next(new) for _, sink in wanted]

    def serve_bootstrap(self, bootstrap: Any, sinks: list[IStatsSink]) -> None:
        """This is the configuration from now on; its listeners and clusters are there already.

        :param sinks: what `build_sinks` has made of its own.
        """
        if wants_values(bootstrap.stats_sinks) and not self._keeps_values:
            self._keeps_values = True
            self.context.store.keep_values()
            self._send(KeepValues())
        self._bootstrap = bootstrap
        self.sinks = sinks
        self.layers.replace_static(bootstrap)

    def looking_at_all(self) -> Iterator[None]:
        """Find out what follows from all listeners and clusters that there are now: in small
        steps.
        """
        resources = self._bootstrap.static_resources
        yield from self.listeners.arranging(resources.listeners)
        yield from self.clusters.arranging(resources.clusters)
        self._look_at_certificates()

    def initialize(self) -> Deferred[None]:
        """Fires when the hosts of all clusters are known, and workers are ready to pick among
        them.
        """
        return ensureDeferred(self._initialize())

    async def _initialize(self) -> None:
        await self.clusters.initialize()
        self._prepared = Deferred()
        self._send(Prepare())
        await self._prepared

    def start_workers(self) -> None:
        """Accept clients.

        :raise tcpmesh.net.listen.BindError: where another process has taken an address since it was
            bound.
        """
        self.listeners.start()
        self.watching.start()
        if self.overload is not None:
            self.overload.start()

    def stop(self) -> Deferred[None]:
        """Have workers close all they have, and look for hosts no more; fires when nothing is
        left.
        """
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        self.layers.stop()
        if self.overload is not None:
            self.overload.stop()
        self.discoveries.stop()
        self.secrets.stop()
        self.watching.stop()
        self.giving.stop()
        await self.listeners.stop()
        await self._merging.merged()
        for sink in self.sinks:
            sink.close()
        self.names.stop()
        await self.clusters.stop()

    def reopen_logs(self) -> None:
        """Open event logs and access logs anew, those of workers too."""
        self.clusters.reopen_logs()
        self.access_logs.reopen()
        self._send(ReopenLogs())

    def _cluster(self, name: str) -> Cluster | None:
        return self.clusters.own(name)

    def set_log_levels(self, levels: dict[str, str], default: str = "info") -> None:
        """These levels hold from now on, and the default for other loggers."""
        self._levels = LogLevels(tuple(levels.items()), default)
        self._send(self._levels)

    # What is shown

    @property
    def events(self) -> RecentEvents:
        """What has happened to hosts of late."""
        return self.context.events

    def cluster_statuses(self) -> Sequence[ClusterStatus]:
        """All clusters, in order of configuration."""
        return self.clusters.statuses()

    def listener_statuses(self) -> list[ListenerStatus]:
        """All listeners, in order of configuration."""
        return self.listeners.statuses()

    def filter_chains(self, listener: str) -> tuple[ChainStatus, ...]:
        """The filter chains of a listener, the default one last."""
        return self.listeners.filter_chains(listener)

    def tls_statuses(self) -> Sequence[TlsContextStatus]:
        """The certificates of all TLS contexts, in order of configuration."""
        return self.certificates.statuses(self._messages())

    def _messages(self) -> Iterator[Any]:
        yield from self.listeners.messages()
        yield from self.clusters.messages()

    def ask_numbers(self) -> None:
        """Have workers tell what they have counted: before statistics are read."""
        self._send(AskNumbers())

    def numbers(self) -> Deferred[None]:
        """Fires when workers have told what they have counted.  One that does not answer is not
        waited for long.
        """
        if self._several is None:
            return succeed(None)  # whoever reads them asks
        self._send(AskNumbers())
        return self._several.answered().addCallback(lambda _: self._merging.merged())

    def host_numbers(self) -> Deferred[None]:
        """The same for what they have counted of each host."""
        if self._several is None:
            return succeed(None)
        self.clusters.ask_numbers()
        return self._several.answered()

    def workers_heard(self) -> Deferred[None]:
        """Fires when workers have done all that they were told until now, or it takes too long:
        what they do once, when they begin to serve, holds nobody up from then on.
        """
        return self._several.answered(HEARD) if self._several is not None else succeed(None)

    def count_connections(self) -> Deferred[int]:
        """How many clients all workers have."""
        self._send(AskClients())
        answered = self._several.answered() if self._several is not None else succeed(None)
        return answered.addCallback(lambda _: self.connections)

    @property
    def connections(self) -> int:
        """Clients of all workers, as last told."""
        if self._several is None:
            self._send(AskClients())
        return sum(self._connections.values())

    def _take_prepared(self, told: Prepared) -> None:
        self._prepared.callback(None)

    def _take_clients(self, told: Clients) -> None:
        self._connections[told.worker] = told.connections

    def _take_numbers(self, told: Numbers) -> None:
        self._connections[told.worker] = told.connections
        if self._several is not None:
            self._merging.take(told)
        elif told.deltas is not None:
            self.context.store.merge(told.deltas, worker_name(told.worker))


def _basis(bootstrap: Any) -> Any:
    """What of a bootstrap is asked where discovery brings more: not what is long and may change."""
    basis = Bootstrap()
    basis.node.CopyFrom(bootstrap.node)
    for secret in bootstrap.static_resources.secrets:
        basis.static_resources.secrets.add().CopyFrom(secret)
    return basis


def _taken(message: Any, there: list[tuple[Any, IStatsSink]]) -> IStatsSink | None:
    """The sink of this message, which is no more among those that are there."""
    for index, (known, sink) in enumerate(there):
        if known == message:
            del there[index]
            return sink
    return None


def _keeps_values(store: Store, bootstrap: Any) -> bool:
    """Whether a stats sink of the bootstrap wants the values of histograms, which are kept then."""
    wanted = wants_values(bootstrap.stats_sinks)
    if wanted:
        store.keep_values()
    return wanted
