"""Every zope Interface of tcpmesh: what the rooms of the house expect of each other.

This is the one module that all others may import, so it imports only values.  Where Twisted already
has an interface it is used as it is; what stands here is only what a proxy needs beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from socket import socket
from typing import Any

from zope.interface import Attribute, Interface

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConnector,
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)

from tcpmesh.values.address import Address
from tcpmesh.values.dns import Family
from tcpmesh.values.filter_status import FilterStatus, InspectResult
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.values.runtime import Entry
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions
from tcpmesh.values.statuses import ClusterStatus, ListenerStatus
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.wire.names import Found


class IStreamTransport(ITCPTransport, IPushProducer, IConsumer):
    """A connected byte stream: what a protocol writes to and a `Direction` relays between.

    Everything is Twisted's meaning, and beyond it:

    - `loseWriteConnection` sends FIN once all that was written is flushed; `loseConnection` flushes
      and closes both ways; `abortConnection` closes at once with a reset (RST), `cutConnection` at
      once without one; `resetConnection` flushes, then closes with a reset.  What comes while a
      close flushes is read and dropped, for a peer that writes before it reads would never take
      what is flushed.
    - EOF calls `readConnectionLost` where the protocol is an `IHalfCloseableProtocol`, and the
      write side stays open.
    - `connectionLost` is called exactly once, with `ConnectionDone` after an orderly end and
      `ConnectionLost` after a reset; nothing is delivered after it, and calls to a closed transport
      do nothing.
    - A paused transport reads nothing; bytes, EOF and reset that come meanwhile are delivered in
      order after `resumeProducing`.
    - `transport.protocol` may be replaced at any time; the next event goes to the new one.
    """

    protocol = Attribute(
        "The `IProtocol` that gets the events; may be replaced while the connection lives."
    )

    buffered = Attribute("Bytes accepted by `write` that the kernel has not taken yet: an `int`.")

    dropped = Attribute(
        "Bytes written that were never sent, because the connection ended: an `int`, as far as "
        "it is known."
    )

    high_watermark = Attribute(
        "Above this many buffered bytes the registered producer is paused, at half of it it is "
        "resumed; an `int`, 0 for no limit."
    )

    read_size = Attribute("At most this many bytes are delivered in one call; may be set to less.")

    def getPeer() -> Address:  # type: ignore[override]
        """The other side's address."""

    def getHost() -> Address:  # type: ignore[override]
        """This side's address."""

    def original_destination() -> Address | None:
        """Where the peer wanted to connect to before the packet filter redirected it here, or where
        this is a transparent proxy.

        :return: `None` where this is no connection of that kind.
        """

    def unread(data: bytes | bytearray | memoryview) -> None:
        """Give back bytes that were received: they are delivered again, before all others, and not
        from within this call.
        """

    def resetConnection() -> None:
        """Close with a reset (RST) once what was written is flushed: how a relay passes a reset on
        after the bytes before it.
        """

    def cutConnection() -> None:
        """Close at once with FIN: the peer gets what the kernel has taken, and the rest is lost.
        Envoy's `NoFlush`.
        """


class IBufferedProtocol(IProtocol, IHalfCloseableProtocol):
    """A protocol that takes received bytes as a view of a buffer that many connections share,
    without a copy.

    A transport that can calls `bufferReceived` in place of `dataReceived`.
    """

    def bufferReceived(data: memoryview) -> None:
        """Take the bytes of `data`, which is only valid during the call."""


class IStraight(IBufferedProtocol):
    """A protocol that does not want to see its bytes, as a `Direction` of a relay: they go to its
    sink.

    A transport that can passes them on by itself, without `bufferReceived`, and adds to `bytes`
    what it has passed on.
    """

    straight = Attribute("True.")

    sink = Attribute("The `IStreamTransport` that the bytes go to, set before there are any.")

    bytes = Attribute("Bytes received so far: an `int`.")

    def pauseProducing() -> None:
        """The sink is full: what the transport calls in place of the sink where the bytes do not
        pass through it.
        """

    def resumeProducing() -> None:
        """The sink has room again, likewise."""


