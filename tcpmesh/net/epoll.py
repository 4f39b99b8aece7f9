"""The fast transports: Twisted's own interfaces on bare descriptors in the `Poller`'s edge-triggered set.

Theory of operation.  A transport is a small object with a descriptor number; there is no socket object, because a method
call on one costs more than the call on the number.  Received bytes land in one buffer that all connections share and are
handed on as a `memoryview` (`IBufferedProtocol.bufferReceived`); a relay writes the view to the other descriptor before
the next read overwrites it, so that a byte is copied in Python only when a peer does not take it at once.

Reading goes on until the kernel has no more.  That is known without asking again when a read came back short - unless the
peer's end of stream or a reset was reported, for data and FIN may share one edge.  A transport reads at most `READS` times
in a row and then puts itself behind the others, so that one busy connection cannot starve the rest.

Paused means: not read.  What the kernel reported meanwhile is remembered and served on resume, so bytes, end of stream and
reset reach the protocol in the order in which the peer sent them.  A connection that starts out paused, as every client of
a proxy does while its upstream connects, is not even put into the set until it is first resumed.

A write goes straight to the kernel; what is left over waits in `_out`, which is `None` on the fast path, so that one test
answers at once "is anything waiting, closing or closed".  Above the high watermark the producer is paused, at half of it
it is resumed.

When a write fails, the peer has reset the connection, but bytes it sent before may still wait to be read: the transport
drops what it cannot send and reads on to the end before it reports the loss.
"""

from __future__ import annotations

import os
import socket
from select import EPOLLERR, EPOLLOUT
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork, IStreamTransport
from tcpmesh.net.accept import AcceptingPort
from tcpmesh.net.address import Address
from tcpmesh.net.connect import EpollConnector
from tcpmesh.net.listen import ListenOptions, bind
from tcpmesh.net.poller import HANGUP, READABLE, WATCH, Poller
from tcpmesh.net.sockets import HIGH_WATERMARK, UNSENT_POLL, UNSENT_POLLS, Descriptor, unsent
from tcpmesh.net.splice import AVAILABLE, MOVES, Pipes, Pump
from tcpmesh.net.timers import Timers

log = Logger(namespace="connection")

READ_SIZE = 256 * 1024
"""Bytes of the shared buffer.  Measured: 64 KiB costs twice the CPU per bulk byte; above 256 KiB nothing is gained."""

READS = 4
"""Full buffers read from one connection before the others get their turn."""

SHUT = b""
"""`_out` of a transport that takes no more bytes."""

OPEN, FIN, LOSE, FLUSH_RESET = range(4)
"""What happens once `_out` is flushed: nothing, half-close, close, close with a reset."""

# Made once: a Failure costs more than all else that a close does.
DONE = Failure(ConnectionDone())
LOST = Failure(ConnectionLost())
ABORTED = Failure(ConnectionAborted())


def _ignore(data: memoryview) -> None:
    """Bytes for a protocol that is gone."""


