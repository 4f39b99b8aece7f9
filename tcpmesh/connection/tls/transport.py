"""TLS as a transport above another one: records below, plain bytes above.

What is hard about standing between a socket and a protocol is done by
`tcpmesh.connection.wrapped.transport`, and what is hard about TLS by OpenSSL, through an engine
(`tcpmesh.net.tls.openssl.engine`).  What is left has a few rules.

*Reading.*  All that came in one event is opened first, into a buffer that is lent for the event,
and then delivered: no byte is left in OpenSSL's hands while foreign code runs.

*Nobody is heard before the verdict.*  The handshake counts as over once OpenSSL says so and the
context has found a recorded verdict (`TlsContext.is_verified`); until then nothing is delivered,
and what was written waits as plain bytes.

*Writing.*  A write is sealed as a whole and goes below as one.  The tickets of TLS 1.3 go with the
first bytes, as from BoringSSL.

*Half-close* is close_notify, both ways, and no FIN, as in Envoy; a FIN without close_notify is the
end of the stream too.  A record that is none ends the connection in order, after an alert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from tcpmesh.connection.tls.pace import HandshakePace
from tcpmesh.connection.wrapped.states import (
    CONNECTED,
    RESET,
    After,
    HandshakeObserver,
    Incoming,
)
from tcpmesh.connection.wrapped.transport import WrappedTransport
from tcpmesh.connection.wrapped.writing import READY
from tcpmesh.net.tls.context import NOTHING_WANTED, TlsContext
from tcpmesh.net.tls.openssl.library import (
    BUFFERS,
    HEADER,
    PIECE,
    RECORD,
    Broken,
    Buffer,
    TlsError,
)
from tcpmesh.net.tls.sessions import KeptSession
from tcpmesh.net.tls.verifier import Verdict
from tcpmesh.values.stream.tls_facts import NO_TLS, TlsFacts

NO_BYTES = memoryview(b"")

READ_SIZE = 1 << 16
"""At most so much is opened at once: in records of a byte it takes some milliseconds."""

POOR_READ_SIZE = 1 << 13
"""The same for a peer whose records hold next to nothing."""

MOST_UNHEARD = 32
"""So many answers may wait for a peer that takes nothing."""


class TlsObserver(Protocol):
    """Who counts handshakes and notes what they have agreed on."""

    def tls_done(self, transport: Any) -> None:
        """The handshake is over; its engine knows the facts."""

    def tls_staple_asked(self) -> None:
        """A client has asked for an OCSP response."""

    def tls_stapled(self, outcome: str) -> None:
        """What it got: `responses`, `omitted` or `failed`."""

    def tls_failed(self, transport: Any, error: TlsError) -> str:
        """The handshake has failed, or the connection is broken.

        :return: why, for people.
        """


class SecretLog(Protocol):
    """Where secrets are written, in the NSS key log format."""

    def is_for(self, transport: Any) -> bool:
        """Whether those of a connection are."""

    def write(self, line: bytes) -> None:
        """Write a line."""


class TlsTransport(WrappedTransport):
    """See the module's text.

    :param clock: the network's.
    :param context: whose settings hold.
    :param observer: who bounds the time of the handshake.
    :param watcher: who counts.
    """

    __slots__ = (
        "_answers",
        "_facts",
        "_keeps_session",
        "_shaken",
        "_unheard",
        "_waiting",
        "_when_ready",
        "context",
        "engine",
        "key_log",
        "pace",
        "record",
        "resumed",
        "verdict",
        "wanted",
        "watcher",
    )

    fin_below = False

    def __init__(
        self,
        clock: IReactorTime,
        context: TlsContext,
        observer: HandshakeObserver,
        watcher: TlsObserver,
    ) -> None:
        super().__init__(clock, observer)
        self.context = context
        self._shaken = False
        """Whether the handshake is over."""
        self._answers = False
        """Whether OpenSSL may want to answer what comes after it: up to TLS 1.2.  In TLS 1.3 all
        that there is can go with the next bytes.
        """
        self._when_ready: tuple[Callable[[], object], ...] = ()
        self.engine: Any = None
        """Made once a client has said something, or a host is there."""
        self.watcher = watcher
        self.wanted = NOTHING_WANTED
        """What is asked of the peer."""
        self.key_log: SecretLog | None = None
        """Where the secrets of connections are written, if they are."""
        self.pace: HandshakePace | None = None
        """That of all handshakes, if they are to have one."""
        self._waiting: bytearray | None = None
        """What has come in a handshake that waits for its turn."""
        self.resumed: KeptSession | None = None
        """What is tried to be resumed."""
        self._keeps_session = False
        """Whether the session with a host is still to be kept."""
        self._unheard = 0
        """How often in a row the peer has asked for an answer, and not taken the one before."""
        self._facts = NO_TLS
        self.record: Any = None
        """The `StreamInfo` of which these are a part, where this is a client's."""
        self.verdict: Verdict | None = None
        """On the peer's certificates, where they were judged in this handshake."""

    @property
    def facts(self) -> TlsFacts:
        """What the handshake has agreed on, or why it has failed."""
        return self._facts

    @facts.setter
    def facts(self, facts: TlsFacts) -> None:
        self._facts = facts
        if self.record is not None:
            self.record.tls = facts

    def when_ready(self, tell: Callable[[], object]) -> None:
        """Call this once the handshake is over, if it ever is, after those that asked before."""
        self._when_ready += (tell,)

    def begin(self) -> None:
        """Who has connected speaks first."""
        if self._read_size > READ_SIZE:
            self.read_size = READ_SIZE
        if self.context.is_server:
            self.facts = self.context.unagreed
            return
        self._shake_in_turn(NO_BYTES)

    def bufferReceived(self, data: memoryview) -> None:
        """Records, or parts of them: what comes nearly always goes the shortest way."""
        if self._shaken and self._phase is READY and len(data) <= PIECE:
            self._open(data)
        elif self._phase in CONNECTED:
            self.received(data)

    def received(self, data: memoryview) -> None:
        """Records, or parts of them."""
        size = len(data)
        for start in range(0, size, PIECE):
            piece = data[start : start + PIECE]
            if self._shaken:
                self._open(piece)
            else:
                self._shake_in_turn(piece)
            if self.engine is None and self._waiting is None:
                return

    def connectionLost(self, reason: Failure) -> None:
        """There is nothing below any more; a reset, while the peer is listened to, is a failure of
        TLS as well.
        """
        is_heard = self._incoming is Incoming.OPEN and self._after < After.CLOSE
        if is_heard and reason.check(ConnectionLost) and not self._facts.failure:
            self.facts = replace(self._facts, failure=RESET)
        super().connectionLost(reason)

    def received_end(self) -> None:
        """FIN: as good as close_notify, but in a handshake."""
        if self._shaken:
            self.deliver_end()
        else:
            self.fail("")

    def send_plain(self, data: Any) -> None:
        """Make records of it, and send them as one."""
        size = len(data)
        if not 0 < size <= PIECE:
            for start in range(0, size, PIECE):
                if self._phase is READY:  # and not broken by the piece before
                    self.send_plain(data[start : start + PIECE])
            return
        sealed, below = BUFFERS.pop() if BUFFERS else Buffer(), self.below
        try:
            records = sealed.view[: self.engine.seal(data, sealed)]
            below.write(records)
            left = below.buffered
            if left or below.dropped or self._ledger is not None:
                self._note_records(records, size, left + below.dropped)
        except TlsError as error:
            self._broken(error)
        finally:
            BUFFERS.append(sealed)

    def _note_records(self, records: memoryview, plain: int, left: int) -> None:
        """Where records have to wait below, each is noted by itself."""
        size, lost = len(records), self.below.dropped > 0
        if not left:
            self._note(size, plain, 0, lost)
            return
        ends, at = [], 0
        while at < size:
            at += HEADER + (records[at + 3] << 8 | records[at + 4])
            ends.append(at)
        others = len(ends) - -(-plain // RECORD)  # tickets, which go before
        start = 0
        for index, end in enumerate(ends):
            stands_for = 0 if index < others else min(RECORD, plain)
            plain -= stands_for
            self._note(end - start, stands_for, max(0, left - (size - end)), lost)
            start = end

    def goodbye(self) -> None:
        """close_notify."""
        if self.engine is not None:
            self.engine.say_goodbye()
            self._send_out()

    def released(self) -> None:
        """Free what OpenSSL holds."""
        engine, self.engine = self.engine, None
        self._when_ready, self._waiting = (), None
        if engine is None:
            return
        # To free takes as long as a message, and hundreds may end in the same moment.
        pace = self.pace
        if pace is None:
            engine.release()
        elif not pace.take(engine.release):
            pace.take_later(engine.release)

    # The handshake

    def _shake_in_turn(self, data: memoryview) -> None:
        """Go on with the handshake now, or where many others do too, when its turn comes."""
        pace = self.pace
        if pace is None:
            self._shake(data)
        elif self._waiting is not None:
            self._waiting += data
        elif not pace.take(self._shake, data):
            self._waiting = bytearray(data)
            self.below.pauseProducing()
            pace.take_later(self._turn_of_handshake)

    def _turn_of_handshake(self) -> None:
        data, self._waiting = self._waiting, None
        if data is None:
            return
        self.below.resumeProducing()
        try:
            self._shake(memoryview(data))
        except BaseException:
            self.abortConnection()
            raise

    def _made_engine(self, data: memoryview) -> Any:
        context = self.context
        engine = context.engine(self, bytes(data) if context.looks_at_hello else b"")
        sessions = context.sessions
        if sessions is not None:
            self.resumed = sessions.find(self.wanted)
            if self.resumed is not None:
                engine.resume(self.resumed.session)
        return engine

    def _shake(self, data: memoryview) -> None:
        engine = self.engine
        if engine is None:
            self.engine = engine = self._made_engine(data)
        try:
            over = engine.handshake(data)
        except TlsError as error:
            self._broken(error)
            return
        if not over:
            self._send_out()
            return
        if not self.context.is_verified(engine):
            self._broken(TlsError(()))
            return
        self._shaken = True
        self._answers = not engine.is_1_3
        self.watcher.tls_done(self)
        if self.context.sessions is not None:
            self._keeps_session = True
            self._keep_session()
        if engine.has_more:
            self._open(NO_BYTES)
        else:
            self._ready()

    def _open(self, data: memoryview) -> None:
        """Open what has come, and only then deliver it."""
        engine, broken, count = self.engine, None, 0
        plain = BUFFERS.pop() if BUFFERS else Buffer()
        try:
            try:
                count = engine.open(data, plain)
            except Broken as error:
                broken, count = error, error.count
            if self._observer is not None:
                self._ready()
            elif engine.answers:
                self._answer()
            if self._keeps_session:
                self._keep_session()
            if len(data) >= POOR_READ_SIZE:
                is_poor = count < len(data) // 4
                most = POOR_READ_SIZE if is_poor else READ_SIZE
                self.below.read_size = min(self._read_size, most)
            if count:
                self.deliver(plain.view[:count])
        finally:
            BUFFERS.append(plain)
        if broken is not None:
            self._broken(broken)
        elif engine.ended:
            self.deliver_end()

    def _answer(self) -> None:
        """Send what OpenSSL has to say to what the peer sends beside plain bytes; a peer that asks
        on and on and takes nothing of it is cut off.
        """
        self.engine.answers = False
        self._unheard = self._unheard + 1 if self.below.buffered else 0
        if self._unheard > MOST_UNHEARD:
            self.fail("the peer does not take what it asks for")
            return
        self._send_out()

    def _keep_session(self) -> None:
        """Let the next connection resume this one's session: in TLS 1.3 there is one to be resumed
        once the host has sent a ticket, which comes by itself or before its first bytes.
        """
        sessions, engine = self.context.sessions, self.engine
        if sessions is None or engine is None:
            return
        if not (self._answers or engine.has_ticket):
            return
        self._keeps_session = False
        kept = KeptSession(engine.session(), self._facts.validated, once=not self._answers)
        sessions.keep(self.wanted, kept)

    def _ready(self) -> None:
        """Go on with what waits for the end of the handshake, and send its last flight with it.

        A server of TLS 1.3 has only tickets to send, which go with its first bytes.
        """
        self.handshake_done()
        waiting, self._when_ready = self._when_ready, ()
        for tell in waiting:
            if self.is_ready:
                tell()
        if self.engine is not None and (self._answers or not self.context.is_server):
            self._send_out()

    def _send_out(self) -> None:
        """Send what OpenSSL has to say by itself."""
        sealed = BUFFERS.pop() if BUFFERS else Buffer()
        try:
            count = self.engine.take(sealed)
            if count > 0:
                self.send(sealed.view[:count])
        finally:
            BUFFERS.append(sealed)

    def _broken(self, error: TlsError) -> None:
        """It is over: send the alert, and tell."""
        if self.engine is None:
            return
        self._send_out()
        self.fail(self.watcher.tls_failed(self, error))
