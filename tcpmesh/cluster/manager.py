"""All clusters: added, replaced and removed while traffic flows, and served only once their hosts
are known.

A cluster is *warm* when its discovery has a first result and each host its first health check.
Until the manager has been told to `initialize` clusters are there at once, and the server opens no
listener before all are warm; what comes later takes the place of its predecessor, or is found at
all, when it is warm.

This is main's: it decides which clusters there are, and workers build each one and pick from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.cluster.balancing import policy
from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.health import outlier_settings
from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.cluster.hosts.numbers import summed
from tcpmesh.cluster.membership import Membership, Send
from tcpmesh.cluster.monitor import HealthMonitor
from tcpmesh.cluster.upstream import circuit_breakers
from tcpmesh.cluster.upstream.dialer import Dialer, dialer_of
from tcpmesh.interfaces import IDiscovery, INamedHostsDiscovery
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.registry import (
    BrokenExtension,
    MainContext,
    UnknownExtension,
    WorkerContext,
    build,
    cluster_type,
)
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Declaration
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.link import (
    AddCluster,
    AskHostNumbers,
    Cleanup,
    ClusterEnded,
    ClusterRefused,
    ClusterUsed,
    ConnectOutcome,
    Flags,
    HostNumbers,
    Hosts,
    HostSeen,
    HostsUnused,
    PauseCluster,
    Rates,
    Rebalance,
    Refusal,
    RemoveCluster,
    ServeCluster,
    ToMain,
    ToWorker,
)
from tcpmesh.values.shared.secrets import HoldSecrets, hold_none
from tcpmesh.values.statuses import ClusterStatus, Statuses

log = Logger(namespace="upstream")

DECLARED = Declaration(
    counters=(
        "cluster_updated",
        "cluster_updated_via_merge",
        "update_merge_cancelled",
        "update_out_of_merge_window",
    ),
)


class _Tell:
    """Tells workers, and main's own cluster, of one cluster.  What main does for it and the parts
    of that share this, so that no part has to know the whole, which would keep both.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.own: Cluster | None = None
        """The cluster as main has it for calls of its own, made with the first one."""

    def __call__(self, message: ToWorker) -> None:
        """Tell them."""
        self._send(message)
        own = self.own
        if own is None:
            return
        if isinstance(message, Hosts):
            own.update_hosts(message)
        elif isinstance(message, Flags):
            own.set_flags(message.host, message.flags)
        elif isinstance(message, Rebalance):
            own.unbalance()