@implementer(IStreamTransport)
class EpollTransport(Descriptor):
    """A connected socket; see the module's text."""

    __slots__ = (
        "_after",
        "_eof",
        "_failed",
        "_hangup",
        "_iov",
        "_network",
        "_out",
        "_paused",
        "_poller",
        "_producer",
        "_producer_paused",
        "_protocol",
        "_pump",
        "_readable",
        "_reason",
        "_receive",
        "_registered",
        "_splice",
        "_streaming",
        "dropped",
        "high_watermark",
    )

    def __init__(self, network: EpollNetwork, fd: int, family: int, peer: Any, registered: bool) -> None:
        super().__init__(fd, family, peer)
        self.high_watermark = HIGH_WATERMARK
        self.dropped = 0
        self._network = network
        self._poller = network.poller
        self._registered = registered
        self._protocol: Any = None
        self._receive: Any = _ignore
        self._iov = network.iov
        self._out: Any = None
        self._after = OPEN
        self._producer: Any = None
        self._producer_paused = self._streaming = False
        self._paused = self._readable = self._hangup = self._eof = self._failed = False
        self._reason: Failure | None = None
        self._splice: Any = None
        self._pump: Pump | None = None

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
        receive = getattr(protocol, "bufferReceived", None)
        self._receive = receive if receive is not None else lambda data: protocol.dataReceived(bytes(data))

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call, 1 to 262144."""
        return len(self._iov[0])

    @read_size.setter
    def read_size(self, size: int) -> None:
        self._iov = self._network.iov_of(size)

    def allow_splice(self, direction: Any) -> None:
        """Bulk bytes may bypass this direction's `bufferReceived`, if its sink is such a transport too."""
        if AVAILABLE and isinstance(direction.sink, EpollTransport):
            self._splice = direction

    def start(self) -> None:
        """Begin to deliver events, unless the protocol has paused the transport already."""
        if not self._registered and not self._paused and self.fd >= 0:
            self._register()

    # Events of the poller

    def ready(self, mask: int) -> None:
        """The kernel reported these epoll events."""
        if mask & EPOLLOUT and self._out:
            self._flush()
        if mask & READABLE and self.fd >= 0:
            if mask & HANGUP:
                self._hangup = True
            if self._eof:
                if mask & EPOLLERR:
                    self._close(LOST)
                    self._report_lost()
            elif self._paused:
                self._readable = True
            else:
                self._read()

    def ready_again(self) -> None:
        """What was put off: report the end, go on reading, or ask a pull producer for more."""
        if self._reason is not None:
            self._report_lost()
        elif self._readable and not self._paused and not self._eof:
            self._read()
        if self._producer is not None and not self._streaming and not self._out:
            self._pull()

    def failed(self) -> None:
        """Its protocol raised: the connection cannot go on."""
        self.abortConnection()

    def _register(self) -> None:
        self._registered = True
        self._poller.register(self.fd, self, WATCH)

    def _read(self) -> None:
        if self._pump is not None:
            self._pump_bytes(self._pump)
            return
        iov = self._iov
        view = iov[0]
        size = len(view)
        for _ in range(READS):
            try:
                n = os.readv(self.fd, iov)
            except BlockingIOError:
                self._readable = False
                return
            except OSError:
                self._close(LOST)
                self._report_lost()
                return
            if n == 0:
                self._readable = False
                self._end_of_stream()
                return
            self._receive(view[:n])
            if self._paused or self.fd < 0:
                self._readable = True
                return
            if n < size and not self._hangup:
                self._readable = False
                return
        self._readable = True
        self._poller.again(self)
        if self._splice is not None:
            self._start_pump()

    def _start_pump(self) -> None:
        """The traffic is bulk: let the kernel move it, see `tcpmesh.net.splice`."""
        sink = self._splice.sink
        if sink._out is None:
            pipe = self._network.pipes.take()
            if pipe is not None:
                self._pump = Pump(self._splice, self._network.pipes, pipe, sink.high_watermark)

    def _pump_bytes(self, pump: Pump) -> None:
        sink = self._splice.sink
        self._readable = True
        for _ in range(MOVES):
            try:
                got = pump.fill(self.fd)
            except BlockingIOError:
                # Nothing to read, unless the pipe has no place left: then the sink will tell.
                if pump.held:
                    pump.pause()
                else:
                    self._readable = False
                return
            except OSError:
                self._close(LOST)
                self._report_lost()
                return
            if got == 0:
                self._readable = False
                self._end_of_stream()
                return
            sink.take_from(pump)
            if pump.idle:
                self._stop_pump()
                break
            if self._paused or self.fd < 0:
                return
        self._poller.again(self)

    def _stop_pump(self) -> None:
        if self._pump is not None:
            pump, self._pump = self._pump, None
            pump.source_ended()

    def _end_of_stream(self) -> None:
        self._eof = True
        self._stop_pump()
        if self._failed:
            self._close(LOST)
            self._report_lost()
        elif self._after >= LOSE:
            return
        elif IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.loseConnection()

    # Writing

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return len(self._out) if self._out else 0

    def write(self, data: Any) -> None:
        """Send bytes; what the kernel does not take at once is kept."""
        if self._out is None:
            try:
                sent = os.write(self.fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.dropped += len(data)
                self._write_failed()
                return
            if sent < len(data):
                self._out = bytearray(memoryview(data)[sent:])
                self._pushed_back()
        elif self._out and self._after == OPEN:
            self._out += data
            self._pushed_back()
        else:
            self.dropped += len(data)

    def writeSequence(self, data: Any) -> None:
        """Send several pieces as one."""
        self.write(b"".join(data))

    def take_from(self, pump: Pump) -> None:
        """Send what a pump holds; what the kernel does not take at once stays there, in place of other bytes buffered."""
        if self._out is None or self._out is pump:
            self._out = pump
            if not self._registered:
                self._register()
            self._flush_pump(pump)
        else:
            self.dropped += pump.held
            pump.end()

    def _flush_pump(self, pump: Pump) -> None:
        try:
            empty = pump.empty(self.fd)
        except OSError:
            self._write_failed()
            return
        if empty:
            pump.drained()
            self._drained()
        elif pump.full:
            pump.pause()

    def _pushed_back(self) -> None:
        if not self._registered:
            self._register()
        if self._streaming and not self._producer_paused and 0 < self.high_watermark < len(self._out):
            self._producer_paused = True
            self._producer.pauseProducing()

    def _flush(self) -> None:
        out = self._out
        if type(out) is Pump:
            self._flush_pump(out)
            return
        try:
            sent = os.write(self.fd, out)
        except BlockingIOError:
            return
        except OSError:
            self._write_failed()
            return
        if sent == len(out):
            self._drained()
            return
        del out[:sent]
        if self._producer_paused and 2 * len(out) <= self.high_watermark:
            self._resume_producer()

    def _drained(self) -> None:
        if self._after == OPEN:
            self._out = None
            if self._producer_paused:
                self._resume_producer()
            elif self._producer is not None and not self._streaming:
                self._poller.again(self)
            return
        self._out = SHUT
        if self._after == FIN:
            self._half_close()
        elif self._after == LOSE:
            self._close(DONE)
            self._poller.again(self)
        else:
            self._reset_when_sent(UNSENT_POLLS)

    def _shut(self) -> None:
        """Take no more bytes; those that wait are lost."""
        out, self._out = self._out, SHUT
        if out:
            self.dropped += len(out)
            if type(out) is Pump:
                out.end()

    def _write_failed(self) -> None:
        self._shut()
        self._failed = True
        if self.fd < 0:
            return
        if self._after >= LOSE or self._eof:
            self._close(LOST)
            self._poller.again(self)
        else:
            self._readable = self._hangup = True
            if not self._registered:
                self._register()
            elif not self._paused:
                self._poller.again(self)

    # Flow control: as a consumer of others, as the producer that others pause

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """From now on pause this producer above the high watermark; a pull producer (not streaming) is asked when all is sent."""
        if self._producer is not None:
            raise RuntimeError(f"cannot register {producer!r}: {self._producer!r} is registered already")
        if self.fd < 0:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            self._pull()

    def unregisterProducer(self) -> None:
        """Tell no producer any more."""
        self._producer = None
        self._producer_paused = self._streaming = False

    def _resume_producer(self) -> None:
        self._producer_paused = False
        self._producer.resumeProducing()

    def _pull(self) -> None:
        self._producer.resumeProducing()
        if self._producer is not None and not self._out:
            self._poller.again(self)

    def pauseProducing(self) -> None:
        """Read no more until resumed."""
        if self._after < LOSE:
            self._paused = True

    def resumeProducing(self) -> None:
        """Read on; what came meanwhile is delivered soon, not from within this call."""
        if self._paused and self._after < LOSE:
            self._paused = False
            if not self._registered:
                self._register()
            elif self._readable:
                self._poller.again(self)

    def stopProducing(self) -> None:
        """Close, as Twisted's transports understand it."""
        self.loseConnection()

    # Ends

    def loseWriteConnection(self) -> None:
        """Send FIN after what was written."""
        if self._after == OPEN and self.fd >= 0:
            self._after = FIN
            if self._out is None:
                self._out = SHUT
                self._half_close()

    def loseConnection(self) -> None:
        """Close both ways once what was written is flushed; what comes meanwhile is dropped."""
        self._end_after_flush(LOSE)

    def resetConnection(self) -> None:
        """Close with a reset once what was written is sent."""
        self._end_after_flush(FLUSH_RESET)

    def abortConnection(self) -> None:
        """Close at once with a reset; what was not sent is lost."""
        if self.fd >= 0:
            self.linger_for_reset()
            self._close(ABORTED)
            self._poller.again(self)

    def _end_after_flush(self, how: int) -> None:
        if self.fd < 0 or self._after >= LOSE:
            return
        self._after = how
        self.unregisterProducer()
        if not self._out:
            self._drained()
        if self.fd >= 0:
            self._read_for_nobody()

    def _read_for_nobody(self) -> None:
        """Drop what still comes: a peer that writes before it reads would never take what is to be flushed."""
        self._receive = _ignore
        self._stop_pump()
        self._splice = None
        self._paused = False
        if not self._registered:
            self._register()
        elif self._readable:
            self._poller.again(self)

    def _half_close(self) -> None:
        try:
            self.shut_down(socket.SHUT_WR)
        except OSError:
            self._write_failed()
            return
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.writeConnectionLost()

    def _reset_when_sent(self, polls: int) -> None:
        """Close with a reset as soon as the kernel's own queue is empty, since a reset throws that queue away."""
        if self.fd < 0:
            return
        if polls and unsent(self.fd):
            self._network.clock.callLater(UNSENT_POLL, self._reset_when_sent, polls - 1)
        else:
            self.abortConnection()

    def _close(self, reason: Failure) -> None:
        fd, self.fd = self.fd, -1
        self._shut()
        self._after = LOSE
        self._stop_pump()
        self._reason = reason
        if fd >= 0:
            self._poller.close(fd)

    def _report_lost(self) -> None:
        protocol, producer, reason = self._protocol, self._producer, self._reason
        # The cycles of a connection end here, so that no garbage collector need look for them.
        self._protocol = self._producer = self._reason = self._splice = None
        self._receive = _ignore
        self._streaming = False
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(reason)


@implementer(INetwork)
class EpollNetwork:
    """Sockets in one epoll set of the reactor."""

    def __init__(self, reactor: Any) -> None:
        self.clock = reactor
        self.timers = Timers(reactor)
        self.poller = Poller(reactor)
        self._view = memoryview(bytearray(READ_SIZE))
        self.iov = [self._view]
        self.pipes = Pipes()
        self._iovs = {READ_SIZE: self.iov}

    def iov_of(self, size: int) -> list[memoryview]:
        """The shared buffer cut to this many bytes, as `os.readv` takes it."""
        size = max(1, min(size, READ_SIZE))
        found = self._iovs.get(size)
        if found is None:
            found = self._iovs[size] = [self._view[:size]]
        return found

    def accepted(self, fd: int, family: int, peer: Any) -> EpollTransport:
        """The transport of a connection just accepted, not yet watched."""
        return EpollTransport(self, fd, family, peer, False)

    def connected(self, fd: int, address: Address) -> EpollTransport:
        """The transport of a connection just made, already watched."""
        return EpollTransport(self, fd, address.family, address.sockaddr, True)

    def bind(self, address: Address, options: ListenOptions) -> socket.socket:
        """A socket of the system, bound and not yet listening."""
        return bind(address, options)

    def listen(self, sock: socket.socket, factory: Any, accepts_per_event: int = 0) -> AcceptingPort:
        """Accept connections of a bound and listening socket for the factory."""
        port = AcceptingPort(self, sock, factory, accepts_per_event)
        port.startListening()
        return port

    def connect(self, address: Address, factory: Any, timeout: float, source: Address | None = None) -> EpollConnector:
        """Connect within `timeout` seconds; the factory hears of the outcome."""
        connector = EpollConnector(self, address, factory, timeout, source)
        connector.connect()
        return connector

    def stop(self) -> None:
        """Leave the reactor, for tests: a proxy keeps its network until it ends."""
        self.timers.stop()
        self.poller.stop()
        self.pipes.close()
