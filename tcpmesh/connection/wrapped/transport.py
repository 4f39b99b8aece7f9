"""A transport above a transport: a protocol to what is below, an `IStreamTransport` to what is
above.

TLS, a PROXY header for the upstream, a CONNECT tunnel, starttls, a tap, injected faults: each of
them stands between a socket and a protocol, says something to the peer before the protocol may
speak, and turns the protocol's bytes into others.  What is hard about that is the same for all of
them, and is done here once; left to each are a few methods of `WrappedTransport`::

    class ProxyHeader(WrappedTransport):
        def begin(self) -> None:
            self.send(header)
            self.handshake_done()

Theory of operation.  In both directions bytes may have to wait::

    protocol above  --write-->  _pending  --send_plain, send-->   transport below
    protocol above  <--------    _plain   <--deliver, received--  transport below

*What was written* waits in `_pending` while the handshake goes on, while below has no room, and
while the wrapper has no credit for it (`limit_writes`, for what slows traffic down).  Below is told
to hold half of the high watermark; what it has no room for waits here, as plain bytes.  `buffered`
is both together, counted in plain bytes (`tcpmesh.connection.wrapped.ledger`), and by that number
the producer above is paused and resumed.  An end that was asked for (`After`) comes when nothing is
pending any more: the wrapper says its goodbye (`goodbye`: close_notify in TLS), and below is told
to end in the same way, which flushes.

*What was received* waits in `_plain` while the protocol above has paused, and while the wrapper has
no credit for it (`limit_reads`).  Below is paused as long as anything waits, so that is never more
than one read came to.  The end of stream and the loss of the connection wait behind it.  A pause of
the protocol above never reaches below while the handshake goes on, for that has to be read.

Before the handshake is over nothing is delivered, but for the end of the connection where the
protocol above is there already.  That may be so: as in Envoy, filters are given a client whose
handshake goes on, and what they write waits.

Who has the wrapper made is its `HandshakeObserver`.  It hears once that the wrapper is ready, or
that it never will be, and sees to it that this does not take for ever.  Wrappers may stand on each
other: the upper one begins when the lower one is ready.

Kernel pipes, and whatever else goes past the protocol (`IStraight`), end at a wrapper: it wants to
see every byte.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from zope.interface import implementer

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.connection.wrapped.states import (
    CONNECTED,
    After,
    HandshakeObserver,
    Incoming,
    Phase,
    TransportSocketError,
    Turn,
)
from tcpmesh.connection.wrapped.writing import NOTHING, READY, WrappedWriteSide
from tcpmesh.interfaces import IBufferedProtocol, IStreamTransport
from tcpmesh.values.stream.tls_facts import NO_TLS, TlsFacts

log = Logger(namespace="connection")

OPEN, CLOSE = Incoming.OPEN, After.CLOSE
IDLE = Turn.NONE

GRACE = 1.0
"""Seconds for the peer to take the last words of a wrapper that failed, such as a TLS alert."""


def _ignore(data: memoryview) -> None:
    """Bytes for a protocol that is gone."""


@implementer(IStreamTransport, IBufferedProtocol)
class WrappedTransport(WrappedWriteSide):
    """The base of wrappers, which by itself passes everything on as it is.

    A wrapper overrides some of `begin`, `received`, `received_end`, `send_plain`, `goodbye` and
    `released`, and in them calls `send`, `deliver`, `deliver_end`, `handshake_done` and `fail`.

    :param clock: the network's.
    """

    __slots__ = (
        "_grace",
        "_incoming",
        "_observer",
        "_paused",
        "_plain",
        "_protocol",
        "_read_credit",
        "_reason",
        "_receive",
        "_stalled",
        "_turn",
        "clock",
    )

    def __init__(self, clock: IReactorTime, observer: HandshakeObserver) -> None:
        super().__init__()
        self.clock = clock
        self._observer: HandshakeObserver | None = observer
        self._protocol: Any = None
        self._receive: Callable[[memoryview], object] = _ignore
        self._plain = bytearray()
        """Plain bytes that were received and not been delivered."""
        self._incoming = OPEN
        self._reason: Failure | None = None
        """Why there is nothing below any more, where that has still to be told."""
        self._paused = False
        """Whether the protocol above has paused, and `_stalled`, whether below is paused."""
        self._stalled = False
        self._turn = IDLE
        self._read_credit: float = inf
        self._grace: IDelayedCall | None = None

    # What a wrapper may be asked to do

    def begin(self) -> None:
        """The connection below is there: begin the handshake."""
        self.handshake_done()

    def received(self, data: memoryview) -> None:
        """Bytes have come from below; the view is only valid during the call."""
        self.deliver(data)

    def received_end(self) -> None:
        """The peer will send no more below."""
        if self._phase is Phase.HANDSHAKE:
            self.fail("the peer closed the connection during the handshake")
        else:
            self.deliver_end()

    def released(self) -> None:
        """It is over: give back what is held, and stop what goes on by itself."""

    # What a wrapper may do

    @property
    def is_ready(self) -> bool:
        """Whether the handshake is over and the connection is not."""
        return self._phase is READY

    def handshake_done(self) -> None:
        """Plain bytes may come and go from now on."""
        observer, self._observer = self._observer, None
        if self._phase is not Phase.HANDSHAKE or observer is None:
            return
        self._enter(READY)
        observer.handshake_done(self)
        if self._phase is READY:
            if self._producer is not None and not self._streaming:
                self._pull()
            elif self._pending or self._after is not NOTHING:
                self.room_there()
            else:
                self._full = False
            if self._plain or self._paused or self._stalled or self._incoming is not OPEN:
                self._deliver()

    def deliver(self, data: Any) -> None:
        """Give plain bytes to the protocol above, now or when it wants them; only to be called from
        within `received`.
        """
        if self._after >= CLOSE:
            return
        size = len(data)
        if (
            self._phase is READY
            and not self._paused
            and not self._plain
            and size <= self._read_size
            and size <= self._read_credit
        ):
            self._read_credit -= size
            self._receive(data)
        else:
            self._plain += data
            self._deliver()

    def deliver_end(self) -> None:
        """The peer has sent all plain bytes that it will."""
        if self._incoming is OPEN:
            self._incoming = Incoming.ENDED
            self._deliver()

    def limit_reads(self, credit: float) -> None:
        """Deliver so many bytes, and then no more before this is called again."""
        self._read_credit = credit
        self._deliver_soon()

    def fail(self, why: str) -> None:
        """The handshake has failed, or the peer has broken the rules: close, and tell why.

        What was sent before this, such as an alert, still goes out if the peer takes it soon.
        """
        if self._phase not in CONNECTED:
            return
        below = self.below
        below.loseConnection()
        if below.buffered:
            self._grace = self.clock.callLater(GRACE, below.abortConnection)
        self._over(Failure(TransportSocketError(why)))

    # As the protocol of what is below

    def makeConnection(self, transport: Any) -> None:
        """Below is connected."""
        self.below = transport
        self._read_size = transport.read_size
        self._mark = mark = transport.high_watermark
        transport.high_watermark = max(1, mark // 2) if mark else 0
        self._ask_for_room(streaming=True)
        self.begin()

    def connectionMade(self) -> None:
        """Below is connected."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes have come."""
        self.bufferReceived(memoryview(data))

    def bufferReceived(self, data: memoryview) -> None:
        """Bytes have come."""
        if self._phase in CONNECTED:
            self.received(data)

    def readConnectionLost(self) -> None:
        """The peer will send no more."""
        if self._phase in CONNECTED:
            self.received_end()

    def writeConnectionLost(self) -> None:
        """FIN has left, or what stands for it."""
        if self._phase in CONNECTED and IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.writeConnectionLost()

    def connectionLost(self, reason: Failure) -> None:
        """There is nothing below any more."""
        if self._grace is not None:
            grace, self._grace = self._grace, None
            if grace.active():
                grace.cancel()
        if self._phase not in (Phase.CUT_OFF, Phase.LOST):
            self._over(reason)

    def _over(self, reason: Failure) -> None:
        """Nothing comes from below any more: that is told after what has come."""
        if self._only_words_lost(reason):
            reason = Failure(ConnectionDone())
        self._drop_pending()
        if self._phase is Phase.READY and self._after < After.CLOSE:
            self._enter(Phase.CUT_OFF)
            self._reason = reason
            self._full = False
            self._consider_resume()
            self._deliver()
        else:
            self._report_lost(reason)

    def _only_words_lost(self, reason: Failure) -> bool:
        """Whether a reset cost nothing but what wrappers had to say to each other.

        That is no loss: without wrappers the connection had ended before.  A peer that has said
        goodbye and gone answers ours with a reset.
        """
        closed = self._phase is Phase.ENDING and self._after is After.CLOSE
        ended = self._after in (After.LEAVING, After.FINISHED)
        finished = ended and self._incoming is not Incoming.OPEN
        return (
            (closed or finished)
            and isinstance(reason.value, ConnectionLost)
            and not isinstance(reason.value, ConnectionAborted)
            and not self._unsent(self.below.dropped)
        )

    def _report_lost(self, reason: Failure) -> None:
        self._enter(Phase.LOST)
        protocol, producer, observer = self._protocol, self._producer, self._observer
        # The cycles of a connection end here, so that no garbage collector need look for them.
        self._protocol = self._producer = self._observer = self._reason = None
        self._receive = _ignore
        self._streaming = self._producer_paused = False
        self._plain.clear()
        self.released()
        if observer is not None:
            observer.handshake_failed(self, reason)
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(reason)

    # As the transport of what is above

    @property
    def facts(self) -> TlsFacts:
        """What is known of the TLS below what is above: that of the uppermost that has some."""
        found: TlsFacts = getattr(self.below, "facts", NO_TLS)
        return found

    @property
    def protocol(self) -> Any:
        """The protocol that gets the events."""
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: Any) -> None:
        self._protocol = protocol
        receive = getattr(protocol, "bufferReceived", None)
        self._receive = (
            receive if receive is not None else lambda data: protocol.dataReceived(bytes(data))
        )

    def unread(self, data: Any) -> None:
        """Deliver these bytes again, before all others; not from within this call."""
        if self._after < After.CLOSE and self._phase in (*CONNECTED, Phase.CUT_OFF):
            self._plain[:0] = data
            self._deliver_soon()

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed; the handshake goes on."""
        if self._after < After.CLOSE:
            self._paused = True
            self._steer()

    def resumeProducing(self) -> None:
        """Deliver again; what waits comes soon, not from within this call."""
        if self._paused:
            self._paused = False
            self._deliver_soon()
            self._steer()

    def stopProducing(self) -> None:
        """Close, as Twisted's transports understand it."""
        self.loseConnection()

    # Delivering

    def _deliver_soon(self) -> None:
        """Deliver what waits, if anything does, in a turn of its own."""
        waits = self._plain or self._incoming is Incoming.ENDED or self._phase is Phase.CUT_OFF
        if waits and self._turn is Turn.NONE:
            self._turn = Turn.COMING
            self.clock.callLater(0, self._turn_comes)

    def _turn_comes(self) -> None:
        if self._turn is not Turn.COMING:
            return
        self._turn = Turn.NONE
        try:
            self._deliver()
        except BaseException:
            log.failure("closing a connection whose protocol failed")

    def _deliver(self) -> None:
        """Deliver what waits, as far as it may be delivered now."""
        if self._turn is Turn.NOW:
            return
        self._turn = Turn.NOW
        try:
            while self._deliver_next():
                pass
        except BaseException:
            self._turn = Turn.NONE
            self.abortConnection()
            raise
        self._turn = Turn.NONE
        self._steer()

    def _deliver_next(self) -> bool:
        """Deliver the next thing; whether there may be another."""
        waits = self._plain or self._incoming is Incoming.ENDED
        if self._phase is Phase.CUT_OFF and (self._after >= After.CLOSE or not waits):
            assert self._reason is not None
            self._report_lost(self._reason)
            return False
        if self._phase not in (Phase.READY, Phase.CUT_OFF) or self._after >= After.CLOSE:
            return False
        if self._paused or not waits:
            return False
        if not self._plain:
            self._incoming = Incoming.TOLD
            self._tell_end()
            return True
        size = int(min(self._read_size, self._read_credit))
        data = self._plain[:size]
        del self._plain[:size]
        self._read_credit -= len(data)
        if data:
            self._receive(memoryview(data))
        return bool(data)

    def _tell_end(self) -> None:
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.loseConnection()

    def _steer(self) -> None:
        """Let below read, or not; a handshake sees to that itself."""
        stalled = self._paused or self._has_unread()
        if stalled is not self._stalled and self._phase is Phase.READY:
            self._stalled = stalled
            if stalled:
                self.below.pauseProducing()
            else:
                self.below.resumeProducing()

    def _has_unread(self) -> bool:
        """Whether there is so much that was received and not delivered that no more may come."""
        return bool(self._plain)

    def _read_for_nobody(self) -> None:
        """What comes from now on is for nobody; a peer that writes before it reads would never take
        what is flushed, so it is read all the same.
        """
        self._plain.clear()
        self._paused = False
        self._deliver_soon()
        self._steer()
