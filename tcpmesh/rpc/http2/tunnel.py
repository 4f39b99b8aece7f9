"""A tunnel through a proxy that speaks HTTP/2: a stream of a connection that many clients share, as
a transport of its own.

To who uses it, it is an `IStreamTransport` like any other.  Its windows are the watermarks: what
the proxy sends is kept while the protocol above has paused, and the proxy is told of room once it
was taken; what is written waits in the stream's queue for the window of the proxy, and by how much
waits there the producer above is paused.  The end of either side is END_STREAM, and a reset is
RST_STREAM.  Of the connection below it only has the addresses, and what TLS has agreed on.

Until the proxy has answered 200 there is no tunnel; an `AskingObserver` hears of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.connection.http1_tunnel import ANSWER_TIMEOUT, TunnelFailed
from tcpmesh.connection.wrapped.states import After, Incoming
from tcpmesh.interfaces import IStreamTransport
from tcpmesh.rpc.http2.codec import Fields
from tcpmesh.rpc.http2.stream import Reset, ResetReason, TwoWayObserver, TwoWayStream
from tcpmesh.rpc.http2.tunnel_writing import Phase, TunnelWriteSide
from tcpmesh.values.stream.tcp_facts import TcpFacts
from tcpmesh.values.stream.tls_facts import NO_TLS, TlsFacts
from tcpmesh.wire.http1 import MOST_FIELDS

log = Logger(namespace="connection")

READ_SIZE = 1 << 18
"""Bytes that are delivered at most in one call, unless a protocol wants fewer."""

CONNECT_ERROR = 0xA
"""The code of a reset that only says that there is no connection behind the proxy."""

OPENING = 200


class StreamRefused(TunnelFailed):
    """A tunnel came to nothing because its stream did.

    :param reset: how.
    """

    def __init__(self, reset: Reset) -> None:
        super().__init__(reset.reason.value)
        self.reset = reset


class AskingObserver(Protocol):
    """Who has asked for a tunnel."""

    def handshake_done(self, tunnel: Http2Tunnel) -> None:
        """It is open.  Called once, if `handshake_failed` is not."""

    def handshake_failed(self, tunnel: Http2Tunnel, reason: Failure) -> None:
        """It never will be: for a `TunnelFailed`.  Called once."""

    def tunnel_trailers(self, fields: Fields) -> None:
        """The fields after its last byte."""


@implementer(IStreamTransport)
class Http2Tunnel(TunnelWriteSide):
    """One tunnel, on the side that asks for it."""

    __slots__ = (
        "_before_close",
        "_call",
        "_clock",
        "_deadline",
        "_delivers",
        "_held",
        "_incoming",
        "_most_fields",
        "_observer",
        "_owed",
        "_paused",
        "_protocol",
        "_reason",
        "_receive",
        "_timeout",
        "fields",
    )

    def __init__(
        self,
        clock: IReactorTime,
        observer: AskingObserver,
        timeout: float = ANSWER_TIMEOUT,
        most_fields: int = MOST_FIELDS,
    ) -> None:
        """
        :param timeout: seconds for the answer, from when the request is sent.
        :param most_fields: header fields of the answer.
        """
        super().__init__()
        self._clock = clock
        self._observer: AskingObserver | None = observer
        self._timeout = timeout
        self._most_fields = most_fields
        self._deadline: IDelayedCall | None = None
        self._incoming = Incoming.OPEN
        self._held = bytearray()
        """What has come and is not delivered."""
        self._owed = 0
        """Bytes that have come and of which the stream was not told that they are taken."""
        self._paused = False
        self._delivers = False
        self._call: IDelayedCall | None = None
        """What is to happen soon: a delivery, or the end."""
        self._reason: Failure | None = None
        self._protocol: Any = None
        self._receive: Callable[[Any], object] = _ignore
        self._read_size = READ_SIZE
        self._before_close: list[Callable[[], object]] = []
        self.fields: Fields = ()
        """The header fields of the answer, once there is one."""

    def ask(self, open_stream: Callable[[TwoWayObserver], TwoWayStream]) -> None:
        """Ask; the observer may hear before this returns that there will be none.

        :param open_stream: begins a stream for an observer.
        """
        stream = open_stream(self)
        if self._phase is Phase.LOST:
            stream.cancel()
        else:
            self._stream = stream

    # As the observer of the stream

    def on_begun(self, transport: Any) -> None:
        """The request is sent."""
        self.below = transport
        if self._phase is Phase.ASKING:
            self._deadline = self._clock.callLater(self._timeout, self._is_late)

    def on_headers(self, fields: Fields, ended: bool) -> None:
        """The proxy answers."""
        if self._phase is not Phase.ASKING:
            return
        self._stop_deadline()
        self.fields = fields
        status = int(dict(fields)[":status"])
        if len(fields) > self._most_fields:
            self._fail(TunnelFailed("too many header fields"))
            return
        if status != OPENING or ended:
            self._fail(TunnelFailed("refused", status))
            return
        self._phase = Phase.OPEN
        observer = self._observer
        assert observer is not None
        observer.handshake_done(self)
        self._consider_pull()

    def on_data(self, data: bytes) -> None:
        """Bytes for the protocol above."""
        self._owed += len(data)
        if self._after < After.CLOSE and self._phase is Phase.OPEN:
            self._held += data
            self._deliver_guarded()
        else:
            self._settle()  # it is for nobody

    def on_trailers(self, fields: Fields) -> None:
        """The fields after the last byte."""
        if self._observer is not None:
            self._observer.tunnel_trailers(fields)

    def on_end(self) -> None:
        """The proxy has sent all; where this side has too, the stream is over."""
        if self._incoming is Incoming.OPEN:
            self._incoming = Incoming.ENDED
            self._deliver_guarded()

    def on_reset(self, reset: Reset) -> None:
        """The stream is over."""
        if self._phase is Phase.ASKING:
            self._fail(StreamRefused(reset))
        elif self._phase is Phase.OPEN:
            is_reset = reset.reason is ResetReason.REMOTE_RESET and reset.code != CONNECT_ERROR
            self._cut_off(ConnectionLost() if is_reset else ConnectionDone())
            self._consider_resume()
            self._deliver_guarded()

    def on_drained(self) -> None:
        """`on_sent` tells that."""

    def on_sent(self) -> None:
        """Some of what was written has left, or the end."""
        stream = self._stream
        if stream is None or self._phase is not Phase.OPEN:
            return
        if self._after is After.RESET and not stream.buffered:
            self._end_now(ConnectionDone())
        elif stream.is_last:
            self._has_finished()
        else:
            self._consider_resume()
            self._consider_pull()

    def _has_finished(self) -> None:
        """END_STREAM has left."""
        if self._after >= After.CLOSE:
            self._end_now(ConnectionDone())
        elif self._after is After.FIN:
            self._after = After.FINISHED
            if IHalfCloseableProtocol.providedBy(self._protocol):
                self._protocol.writeConnectionLost()

    # Ends

    def _is_late(self) -> None:
        self._deadline = None
        self._fail(TunnelFailed("no answer in time"))

    def _fail(self, error: TunnelFailed) -> None:
        """There is no tunnel, and will be none."""
        observer = self._observer
        self._lose()
        if observer is not None:
            observer.handshake_failed(self, Failure(error))

    def _lose(self) -> None:
        """Nothing happens any more."""
        self._phase = Phase.LOST
        self._stop_deadline()
        stream, self._stream, self._observer = self._stream, None, None
        if stream is not None:
            self._dropped += _left(stream)
        self._held.clear()

    def _cut_off(self, reason: Exception) -> None:
        """The stream is over: that is told after what has come."""
        self._phase = Phase.CUT_OFF
        self._reason = Failure(reason)
        if self._after >= After.CLOSE:
            self._held.clear()
        stream, self._stream = self._stream, None
        if stream is not None:
            self._dropped += _left(stream)

    def _end_now(self, reason: Exception) -> None:
        """End it from this side; who is above hears of that soon."""
        if self._phase is Phase.ASKING:
            self._lose()
        elif self._phase is Phase.OPEN:
            self._after = max(self._after, After.CLOSE)
            self._cut_off(reason)
            self._soon()
        elif self._phase is Phase.CUT_OFF and self._after < After.CLOSE:
            self._after = After.CLOSE
            self._held.clear()
            self._soon()

    def _end_now_after_flush(self) -> None:
        if self._phase is Phase.OPEN:
            self._cut_off(ConnectionDone())
            self._soon()

    def _read_for_nobody(self) -> None:
        self._held.clear()
        self._paused = False
        self._settle()

    def _report_lost(self) -> None:
        calls, self._before_close = self._before_close, []
        for call in calls:
            call()
        reason, protocol, producer = self._reason, self._protocol, self._producer
        self._protocol = self._producer = self._reason = None
        self._receive = _ignore
        self._streaming = self._producer_paused = False
        self._lose()
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(reason)

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    # Reading

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

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call."""
        return self._read_size

    @read_size.setter
    def read_size(self, size: int) -> None:
        self._read_size = size

    def unread(self, data: Any) -> None:
        """Deliver these bytes again, before all others; not from within this call."""
        if self._after < After.CLOSE and self._phase is not Phase.LOST:
            self._held[:0] = data
            self._soon()

    def pauseProducing(self) -> None:
        """Deliver nothing until resumed."""
        if self._after < After.CLOSE:
            self._paused = True

    def resumeProducing(self) -> None:
        """Deliver again; what waits comes soon, not from within this call."""
        if self._paused:
            self._paused = False
            self._soon()

    def stopProducing(self) -> None:
        """Close, as Twisted's transports understand it."""
        self.loseConnection()

    def _soon(self) -> None:
        """Deliver what waits, the end too, in a turn of its own."""
        if self._call is None and self._phase is not Phase.LOST:
            self._call = self._clock.callLater(0, self._turn_comes)

    def _turn_comes(self) -> None:
        self._call = None
        self._deliver_guarded()

    def _deliver_guarded(self) -> None:
        """Deliver what waits.  Where the protocol above fails, that is the end of this tunnel, and
        no matter of the others.
        """
        if self._delivers:
            return
        self._delivers = True
        try:
            while self._deliver_next():
                pass
        except Exception:
            log.failure("closing a connection whose protocol failed")
            self.abortConnection()
        finally:
            self._delivers = False
        self._settle()

    def _deliver_next(self) -> bool:
        """Deliver the next thing; whether there may be another."""
        if self._phase not in (Phase.OPEN, Phase.CUT_OFF):
            return False
        waits = self._after < After.CLOSE and (bool(self._held) or self._incoming is Incoming.ENDED)
        if self._paused and self._after < After.CLOSE:
            return False
        if not waits:
            if self._phase is Phase.CUT_OFF:
                self._report_lost()
            return False
        if self._held:
            held, size = self._held, self._read_size
            self._held = held[size:]
            self._receive(memoryview(held)[:size])
            return True
        self._incoming = Incoming.TOLD
        if IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.readConnectionLost()
        else:
            self.loseConnection()
        return True

    def _settle(self) -> None:
        """Tell the stream of what was taken."""
        taken, stream = self._owed - len(self._held), self._stream
        if taken > 0:
            self._owed -= taken
            if stream is not None:
                stream.took(taken)

    # What is the connection's

    @property
    def facts(self) -> TlsFacts:
        """What is known of the TLS below."""
        found: TlsFacts = getattr(self.below, "facts", NO_TLS)
        return found

    def tcp_facts(self) -> TcpFacts | None:
        """What the system knows of the connection that this is on; `None` once it is closed."""
        found: TcpFacts | None = super().tcp_facts() if self._phase is not Phase.LOST else None
        return found

    def before_close(self, call: Callable[[], object]) -> None:
        """Call this just before it is closed."""
        if self._phase is not Phase.LOST:
            self._before_close.append(call)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """The connection is that of others too, and stays as it is."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """The connection is that of others too, and stays as it is."""


def _left(stream: TwoWayStream) -> int:
    """Nobody wants a stream any more: break it off, unless both sides have sent all.

    :return: bytes that were never sent.
    """
    if stream.is_open and not (stream.is_last and stream.has_ended):
        stream.cancel()
    return stream.unsent


def _ignore(data: Any) -> None:
    """Bytes for a protocol that is gone."""
