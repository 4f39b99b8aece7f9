"""The reading half of a fast transport, and the whole of it: an `IStreamTransport`.

`tcpmesh.net.epoll.network` tells how it works, `tcpmesh.net.epoll.writing` has the writing half.
"""

from __future__ import annotations

from collections.abc import Callable
from os import readv, write
from select import EPOLLERR, EPOLLIN, EPOLLOUT, EPOLLPRI
from socket import AF_UNIX
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IHalfCloseableProtocol

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.net.epoll.poller import DOUBTFUL, HANGUP, READABLE
from tcpmesh.net.epoll.pushback import PushbackBuffer
from tcpmesh.net.epoll.splice import AVAILABLE, MOVES, PIPE_SIZE, Pump
from tcpmesh.net.epoll.writing import LOSE, LOST, WriteSide
from tcpmesh.net.sockets import is_at_urgent, unread

READS = 4
"""Full buffers read from one connection before the others get their turn."""


@implementer(IStreamTransport)
class EpollTransport(WriteSide):
    """A connected socket, watched by the poller."""

    __slots__ = ()

    # What the protocol's owner sets

    @property
    def protocol(self) -> Any:
        """The protocol that gets the events."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        if self._after >= LOSE:
            return
        # An `IStraight`; to ask for the interface takes five times as long.
        if getattr(protocol, "straight", False):
            sink = protocol.sink
            is_ours = isinstance(sink, EpollTransport) and sink._poller is self._poller
            self._onto = sink if is_ours else None
            self._receive = protocol.bufferReceived
            return
        self._onto = None
        receive = getattr(protocol, "bufferReceived", None)
        self._receive = receive if receive is not None else _in_bytes(protocol)

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call, 1 to 262144."""
        return len(self._iov[0])

    @read_size.setter
    def read_size(self, size: int) -> None:
        self._set_read_size(size)

    def _set_read_size(self, size: int) -> None:
        self._iov = self._network.iov_of(size)

    def start(self) -> None:
        """Begin to deliver events, unless the protocol has paused the transport already."""
        if not self._paused and self.fd >= 0:
            self._read_on()

    def serve(self, protocol: Any) -> None:
        """Have a protocol for a connection just accepted.  How to give it bytes is found out once
        it is to get any: a client of a proxy has another protocol by then.
        """
        self._protocol = protocol
        protocol.makeConnection(self)
        if not self._paused:
            if self._receive is None:
                self.protocol = protocol
            self.start()

    # Events of the poller

    def ready(self, mask: int) -> None:
        """The kernel reported these epoll events: send what waits, read what is there.

        Reading stands here and not in a method of its own, and so does passing on what nobody wants
        to see, because of what a call costs, once for each message: 0.6 us of 7.2, measured with
        `benchmarks.micro`.
        """
        if mask & EPOLLOUT and self._out:
            self._flush()
        if not mask & READABLE or self.fd < 0:
            return
        if mask & HANGUP:
            self._hangup |= mask
        if self._paused or self._eof or self._pump is not None:
            self._ready_otherwise(mask)
            return
        iov = self._iov
        view = iov[0]
        size = len(view)
        reads = READS
        while reads:
            reads -= 1
            try:
                n = readv(self.fd, iov)
            except BlockingIOError:
                self._readable = False
                return
            except OSError:
                self._close(LOST)
                self._report_lost()
                return
            if n == 0:
                self._end_of_stream()
                return
            onto = self._onto
            if onto is None or onto._out is not None:
                self._receive(view[:n])
            else:
                self._protocol.bytes += n
                data = view[:n]
                try:
                    sent = write(onto.fd, data)
                except OSError:
                    sent = 0
                if sent < n:
                    onto.write(data[sent:])
            if self._paused or self.fd < 0 or self._pump is not None:
                self._readable = True
                return
            if n < size:
                if not self._hangup:
                    self._readable = False
                    return
                if self._ends_here():
                    return
        self._readable = True
        self._poller.again(self)
        self._start_pump()

    def _ends_here(self) -> bool:
        """After a short read: whether a FIN had come before it, so that it has taken all there was;
        the end is told then.  On unix sockets a read may stop at any piece.
        """
        if self._hangup & DOUBTFUL or self._family == AF_UNIX:
            return False
        self._end_of_stream()
        return True

    def _ready_otherwise(self, mask: int) -> None:
        """Readable, but not to be read into the buffer now."""
        if self._eof:
            if mask & EPOLLERR:
                self._close(LOST)
                self._report_lost()
        elif self._paused:
            self._readable = True
        elif isinstance(self._pump, Pump):
            self._pump_bytes(self._pump)
        elif self._pump is not None:
            self._deliver_again(self._pump)

    def ready_again(self) -> None:
        """What was put off: report the end, go on reading, or ask a pull producer for more."""
        if self._reason is not None:
            self._report_lost()
            return
        if self._readable and not self._eof:
            self.ready(EPOLLIN)
        if self._producer is not None and not self._streaming and not self._out:
            self._pull()

    def _deliver_again(self, given_back: PushbackBuffer) -> None:
        """What was given back goes first."""
        data = given_back.take(self.read_size)
        if not given_back.data:
            self._pump = None
        self._readable = True
        self._receive(memoryview(data))
        if not self._paused and self.fd >= 0:
            self._poller.again(self)

    def unread(self, data: Any) -> None:
        """Deliver these bytes again, before all others; not from within this call."""
        if not data or self._after >= LOSE:
            return
        if isinstance(self._pump, PushbackBuffer):
            self._pump.give(data)
        else:
            if self._pump is not None:
                self._stop_pump(self._pump)
            self._pump = PushbackBuffer(data)
        self._readable = True
        if not self._paused:
            self._poller.again(self)

    def _start_pump(self) -> None:
        """The traffic is bulk: let the kernel move it, if the protocol does not want to see it; see
        `tcpmesh.net.epoll.splice`.
        """
        sink = self._onto
        if (
            AVAILABLE
            and sink is not None
            and sink._out is None
            and 0 < sink.high_watermark <= PIPE_SIZE
        ):
            pipe = self._network.pipes.take()
            if pipe is not None:
                self._pump = Pump(self._protocol, self._network.pipes, pipe, sink.high_watermark)

    def _pump_bytes(self, pump: Pump) -> None:
        sink = pump.direction.sink
        self._readable = True
        for _ in range(MOVES):
            has_new_protocol = self._protocol is not pump.direction
            if pump.idle or (has_new_protocol and not pump.held):
                self._stop_pump(pump)
                break
            if has_new_protocol:
                pump.pause()  # until what is in the pipe has left
                return
            try:
                got = pump.fill(self.fd)
            except BlockingIOError:
                self._pump_stalls(pump)
                return
            except OSError:
                self._close(LOST)
                self._report_lost()
                return
            if got == 0:
                # With an end behind it urgent data looks like that, and the kernel may tell of both
                # only after this.
                if self._hangup & EPOLLPRI or is_at_urgent(self.fd):
                    self._hangup |= EPOLLPRI
                    self._pump_stalls(pump)
                    return
                self._end_of_stream()
                return
            sink.take_from(pump)
            if self._paused or self.fd < 0:
                return
        self._poller.again(self)

    def _pump_stalls(self, pump: Pump) -> None:
        """Nothing to read; or a pipe without a free page, though not full by bytes; or urgent data,
        which only a read gets over.
        """
        if pump.held and (self._hangup or unread(self.fd)):
            pump.pause()  # the sink will tell
        elif self._hangup:
            self._stop_pump(pump)
            self._poller.again(self)
        else:
            self._readable = False

    def _end_of_stream(self) -> None:
        self._eof = True
        self._readable = False
        if self._pump is not None:
            self._stop_pump(self._pump)
        if self._failed:
            self._close(LOST)
            self._report_lost()
        elif self._after >= LOSE:
            return
        elif self._onto is not None or IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.loseConnection()

    # As the producer that others pause

    def pauseProducing(self) -> None:
        """Read no more until resumed."""
        if self._after < LOSE:
            self._paused = True

    def resumeProducing(self) -> None:
        """Read on; what came meanwhile is delivered soon, not from within this call."""
        if self._paused and self._after < LOSE:
            self._paused = False
            if self._receive is None:
                self.protocol = self._protocol
            self._read_on()

    def stopProducing(self) -> None:
        """Close, as Twisted's transports understand it."""
        self.loseConnection()


def _in_bytes(protocol: Any) -> Callable[[memoryview], None]:
    """For one of Twisted's protocols, which want bytes of their own."""
    return lambda data: protocol.dataReceived(bytes(data))
