"""Twisted's own TCP and unix transports, with what `IStreamTransport` asks beyond them.

Each difference was found by the contract suite (`tcpmesh.testing.contract`):

- Twisted resumes a paused producer when all is sent, and asks it for more before it closes or sends
  FIN, which then never happens.  Here the producer is resumed at half of the watermark and has no
  say in a close.
- Twisted reports a reset as soon as a write fails, or the reactor sees the hang-up of a paused
  transport, although bytes that came before it wait to be read.  Here those are read first.
- Twisted takes a hang-up without anything to read for a clean end.  On a second processor the
  kernel may be asked in the middle of a reset, when it says just that.  Here only reading finds out
  which end it is.
- Twisted does not read while a close flushes, so a peer that writes before it reads never takes
  what is flushed.
- Twisted sends what is written after a close was asked for, tells EOF again on resume, and closes a
  protocol without half-close at EOF before what it wrote is sent.

One thing cannot be had: a peer that sent FIN and then resets is noticed only when something is
written to it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from zope.interface import implementer

from twisted.internet import tcp
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import IStreamTransport
from tcpmesh.net.sockets import (
    HIGH_WATERMARK,
    UNSENT_POLL,
    UNSENT_POLLS,
    original_destination,
    quiet_for,
    tcp_facts,
    unsent,
)
from tcpmesh.net.stock.open_sockets import OpenSockets
from tcpmesh.values.address import Address
from tcpmesh.values.stream.tcp_facts import TcpFacts

log = Logger(namespace="connection")

READ_SIZE = 65536


@implementer(IStreamTransport)
class StockTransport(tcp.Connection):
    """What every transport of this module has beyond Twisted's; see the module's text."""

    protocol: Any = None
    bufferSize = READ_SIZE
    high_watermark = HIGH_WATERMARK
    dropped = 0
    _paused = False
    _eof = False
    _saw_end = False
    """The last read found the end of stream."""
    _broken = False
    """Nothing can be sent any more, but bytes may still wait to be read."""
    _over = False
    """The reset or failure has been read, after all bytes."""
    _known: Mapping[str, Address] = MappingProxyType({})
    """The addresses that were asked for, by the system call that tells them."""
    _peer: tuple[int, Any] | None = None
    """The family and the address that `accept` gave: after a reset the socket does not tell."""
    _reset = False
    _look: IDelayedCall | None = None
    """When a reset that waits for the bytes before it is tried again."""
    _cut = False
    _pulls = False
    _full = False
    """The producer was paused."""
    _unread = b""
    """Bytes given back, to be delivered before all others."""
    _sockets: OpenSockets | None = None
    _before_close: tuple[Callable[[], object], ...] = ()

    # Writing

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken yet."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen

    @property
    def _shut(self) -> bool:
        closing = self.disconnecting or self._aborting or not self.connected
        return bool(closing or self._broken or self._writeDisconnecting)

    def write(self, data: Any) -> None:
        """Send bytes after all that was written before."""
        if self._shut:
            self.dropped += len(data)
        else:
            super().write(bytes(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Send several pieces as one."""
        self.write(b"".join(iovec))

    def doWrite(self) -> Any:
        """The reactor: the kernel has room."""
        result = super().doWrite()
        if result is None:
            self._feed_producer()
        elif isinstance(result, ConnectionLost):
            return self._write_failed()
        return result

    def _write_failed(self) -> ConnectionLost | None:
        """The peer has reset the connection: read what it sent before, unless all has been read."""
        self._drop_unsent()
        self._broken = True
        self.stopWriting()
        if self.disconnecting or self._eof:
            self._over = True
            return CONNECTION_LOST
        if not self._paused:
            self.startReading()
        if self._full:
            # Who waits for room here would wait until this side is read again, which may itself
            # wait for that peer to read.
            self._full = False
            self.producer.resumeProducing()  # type: ignore[union-attr]
        return None

    def _drop_unsent(self) -> None:
        self.dropped += self.buffered
        self.dataBuffer, self.offset = b"", 0
        self._tempDataBuffer, self._tempDataLen = [], 0

    # Reading

    @property
    def read_size(self) -> int:
        """At most so many bytes are delivered in one call, 1 to 65536."""
        return self.bufferSize

    @read_size.setter
    def read_size(self, size: int) -> None:
        self.bufferSize = max(1, min(size, READ_SIZE))

    def _dataReceived(self, data: bytes | None) -> Any:
        if data and self.disconnecting:
            return (
                None  # for nobody: the peer may have to write before it reads what is to be flushed
            )
        return super()._dataReceived(data)

    def doRead(self) -> Any:
        """The reactor: there is something to read."""
        if self._unread:
            return self._deliver_unread()
        result = super().doRead()
        if isinstance(result, ConnectionLost):
            self._over = True
        self._saw_end = isinstance(result, ConnectionDone)
        return result

    def unread(self, data: Any) -> None:
        """Deliver these bytes again, before all others; not from within this call."""
        if not data or not self.connected or self.disconnecting or self._aborting:
            return
        self._unread = bytes(data) + self._unread
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        self.reactor.callLater(0, self._deliver_now)  # type: ignore[attr-defined]

    def _deliver_now(self) -> None:
        try:
            self._deliver_unread()
        except BaseException:
            log.failure("closing a connection whose protocol failed")
            self.abortConnection()

    def _deliver_unread(self) -> None:
        """What was given back, if it may be delivered now."""
        if (
            self._unread
            and not self._paused
            and self.connected
            and not self.disconnecting
            and not self._aborting
        ):
            size = self.read_size
            data, self._unread = self._unread[:size], self._unread[size:]
            self._dataReceived(data)
            if self._unread:
                self._deliver_soon()

    def readConnectionLost(self, reason: Failure) -> None:
        """The reactor: end of stream, or so it believes where it has not read that itself."""
        if not (self._saw_end or self.disconnecting or self._unread):
            self._look_again()
            return
        self._eof = True
        if self.disconnecting:
            return
        if self._broken:
            self.connectionLost(Failure(CONNECTION_LOST))
        elif IHalfCloseableProtocol.providedBy(self.protocol):
            super().readConnectionLost(reason)
        else:
            self.loseConnection()

    def _look_again(self) -> None:
        """Let reading find out how it ended."""
        result = self.doRead()
        if isinstance(result, ConnectionDone):
            self.readConnectionLost(Failure(result))
        elif isinstance(result, ConnectionLost):
            self.stopWriting()
            self.connectionLost(Failure(result))
        elif self.connected and not self._paused:
            self.startReading()

    def pauseProducing(self) -> None:
        """Read no more until resumed."""
        self._paused = True
        if not self.disconnecting:
            super().pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._paused = False
        if not (self._eof or self._aborting):
            super().resumeProducing()
        if self._unread:
            self._deliver_soon()

    # Flow control

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """From now on pause this producer above the high watermark; a pull producer is asked when
        all is sent.
        """
        if self.producer is not None:
            raise RuntimeError(
                f"cannot register {producer!r}: {self.producer!r} is registered already"
            )
        if not self.connected:
            producer.stopProducing()
            return
        # Twisted is told "streaming", and so leaves the producer alone but for its end.
        self.producer, self.streamingProducer, self._pulls, self._full = (
            producer,
            True,
            not streaming,
            False,
        )
        if not streaming:
            self._pull()

    def unregisterProducer(self) -> None:
        """Tell no producer any more."""
        self.producer, self._pulls, self._full = None, False, False

    def _maybePauseProducer(self) -> None:
        if (
            self.producer is not None
            and not (self._pulls or self._full)
            and 0 < self.high_watermark < self.buffered
        ):
            self._full = True
            self.producer.pauseProducing()  # type: ignore[attr-defined]

    def _feed_producer(self) -> None:
        if self.producer is None or self.disconnecting:
            return
        if self._pulls:
            if not self.buffered:
                self._pull()
        elif self._full and 2 * self.buffered <= self.high_watermark:
            self._full = False
            self.producer.resumeProducing()  # type: ignore[attr-defined]

    def _pull(self) -> None:
        self.producer.resumeProducing()  # type: ignore[union-attr]
        if self.producer is not None:
            self.startWriting()

    # Ends

    def loseWriteConnection(self) -> None:
        """Send FIN after what was written."""
        if not self._shut:
            super().loseWriteConnection()

    def loseConnection(self) -> None:
        """Close both ways once what was written is flushed; what comes meanwhile is dropped."""
        if not self.connected or self.disconnecting or self._aborting:
            return
        self.unregisterProducer()
        self.disconnecting = 1
        if not self._eof:
            self.startReading()
        if self._writeDisconnected or not self.buffered:
            self.reactor.callLater(0, self._flushed)  # type: ignore[attr-defined]
        else:
            self.startWriting()

    def resetConnection(self) -> None:
        """Close with a reset once what was written is sent."""
        if self.connected and not self.disconnecting:
            self._reset = True
            self.loseConnection()

    def cutConnection(self) -> None:
        """Close at once with FIN; what the kernel has not taken is lost."""
        if self.connected and not self._aborting:
            self._cut = True
            self.abortConnection()

    def count_in(self, sockets: OpenSockets) -> None:
        """Count as open there, until it is closed."""
        self._sockets = sockets
        sockets.add(self)

    def stop(self) -> None:
        """The network stops."""
        self.cutConnection()

    def _postLoseConnection(self) -> Any:
        if not self._reset:
            return CONNECTION_DONE
        self._reset_when_sent(UNSENT_POLLS)
        return None

    def _flushed(self) -> None:
        """There is nothing to flush."""
        if self._reset:
            self._reset_when_sent(UNSENT_POLLS)
        elif self.connected:
            self._over = True
            self.connectionLost(Failure(CONNECTION_LOST if self._broken else CONNECTION_DONE))

    def _reset_when_sent(self, polls: int) -> None:
        """Close with a reset as soon as the kernel's own queue is empty, since a reset throws that
        queue away.
        """
        self._look = None
        if not self.connected:
            return
        if polls and unsent(self.fileno()):
            clock: Any = self.reactor
            self._look = clock.callLater(UNSENT_POLL, self._reset_when_sent, polls - 1)
        else:
            self.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor: it is over, or so it seems where bytes before a reset are still to be
        read.
        """
        lost_early = reason.type is ConnectionLost and not (
            self._over or self._eof or self.disconnecting
        )
        if lost_early and self.connected:
            self._write_failed()
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._drop_unsent()
        calls, self._before_close = self._before_close, ()
        for call in calls:
            call()
        super().connectionLost(Failure(CONNECTION_DONE) if self._cut else reason)
        if self._sockets is not None:
            self._sockets.discard(self)

    # What is known about the socket

    def getPeer(self) -> Any:
        """The other side's address."""
        return self._address("getpeername")

    def getHost(self) -> Any:
        """This side's address."""
        return self._address("getsockname")

    def quiet_for(self) -> float | None:
        """For how many seconds no data has come or gone here, where the system knows."""
        return quiet_for(self.socket) if self._is_tcp and self.connected else None

    def tcp_facts(self) -> TcpFacts | None:
        """What the system knows of a TCP connection."""
        return tcp_facts(self.socket) if self._is_tcp else None

    def before_close(self, call: Callable[[], object]) -> None:
        """Call this just before the descriptor is closed."""
        self._before_close = (*self._before_close, call)

    def original_destination(self) -> Address | None:
        """Where the peer wanted to connect to, where the packet filter has redirected it here."""
        return original_destination(self.socket) if self._is_tcp else None

    def _address(self, method: str) -> Address:
        """An address, which is known from then on, also when the socket is closed."""
        known = self._known.get(method)
        if known is None:
            try:
                known = Address.of_end(self.socket.family, getattr(self.socket, method)())
            except (OSError, AttributeError):
                if method != "getpeername" or self._peer is None:
                    return Address("")
                known = Address.of_end(*self._peer)
            self._known = {**self._known, method: known}
        return known

    def getTcpNoDelay(self) -> bool:
        """Whether TCP_NODELAY is on."""
        return self._is_tcp and super().getTcpNoDelay()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send small writes at once, or not."""
        if self._is_tcp:
            super().setTcpNoDelay(enabled)

    def getTcpKeepAlive(self) -> bool:
        """Whether SO_KEEPALIVE is on."""
        return self._is_tcp and super().getTcpKeepAlive()

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Let the kernel probe a silent peer, or not."""
        if self._is_tcp:
            super().setTcpKeepAlive(enabled)

    @property
    def _is_tcp(self) -> bool:
        return hasattr(self, "socket") and self.socket.family != socket.AF_UNIX
