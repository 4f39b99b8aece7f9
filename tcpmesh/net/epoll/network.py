"""The fast transports: Twisted's own interfaces on bare descriptors in the `Poller`'s
edge-triggered set.

Theory of operation.  A transport is a small object with a descriptor number; there is no socket
object, because a method call on one costs more than the call on the number.  Received bytes land in
one buffer that all connections share and are handed on as a `memoryview`
(`IBufferedProtocol.bufferReceived`); a relay writes the view to the other descriptor before the
next read overwrites it, so that a byte is copied in Python only when a peer does not take it at
once.

Reading goes on until the kernel has no more.  That is known without asking again when a read came
back short; where the peer's end of stream was reported too, for data and FIN may share one edge,
the end is known with it.  Only where there was a reset or urgent data another read has to tell.  A
transport reads at most `READS` times in a row and then puts itself behind the others, so
that one busy connection cannot starve the rest.

Paused means: not read.  What the kernel reported meanwhile is remembered and served on resume, so
bytes, end of stream and reset reach the protocol in the order in which the peer sent them.  A
connection that starts out paused, as every client of a proxy does while its upstream connects, is
not even put into the set until it is first resumed.

A write goes straight to the kernel; what is left over waits in `_out`, which is `None` on the fast
path, so that one test answers at once "is anything waiting, closing or closed".  Above the high
watermark the producer is paused, at half of it it is resumed.

When a write fails, the peer has reset the connection, but bytes it sent before may still wait to be
read: the transport drops what it cannot send and reads on to the end before it reports the loss.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from twisted.internet.defer import Deferred

from tcpmesh.interfaces import IMovesConnections
from tcpmesh.net.connecting.connect_check import ConnectCheckListener
from tcpmesh.net.cooperator import shared_cooperator
from tcpmesh.net.descriptor_reserve import DescriptorReserve
from tcpmesh.net.epoll import moving
from tcpmesh.net.epoll.accept import AcceptingPort, PassingPort
from tcpmesh.net.epoll.base_poller import Turn
from tcpmesh.net.epoll.connect import EpollConnector, timed_out
from tcpmesh.net.epoll.connect_check import EpollConnectCheck
from tcpmesh.net.epoll.poller import Poller
from tcpmesh.net.epoll.splice import Pipes
from tcpmesh.net.epoll.transport import EpollTransport
from tcpmesh.net.listen import BoundSocket
from tcpmesh.net.listening import ListeningSockets
from tcpmesh.net.timeout_queues import TimeoutQueues
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions, ListenOptions
from tcpmesh.values.stream.moved import MovedSocket

READ_SIZE = 256 * 1024
"""Bytes of the shared buffer.  Measured: 64 KiB costs twice the CPU per bulk byte; above 256 KiB
nothing is gained.
"""

CONNECT_TIMEOUT = 5.0
"""Seconds: that of clusters which say nothing of it."""

KEPT_SIZES = 256
"""Of so many sizes the cut buffer is kept."""


@implementer(IMovesConnections)
class EpollNetwork:
    """Sockets in one epoll set of the reactor.

    :param read_size: bytes of the buffer that all connections read into.
    :param listening: where listening sockets come from.
    :param busy_poll: seconds in which, after an event, the kernel is asked again and again before
        anybody sleeps.
    """

    transport_type = EpollTransport
    connector_type = EpollConnector
    """What another network that builds on this has of its own."""

    def __init__(
        self,
        reactor: Any,
        read_size: int = READ_SIZE,
        listening: ListeningSockets | None = None,
        busy_poll: float = 0.0,
    ) -> None:
        self.clock = reactor
        self._listening = ListeningSockets() if listening is None else listening
        self.timers = TimeoutQueues(reactor)
        self.connect_timeouts = self.timers.queue(CONNECT_TIMEOUT, timed_out)
        self.cooperator = shared_cooperator(reactor)
        self.poller = self._make_poller(reactor, read_size, busy_poll)
        self._view = memoryview(bytearray(read_size))
        self.iov = [self._view]
        self.reserve = DescriptorReserve(reactor)
        self.pipes = Pipes(self.reserve.for_upstreams)
        self.ports: set[AcceptingPort] = set()
        self.before_close: dict[Any, tuple[Callable[[], object], ...]] = {}
        self._iovs = {read_size: self.iov}

    def _make_poller(self, reactor: Any, read_size: int, busy: float) -> Any:
        return Poller(reactor, busy=busy)

    def iov_of(self, size: int) -> list[memoryview]:
        """The shared buffer cut to this many bytes, as `os.readv` takes it."""
        size = max(1, min(size, len(self._view)))
        found = self._iovs.get(size)
        if found is None:
            found = [self._view[:size]]
            if len(self._iovs) < KEPT_SIZES:  # a client may have its own, and another the next time
                self._iovs[size] = found
        return found

    def can_leave(self, transport: Any) -> bool:
        """Whether another network can go on with it."""
        return type(transport) is self.transport_type and moving.can_leave(transport)

    def leave(self, transport: Any) -> tuple[int, MovedSocket]:
        """Take its descriptor from a transport."""
        return moving.leave(transport)

    def arrive(self, descriptor: int, moved: MovedSocket) -> EpollTransport:
        """Go on with a connection of another network."""
        transport = self.transport_type(self, descriptor, moved.family, moved.peer, False)
        moving.arrive(transport, moved)
        return transport

    def bind(self, address: Address, options: ListenOptions) -> socket.socket:
        """A socket of the system, bound and not yet listening, or one that is there already."""
        return self._listening.bind(address, options)

    def take_rest(self, address: Address, options: ListenOptions) -> list[BoundSocket]:
        """What a predecessor had more for an address."""
        return self._listening.take_rest(address, options)

    def listen(
        self,
        sock: socket.socket,
        factory: Any,
        accepts_per_event: int = 0,
        passes: Callable[[int], bool] | None = None,
    ) -> AcceptingPort:
        """Accept connections of a bound and listening socket for the factory."""
        if passes is None:
            port = AcceptingPort(self, sock, factory, accepts_per_event)
        else:
            port = PassingPort(self, sock, factory, accepts_per_event, passes)
        port.startListening()
        return port

    def connect(
        self,
        address: Address,
        factory: Any,
        timeout: float,
        options: ConnectOptions | None = None,
        for_client: bool = False,
    ) -> EpollConnector:
        """Connect within `timeout` seconds; the factory hears of the outcome."""
        make = self.connector_type
        connector = make(self, address, factory, timeout, options, for_client)
        connector.connect()
        return connector

    def connect_check(
        self,
        address: Address,
        listener: ConnectCheckListener,
        timeout: float,
        options: ConnectOptions | None = None,
    ) -> EpollConnectCheck:
        """What finds out, time and again, whether an address accepts connections."""
        return EpollConnectCheck(self, address, listener, timeout, options)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call this once others, whose bytes are there, had their turn."""
        self.poller.again(Turn(call))

    def stop(self) -> Deferred[None]:
        """Close all that is open, and leave the reactor."""
        for port in tuple(self.ports):
            port.stopListening()
        stopped: Deferred[None] = self.poller.stop().addCallback(self._stopped)
        return stopped

    def _stopped(self, _: None) -> None:
        self.timers.stop()
        self.cooperator.stop()
        self.pipes.close()
        self._listening.close()
