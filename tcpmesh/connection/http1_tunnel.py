"""A tunnel through a proxy that speaks HTTP/1.1: a request, its answer, and then the bytes of both
sides.

It is a wrapped transport (`tcpmesh.connection.wrapped.transport`) whose handshake is the request
and the head of the answer.  Two things are not as in other transports, for HTTP/1.1 is so: the
end of one side's stream ends the tunnel, whichever side it is (RFC 9110, 9.3.6), and a reset is
no more than that.  After CONNECT bytes go through as they are; after POST they are chunks, and the
answer is read to its end.

Envoy waits for an answer as long as the tcp_proxy may be idle, an hour unless told otherwise.  Here
a proxy has `ANSWER_TIMEOUT` seconds, for a client that waits holds a connection.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from tcpmesh.connection.wrapped.states import CONNECTED, HandshakeObserver
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.connection.wrapped.writing import READY
from tcpmesh.wire.http1 import MalformedResponse
from tcpmesh.wire.http1_tunnel import LAST_CHUNK, Fields, TunnelAnswer, chunk

ANSWER_TIMEOUT = 15.0


class TunnelFailed(ConnectionDone):
    """A tunnel came to nothing; the text says why.

    :param status: that of the answer which refused it, or 0.
    :param is_malformed: whether the proxy does not keep to HTTP.
    """

    def __init__(self, why: str, status: int = 0, is_malformed: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.status = status
        self.is_malformed = is_malformed

    def __str__(self) -> str:
        return self.why


class Http1Tunnel(WrappedTransport):
    """One tunnel, on the side that asks for it.

    :param request: what is sent.
    :param answer: reads what comes.
    :param chunks: whether bytes are sent in chunks, as the body of a POST.
    :param timeout: seconds for the head of the answer.
    """

    __slots__ = (
        "_chunks",
        "_deadline",
        "_request",
        "_timeout",
        "answer",
        "overhead_sent",
        "was_reset",
    )

    def __init__(
        self,
        clock: IReactorTime,
        observer: HandshakeObserver,
        request: bytes,
        answer: TunnelAnswer,
        chunks: bool = False,
        timeout: float = ANSWER_TIMEOUT,
    ) -> None:
        super().__init__(clock, observer)
        self._request = request
        self.answer = answer
        self._chunks = chunks
        self._timeout = timeout
        self._deadline: IDelayedCall | None = None
        self.overhead_sent = 0
        """Bytes that were sent and are not the tunnel's."""
        self.was_reset = False
        """Whether the proxy has reset the connection."""

    def begin(self) -> None:
        """Ask."""
        self._deadline = self.clock.callLater(self._timeout, self._is_late)
        request, self._request = self._request, b""
        self._send_overhead(request)

    def _send_overhead(self, data: bytes) -> None:
        self.overhead_sent += len(data)
        self.send(data)

    @property
    def fields(self) -> Fields:
        """The header fields of the answer, from when they are there until the tunnel is open."""
        return self.answer.fields if self.answer.has_head else ()

    @property
    def is_for_one(self) -> bool:
        """Whether the proxy says that the connection is for this tunnel alone."""
        return self.answer.opens and self.answer.closes

    def _is_late(self) -> None:
        self._deadline = None
        self._fail(TunnelFailed("no answer in time"))

    # What comes

    def received(self, data: memoryview) -> None:
        """Read the answer, and pass on what is the tunnel's."""
        answer = self.answer
        if self._phase is READY and not self._chunks:
            self.deliver(data)
            return
        try:
            plain = answer.take(bytes(data))
        except MalformedResponse as error:
            self._fail(TunnelFailed(str(error), is_malformed=True))
            return
        if self._phase is not READY and not self._is_opened():
            return
        if plain:
            self.deliver(plain)
        if answer.is_whole:
            self._end()

    def _is_opened(self) -> bool:
        """Whether there is a tunnel now; where there is none to be, tell that."""
        answer = self.answer
        if not answer.has_head:
            return False
        self._stop_deadline()
        if not answer.opens:
            malformed = answer.status < 200
            self._fail(TunnelFailed("refused", answer.status, malformed))
            return False
        self.handshake_done()
        answer.forget_fields()
        return self.is_ready

    def received_end(self) -> None:
        """The proxy will send no more: that is the end of the tunnel."""
        if self._phase is READY:
            self._end()
        else:
            why = "the proxy closed the connection before it had answered"
            self._fail(TunnelFailed(why, is_malformed=self.answer.has_begun))

    def connectionLost(self, reason: Failure) -> None:
        """There is nothing below any more."""
        lost = isinstance(reason.value, ConnectionLost)
        if lost and not isinstance(reason.value, ConnectionAborted):
            self.was_reset = True
            if self._phase is READY:
                reason = Failure(ConnectionDone())
        super().connectionLost(reason)

    def _end(self) -> None:
        """It is over: who is above hears of that after what has come."""
        self.below.loseConnection()
        self._over(Failure(ConnectionDone()))

    def _fail(self, error: TunnelFailed) -> None:
        if self._phase in CONNECTED:
            self.below.loseConnection()
            self._over(Failure(error))

    def _stop_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def released(self) -> None:
        """It is over."""
        self._stop_deadline()

    # What goes

    def send_plain(self, data: Any) -> None:
        """Send what the protocol above has written, as it is or as a chunk."""
        if self._chunks:
            framed = chunk(bytes(data))
            self.overhead_sent += len(framed) - len(data)
            self.send(framed, len(data))
        else:
            self.send(data, len(data))

    def goodbye(self) -> None:
        """The end of a POST's body."""
        if self._chunks:
            self._send_overhead(LAST_CHUNK)

    def loseWriteConnection(self) -> None:
        """There is no half of a tunnel: end it once what was written is sent."""
        self.loseConnection()

    def resetConnection(self) -> None:
        """A reset is only an end."""
        self.loseConnection()
