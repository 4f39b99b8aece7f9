"""What the admin interface asks of the whole proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from zope.interface import Attribute, Interface

from twisted.internet.defer import Deferred

from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.reload import Configuration, Reloaded
from tcpmesh.values.live.clients import ClientQuery, TopClients
from tcpmesh.values.live.traffic import Traffic
from tcpmesh.values.runtime import Entry
from tcpmesh.values.statuses import (
    ChainStatus,
    ClusterStatus,
    DynamicResources,
    DynamicStatus,
    ListenerStatus,
    TlsContextStatus,
)
from tcpmesh.values.stream.live import (
    CloseQuery,
    CloseRow,
    ConnectionQuery,
    Connections,
    FieldFilter,
)


class IBootstrapExtension(Interface):
    """What an entry of `bootstrap_extensions` builds, in main."""

    internal_buffer = Attribute(
        "Bytes that fit into each direction of a connection to an internal listener: an `int`."
    )


class IReloads(Interface):
    """Replaces the configuration that is served."""

    updated = Attribute(
        "When resources were changed, in seconds since 1970, by kind and name, of those that were "
        "since the start; and `bootstrap`, without name, for the configuration as a whole."
    )

    def reload(by: str, dry_run: bool = False) -> Deferred[Reloaded]:
        """Read the configuration again and serve it, if nothing is wrong with it.

        :param by: who wants that: `signal` or `request`.
        :param dry_run: whether only to say what would change.
        :return: fires when that is done, or cannot be.
        """

    def rollback(to: int | None = None) -> Deferred[Reloaded]:
        """Serve an earlier configuration again: that of this number, or the one before."""

    def history() -> Deferred[tuple[Configuration, ...]]:
        """The last configurations, that which is served at the end."""


class IServer(Interface):
    """What the admin interface may ask of the running server."""

    store = Attribute("The `Store`.")
    bootstrap = Attribute("The Bootstrap message as it was given.")
    options = Attribute("The `ServerOptions`.")
    node = Attribute(
        "The `core.v3.Node` that this proxy is: the bootstrap's, with what the command line "
        "says in its place."
    )
    state = Attribute("'LIVE', 'DRAINING', 'PRE_INITIALIZING' or 'INITIALIZING'.")
    uptime = Attribute("Seconds since this process started, a `float`.")
    restart_facts = Attribute("The `RestartFacts`: which processes were before this one.")
    log_levels = Attribute("The `Levels`.")
    origin = Attribute("The `Origin` of its configuration.")
    samples = Attribute("The `Sample`s of the last ten minutes, the latest at the end.")
    host_events = Attribute("The `RecentEvents` of all clusters.")
    reloads = Attribute("The `IReloads`.")

    def upgrade() -> Deferred[int]:
        """Start the program that is installed now, with this one's command line, and let it take
        over.

        :return: fires with the number of the new process when it serves, or with
            `tcpmesh.values.lifecycle.restart.CannotTakeOver`, or with
            `tcpmesh.values.statuses.NotPossible` where this program is another one.
        """

    def flushing_for_admin() -> Iterator[Deferred[None] | None]:
        """To be gone through before statistics are shown: a flush, where these happen only then
        (`stats_flush_on_admin`).
        """

    def numbers() -> Deferred[None]:
        """Fires when workers have told what they have counted, for `store`."""

    def host_numbers() -> Deferred[None]:
        """Fires when workers have told what they have counted of each host, for
        `cluster_statuses`.
        """

    def cluster_statuses() -> Sequence[ClusterStatus]:
        """The clusters in order of configuration, each made when it is asked for."""

    def listener_statuses() -> Sequence[ListenerStatus]:
        """The listeners in order of configuration."""

    def filter_chains(listener: str) -> Sequence[ChainStatus]:
        """The filter chains of a listener, the default one last; of one that is not there none."""

    def traffic() -> Deferred[Traffic]:
        """How much traffic there is, and what is connected to what, in all workers."""

    def connections(query: ConnectionQuery) -> Deferred[Connections]:
        """The connections that there are, at this moment, in all workers."""

    def closes(query: CloseQuery) -> Deferred[tuple[CloseRow, ...]]:
        """The connections that have ended, the last first."""

    def top_clients(query: ClientQuery) -> Deferred[TopClients]:
        """Which clients have most connections, as limits of each client know it."""

    def close_connections(
        filters: tuple[FieldFilter, ...], percent: int = 100, gently: bool = False
    ) -> Deferred[int]:
        """Close the connections that fit, all at once or the oldest percent gently.

        :return: how many these are.
        """

    def drain_host(cluster: str, address: str, drained: bool) -> int:
        """Give a host no new connections from now on, or some again.

        :return: how many hosts have this address.
        :raise tcpmesh.values.statuses.NotThere: where there is no such cluster or host.
        :raise tcpmesh.values.statuses.NotPossible: where connections name the hosts.
        """

    def rebalance(cluster: str, percent: int) -> Deferred[int]:
        """Close the oldest connections of a cluster gently.

        :return: how many these are.
        :raise tcpmesh.values.statuses.NotThere: where there is no such cluster.
        """

    def pause_cluster(cluster: str, seconds: float) -> None:
        """Hold new connections to a cluster for so long; 0 to hold them no more.

        :raise tcpmesh.values.statuses.NotThere: where there is no such cluster.
        """

    def tls_statuses() -> Sequence[TlsContextStatus]:
        """The certificates of each TLS context, in order of configuration."""

    def dynamic_secrets() -> Sequence[DynamicStatus]:
        """What discovery has brought of secrets; their contents are to be kept secret."""

    def dynamic_listeners() -> DynamicResources:
        """What discovery has brought of listeners."""

    def dynamic_clusters() -> DynamicResources:
        """... and of clusters, also of those that are warming."""

    def is_warming(cluster: str) -> bool:
        """Whether what a name will stand for cannot be used yet."""

    def runtime_layers() -> Sequence[tuple[str, Mapping[str, Entry]]]:
        """The layers of runtime values that are there: the name and the values of each."""

    def modify_runtime(overrides: Mapping[str, str]) -> None:
        """Set runtime values in the admin layer; an empty text takes one away again.

        :raise tcpmesh.runtime.layers.NoAdminLayer: where there is none.
        :raise tcpmesh.runtime.entries.NotReadable: where a text is no value; nothing is set then.
        """

    def drain_listeners(
        scope: DrainScope, is_graceful: bool = False, stops_listening: bool = True
    ) -> None:
        """Accept no more clients at these listeners, whose clients stay; or, where it is graceful,
        have them leave in the drain time first.

        :param stops_listening: whether a graceful drain ends with that.
        """

    def fail_health_checks(fails: bool) -> None:
        """Say of this proxy that it drains, so that others send no more clients, or take that
        back.
        """

    def reopen_logs() -> None:
        """Open log files anew."""

    def quit() -> None:
        """End the process, exit status 0, closing all connections."""