class ClusterEntry:
    """What main does for one cluster.

    :raise LookupError: where nothing of its type is known.
    :raise CannotLog: where an event log cannot be opened.
    :raise tcpmesh.net.moves.CannotWatch: where the directory of a secret's file is not there.
    """

    def __init__(
        self,
        number: int,
        message: Any,
        context: MainContext,
        wheel: TimerWheel,
        outlier_log: EventLog | None,
        send: Send,
        is_asked: bool,
        hold_secrets: HoldSecrets,
    ) -> None:
        """
        :param is_asked: whether workers are asked for their numbers whenever it is shown.
        """
        self.number = number
        self.message = message
        self.name: str = message.name
        self.refused: ClusterRefused | None = None
        """Why a worker cannot build it."""
        self._tell = _Tell(send)
        self._is_asked = is_asked
        self.added_via_api = False
        """Whether discovery has brought it."""
        self.is_warm = False
        self.paused_until = 0.0
        """When new connections are held no more, by the clock of the network."""
        self._clock = context.network.clock
        with all_or_nothing() as undo:
            self._release_secrets = hold_secrets(message)
            undo.callback(self._release_secrets)
            discovery = discovery_of(message, context)
            undo.callback(discovery.stop)
            self._discovery: IDiscovery | None = discovery
            """`None` once it is stopped: where it has found nothing, it knows who waits."""
            self.membership = Membership(number, message, context, self._tell)
            undo.callback(self.membership.release)
            self._dialer: Dialer | None = None
            if message.health_checks:
                socket_context = replace(context, scope=self.membership.stats.scope)
                self._dialer = dialer_of(message, socket_context)
                undo.callback(self._dialer.close)
            self._monitor = HealthMonitor(
                message,
                self.membership,
                self._dialer,
                context,
                wheel,
                outlier_log,
                discovery.dropped_hosts_stay,
            )

    def start(self, warmed: Callable[[ClusterEntry], object]) -> None:
        """Look for hosts; `warmed` is called once, when the cluster can be used, perhaps before
        this call returns.
        """

        def ready(_: object) -> None:
            self.is_warm = True
            self.membership.warmed()
            warmed(self)

        discovery = self._discovery
        assert discovery is not None
        warm = discovery.warm.addCallback(lambda _: self._monitor.first_round()).addCallback(ready)
        warm.addErrback(self._cannot_start)
        if INamedHostsDiscovery.providedBy(discovery):
            discovery.follow(partial(self._tell, Cleanup(self.number)))
        discovery.start(self._monitor.update_hosts)

    def _cannot_start(self, failure: Failure) -> None:
        if self._discovery is not None:  # else it was stopped before it was warm
            log.failure("cluster {name} cannot start", failure, name=self.name)

    def status(self) -> ClusterStatus:
        """The cluster as the admin interface shows it."""
        if self._is_asked:
            self.membership.ask_numbers()
        status = self.membership.status(self._monitor.outliers(), self._monitor.rates)
        if self.added_via_api:
            status = replace(status, added_via_api=True)
        left = self.pause_left
        return replace(status, paused_for=left) if left else status

    @property
    def pause_left(self) -> float:
        """For how many seconds new connections are still held."""
        return max(0.0, self.paused_until - float(self._clock.seconds()))

    @property
    def hosts_are_named(self) -> bool:
        """Whether connections say which hosts there are."""
        return bool(INamedHostsDiscovery.providedBy(self._discovery))

    # For calls of main's own

    def own(self, context: WorkerContext, send: Callable[[ToMain], object]) -> Cluster:
        """The cluster as a worker has it, for calls that main makes: built from the same message,
        and told the same.

        :param send: takes what it has to tell main.
        """
        own = self._tell.own
        if own is None:
            own = self._tell.own = Cluster(self.message, context, self.number, send)
            own.update_hosts(self.membership.told())
        return own

    # What workers tell

    def used(self, told: ClusterUsed) -> None:
        """A connection was made for a client."""
        self.membership.is_used = True

    def outcome(self, told: ConnectOutcome) -> None:
        """A connection to a host failed, or the first one since is made."""
        self._monitor.outcome(told.host, told.outcome)

    def take_rates(self, told: Rates) -> None:
        """How connections came out in an interval."""
        own = self._tell.own.rates() if self._tell.own is not None else ()
        self._monitor.take_rates(summed(told.rates, own) if own else told.rates)

    def take_numbers(self, told: HostNumbers) -> None:
        """What a worker has counted of each host."""
        own = self._tell.own.host_numbers() if self._tell.own is not None else ()
        numbers = summed(told.numbers, own) if own else told.numbers
        self.membership.take_numbers(HostNumbers(told.cluster, numbers))

    def host_seen(self, told: HostSeen) -> None:
        """A connection has named a host."""
        if INamedHostsDiscovery.providedBy(self._discovery):
            self._discovery.host_seen(told.host)

    def hosts_unused(self, told: HostsUnused) -> None:
        """No connection names these any more."""
        known = self.membership.hosts
        if INamedHostsDiscovery.providedBy(self._discovery):
            self._discovery.hosts_unused([known[key].spec for key in told.hosts if key in known])

    # What the runtime says

    def limits_changed(self) -> None:
        """The limits of circuit breakers are others now."""
        self.membership.limits_changed()
        if self._tell.own is not None:
            self._tell.own.breakers.refresh()

    def balancing_changed(self) -> None:
        """What load balancers go by is other now."""
        if self._tell.own is not None:
            self._tell.own.unbalance()

    def outliers_changed(self) -> None:
        """What outlier detection goes by is other now."""
        self._monitor.outliers_changed()

    # Its end

    def stop(self) -> Deferred[None]:
        """Look no more; fires when nothing is under way.  What workers have of it stays."""
        self._monitor.stop()
        own, self._tell.own = self._tell.own, None
        if own is not None:
            own.close()
            own.release()
        if self._dialer is not None:
            self._dialer.close()
        self._release_secrets()
        self.membership.stop()
        discovery, self._discovery = self._discovery, None
        assert discovery is not None
        stopping: Deferred[None] | None = discovery.stop()
        discovery.warm.cancel()
        discovery.warm.addErrback(Failure.trap, CancelledError)
        return succeed(None) if stopping is None else stopping

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        self._monitor.reopen_logs()


