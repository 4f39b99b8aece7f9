"""Every zope Interface of tcpmesh: what the rooms of the house expect of each other.

This is the one module that all others may import, so it imports none of them.  Where Twisted already has an interface
it is used as it is; what stands here is only what a proxy needs beyond it.
"""

from __future__ import annotations

from typing import Any

from zope.interface import Attribute, Interface

from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IListeningPort,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)


class IStreamTransport(ITCPTransport, IPushProducer, IConsumer):
    """A connected byte stream: what a protocol writes to and a L{Direction<tcpmesh.net.relay.Direction>} relays between.

    Everything is Twisted's meaning, and beyond it:

    - C{loseWriteConnection} sends FIN once all that was written is flushed; C{loseConnection} flushes and closes both ways;
      C{abortConnection} closes at once with a reset (RST), C{cutConnection} at once without one; C{resetConnection} flushes,
      then closes with a reset.  What comes
      while a close flushes is read and dropped, for a peer that writes before it reads would never take what is flushed.
    - EOF calls C{readConnectionLost} where the protocol is an L{IHalfCloseableProtocol}, and the write side stays open.
    - C{connectionLost} is called exactly once, with C{ConnectionDone} after an orderly end and C{ConnectionLost} after a
      reset; nothing is delivered after it, and calls to a closed transport do nothing.
    - A paused transport reads nothing; bytes, EOF and reset that come meanwhile are delivered in order after C{resumeProducing}.
    - C{transport.protocol} may be replaced at any time; the next event goes to the new one.
    """

    protocol = Attribute("The L{IProtocol} that gets the events; may be replaced while the connection lives.")

    buffered = Attribute("Bytes accepted by C{write} that the kernel has not taken yet: an C{int}.")

    dropped = Attribute("Bytes written that were never sent, because the connection ended: an C{int}, as far as it is known.")

    high_watermark = Attribute(
        "Above this many buffered bytes the registered producer is paused, at half of it it is resumed; an C{int}, 0 for no limit."
    )

    read_size = Attribute("At most this many bytes are delivered in one call; may be set to less.")

    def getPeer() -> Any:
        """The other side's L{tcpmesh.net.address.Address}."""

    def getHost() -> Any:
        """This side's L{tcpmesh.net.address.Address}."""

    def original_destination() -> Any:
        """Where the peer wanted to connect to before the packet filter redirected it here, or where this is a transparent proxy.

        @return: an L{Address<tcpmesh.net.address.Address>}; C{None} where this is no connection of that kind.
        """

    def unread(data: Any) -> None:
        """Give back bytes that were received: they are delivered again, before all others, and not from within this call."""

    def resetConnection() -> None:
        """Close with a reset (RST) once what was written is flushed: how a relay passes a reset on after the bytes before it."""

    def cutConnection() -> None:
        """Close at once with FIN: the peer gets what the kernel has taken, and the rest is lost.  Envoy's C{NoFlush}."""


class IBufferedProtocol(IProtocol, IHalfCloseableProtocol):
    """A protocol that takes received bytes as a view of a buffer that many connections share, without a copy.

    A transport that can calls C{bufferReceived} in place of C{dataReceived}.
    """

    def bufferReceived(data: memoryview) -> None:
        """Take the bytes of C{data}, which is only valid during the call."""


class INetwork(Interface):
    """Opens listening and outgoing sockets: the stock Twisted transports, the epoll transports or memory."""

    clock = Attribute("The L{IReactorTime} that timeouts of these sockets count on.")

    timers = Attribute("The L{tcpmesh.net.timers.Timers} shared by all connections of this network.")

    def bind(address: Any, options: Any) -> Any:
        """A socket bound to C{address} as the L{ListenOptions<tcpmesh.net.listen.ListenOptions>} say, not yet listening.

        @raise tcpmesh.net.listen.BindError: where the address cannot be had.
        """

    def listen(sock: Any, factory: Any, accepts_per_event: int = 0) -> IListeningPort:
        """Accept connections of C{sock} (of C{bind}, and listening: L{tcpmesh.net.listen.open_socket}) for C{factory}.

        The factory's C{buildProtocol} returns the protocol, or C{None} to close the connection.  What it gets as address is
        of no use: the transport's C{getPeer} tells it, where it is asked for.  Where it has C{accepted_in_event}, that is
        called after each event of the socket with how many connections were accepted.
        """

    def connect(address: Any, factory: Any, timeout: float, options: Any = None) -> Any:
        """Connect to an L{Address<tcpmesh.net.address.Address>}, as L{ConnectOptions<tcpmesh.net.options.ConnectOptions>} say.

        C{factory} is a Twisted client factory: C{buildProtocol} once connected, else C{clientConnectionFailed} with
        C{TimeoutError} after C{timeout} seconds, with C{ConnectBindError} where the source cannot be bound, or with another
        C{ConnectError}.

        @return: an L{IConnector<twisted.internet.interfaces.IConnector>}.
        """

    def knocker(address: Any, visitor: Any, timeout: float, options: Any = None) -> Any:
        """What finds out, time and again, whether an L{Address<tcpmesh.net.address.Address>} accepts connections.

        Each C{start()} of what this returns connects, closes at once, and tells the
        L{Visitor<tcpmesh.net.knock.Visitor>}, perhaps before it returns; C{stop()} gives up.
        """


