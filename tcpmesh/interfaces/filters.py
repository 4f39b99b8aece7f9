"""What stands between an accepted client and its upstream: listener filters, network filters,
transport sockets.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from zope.interface import Attribute, Interface

from tcpmesh.interfaces.transports import IBufferedProtocol
from tcpmesh.values.address import Address
from tcpmesh.values.filter_status import FilterStatus, InspectResult
from tcpmesh.values.stream.moved import MovedConnection
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions


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


class INetworkFilter(Interface):
    """What the `typed_config` of a network filter that ends its chain builds: one for each chain,
    shared by its connections.

    `tcpmesh.connection.filters.NetworkFilter` is one to build upon.

    One that has an attribute `serves_many_chains`, and it is true, may be that of all chains of a
    listener whose filters are configured alike; so may a read filter and a transport socket.  It
    keeps nothing that would be another chain's: no limit, no token bucket, no drain.
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


class IReleasedFilter(INetworkFilter):
    """One that wants to know when nobody will be attached any more: after `close` those may still
    be that other filters of the chain have held up.
    """

    def release() -> None:
        """The last client of the chain has left, and none comes any more."""


class ILogsConnections(INetworkFilter):
    """One that has access logs of its own, which get a record of each connection that was accepted,
    once it has ended.
    """

    access_logs = Attribute(
        "The `tcpmesh.accesslog.access_logs.AccessLogs`, or `None`; its chain holds it until the "
        "last connection has ended."
    )


class IMovesClients(INetworkFilter):
    """One whose clients can go on in another process, where no other filter and no transport socket
    stands before it.
    """

    def clients() -> tuple[Any, ...]:
        """Its clients at this moment: of each its `connection` is known, an `IConnection`."""

    def why_stays(client: Any) -> str:
        """Why one of them cannot leave now; empty where it can.  What may soon be otherwise is one
        of `tcpmesh.values.stream.moved.PASSING`.
        """

    def leave(client: Any) -> tuple[MovedConnection, tuple[int, int]]:
        """Let one that can go: what is to be known of it, and the descriptors of the client and of
        the host, which are the caller's.
        """

    def takes(moved: MovedConnection) -> str:
        """Why a client of another process cannot go on here; empty where it can."""

    def arrive(connection: Any, moved: MovedConnection, upstream: Any) -> None:
        """Go on with one that it takes.

        :param connection: the `IConnection`, which is its listener's already.
        :param upstream: the `IStreamTransport` to the host; both transports have arrived.
        """


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


class IFilterFactory(Interface):
    """What the `typed_config` of a network filter builds that changes the bytes of its connections:
    one for each chain.

    `tcpmesh.connection.byte_filters.base.FilterFactory` is one to build upon.  A chain that has one
    pays for it with each byte; `IReadFilter` is for those that only look.
    """

    terminal = Attribute("False.")

    def build_filter(callbacks: Any) -> IByteFilter:
        """The filter of a new connection.

        :param callbacks: what it may do, a
            `tcpmesh.connection.byte_filters.callbacks.FilterCallbacks`.
        """

    def close() -> None:
        """The chain takes no more connections; those attached are served to their end, then the
        statistics go.
        """


class IByteFilter(Interface):
    """The filter of one connection, which sees its bytes in both directions and may change them.

    `tcpmesh.connection.byte_filters.base.ByteFilter` is one that does nothing.
    """

    def on_new_connection() -> FilterStatus:
        """The connection is new.

        :return: STOP to hold up the filters after this one, and with them the upstream connection,
            until `callbacks.resume`.
        """

    def on_data(data: bytearray, end: bool) -> FilterStatus:
        """The client has sent this and, with `end`, all it will: the filters before have let it
        pass.

        What is in `data` when this returns goes on to the next filter; it may be changed, cut and
        added to, in place.

        :return: CONTINUE; DONE where this filter wants to see no more; or STOP to keep what is in
            `data`, and the end: this is called again with it and what comes later, or with
            `callbacks.retry_data`.
        """

    def on_write(data: bytearray, end: bool) -> FilterStatus:
        """This is for the client, and with `end` it is all: likewise, in the reverse order of
        filters.
        """

    def on_connection_lost() -> None:
        """The connection is over."""


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
        :return: a `WrappedTransport`, to be made the protocol of what is below; or `None`, and then
            nothing is between, and there is no handshake.
        """


class IUpstreamTransportSocketFactory(ITransportSocketFactory):
    """A transport socket for the connections to the hosts of a cluster.

    One that has a method `connecting` is told of each attempt to connect that begins: the arguments
    are the connector that `INetwork.connect` has returned, and the `TransportSocketOptions`.
    """

    def connected(address: Address, observer: Any, options: TransportSocketOptions) -> Any:
        """Wrap a connection to this address, likewise.

        :param options: what is known of this connection alone; `NO_OPTIONS` where nothing is.
        """


class IPerClientTransportSocketFactory(IUpstreamTransportSocketFactory):
    """One that goes by something else than all it is told."""

    needs_header = Attribute("Whether it is to be told what a PROXY header says of the client.")

    def pool_key(options: TransportSocketOptions) -> Hashable:
        """What has to be equal for clients to share a pool of connections."""


class IReadyAtOnce(IUpstreamTransportSocketFactory):
    """One that has no handshake: a connection that only tries whether a host can be connected to
    need not be wrapped.
    """