class IHandsOver(IListeningPort):
    """A listening port whose socket another may go on with."""

    def duplicate() -> socket:
        """Another descriptor of the same listening socket, which stays open when this port
        stops.
        """


class ICountsAccepts(Interface):
    """A server factory that wants to know how many connections come at a time."""

    accepted_in_event = Attribute(
        "Called after each event of a listening socket, with how many connections were accepted."
    )


class INetwork(Interface):
    """Opens listening and outgoing sockets: the stock Twisted transports, the epoll transports or
    memory.
    """

    clock = Attribute("The `IReactorTime` that timeouts of these sockets count on.")

    timers = Attribute("The `TimeoutQueues` shared by all connections of this network.")

    cooperator = Attribute("The Twisted `Cooperator` for all work that takes long.")

    def bind(address: Address, options: ListenOptions) -> Any:
        """A socket bound to `address` as the `options` say, not yet listening: one like
        `tcpmesh.net.listen.BoundSocket`, to be closed with `close_unopened` as long as that is so.

        :raise tcpmesh.net.listen.BindError: where the address cannot be had.
        """

    def listen(sock: Any, factory: Any, accepts_per_event: int = 0) -> IListeningPort:
        """Accept connections of `sock` (of `bind`, and listening: `tcpmesh.net.listen.open_socket`)
        for `factory`.

        The factory's `buildProtocol` returns the protocol, or `None` to close the connection.  What
        it gets as address is of no use: the transport's `getPeer` tells it, where it is asked for.
        It may be an `ICountsAccepts`.

        :return: the port; an `IHandsOver` where sockets can be handed over.
        """

    def connect(
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> IConnector:
        """Connect.

        `factory` is a Twisted client factory: `buildProtocol` once connected, else
        `clientConnectionFailed` with `TimeoutError` after `timeout` seconds, with
        `ConnectBindError` where the source cannot be bound, or with another `ConnectError`.

        :param for_client: whether it is for a client: these may not have the last descriptors.
        """

    def connect_check(
        address: Address, listener: Any, timeout: float, options: ConnectOptions | None = None
    ) -> Any:
        """What finds out, time and again, whether an address accepts connections.

        Each `start()` of what this returns connects, closes at once, and tells the
        `ConnectCheckListener`, perhaps before it returns; `stop()` gives up.
        """

    def stop() -> Deferred[None]:
        """Close at once, with FIN, all that was opened here, ports too.

        :return: fires when nothing of it is left: no descriptor, and no timer of
            `timers`.
        """


class IListenerFilter(Interface):
    """What the `typed_config` of a listener filter builds: one for each listener, shared by its
    connections.

    Listener filters look at a client before there is a filter chain for it, one after the other.
    What they find out they leave in the `stream_info` of the `IConnection`: `restored_local`,
    `restored_remote`, `metadata`, filter state, what the client's first bytes say.
    """

    def accept(connection: Any) -> IInspector | InspectResult | None:
        """Look at a client, whose bytes before this point are consumed.

        :return: `None` where the next filter may look; `InspectResult.CLOSE` to close the client;
            or an `IInspector`, where its first bytes have to be seen.
        """

    def close() -> None:
        """The listener takes no more clients."""


class IInspector(Interface):
    """Waits for the first bytes of one client."""

    wanted = Attribute(
        "With so many bytes it decides, if not with less: an `int`, which may grow from one "
        "look to the next."
    )

    def inspect(data: bytearray) -> int | InspectResult:
        """Look at all bytes that have come and that no filter has consumed, at least one; they are
        not to be changed.

        :return: the number of bytes to consume, often 0, where the next filter may look, which sees
            the rest; `InspectResult.WAIT` where there are too few of them; or `InspectResult.CLOSE`
            to close the client.
        """


class INetworkFilter(Interface):
    """What the `typed_config` of a network filter that ends its chain builds: one for each chain,
    shared by its connections.

    `tcpmesh.connection.filters.NetworkFilter` is one to build upon.
    """

    terminal = Attribute(
        "True: the filter ends the chain, as tcp_proxy does, and owns the connection's bytes."
    )

    def on_accept(connection: Any) -> None:
        """An `IConnection` was accepted, and the read filters of the chain, if there are any, have
        not decided about it yet: to count it, or to pause its transport where it is not to be read.
        """

    def attach(connection: Any) -> None:
        """Take over an `IConnection` that all filters before have let pass.

        Who wants the client's bytes becomes the `protocol` of `connection.read_source`, and calls
        its `resumeProducing` where it had paused the transport.
        """

    def close() -> None:
        """The chain takes no more connections; those attached are served to their end, then the
        statistics go.
        """


class IStoppableFilter(INetworkFilter):
    """One that does more for its connections than to hold them, as a relay does."""

    def stop() -> None:
        """The proxy ends: end all connections that are attached, with what belongs to them, at
        once.
        """


class ILogsConnections(INetworkFilter):
    """One that has access logs of its own, which get a record of each connection that was accepted,
    once it has ended.
    """

    access_logs = Attribute(
        "The `tcpmesh.accesslog.access_logs.AccessLogs`, or `None`; its chain holds it until the "
        "last connection has ended."
    )


class IReadFilter(Interface):
    """What the `typed_config` of any other network filter builds: one for each chain, shared by its
    connections.

    `tcpmesh.connection.filters.ReadFilter` is one that does nothing; `tcpmesh.connection.filters`
    tells in which order things happen.
    """

    terminal = Attribute("False.")

    sees_data = Attribute("Whether `on_data` is to be called.")

    def on_new_connection(manager: Any) -> FilterStatus:
        """A connection is new.

        :param manager: its `tcpmesh.connection.filters.FilterManager`.
        :return: a `FilterStatus`.
        """

    def on_data(manager: Any, data: bytes, end: bool) -> FilterStatus:
        """The client has sent this and, with `end`, all it will.

        Where a filter holds it up and more comes, this is called again with all that is held.

        :return: a `FilterStatus`.
        """

    def on_connection_lost(manager: Any) -> None:
        """A connection whose `on_new_connection` was called is over."""

    def close() -> None:
        """The chain takes no more connections; those attached are served to their end, then the
        statistics go.
        """


class ITransportSocketFactory(Interface):
    """What the `typed_config` of a transport socket builds: one for each filter chain or cluster
    that names it, shared by its connections.

    It provides at least one of the two interfaces below, for where it can stand.
    """

    wraps = Attribute("False where bytes go over the wire as they are, so that nothing is made.")

    def close() -> None:
        """No more connections will be wrapped; those that are live on."""


class IDownstreamTransportSocketFactory(ITransportSocketFactory):
    """A transport socket for the clients of a filter chain."""

    def accepted(connection: Any, observer: Any) -> Any:
        """Wrap a client.

        :param connection: its `IConnection`; `connection.transport` is what is below.
        :param observer: the `HandshakeObserver`.
        :return: a `WrappedTransport`, to be made the protocol of what is below.
        """


class IUpstreamTransportSocketFactory(ITransportSocketFactory):
    """A transport socket for the connections to the hosts of a cluster."""

    def connected(address: Address, observer: Any) -> Any:
        """Wrap a connection to this address, likewise."""


class IAccessLogger(Interface):
    """What the `typed_config` of an access log builds: one for each place that names it, shared by
    the connections there.

    What it is not to record it is not told: filters stand before it.
    """

    def log(info: StreamInfo, at: Moment) -> None:
        """Record a connection, as it is at this moment.

        It never raises and never waits: what cannot be written is counted, and what is kept until
        it can be is bounded.
        """

    def close() -> None:
        """No more will be recorded here; what was is written as far as it can be."""


class IAccessLogFile(Interface):
    """A file that lines are added to, one for all that name its path."""

    def write(text: str) -> None:
        """Add a record, whole: with its line end, where it is to have one.

        Characters that stand for bytes that are no UTF-8 (`surrogateescape`) are those bytes again.
        Never raises and never waits.
        """

    def close() -> None:
        """Its user writes no more; the last one's close writes what is buffered, and closes it."""


class IAccessLogManager(Interface):
    """The files of all access logs of a process: buffered, and written beside the event loop."""

    def open(path: str) -> IAccessLogFile:
        """The file of this path, opened and created where need be.

        :raise OSError: where it cannot be opened.
        """

    def reopen() -> None:
        """Open all files anew: where one was moved away, a new one is begun."""

    def stop() -> Deferred[None]:
        """Write all that is buffered and close all files; fires when that is done."""


class IStatsSnapshot(Interface):
    """What a flush of the statistics has found: all that was ever written to.

    Each of the four iterators has a `None` here and there: a rest, at which the sink is to `yield`.
    """

    wall = Attribute("Seconds since 1970 at which the flush began.")

    def tags(name: str) -> Any:
        """A name without its tags, and the (tag, value) pairs found in it; costs some
        microseconds.
        """

    def counters() -> Any:
        """Each with the attributes `name`, `total` and `delta`, what it has grown by since the last
        flush, which may be 0.
        """

    def gauges() -> Any:
        """Each with the attributes `name` and `value`."""

    def text_readouts() -> Any:
        """Each with the attributes `name` and `value`."""

    def histograms() -> Any:
        """Each with the attributes `name`, `unit`, `bounds` (of buckets), `interval`, what it was
        given since the last flush, perhaps nothing, and `total`; both are a
        `tcpmesh.stats.distribution.Distribution`.
        """


class IStatsSink(Interface):
    """What the `typed_config` of a stats sink builds: one for each place that names it; belongs to
    main.
    """

    wants_values = Attribute(
        "Whether histograms are to keep their values as they are until the flush "
        "(`interval.values`), and not only in bins: a `bool` of the class."
    )

    def flush(snapshot: IStatsSnapshot) -> Any:
        """Send what a flush has found: an iterator, each of whose steps takes a millisecond or two,
        for which a generator that yields at each rest will do.

        It never waits: what cannot be sent is counted, and what is kept until it can be is bounded.
        The next flush does not begin before the last step of this one.
        """

    def close() -> None:
        """The proxy ends, after a last flush."""


class IConnection(IBufferedProtocol):
    """A downstream connection: a transport plus what is known about it."""

    transport = Attribute("The `IStreamTransport`.")
    read_source = Attribute(
        "Whose `protocol` gets what the client sends: the transport, or what shows it to filters "
        "before the last."
    )
    stream_info = Attribute(
        "The `tcpmesh.values.stream.stream_info.StreamInfo`: all that is known of it."
    )


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
    pools = Attribute(
        "`Pools` where connections are shared out, or `None` where each client makes its own."
    )
    http2 = Attribute(
        "An `IHttp2Upstream`: its hosts as gRPC calls reach them, over connections that all calls "
        "share."
    )
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

    def forget_unused() -> Any:
        """Forget the hosts that were not picked since the last time and have no connections.

        :return: a list of them.
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


class IDnsResolver(Interface):
    """Finds the addresses of names."""

    def resolve(name: str, family: Family) -> Deferred[tuple[Found, ...]]:
        """The addresses of a name that a lookup family asks for.

        :return: none where the name has none; it fails with
            `ResolutionFailed` where nobody can say, and may be cancelled.
        """


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
    log_levels = Attribute("The `Levels`.")

    def cluster_statuses() -> Sequence[ClusterStatus]:
        """The clusters in order of configuration, each made when it is asked for."""

    def listener_statuses() -> Sequence[ListenerStatus]:
        """The listeners in order of configuration."""

    def runtime_layers() -> Sequence[tuple[str, Mapping[str, Entry]]]:
        """The layers of runtime values that are there: the name and the values of each."""

    def modify_runtime(overrides: Mapping[str, str]) -> None:
        """Set runtime values in the admin layer; an empty text takes one away again.

        :raise tcpmesh.runtime.layers.NoAdminLayer: where there is none.
        :raise tcpmesh.runtime.entries.NotReadable: where a text is no value; nothing is set then.
        """

    def reopen_logs() -> None:
        """Open log files anew."""

    def quit() -> None:
        """End the process, exit status 0, closing all connections."""