class ClusterManager:
    """The clusters by name.

    :param send: tells workers.
    :param hold_secrets: brings the secrets of discovery that a `cluster.v3.Cluster` needs, and
        tells how to let go of them.
    :param workers: how many there are.  Only one answers before what it was asked returns; where
        there are several `ask_numbers` is to be called before hosts are shown.
    """

    def __init__(
        self,
        context: MainContext,
        send: Send,
        hold_secrets: HoldSecrets = hold_none,
        workers: int = 1,
    ) -> None:
        self._context = context
        self._send = send
        self._hold_secrets = hold_secrets
        self._is_alone = workers == 1
        self._own_context = WorkerContext(
            network=context.network,
            store=context.store,
            cluster=self.own,
            random=context.random,
            node=context.node,
            local_cluster=context.local_cluster,
            bind_config=context.bind_config,
            runtime=context.runtime,
            secrets=context.secrets,
        )
        context.runtime.watch(circuit_breakers.RUNTIME_PREFIX, self._limits_change)
        context.runtime.watch(policy.RUNTIME_PREFIX, self._balancing_changes)
        context.runtime.watch(outlier_settings.RUNTIME_PREFIX, self._outliers_change)
        self._numbers = count(1)
        self._known: dict[int, ClusterEntry] = {}
        """By number, also those removed, until workers have nothing left of them."""
        self._active: dict[str, ClusterEntry] = {}
        self._warming: dict[str, ClusterEntry] = {}
        self._waiting: dict[Deferred[None], set[str]] = {}
        """Who waits for clusters to be warm, and for which."""
        self._initialized: Deferred[None] | None = None
        self._wheel = TimerWheel(context.network.clock)
        scope = context.store.scope("cluster_manager")
        self._added = scope.counter("cluster_added")
        self._modified = scope.counter("cluster_modified")
        self._removed = scope.counter("cluster_removed")
        self._active_gauge = scope.gauge("active_clusters", Merge.MAIN)
        self._warming_gauge = scope.gauge("warming_clusters", Merge.MAIN)
        main_thread = context.store.scope("thread_local_cluster_manager.main_thread")
        self._inflated = main_thread.gauge("clusters_inflated", Merge.MAIN)
        scope.declare(DECLARED)
        context.store.add_collector(self._collect)
        self._outlier_log = EventLog(context.outlier_log) if context.outlier_log else None
        self.receivers: Mapping[type, Callable[[Any], object]] = {
            ClusterRefused: self._refused,
            ClusterEnded: self._ended,
            ClusterUsed: self._told(ClusterEntry.used),
            ConnectOutcome: self._told(ClusterEntry.outcome),
            Rates: self._told(ClusterEntry.take_rates),
            HostNumbers: self._told(ClusterEntry.take_numbers),
            HostSeen: self._told(ClusterEntry.host_seen),
            HostsUnused: self._told(ClusterEntry.hosts_unused),
        }
        """What is done with each message of a worker's."""

    # What the runtime says

    def _limits_change(self, keys: list[str]) -> None:
        names = circuit_breakers.clusters_of(keys)
        for entry in self._known.values():
            if entry.name in names:
                entry.limits_changed()

    def _balancing_changes(self, keys: list[str]) -> None:
        for entry in self._known.values():
            entry.balancing_changed()

    def _outliers_change(self, keys: list[str]) -> None:
        for entry in self._known.values():
            entry.outliers_changed()

    def get(self, name: str) -> ClusterEntry | None:
        """The cluster of this name that is served as of now."""
        return self._active.get(name)

    def own(self, name: str) -> Cluster | None:
        """The cluster of this name for calls that main makes."""
        entry = self._active.get(name)
        return entry.own(self._own_context, self._hear) if entry is not None else None

    def _hear(self, told: ToMain) -> None:
        self.receivers[type(told)](told)

    def initialize(self) -> Deferred[None]:
        """All clusters that the proxy begins with have been added; fires when they are warm."""
        self._initialized = Deferred()
        self._check_initialized()
        return self._initialized

    def add_or_update(
        self, message: Any, added_via_api: bool = False, always: bool = False
    ) -> bool:
        """Serve new connections by this `cluster.v3.Cluster`; connections made by its predecessor
        go on untouched.

        :param added_via_api: whether discovery has brought it.
        :param always: replace it also where it is equal: what it names has changed.
        :return: whether it is another cluster now.
        :raise LookupError: where nothing of its type or policy is known; what was there stays.
        :raise tcpmesh.registry.BrokenExtension: where another package's extension fails, likewise.
        """
        name = message.name
        known = self._warming.get(name) or self._active.get(name)
        if known is not None and known.message == message and not always:
            known.added_via_api = added_via_api
            return False
        with all_or_nothing() as undo:
            entry = self._build(message)
            entry.added_via_api = added_via_api
            undo.callback(self._withdraw, entry)
            if known is not None:
                entry.membership.is_used = known.membership.is_used
            if self._initialized is not None and self._initialized.called:
                before = self._warming.get(name)
                undo.callback(self._put_back, name, before)
                self._warming[name] = entry
                entry.start(self._activate)
                if before is not None:
                    self._withdraw(before)
            else:
                entry.start(self._warmed)
                self._serve(entry)
        counter = self._added if known is None else self._modified
        counter.tally += 1
        self._count()
        return True

    def _build(self, message: Any) -> ClusterEntry:
        with all_or_nothing() as undo:
            entry = ClusterEntry(
                next(self._numbers),
                message,
                self._context,
                self._wheel,
                self._outlier_log,
                self._send,
                self._is_alone,
                self._hold_secrets,
            )
            undo.callback(entry.membership.release)
            undo.callback(entry.stop)
            self._known[entry.number] = entry
            undo.callback(self._known.pop, entry.number)
            self._send(AddCluster(entry.number, message))
            if entry.refused is not None:
                unknown = entry.refused.why is Refusal.UNKNOWN
                raise (UnknownExtension if unknown else BrokenExtension)(entry.refused.reason)
        return entry

    def _withdraw(self, entry: ClusterEntry) -> None:
        """This one is not wanted any more, whether it was served or not."""
        entry.stop()
        self._send(RemoveCluster(entry.number))

    def _put_back(self, name: str, before: ClusterEntry | None) -> None:
        """The cluster of this name that is warming is again the one that was before."""
        if before is None:
            self._warming.pop(name, None)
        else:
            self._warming[name] = before

    def remove(self, name: str) -> None:
        """Forget a cluster, if it is there; connections to its hosts go on."""
        found = [entries.pop(name) for entries in (self._warming, self._active) if name in entries]
        for entry in found:
            self._withdraw(entry)
        if found:
            self._removed.tally += 1
            self._count()
            self._check_initialized()
            self._tell_warm(name)

    def is_static(self, name: str) -> bool:
        """Whether there is a cluster of this name that discovery has not brought."""
        entry = self._warming.get(name) or self._active.get(name)
        return entry is not None and not entry.added_via_api

    def when_warm(self, names: Iterable[str]) -> Deferred[None]:
        """Fires when none of these is warming any more; cancelled where all end."""
        waiting: Deferred[None] = Deferred(self._wait_no_longer)
        self._waiting[waiting] = {name for name in names if name in self._warming}
        self._tell_warm("")
        return waiting

    def _wait_no_longer(self, waiting: Deferred[None]) -> None:
        del self._waiting[waiting]

    def _tell_warm(self, name: str) -> None:
        """A cluster of this name is warming no more."""
        for waiting, names in tuple(self._waiting.items()):
            names.discard(name)
            if not names:
                del self._waiting[waiting]
                waiting.callback(None)

    def arranging(self, messages: Iterable[Any]) -> Iterator[None]:
        """Show the clusters of these messages first, in this order: a configuration has them so.
        To be gone through.
        """
        names = []
        for each in messages:
            names.append(each.name)
            yield
        first = {name: self._active[name] for name in names if name in self._active}
        self._active = {**first, **self._active}

    def messages(self) -> Iterator[Any]:
        """The `cluster.v3.Cluster` of each, those that warm up first."""
        return (entry.message for entry in (*self._warming.values(), *self._active.values()))

    def is_warming(self, name: str) -> bool:
        """Whether what this name will stand for cannot be used yet."""
        return name in self._warming

    def statuses(self) -> Sequence[ClusterStatus]:
        """The clusters as the admin interface shows them."""
        return Statuses([entry.status for entry in self._active.values()])

    def ask_numbers(self) -> None:
        """Have workers say what they have counted of each host of all clusters."""
        self._send(AskHostNumbers(0))

    def present(self) -> Iterator[ToWorker]:
        """What a worker is to be told of the clusters that there are at this moment."""
        for is_served, entries in ((True, self._active), (False, self._warming)):
            for entry in tuple(entries.values()):
                yield AddCluster(entry.number, entry.message)
                yield entry.membership.told()
                yield Rebalance(entry.number)
                if entry.pause_left:
                    yield PauseCluster(entry.number, entry.pause_left)
                if is_served:
                    yield ServeCluster(entry.number)

    def stop(self) -> Deferred[None]:
        """End all discovery and all checks; fires when nothing is under way."""
        for waiting in tuple(self._waiting):
            waiting.cancel()
        stopping = [entry.stop() for entry in (*self._warming.values(), *self._active.values())]
        self._wheel.stop()
        if self._outlier_log is not None:
            self._outlier_log.close()
        return gatherResults(stopping).addCallback(lambda _: None)

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        for entry in (*self._warming.values(), *self._active.values()):
            entry.reopen_logs()
        if self._outlier_log is not None:
            self._outlier_log.reopen()

    # What workers tell

    def _told(self, take: Callable[[ClusterEntry, Any], None]) -> Callable[[Any], None]:
        """Have the entry of a cluster take what is told of it.  Of one that has ended there may
        still be something to tell: a last attempt to connect, for instance.
        """

        def receive(told: Any) -> None:
            entry = self._known.get(told.cluster)
            if entry is not None:
                take(entry, told)

        return receive

    def _refused(self, told: ClusterRefused) -> None:
        self._known[told.cluster].refused = told

    def _ended(self, told: ClusterEnded) -> None:
        self._known.pop(told.cluster).membership.release()

    # Warming

    def _serve(self, entry: ClusterEntry) -> None:
        """From now on this one is found by its name."""
        predecessor = self._active.get(entry.name)
        self._send(ServeCluster(entry.number))
        self._active[entry.name] = entry
        if predecessor is not None:
            predecessor.stop()

    def _activate(self, entry: ClusterEntry) -> None:
        if self._warming.get(entry.name) is entry:
            del self._warming[entry.name]
            self._serve(entry)
            self._count()
            self._tell_warm(entry.name)

    def _warmed(self, entry: ClusterEntry) -> None:
        self._check_initialized()

    def _check_initialized(self) -> None:
        waiting = self._initialized
        if (
            waiting is not None
            and not waiting.called
            and all(entry.is_warm for entry in self._active.values())
        ):
            waiting.callback(None)

    def _count(self) -> None:
        for gauge in (self._active_gauge, self._inflated):
            gauge.set(len(self._active))
        self._warming_gauge.set(len(self._warming))

    def _collect(self) -> Iterator[None]:
        for entry in tuple(self._active.values()):
            entry.membership.collect()
            yield


def discovery_of(message: Any, context: MainContext) -> IDiscovery:
    """What finds the hosts of a `cluster.v3.Cluster`, by its `type` or the extension in its
    `cluster_type`.

    :raise tcpmesh.registry.UnknownExtension: where nothing knows this type.
    """
    if message.WhichOneof("cluster_discovery_type") == "cluster_type":
        custom = message.cluster_type
        if custom.HasField("typed_config"):
            return build(custom.typed_config, context).discovery(message)  # type: ignore[no-any-return]
    cls, _ = cluster_type(message)
    return cls(message, context)  # type: ignore[no-any-return]
