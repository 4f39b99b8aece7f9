"""A worker: it has the listening sockets and the clients, picks hosts, connects and relays.

What it serves main tells it by messages, and what main has to know it tells by messages.  It asks
nobody anything while a connection is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.accesslog.manager import AccessLogManager
from tcpmesh.cluster.clusters import Clusters
from tcpmesh.cluster.names.tables import NameTables
from tcpmesh.config.fields.tls.secrets import static_secrets
from tcpmesh.interfaces import IAccessLogManager, INetwork
from tcpmesh.listener.listeners import Listeners
from tcpmesh.logs.debug import show_debug
from tcpmesh.net.cooperator import do_all
from tcpmesh.net.internal.listeners import InternalListeners
from tcpmesh.registry import WorkerContext
from tcpmesh.runtime.following import FollowedRuntime
from tcpmesh.server.building import NOT_WAITING, Building
from tcpmesh.server.handover.arriving import Arriving
from tcpmesh.server.handover.leaving import Leaving
from tcpmesh.server.link.numbers import Numbers, WorkerMessage
from tcpmesh.server.live.asked import Asked
from tcpmesh.server.live.closing import Closing
from tcpmesh.server.live.counting import Counting
from tcpmesh.server.live.telling import Telling
from tcpmesh.server.overload.shrinking import shrink_heap
from tcpmesh.stats.settings import stats_store
from tcpmesh.stats.store import Store
from tcpmesh.values.lifecycle.moving import OfferClient
from tcpmesh.values.link import (
    AddListener,
    AskClients,
    AskNumbers,
    Begin,
    Clients,
    DropSecret,
    KeepValues,
    LogLevels,
    OverloadLevels,
    Prepare,
    Prepared,
    PutSecret,
    ReopenLogs,
    Secrets,
    ShareClients,
    SharedBlocks,
    ShrinkHeap,
    Stop,
    Stopped,
)
from tcpmesh.values.overload import Overload
from tcpmesh.values.shared.counts import LocalCounts
from tcpmesh.values.shared.memory import WorkerCounts
from tcpmesh.values.shared.secrets import SecretTable
from tcpmesh.values.workers import connection_ids


def worker_store(begin: Begin) -> Store:
    """The statistics of a worker that has its own.

    :param begin: the first message of main's.
    """
    store = stats_store(begin.stats_config) if begin.stats_config is not None else Store()
    if begin.keeps_values:
        store.keep_values()
    return store


class Worker:
    """One worker.

    :param begin: the first message of main's.
    :param send: tells main a `MainMessage`; descriptors are lent to it beside.
    :param shared: what limits of the whole proxy go by, where there are other workers.
    :param make_access_logs: makes the files of access logs.
    :param owns_store: whether the store is this worker's alone, and main has to be told of it.
    """

    def __init__(
        self,
        begin: Begin,
        network: INetwork,
        store: Store,
        send: Callable[..., object],
        random: Random,
        shared: WorkerCounts | None = None,
        *,
        make_access_logs: Callable[..., IAccessLogManager] = AccessLogManager,
        owns_store: bool = False,
    ) -> None:
        self._gone: Deferred[None] | None = None
        self._index = begin.index
        self._send = send
        self._counts = shared
        self._given: list[str] = []
        """Whose counts main has told of, for what is built next."""
        self._store = store if owns_store else None
        self._access_logs = make_access_logs(
            store,
            network.clock,
            begin.file_flush_interval_msec,
            begin.file_flush_min_size_kb,
        )
        followed = FollowedRuntime(begin.runtime, network.cooperator)
        names = NameTables(store, network.clock, send)
        overload = store.scope("overload")
        self._overload = Overload(begin.overload, overload.counter, random.random)
        clusters: dict[str, Any] = {}
        self.context = self._context(begin, network, store, random, followed, names, clusters)
        for told in begin.discovered_secrets:
            self._put_secret(told)
        self.clusters = Clusters(self.context, send, clusters)
        self.listeners = Listeners(self.context, send, begin.drain, binds=begin.workers == 1)
        self._leaving = Leaving(begin.index, network, self.listeners, send)
        self._arriving = Arriving(begin.index, self.listeners, send)
        clients = self.listeners.clients
        self._asked = Asked(
            begin.index, network, clients, self.context.closes, self.context.limits, send
        )
        self._closing = Closing(begin.index, network, clients, send)
        self._counting = Counting(begin.index, network, clients, self.context.closes, send)
        self._receivers = self._what_is_done(followed, names, store)
        self._building: Building | None = None
        if begin.workers > 1:
            self._building = Building(self.listeners, network.cooperator, self._take)
        self._telling = self._make_telling(store) if begin.workers > 1 else None
        if self._telling is not None:
            self._receivers.update(self._telling.receivers)

    def _context(
        self,
        begin: Begin,
        network: INetwork,
        store: Store,
        random: Random,
        followed: FollowedRuntime,
        names: NameTables,
        clusters: Mapping[str, Any],
    ) -> WorkerContext:
        """What is built here gets."""
        return WorkerContext(
            network=network,
            store=store,
            cluster=clusters.get,
            random=random,
            node=begin.node,
            local_cluster=begin.local_cluster,
            bind_config=begin.bind_config,
            shared=self._counts or LocalCounts(),
            index=begin.index,
            connection_ids=connection_ids(begin.index, begin.generation),
            access_logs=self._access_logs,
            runtime=followed.runtime,
            secrets=SecretTable(static_secrets(begin.secrets), begin.index == 0),
            overload=self._overload,
            internal=InternalListeners(network, begin.internal_buffer),
            names=names,
        )

    def _what_is_done(
        self, followed: FollowedRuntime, names: NameTables, store: Store
    ) -> dict[type, Callable[[Any], object]]:
        """With each message of main's."""
        return {
            **self.clusters.receivers,
            **self.listeners.receivers,
            **names.receivers,
            **followed.receivers,
            **self._asked.receivers,
            **self._closing.receivers,
            **self._counting.receivers,
            **self._leaving.receivers,
            **self._arriving.receivers,
            LogLevels: self._set_levels,
            ReopenLogs: lambda told: self._access_logs.reopen(),
            OverloadLevels: lambda told: self._overload.take(told.levels),
            ShrinkHeap: lambda told: shrink_heap(told.most_unfreed),
            AskNumbers: self._tell_numbers,
            Secrets: self._take_secrets,
            KeepValues: lambda told: store.keep_values(),
            AskClients: self._tell_clients,
            SharedBlocks: self._take_blocks,
            Prepare: self._prepare,
            Stop: self._stop,
            PutSecret: self._put_secret,
            DropSecret: self._drop_secret,
        }

    def receive(self, message: WorkerMessage, sockets: Sequence[Any] = ()) -> None:
        """Main says something.

        :param sockets: what came with the message: sockets of a listener, which are the worker's,
            or descriptors of a client, which are lent.
        """
        if self._building is None:
            self._take(message, sockets)
        else:
            self._building.receive(message, sockets)

    def _take(self, message: WorkerMessage, sockets: Sequence[Any]) -> None:
        if isinstance(message, AddListener):
            self.listeners.add(message, sockets)
        elif isinstance(message, ShareClients):
            self.listeners.share_clients(self.context.network.clock, self._index, sockets)
        elif isinstance(message, OfferClient):
            self._arriving.offer(message, sockets)
        else:
            self._receivers[type(message)](message)
        if self._given and not isinstance(message, (SharedBlocks, *NOT_WAITING)):
            self._give_back()

    @property
    def connections(self) -> int:
        """Its clients, also those that are on their way to another process; where it has none,
        those that have gone and whose last bytes are on their way to their hosts.
        """
        return self.listeners.waited_for + self._leaving.held

    def _prepare(self, told: Prepare) -> None:
        self.clusters.prepare().addCallback(lambda _: self._send(Prepared()))

    def _stop(self, told: Stop) -> None:
        """Accept no more clients, close those there are, and connect to nobody any more."""
        if self._gone is None:
            self._asked.stop()
            self._counting.stop()
            self._closing.stop()
            self._leaving.stop()
            self._arriving.stop()
            self._gone = self.listeners.stop().addCallback(lambda _: self.clusters.stop())
            # Last, for the ends of clients are written down too.
            self._gone.addCallback(lambda _: self._access_logs.stop())
            if self._telling is not None:
                self._gone.addCallback(lambda _, telling: telling.tell_last(), self._telling)
        self._gone.addCallback(lambda _: self._send(Stopped()))

    def _make_telling(self, store: Store) -> Telling:
        """What is done otherwise where there are several: what was counted is told in steps."""
        return Telling(
            self._index,
            self.context.network,
            store,
            lambda: self.connections,
            self.clusters.host_numbers,
            self._send,
        )

    def _take_blocks(self, told: SharedBlocks) -> None:
        assert self._counts is not None
        for owner, block in told.blocks:
            self._counts.assign(owner, block)
            self._given.append(owner)

    def _give_back(self) -> None:
        """What was built has taken its counts; nobody else has those that are left."""
        assert self._counts is not None
        given, self._given = self._given, []
        for owner in given:
            self._counts.unassign(owner)

    def _put_secret(self, told: PutSecret) -> None:
        kind = told.message.WhichOneof("type")
        telling = self.context.secrets.put(told.key, getattr(told.message, kind))
        do_all(self.context.network.cooperator, telling)

    def _drop_secret(self, told: DropSecret) -> None:
        self.context.secrets.drop(told.key)

    def _set_levels(self, told: LogLevels) -> None:
        show_debug(dict(told.levels))

    def _take_secrets(self, told: Secrets) -> None:
        self.context.secrets.replace_static(static_secrets(told.messages))

    def _tell_clients(self, told: AskClients) -> None:
        self._send(Clients(self._index, self.connections))

    def _tell_numbers(self, told: AskNumbers) -> None:
        deltas = self._store.deltas() if self._store is not None else None
        self._send(Numbers(self._index, self.connections, deltas))
