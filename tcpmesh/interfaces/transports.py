"""What a byte stream is, and what makes and accepts them: beyond the interfaces of Twisted, what a
proxy needs of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions
from tcpmesh.values.stream.moved import MovedSocket
from tcpmesh.values.stream.tcp_facts import TcpFacts


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

    def quiet_for() -> float | None:
        """For how many seconds no data has come or gone here.

        :return: `None` where the system does not know, as of unix sockets.
        """

    def tcp_facts() -> TcpFacts | None:
        """What the system knows of the connection: round-trip time, retransmits.

        :return: `None` where it does not, as of unix sockets and of what is closed.
        """

    def before_close(call: Callable[[], object]) -> None:
        """Call this just before the descriptor is closed, whoever closes it: the last time that
        `tcp_facts` tells something.
        """

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


class IPausable(IListeningPort):
    """A listening port that can let clients wait, in the queue of the kernel.

    Several may ask for that: it accepts again once each of them has taken it back.
    """

    def pause_accepting() -> None:
        """Accept nobody."""

    def resume_accepting() -> None:
        """Accept again, unless somebody else has asked for a pause."""


class IAdopts(Interface):
    """A listening port that goes on with connections that others have accepted."""

    def adopt(descriptor: int) -> None:
        """Serve a connection as if it had been accepted here, also once the port is closed.  The
        descriptor is the port's from then on.
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

    def take_rest(address: Address, options: ListenOptions) -> Sequence[Any]:
        """Sockets of this address, besides that of `bind`, that a process before this one has
        left, and where clients may wait: to be listened to as well.

        :raise tcpmesh.net.listen.BindError: where one cannot be as the options say.
        """

    def listen(
        sock: Any,
        factory: Any,
        accepts_per_event: int = 0,
        passes: Callable[[int], bool] | None = None,
    ) -> IListeningPort:
        """Accept connections of `sock` (of `bind`, and listening: `tcpmesh.net.listen.open_socket`)
        for `factory`.

        The factory's `buildProtocol` returns the protocol, or `None` to close the connection.  What
        it gets as address is of no use: the transport's `getPeer` tells it, where it is asked for.
        It may be an `ICountsAccepts`.

        :param passes: asked for each connection, by its descriptor, whether somebody else has it
            now; of sockets of the system only.
        :return: the port; an `IHandsOver` where sockets can be handed over, an `IPausable` where
            clients can be let wait, an `IAdopts` where there is `passes`.
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
        :return: the connector; if there will be no connection, `connector.on_failure(call)` has
            `call` called with the `TcpFacts` of the attempt, or `None`, before it is closed.
        """

    def connect_check(
        address: Address, listener: Any, timeout: float, options: ConnectOptions | None = None
    ) -> Any:
        """What finds out, time and again, whether an address accepts connections.

        Each `start()` of what this returns connects, closes at once, and tells the
        `ConnectCheckListener`, perhaps before it returns; `stop()` gives up.
        """

    def call_soon(call: Callable[[], object]) -> None:
        """Call this once others, whose bytes are there, had their turn: with sockets of the epoll
        set that is sooner than `clock.callLater(0, ...)`.
        """

    def stop() -> Deferred[None]:
        """Close at once, with FIN, all that was opened here, ports too.

        :return: fires when nothing of it is left: no descriptor, and no timer of
            `timers`.
        """


class IMovesConnections(INetwork):
    """A network whose connections can go on in another one, perhaps of another process."""

    def can_leave(transport: IStreamTransport) -> bool:
        """Whether a transport can: it is one of this network, and is neither closed, nor about to
        be, nor broken.
        """

    def leave(transport: IStreamTransport) -> tuple[int, MovedSocket]:
        """Take its descriptor, which is the caller's then, from a transport that can leave; its
        protocol and its producer are told nothing.
        """

    def arrive(descriptor: int, moved: MovedSocket) -> IStreamTransport:
        """A connection that has left another network, paused.  The descriptor is the transport's
        from then on.
        """
