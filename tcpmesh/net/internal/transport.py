"""A connected pair of transports in this process: what a connection to an internal listener runs
on, and what tests have in place of sockets.

Theory of operation.  Each connection has two Pipes, one per direction.  A Pipe is what two kernels
would hold: a bounded buffer of bytes, then perhaps FIN, then perhaps a reset.  A transport keeps in
`_pending` what its Pipe had no room for, as a process does when `send` would block.  Nothing
happens by itself: whatever makes progress possible (room, bytes, FIN, resume) adds a *step*, and
running one step moves some bytes once, or delivers one event.  So protocols are never called from
inside their own calls (but for a producer's pause, as in Twisted), and who runs the steps decides
when things happen, and in which order.

One thing goes without a step: what is written for a protocol that does not want to see its bytes
(`IStraight`, a `Direction` of a relay) is its sink's at once, where nothing waits before it.  So a
chain of relays in one process costs no copy and no turn of the event loop.

Closing follows Linux: bytes sent before FIN or reset are read before it; whoever closes with unread
bytes, or is sent bytes after it closed, answers with a reset; a reset throws away what its sender
had not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from zope.interface import implementer

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProducer, IProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.net.internal.pipe import Pipe, Steps
from tcpmesh.values.address import Address
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tcpmesh.values.stream.transport_socket_options import NOTHING_PASSED

log = Logger(namespace="connection")


@implementer(IStreamTransport)
class InternalTransport:
    """One end of a connection in this process; `joined` makes two."""

    __slots__ = (
        "_aborting",
        "_before_close",
        "_broken",
        "_closing",
        "_ended",
        "_finished",
        "_finishing",
        "_host",
        "_in",
        "_keep_alive",
        "_no_delay",
        "_out",
        "_paused",
        "_peer",
        "_pending",
        "_producer",
        "_producer_paused",
        "_steps",
        "_streaming",
        "_unread",
        "_with_reset",
        "connector",
        "dropped",
        "far",
        "high_watermark",
        "lost",
        "passed",
        "protocol",
        "read_size",
    )

    passes_straight = True
    """Whether what nobody wants to see is the sink's at once."""

    def __init__(
        self,
        steps: Steps,
        host: Address,
        peer: Address,
        incoming: Pipe,
        outgoing: Pipe,
        chunk: int,
    ) -> None:
        self.protocol: Any = None
        self.high_watermark = 65536
        self.connector: Any = None
        self._before_close: list[Callable[[], object]] = []
        self.lost = False
        """True once `connectionLost` was called."""
        self.far: InternalTransport
        self.passed = NOTHING_PASSED
        """What the other end has told of where it comes from."""
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

    # Writing

    def write(self, data: bytes) -> None:
        """Send `data` after all that was written before it."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"bytes wanted, not {data!r}")
        if self._deaf_to_writes:
            self.dropped += len(data)
            return
        if self.passes_straight and not self._pending:
            data = self._pass_straight(data)
            if not data:
                return
        self._pending += data
        self._send()
        if self.high_watermark and len(self._pending) > self.high_watermark:
            self._pause_producer()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send all of `iovec`, in order."""
        self.write(b"".join(iovec))

    @property
    def is_over(self) -> bool:
        """Whether it was closed, and nothing that was written is left."""
        if self.lost or self._aborting:
            return True
        return self._closing and not self._pending and not self._out.data

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

    def _pass_straight(self, data: Any) -> Any:
        """Give bytes to a protocol at the other end that passes them on.

        :return: those that it does not take now.
        """
        far = self.far
        while data and far._takes_straight() and not self._deaf_to_writes:
            size = far.read_size
            piece = data if len(data) <= size else memoryview(data)[:size]
            data = memoryview(data)[len(piece) :]
            far._call(far.protocol.bufferReceived, piece)
        if self._producer is not None and not self._streaming:
            self._steps.add(self._flush)
        if data and self._deaf_to_writes:
            self.dropped += len(data)
            return b""
        return data

    def _takes_straight(self) -> bool:
        """Whether bytes can go to the protocol from within a call of the other end: it passes them
        on, and nothing is before them.
        """
        return (
            getattr(self.protocol, "straight", False)
            and not self._paused
            and not self._in.data
            and not self._unread
            and not self._closing
            and not self._aborting
        )

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
        self._call(take_view, memoryview(data))

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
        reset = reset or bool(self._in.data)
        self._in.deaf = True
        self._in.data.clear()
        self.dropped += len(self._pending)
        self._pending.clear()
        self._out.reset = self._out.reset or reset
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
        if protocol is not None:
            self._call(protocol.connectionLost, reason)
        if connector is not None:
            connector.connectionLost(reason)

    def _call(self, method: Callable[..., object], *args: object) -> None:
        """Call the protocol; an exception of it ends this connection and no other."""
        try:
            method(*args)
        except BaseException:
            failure = Failure()
            log.failure("closing a connection in this process whose protocol failed", failure)
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
        """Nobody keeps that."""
        return None

    def tcp_facts(self) -> TcpFacts | None:
        """There is no TCP here."""
        return None

    def before_close(self, call: Callable[[], object]) -> None:
        """Call this at the end."""
        self._before_close.append(call)

    def original_destination(self) -> Address | None:
        """No packet filter was here."""
        return None

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


Kind = TypeVar("Kind", bound=InternalTransport)


def joined(
    kind: type[Kind], steps: Steps, client: Address, server: Address, capacity: int, chunk: int
) -> tuple[Kind, Kind]:
    """Two connected transports, client's first, that no protocol has yet: give each to one with
    `start`.

    :param capacity: bytes that fit into each direction.
    :param chunk: the most read at once.
    """
    up, down = Pipe(capacity), Pipe(capacity)
    near = kind(steps, client, server, down, up, chunk)
    far = kind(steps, server, client, up, down, chunk)
    near.far, far.far = far, near
    return near, far