class IListenerFilter(Interface):
    """What the C{typed_config} of a listener filter builds: one for each listener, shared by its connections.

    Listener filters look at a client before there is a filter chain for it, one after the other.  What they find out they leave on
    the L{IConnection}: C{restored_local}, C{restored_remote}, C{metadata}, filter state.
    """

    def accept(connection: Any) -> Any:
        """Look at a client, whose bytes before this point are consumed.

        @return: C{None} where the next filter may look; C{Verdict.CLOSE} (L{tcpmesh.listener.peek}) to close the client; or an
            L{IInspector}, where its first bytes have to be seen.
        """

    def close() -> None:
        """The listener takes no more clients."""


class IInspector(Interface):
    """Waits for the first bytes of one client."""

    wanted = Attribute("With so many bytes it decides, if not with less: an C{int}, which may grow from one look to the next.")

    def inspect(data: bytearray) -> Any:
        """Look at all bytes that have come and that no filter has consumed, at least one; they are not to be changed.

        @return: the number of bytes to consume, often 0, where the next filter may look, which sees the rest; C{Verdict.WAIT}
            where there are too few of them; or C{Verdict.CLOSE} to close the client.
        """


class INetworkFilter(Interface):
    """What the C{typed_config} of a network filter that ends its chain builds: one for each chain, shared by its connections."""

    terminal = Attribute("True: the filter ends the chain, as tcp_proxy does, and owns the connection's bytes.")

    def attach(connection: Any) -> None:
        """Take over an L{IConnection}, just accepted.

        Who wants the client's bytes becomes the C{protocol} of C{connection.seat}, and calls its C{resumeProducing} where it had
        paused the transport.
        """

    def close() -> None:
        """The chain takes no more connections; those attached are served to their end, then the statistics go."""


class IPatientFilter(INetworkFilter):
    """One that wants to know of its connections before the read filters of its chain decide about them.

    In such a chain C{meet} and, unless the client is turned away, C{attach_met} are called in place of C{attach}.
    """

    def meet(connection: Any) -> None:
        """A connection was accepted: count it, and pause its transport where it is not to be read yet."""

    def attach_met(connection: Any) -> None:
        """Take over a connection that is known."""


class IReadFilter(Interface):
    """What the C{typed_config} of any other network filter builds: one for each chain, shared by its connections.

    L{tcpmesh.net.chain.ReadFilter} is one that does nothing; L{tcpmesh.net.chain} tells in which order things happen.
    """

    terminal = Attribute("False.")

    sees_data = Attribute("Whether C{data_received} is to be called.")

    def new_connection(passage: Any) -> Any:
        """A connection is new.

        @param passage: its L{tcpmesh.net.chain.Passage}.
        @return: a L{tcpmesh.net.chain.Verdict}.
        """

    def data_received(passage: Any, data: bytes, end: bool) -> Any:
        """The client has sent this and, with C{end}, all it will.

        Where a filter holds it up and more comes, this is called again with all that is held.

        @return: a L{tcpmesh.net.chain.Verdict}.
        """

    def connection_lost(passage: Any) -> None:
        """A connection whose C{new_connection} was called is over."""

    def close() -> None:
        """The chain takes no more connections; those attached are served to their end, then the statistics go."""


class IConnection(IBufferedProtocol):
    """A downstream connection: a transport plus what is known about it."""

    transport = Attribute("The L{IStreamTransport}.")
    id = Attribute("A number, unique in this process: what Envoy prints as CONNECTION_ID.")
    flags = Attribute("L{tcpmesh.net.connection.ResponseFlag}s collected so far.")


