"""The writing half of a fast transport: bytes, producers, and every way to end.

Reading is the business of `tcpmesh.net.epoll.transport`, which builds on this;
`tcpmesh.net.epoll.network` tells how the two work.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from select import EPOLLERR
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure

from tcpmesh.net.epoll.poller import WATCH
from tcpmesh.net.epoll.pushback import PushbackBuffer
from tcpmesh.net.epoll.resources import EpollResources
from tcpmesh.net.epoll.splice import Pump
from tcpmesh.net.sockets import HIGH_WATERMARK, UNSENT_POLL, UNSENT_POLLS, Descriptor, unsent

SHUT = b""
"""`_out` of a transport that takes no more bytes."""

OPEN, FIN, LOSE, FLUSH_RESET = range(4)
"""What happens once `_out` is flushed: nothing, half-close, close, close with a reset."""

# Made once: a Failure costs more than all else that a close does.
DONE = Failure(ConnectionDone())
LOST = Failure(ConnectionLost())
ABORTED = Failure(ConnectionAborted())


def ignore(data: memoryview) -> None:
    """Bytes for a protocol that is gone."""


class WriteSide(Descriptor):
    """A connected socket that can be written to and closed."""

    __slots__ = (
        "_after",
        "_eof",
        "_failed",
        "_hangup",
        "_iov",
        "_network",
        "_onto",
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
        "_streaming",
        "dropped",
        "high_watermark",
    )

    def __init__(
        self, network: EpollResources, fd: int, family: int, peer: Any, registered: bool
    ) -> None:
        # What `Descriptor.__init__` does: a call less for each side of each connection.
        self.fd = fd
        self._family = family
        self._peer = peer
        self._host = None
        self.high_watermark = HIGH_WATERMARK
        self.dropped = 0
        self._network = network
        self._poller = network.poller
        self._registered = registered
        self._protocol: Any = None
        self._receive: Any = None
        self._onto: Any = None
        """The sink to which bytes go without the protocol, where it is one of ours and the protocol
        does not want to see them.
        """
        self._iov = network.iov
        self._out: Any = None
        self._after = OPEN
        self._producer: Any = None
        self._producer_paused = self._streaming = False
        self._paused = self._readable = self._eof = self._failed = False
        self._hangup = 0
        self._reason: Failure | None = None
        self._pump: Pump | PushbackBuffer | None = None

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
        """Send what a pump holds; what the kernel does not take at once stays there, in place of
        other bytes buffered.
        """
        if self._out is None or self._out is pump:
            self._out = pump
            self._flush_pump(pump)
            if self._out:
                self._await_room()
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
        self._await_room()
        if (
            self._streaming
            and not self._producer_paused
            and 0 < self.high_watermark < len(self._out)
        ):
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
            self._close_and_tell(LOST if self._failed else DONE)
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
        out = self._out
        self._shut()
        self._failed = True
        if self.fd < 0:
            return
        if self._after >= LOSE or self._eof:
            self._close_and_tell(LOST)
            return
        self._readable = True
        self._hangup |= EPOLLERR
        if not self._paused:
            self._read_on()
        # Who waits for room here would wait until this side is read again, which may itself wait
        # for that peer to read.
        if type(out) is Pump:
            out.abandoned()
        elif self._producer_paused:
            self._resume_producer()

    # Flow control: as a consumer of others, as the producer that others pause

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """From now on pause this producer above the high watermark; a pull producer (not streaming)
        is asked when all is sent.
        """
        if self._producer is not None:
            raise RuntimeError(
                f"cannot register {producer!r}: {self._producer!r} is registered already"
            )
        if self.fd < 0:
            producer.stopProducing()
            return
        self._producer, self._streaming = producer, streaming
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
        if self._out or self.fd < 0 or self._after >= LOSE:
            self._end_after_flush(LOSE)
        else:
            self._producer = None
            self._close_and_tell(LOST if self._failed else DONE)

    def resetConnection(self) -> None:
        """Close with a reset once what was written is sent."""
        self._end_after_flush(FLUSH_RESET)

    def abortConnection(self) -> None:
        """Close at once with a reset; what was not sent is lost."""
        if self.fd >= 0:
            self.linger_for_reset()
            self._close_and_tell(ABORTED)

    def cutConnection(self) -> None:
        """Close at once with FIN; what the kernel has not taken is lost."""
        if self.fd >= 0:
            self._close_and_tell(DONE)

    def _end_after_flush(self, how: int) -> None:
        if self.fd < 0 or self._after >= LOSE:
            return
        self._after = how
        self._producer = None
        self._producer_paused = self._streaming = False
        if not self._out:
            self._drained()
        if self.fd >= 0:
            self._read_for_nobody()

    def _read_for_nobody(self) -> None:
        """Drop what still comes: a peer that writes before it reads would never take what is to be
        flushed.
        """
        self._receive = ignore
        self._onto = None
        if self._pump is not None:
            self._stop_pump(self._pump)
        self._paused = False
        self._read_on()

    def _half_close(self) -> None:
        try:
            self.shut_down(socket.SHUT_WR)
        except OSError:
            self._write_failed()
            return
        # What does not want to see its bytes is an `IBufferedProtocol`: to ask costs more.
        if self._onto is not None or IHalfCloseableProtocol.providedBy(self._protocol):
            self._protocol.writeConnectionLost()

    def _reset_when_sent(self, polls: int) -> None:
        """Close with a reset as soon as the kernel's own queue is empty, since a reset throws that
        queue away.
        """
        if self.fd < 0:
            return
        if polls and unsent(self.fd):
            self._network.timers.queue(UNSENT_POLL, _look_again).add((self, polls - 1))
        else:
            self.abortConnection()

    def before_close(self, call: Callable[[], object]) -> None:
        """Call this just before the descriptor is closed."""
        calls = self._network.before_close
        if self.fd >= 0:
            calls[self] = (*calls.get(self, ()), call)

    def _close_and_tell(self, reason: Failure) -> None:
        """Close, and tell the protocol soon, not from within this call."""
        self._close(reason)
        self._poller.again(self)

    def _close(self, reason: Failure) -> None:
        if self._network.before_close:
            for call in self._network.before_close.pop(self, ()):
                call()
        fd, self.fd = self.fd, -1
        if self._out:
            self._shut()
        self._out = SHUT
        self._after = LOSE
        if self._pump is not None:
            self._stop_pump(self._pump)
        self._reason = reason
        if fd >= 0:
            self._poller.close(fd)

    def _report_lost(self) -> None:
        protocol, producer, reason = self._protocol, self._producer, self._reason
        # The cycles of a connection end here, so that no garbage collector need look for them.
        self._protocol = self._producer = self._reason = None
        self._receive = ignore
        self._onto = None
        self._streaming = False
        if producer is not None:
            producer.stopProducing()
        if protocol is not None:
            protocol.connectionLost(reason)

    def _stop_pump(self, pump: Pump | PushbackBuffer) -> None:
        self._pump = None
        pump.source_ended()

    def _await_room(self) -> None:
        """The kernel will take no more bytes for now: be told when it does."""
        if not self._registered:
            self._register()

    def _read_on(self) -> None:
        """Nobody wants a pause any more: what is there, and what comes, is to be delivered soon,
        not from within this call.
        """
        if not self._registered:
            self._register()
        if self._readable:
            self._poller.again(self)

    def _register(self) -> None:
        self._registered = True
        self._poller.register(self.fd, self, WATCH)

    def _detach(self) -> None:
        """The descriptor is to be somebody else's: nothing of it is watched, or under way, after
        this.
        """
        if self._registered:
            self._poller.unregister(self.fd)

    def ready(self, mask: int) -> None:
        """The poller's events: see `tcpmesh.net.epoll.transport`."""
        raise NotImplementedError

    def ready_again(self) -> None:
        """What was put off: see `tcpmesh.net.epoll.transport`."""
        raise NotImplementedError

    def stop(self) -> None:
        """The poller stops."""
        self.cutConnection()

    def failed(self) -> None:
        """Its protocol raised: the connection cannot go on."""
        self.abortConnection()


def _look_again(waiting: tuple[WriteSide, int]) -> None:
    """What the queue of those whose reset waits calls."""
    transport, polls = waiting
    transport._reset_when_sent(polls)
