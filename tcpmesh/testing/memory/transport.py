"""A connected pair of transports in memory that behaves like two sockets, so that a relay can be
tested without any.

Why not Twisted's own fakes: `iosim` and `StringTransport` ignore pause, never pause a producer and
cannot half-close, and those are the things a proxy gets wrong.

Theory of operation.  Each connection has two Pipes, one per direction.  A Pipe is what the two
kernels hold: a bounded buffer of bytes, then perhaps FIN, then perhaps a reset.  A transport keeps
in `_pending` what its Pipe had no room for, as a process does when `send` would block.  Nothing
happens by itself: whatever makes progress possible (room, bytes, FIN, resume) puts a *step* into a
`EventQueue` queue, and running one step moves some bytes once, or delivers one event.  So a test
decides when, and in which order, events happen, protocols are never called from inside their own
calls (but for a producer's pause, as in Twisted), and the same test always runs the same way.

Closing follows Linux: bytes sent before FIN or reset are read before it; whoever closes with unread
bytes, or is sent bytes after it closed, answers with a reset; a reset throws away what its sender
had not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProducer, IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.testing.memory.pipe import EventQueue, Pipe
from tcpmesh.values.address import Address
from tcpmesh.values.stream.tcp_facts import TcpFacts


@implementer(IStreamTransport)
class MemoryTransport:
    """One end of a connection in memory; make two with `connect_in_memory`."""

    _log = Logger()

    def __init__(
        self,
        steps: EventQueue,
        host: Address,
        peer: Address,
        incoming: Pipe,
        outgoing: Pipe,
        chunk: int,
    ) -> None:
        self.protocol: Any = None
        self.high_watermark = 65536
        self.connector: Any = None
        self.redirected_from: Address | None = None
        """What `original_destination` is to tell."""
        self.quiet: float | None = None
        """What `quiet_for` is to tell."""
        self.facts: TcpFacts | None = None
        """What `tcp_facts` is to tell, until the end."""
        self._before_close: list[Callable[[], object]] = []
        self.lost = False
        """True once `connectionLost` was called."""
        self.far: MemoryTransport
        self._steps = steps
        self._host, self._peer = host, peer
        self._in, self._out = incoming, outgoing
        self.read_size = chunk
        self.dropped = 0
        self._pending = bytearray()
        self._unread = bytearray()
        self._paused = True
        self._ended = False
        self._finishing = self._finished = False
        self._broken = False
        self._closing = self._aborting = self._with_reset = False
        self._producer: Any = None
        self._streaming = True
        self._producer_paused = False
        self._no_delay = self._keep_alive = False

    def start(self, protocol: IProtocol) -> None:
        """Give the connection to `protocol` and begin to read."""
        self.protocol = protocol
        self._paused = False
        self._call(protocol.makeConnection, self)
        self._steps.add(self._read)

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel buffer has had no room for."""
        return len(self._pending)

    @property
    def outgoing(self) -> Pipe:
        """What the kernels hold of what was sent here."""
        return self._out

    @property
    def paused(self) -> bool:
        """True where the transport does not read now."""
        return self._paused

    # Writing

    def write(self, data: bytes) -> None:
        """Send `data` after all that was written before it."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"bytes wanted, not {data!r}")
        if self._deaf_to_writes:
            self.dropped += len(data)
            return
        self._pending += data
        self._send()
        if self.high_watermark and len(self._pending) > self.high_watermark:
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of `iovec`, in order."""
        self.write(b"".join(iovec))

    @property
    def _deaf_to_writes(self) -> bool:
        return self.lost or self._aborting or self._finishing or self._closing

    def _send(self) -> None:
        """Let the kernel take what it can."""
        if self._pending:
            if self._out.deaf:
                self.dropped += len(self._pending)
                self._in.reset = self._broken = True
                self._steps.add(self._read)
            self._out.put(self._pending)
            self._steps.add(self.far._read)

    def _flush(self) -> None:
        """A step: send what waits, let the producer go on, and close what was asked to close once
        all is sent.
        """
        if self.lost or self._aborting:
            return
        self._send()
        self._resume_producer()
        if self._pending or self.lost:
            return
        if self._closing and self._with_reset:
            self.abortConnection()
        elif self._closing:
            self._end(Failure(ConnectionLost() if self._broken else ConnectionDone()))
        elif self._finishing and not self._finished:
            self._finish()

    def _finish(self) -> None:
        self._finished = self._out.fin = True
        self._steps.add(self.far._read)
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._call(self.protocol.writeConnectionLost)

    # Reading

    def _read(self) -> None:
        """A step: deliver one chunk, or EOF, or the reset, whichever comes next."""
        if self.lost or self._aborting or (self._paused and not self._closing):
            return
        if self._closing:
            self._drop()
        elif self._unread:
            data = bytes(self._unread[: self.read_size])
            del self._unread[: self.read_size]
            self._steps.add(self._read)
            self._deliver(data)
        elif self._in.data:
            self._steps.add(self.far._flush)
            self._steps.add(self._read)
            self._deliver(self._in.take(self.read_size))
        elif self._in.fin and not self._ended:
            self._ended = True
            self._steps.add(self._read)
            self._deliver_eof()
        elif self._in.reset:
            self._end(Failure(ConnectionLost()))

    def unread(self, data: bytes | bytearray | memoryview) -> None:
        """Deliver these bytes again, before all others."""
        self._unread[:0] = data
        self._steps.add(self._read)

    def _drop(self) -> None:
        """Read for nobody: a peer that writes before it reads would never take what is to be
        flushed.
        """
        if self._in.data:
            self._in.data.clear()
            self._steps.add(self.far._flush)
        elif self._in.reset:
            self._end(Failure(ConnectionLost()))

    def _deliver(self, data: bytes) -> None:
        take_view = getattr(self.protocol, "bufferReceived", None)
        if take_view is None:
            self._call(self.protocol.dataReceived, data)
            return
        shared = bytearray(data)
        self._call(take_view, memoryview(shared))
        shared[:] = b"\xdb" * len(data)  # whoever kept the view sees that others use the buffer now

    def _deliver_eof(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._call(self.protocol.readConnectionLost)
        else:
            self.loseConnection()

    # Closing

    def loseWriteConnection(self) -> None:
        """Send FIN once all that was written is sent."""
        self._finishing = True
        self._steps.add(self._flush)

    def loseConnection(self) -> None:
        """Close both ways once all that was written is sent."""
        self._close_after_flush(with_reset=False)

    def resetConnection(self) -> None:
        """Close with a reset once all that was written is sent."""
        self._close_after_flush(with_reset=True)

    def _close_after_flush(self, with_reset: bool) -> None:
        if self.lost or self._closing:
            return
        self._closing, self._with_reset = True, with_reset
        self.unregisterProducer()
        self._steps.add(self._read)

    def abortConnection(self) -> None:
        """Close at once, with a reset."""
        if self.lost or self._aborting:
            return
        self._aborting = True
        self._hang_up(reset=True)
        self._steps.add(self._aborted)

    def _aborted(self) -> None:
        self._end(Failure(ConnectionAborted()))

    def cutConnection(self) -> None:
        """Close at once, with FIN."""
        if self.lost or self._aborting:
            return
        self._aborting = True
        self._hang_up(reset=False)
        self._steps.add(self._was_cut)

    def _was_cut(self) -> None:
        self._end(Failure(ConnectionDone()))

    def _hang_up(self, reset: bool) -> None:
        """What the kernel does when a socket is closed."""
        unread = bool(self._in.data)
        self._in.deaf = True
        self._in.data.clear()
        self.dropped += len(self._pending)
        self._pending.clear()
        self._out.reset = self._out.reset or reset or unread
        self._out.fin = self._out.fin or not reset
        self._steps.add(self.far._read)
        self._steps.add(self.far._flush)

    def _end(self, reason: Failure) -> None:
        if self.lost:
            return
        self.lost = True
        calls, self._before_close = self._before_close, []
        for call in calls:
            call()
        if not self._aborting:
            self._hang_up(reset=False)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        connector, self.connector = self.connector, None
        protocol, self.protocol = self.protocol, None
        self._call(protocol.connectionLost, reason)
        if connector is not None:
            connector.connectionLost(reason)

    def _call(self, method: Callable[..., object], *args: object) -> None:
        """Call the protocol; an exception of it ends this connection and no other."""
        try:
            method(*args)
        except Exception:
            failure = Failure()
            self._log.failure("A protocol on a memory transport failed", failure)
            self._end(failure)

    # IPushProducer

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        self._paused = False
        self._steps.add(self._read)

    def stopProducing(self) -> None:
        """The same as `loseConnection`, as in Twisted."""
        self.loseConnection()

    # IConsumer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Tell `producer` when to pause and to resume; a RuntimeError where there is one
        already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} is registered and was never unregistered")
        if self.lost:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()  # type: ignore[attr-defined]

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self._steps.add(self._flush)

    def _pause_producer(self) -> None:
        if self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            self._producer.pauseProducing()

    def _resume_producer(self) -> None:
        if self._producer is None:
            return
        if (
            self._streaming
            and self._producer_paused
            and len(self._pending) <= self.high_watermark // 2
        ):
            self._producer_paused = False
            self._producer.resumeProducing()
        elif not self._streaming and not self._pending:
            self._producer.resumeProducing()

    # ITCPTransport

    def getHost(self) -> Any:
        """The own `Address`."""
        return self._host

    def getPeer(self) -> Any:
        """The other end's `Address`."""
        return self._peer

    def quiet_for(self) -> float | None:
        """For how long nothing has moved, as a test says."""
        return self.quiet

    def tcp_facts(self) -> TcpFacts | None:
        """What a test says."""
        return self.facts

    def before_close(self, call: Callable[[], object]) -> None:
        """Call this at the end."""
        self._before_close.append(call)

    def original_destination(self) -> Address | None:
        """Where the peer wanted to connect to."""
        return self.redirected_from

    def getTcpNoDelay(self) -> bool:
        """What `setTcpNoDelay` was last told."""
        return self._no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember the wish."""
        self._no_delay = bool(enabled)

    def getTcpKeepAlive(self) -> bool:
        """What `setTcpKeepAlive` was last told."""
        return self._keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remember the wish."""
        self._keep_alive = bool(enabled)


def connect_in_memory(
    steps: EventQueue, client: Address, server: Address, capacity: int, chunk: int
) -> tuple[MemoryTransport, MemoryTransport]:
    """Two connected transports, client's first: `capacity` bytes fit into each direction, at most
    `chunk` are read at once.
    """
    up, down = Pipe(capacity), Pipe(capacity)
    near = MemoryTransport(steps, client, server, down, up, chunk)
    far = MemoryTransport(steps, server, client, up, down, chunk)
    near.far, far.far = far, near
    return near, far