class ICluster(Interface):
    """Hosts to choose from, as a worker sees them."""

    name = Attribute("The name that filters use.")
    connect_timeout = Attribute("Seconds.")
    stats = Attribute("L{tcpmesh.cluster.stats.ClusterStats}.")
    buffer_limit = Attribute("High watermark of upstream connections, bytes.")
    breakers = Attribute("L{tcpmesh.cluster.breakers.Breakers}.")
    dialer = Attribute("L{tcpmesh.cluster.dial.Dialer}: opens connections to the hosts.")
    pools = Attribute("L{tcpmesh.cluster.pool.Pools} where connections are shared out, or C{None} where each client makes its own.")
    close_on_failure = Attribute("Whether sessions enter themselves in C{Host.sessions}, to be closed with an unhealthy host.")

    def pick(context: Any) -> Any:
        """Choose a L{Host<tcpmesh.cluster.host.Host>} for a connection; C{None} where none can be had.

        @param context: what the policy may look at, or C{None}: the tcp_proxy session that asks, with the attributes C{hash}
            (64 bits, or C{None}), C{connection} (the L{IConnection} of its client), C{metadata_match} (criteria of subsets, or
            C{None}) and C{attempted}, the hosts already tried; one of those is chosen again only where no other is left.
        """


class ILoadBalancer(Interface):
    """One policy at work over one set of hosts.  A pick costs O(1) or O(log n)."""

    def update(sets: Any) -> None:
        """The hosts, or their health, are now these: a L{tcpmesh.cluster.priority.HostSets}."""

    def pick(context: Any) -> Any:
        """Choose one of them, or C{None} where there are none; C{context} as in L{ICluster.pick}."""

    def candidates(context: Any) -> Any:
        """An iterator of all hosts that a pick with this context may choose, the better ones first.

        The cluster asks for it only where picks keep naming hosts that could not be connected to.
        """

    # A policy whose next pick is known beforehand may also have a method C{peek(context)}, a pick that is kept until it is asked
    # for: see L{tcpmesh.cluster.foresight}.


class IDiscovery(Interface):
    """Finds the hosts of one cluster; belongs to main."""

    warm = Attribute("A C{Deferred} that fires once, with C{None}, when the first result is there, be it success or failure.")

    # A discovery may also have a method C{balancer(context)}, which makes an L{ILoadBalancer} with a
    # L{PolicyContext<tcpmesh.cluster.balancing.PolicyContext>}: for clusters with CLUSTER_PROVIDED.

    def start(found: Any) -> None:
        """Begin; C{found} is called with each L{Assignment<tcpmesh.cluster.host.Assignment>} that differs from the one before."""

    def stop() -> None:
        """Ask no more; nothing is found any more."""


class IDnsResolver(Interface):
    """Finds the addresses of names."""

    def resolve(name: Any, family: Any) -> Any:
        """The addresses of a name that a L{Family<tcpmesh.net.resolve.Family>} asks for.

        @return: a C{Deferred} with a tuple of L{Found<tcpmesh.wire.names.Found>}, empty where the name has none; it fails with
            L{ResolutionFailed<tcpmesh.net.resolve.ResolutionFailed>} where nobody can say, and may be cancelled.
        """


class IServer(Interface):
    """What the admin interface may ask of the running server."""

    store = Attribute("The L{tcpmesh.stats.store.Store}.")
    bootstrap = Attribute("The Bootstrap message as it was given.")
    options = Attribute("The L{tcpmesh.server.options.ServerOptions}.")
    node = Attribute("The `core.v3.Node` that this proxy is: the bootstrap's, with what the command line says in its place.")
    state = Attribute("'LIVE', 'DRAINING', 'PRE_INITIALIZING' or 'INITIALIZING'.")
    uptime = Attribute("Seconds since this process started, a C{float}.")
    log_levels = Attribute("The L{tcpmesh.server.log.Levels}.")

    def cluster_statuses() -> Any:
        """A sequence of L{tcpmesh.cluster.status.ClusterStatus}, in order of configuration, each made when it is asked for."""

    def listener_statuses() -> Any:
        """A list of L{tcpmesh.listener.status.ListenerStatus}, in order of configuration."""

    def reopen_logs() -> None:
        """Open log files anew."""

    def quit() -> None:
        """End the process, exit status 0, closing all connections."""
