"""Clusters: how their hosts are found, chosen and connected to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zope.interface import Attribute, Interface

from twisted.internet.defer import Deferred

from tcpmesh.values.dns import Family
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.wire.names import Found


class IHttp2Upstream(Interface):
    """Where requests over HTTP/2 go: `tcpmesh.rpc.client` makes gRPC calls of them."""

    def open(fields: Any, observer: Any, body: bytes = b"", *, ended: bool = False) -> Any:
        """Make a request; the observer may hear of its end before this returns.

        :param fields: the header fields, as pairs of texts, those with a colon first.
        :param observer: a `tcpmesh.rpc.http2.stream.StreamObserver`.
        :param body: what is known of its body.
        :param ended: whether that is all of it.
        :return: the `tcpmesh.rpc.http2.stream.Http2Stream`.
        """

    def tunnel(host: Any, fields: Any, observer: Any, told: Any, client: int) -> Any:
        """Ask a host for a tunnel; the observer may hear before this returns that there is none.

        :param observer: a `tcpmesh.rpc.http2.tunnel.AskingObserver`.
        :param told: what the transport socket of a connection is told, the
            `TransportSocketOptions`.
        :param client: the number of the client's connection.
        :return: the `tcpmesh.rpc.http2.tunnel.Http2Tunnel`.
        """

    def drain(hosts: Any) -> None:
        """These hosts get no more requests."""

    def close() -> None:
        """Break all requests off."""


class IHttp1Upstream(Interface):
    """Where requests over HTTP/1.1 go of which only the status is wanted."""

    def send(request: bytes, timeout: float) -> Deferred[int]:
        """Send a whole request to one of the hosts.

        :param timeout: seconds for all of it.
        :return: the status of the response; or it fails, whose text says why.
        """

    def drain(hosts: Any) -> None:
        """These hosts get no more requests."""

    def close() -> None:
        """Break all requests off."""


class ICluster(Interface):
    """Hosts to choose from, as a worker sees them, or main for calls of its own."""

    name = Attribute("The name that filters use.")
    info = Attribute("Its names: a `ClusterInfo`.")
    connect_timeout = Attribute("Seconds.")
    stats = Attribute("`ClusterStats`.")
    buffer_limit = Attribute("High watermark of upstream connections, bytes.")
    breakers = Attribute("`Breakers`.")
    dialer = Attribute("`Dialer`: opens connections to the hosts.")
    paused = Attribute(
        "The `tcpmesh.cluster.upstream.pause.Pause` in which new connections of clients wait, or "
        "`None`."
    )
    pools = Attribute(
        "`Pools` where connections are shared out, or `None` where each client makes its own."
    )
    http2 = Attribute(
        "An `IHttp2Upstream`: its hosts as gRPC calls reach them, over connections that all calls "
        "share."
    )
    speaks_http2 = Attribute("Whether requests go there in HTTP/2, also other than gRPC: `bool`.")
    http1 = Attribute("An `IHttp1Upstream`: its hosts as requests of the proxy's own reach them.")
    close_on_failure = Attribute(
        "Whether sessions enter themselves in `Host.sessions`, to be closed with an unhealthy host."
    )

    def connect(user: Any) -> Any:
        """Connect to one of the hosts, for the proxy itself.

        :param user: a `tcpmesh.cluster.upstream.own_connection.ConnectionUser`, which may hear of a
            failure before this returns.
        :return: the `OwnConnection`, or `None` where there is no host.
        """

    def pick(context: Any) -> Any:
        """Choose a `Host` for a connection; `None` where none can be had.

        :param context: what the policy may look at, or `None`: the tcp_proxy session that asks,
            with the attributes `hash` (64 bits, or `None`), `stream_info` (what is known of its
            client), `metadata_match` (criteria of subsets, or `None`) and `attempted`, the hosts
            already tried; one of those is chosen again only where no other is left.
        """

    def why_no_host() -> str:
        """Why a pick has just chosen none, in words for people."""


class ILoadBalancer(Interface):
    """One policy at work over one set of hosts.  A pick costs O(1) or O(log n)."""

    def update(sets: Any) -> None:
        """The hosts, or their health, are now these: a
        `tcpmesh.cluster.hosts.host_sets.HostSets`.
        """

    def pick(context: Any) -> Any:
        """Choose one of them, or `None` where there are none; `context` as in `ICluster.pick`."""

    def candidates(context: Any) -> Any:
        """An iterator of all hosts that a pick with this context may choose, the better ones first.

        The cluster asks for it only where picks keep naming hosts that could not be connected to.
        """


class IPeekableBalancer(ILoadBalancer):
    """A policy whose next pick is known beforehand."""

    def peek(context: Any) -> Any:
        """A pick that is kept until it is asked for: see `tcpmesh.cluster.balancing.lookahead`."""


class INamedHostsBalancer(ILoadBalancer):
    """A policy whose hosts are those that connections name."""

    def forget_unused(is_alone: bool = True) -> Any:
        """Forget the hosts that were not picked since the last time and have no connections.

        :param is_alone: whether no other worker may use them; else those that main knows are kept
            until it leaves them out.
        :return: a list of them all.
        """


class IBringsBalancer(Interface):
    """What the class of a cluster type provides that has a load balancer of its own, for clusters
    with CLUSTER_PROVIDED.  The class itself is asked, by workers: discovery is main's.
    """

    def balancer(message: Any, config: Any, context: Any) -> ILoadBalancer:
        """The load balancer of a cluster.

        :param message: the `cluster.v3.Cluster`.
        :param config: what its `cluster_type` configures, or `None` where `type` names this class.
        :param context: a `tcpmesh.cluster.balancing.policy.PolicyContext`.
        """


class IDiscovery(Interface):
    """Finds the hosts of one cluster; belongs to main."""

    warm = Attribute(
        "A `Deferred` that fires once, with `None`, when the first result is there, be it "
        "success or failure."
    )

    dropped_hosts_stay = Attribute(
        "Whether a host that is found no more stays while it passes its health checks: a `bool`."
    )

    def start(found: Callable[[Assignment], None]) -> None:
        """Begin; `found` is called with each `Assignment` that differs from the one before."""

    def stop() -> Deferred[None] | None:
        """Ask no more; nothing is found any more.

        :return: fires when what is under way has come to its end.
        """


class INamedHostsDiscovery(IDiscovery):
    """One that hears of its hosts from workers, whose connections name them."""

    def follow(ask: Callable[[], object]) -> None:
        """Called before `start`: `ask()` has each worker say which hosts are unused."""

    def host_seen(host: HostSpec) -> None:
        """A connection has named a host that its worker did not know."""

    def hosts_unused(hosts: Sequence[HostSpec]) -> None:
        """These are in use no more."""


class INameCaches(Interface):
    """The DNS caches of the whole proxy; belongs to main."""

    def get(message: Any) -> Any:
        """The `tcpmesh.cluster.names.cache.NameCache` of a `DnsCacheConfig`, made for the first one
        that asks.

        :raise tcpmesh.registry.BrokenExtension: where another configuration has its name.
        """


class INameTables(Interface):
    """What a worker knows of them."""

    def hold(message: Any, config: Any = None) -> Any:
        """The `tcpmesh.cluster.names.tables.NameTable` of a `DnsCacheConfig`.

        :param config: the `google.protobuf.Any` that it is part of, to name it where it is refused.
        :raise tcpmesh.registry.BrokenExtension: where another configuration has its name.
        """

    def release(table: Any) -> None:
        """Give one back."""


class IDnsResolver(Interface):
    """Finds the addresses of names."""

    def resolve(name: str, family: Family) -> Deferred[tuple[Found, ...]]:
        """The addresses of a name that a lookup family asks for.

        :return: none where the name has none; it fails with
            `ResolutionFailed` where nobody can say, and may be cancelled.
        """
