"""A server that the admin interface can ask, without a proxy behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from zope.interface import implementer

from twisted.internet.defer import Deferred, succeed

from tcpmesh.config.arguments import node_with
from tcpmesh.interfaces import IReloads, IServer
from tcpmesh.logs.levels import Levels
from tcpmesh.runtime.layers import Layers
from tcpmesh.stats.store import Store
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.reload import Configuration, Reloaded, Verdict
from tcpmesh.values.lifecycle.restart import ALONE
from tcpmesh.values.live.clients import ClientQuery, ClientRow, TopClients
from tcpmesh.values.live.host_events import RecentEvents
from tcpmesh.values.live.origin import NO_ORIGIN
from tcpmesh.values.live.traffic import Sample, Traffic
from tcpmesh.values.runtime import Entry
from tcpmesh.values.server_options import ServerOptions
from tcpmesh.values.statuses import (
    NO_DYNAMIC_RESOURCES,
    ChainStatus,
    ClusterStatus,
    DynamicResources,
    DynamicStatus,
    HostStatus,
    ListenerStatus,
    NotPossible,
    NotThere,
    TlsContextStatus,
)
from tcpmesh.values.stream.live import (
    CloseQuery,
    CloseRow,
    ConnectionQuery,
    ConnectionRow,
    Connections,
    FieldFilter,
)

COUNTERS = {
    "cx_connect_fail": 1,
    "cx_total": 3,
    "rq_error": 0,
    "rq_success": 0,
    "rq_timeout": 0,
    "rq_total": 3,
}
GAUGES = {"cx_active": 2, "rq_active": 2, "rq_pending_active": 0}


@implementer(IReloads)
class FakeReloads:
    """Says what a test gave it."""

    def __init__(self) -> None:
        self.updated: dict[tuple[str, str], float] = {}
        self.done = Reloaded(Verdict.UNCHANGED, 1)
        self.answer: Deferred[Reloaded] | None = None
        """What is answered, where it is not to be at once."""
        self.served: tuple[Configuration, ...] = ()
        self.asked: list[object] = []

    def reload(self, by: str, dry_run: bool = False) -> Deferred[Reloaded]:
        """Remember what was asked for."""
        self.asked.append((by, dry_run))
        return self.answer or succeed(self.done)

    def rollback(self, to: int | None = None) -> Deferred[Reloaded]:
        """Likewise."""
        self.asked.append(to)
        return succeed(self.done)

    def history(self) -> Deferred[tuple[Configuration, ...]]:
        """What the test has put here."""
        return succeed(self.served)


@implementer(IServer)
class FakeServer:
    """Says what a test gave it, and counts how often it was told to quit."""

    def __init__(self, options: ServerOptions | None = None) -> None:
        self.store = Store()
        self.bootstrap = bootstrap_pb2.Bootstrap()
        self.options = options or ServerOptions()
        self.state = "LIVE"
        self.uptime = 61.5
        self.clusters: list[ClusterStatus] = []
        self.listeners: list[ListenerStatus] = []
        self.chains: dict[str, tuple[ChainStatus, ...]] = {}
        self.contexts: list[TlsContextStatus] = []
        self.log_levels = Levels("info", {})
        self.layers = Layers(bootstrap_pb2.Bootstrap(), "", Store(), lambda message: None)
        self.origin = NO_ORIGIN
        self.restart_facts = ALONE
        self.upgraded: Deferred[int] = Deferred()
        self.host_events = RecentEvents()
        self.reloads = FakeReloads()
        self.samples: deque[Sample] = deque()
        self.now = Traffic(Sample(0.0, 0, 0, 0, 0), {})
        self.rows: list[ConnectionRow] = []
        self.close_rows: list[CloseRow] = []
        self.client_rows: list[ClientRow] = []
        self.asked: list[object] = []
        """What was asked about connections."""
        self.quits = 0
        self.discovered_listeners = NO_DYNAMIC_RESOURCES
        self.discovered_secrets: tuple[DynamicStatus, ...] = ()
        self.discovered_clusters = NO_DYNAMIC_RESOURCES
        self.drains: list[tuple[object, ...]] = []
        """The arguments of each call that drains listeners, and of those that fail health
        checks.
        """
        self.flushes = 0
        self.reopened = 0

    def upgrade(self) -> Deferred[int]:
        """What the test lets happen."""
        return self.upgraded

    @property
    def node(self) -> Any:
        """The bootstrap's, as a test may have changed it, with the options in its place."""
        return node_with(self.bootstrap.node, self.options.node_arguments)

    def numbers(self) -> Deferred[None]:
        """All is counted here."""
        return succeed(None)

    host_numbers = numbers

    def flushing_for_admin(self) -> Iterator[None]:
        """Count, in two steps."""
        yield
        self.flushes += 1

    def connections(self, query: ConnectionQuery) -> Deferred[Connections]:
        """What the query was, and what a test says."""
        self.asked.append(query)
        return succeed(Connections(tuple(self.rows), len(self.rows), len(self.rows)))

    def closes(self, query: CloseQuery) -> Deferred[tuple[CloseRow, ...]]:
        """The same of those that have ended."""
        self.asked.append(query)
        return succeed(tuple(self.close_rows))

    def top_clients(self, query: ClientQuery) -> Deferred[TopClients]:
        """The same of the clients that limits know."""
        self.asked.append(query)
        return succeed(TopClients(tuple(self.client_rows), len(self.client_rows)))

    def close_connections(
        self, filters: tuple[FieldFilter, ...], percent: int = 100, gently: bool = False
    ) -> Deferred[int]:
        """As many as there are."""
        self.asked.append((filters, percent, gently))
        return succeed(len(self.rows))

    def drain_host(self, cluster: str, address: str, drained: bool) -> int:
        """Remember what was asked for; only cluster `db` is there."""
        self._steer(cluster, address, drained)
        return 1

    def rebalance(self, cluster: str, percent: int) -> Deferred[int]:
        """Likewise."""
        self._steer(cluster, percent)
        return succeed(len(self.rows))

    def pause_cluster(self, cluster: str, seconds: float) -> None:
        """Likewise."""
        self._steer(cluster, seconds)

    def _steer(self, cluster: str, *asked: object) -> None:
        if cluster == "named":
            raise NotPossible("connections name the hosts of cluster named themselves")
        if cluster != "db":
            raise NotThere(f"there is no cluster {cluster}")
        self.asked.append(asked)

    def dynamic_secrets(self) -> tuple[DynamicStatus, ...]:
        """Those that the test has put here."""
        return self.discovered_secrets

    def dynamic_listeners(self) -> DynamicResources:
        """Those that the test has put here."""
        return self.discovered_listeners

    def dynamic_clusters(self) -> DynamicResources:
        """Likewise."""
        return self.discovered_clusters

    def is_warming(self, cluster: str) -> bool:
        """Whether its name says so."""
        return cluster.startswith("warming")

    def cluster_statuses(self) -> list[ClusterStatus]:
        """The clusters that the test has put here."""
        return self.clusters

    def tls_statuses(self) -> list[TlsContextStatus]:
        """The contexts that the test has put here."""
        return self.contexts

    def listener_statuses(self) -> list[ListenerStatus]:
        """The listeners that the test has put here."""
        return self.listeners

    def filter_chains(self, listener: str) -> Sequence[ChainStatus]:
        """Those that the test has put here."""
        return self.chains.get(listener, ())

    def traffic(self) -> Deferred[Traffic]:
        """What the test has put here."""
        return succeed(self.now)

    def runtime_layers(self) -> Sequence[tuple[str, Mapping[str, Entry]]]:
        """Those that the test has put here."""
        return self.layers.shown()

    def modify_runtime(self, overrides: Mapping[str, str]) -> None:
        """Set values in them."""
        self.layers.modify(overrides)

    def reopen_logs(self) -> None:
        """Count."""
        self.reopened += 1

    def drain_listeners(
        self, scope: DrainScope, is_graceful: bool = False, stops_listening: bool = True
    ) -> None:
        """Note it."""
        self.drains.append((scope, is_graceful, stops_listening))

    def fail_health_checks(self, fails: bool) -> None:
        """Note it."""
        self.drains.append((fails,))
        self.state = "DRAINING" if fails else "LIVE"

    def quit(self) -> None:
        """Count."""
        self.quits += 1


def host(address: str = "127.0.0.2:8080", **facts: object) -> HostStatus:
    """A host that has had some traffic."""
    return HostStatus(address, counters=dict(COUNTERS), gauges=dict(GAUGES), **facts)  # type: ignore[arg-type]
