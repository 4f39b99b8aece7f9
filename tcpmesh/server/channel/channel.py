"""Messages and descriptors between two processes, over a unix socket that the reactor watches.

Theory of operation: what a frame is, `tcpmesh.server.channel.framing` says.  Here it is put on a
socket that never blocks.  What the other side does not take yet waits in a queue, and descriptors
that wait are duplicates, so that the caller may close its own as soon as `send` is over.  The queue
is bounded: a peer that reads no more is lost, once so much waits, as is one that sends what is no
frame.  Then the socket and all descriptors that came for nobody are closed, and `lost` is told why,
once, and never from within `send`.

The loop is shared: in one turn a little is read, and messages are handed on for as long as
`SLICE`; what is left has the next turn, and until then nothing more is read.
"""

from __future__ import annotations

import array
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any, NamedTuple

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger

from tcpmesh.net.cooperator import SLICE
from tcpmesh.server.channel.framing import (
    AT_ONCE,
    MOST_BYTES,
    Frame,
    FrameReader,
    FramingError,
    pieces_of,
)
from tcpmesh.values.all_or_nothing import all_or_nothing

log = Logger(namespace="main")

READ_SIZE = 1 << 16
"""Bytes that are read in one turn."""

MOST_WAITING = 1 << 27
"""Bytes that may wait for a peer that does not read."""

ENDED = "its end is closed"
"""How a channel is lost whose other side has ended between two messages."""

_INT = array.array("i").itemsize
_SPACE = socket.CMSG_SPACE(AT_ONCE * _INT)


class Waiting(NamedTuple):
    """What the other side has not taken yet."""

    data: memoryview
    descriptors: tuple[int, ...]
    """Our own duplicates."""


@implementer(IReadDescriptor, IWriteDescriptor)
class Channel:
    """One end.

    :param sock: the socket, which belongs to the channel from now on.
    :param receive: takes the body of each frame and its descriptors, which are its own to close; a
        `FramingError` of it is the end of the channel, any other exception is logged.
    :param lost: told once, with the reason, when the other side is gone; not after `close`.
    :param most: bytes that a frame from the other side may have.
    :param now: tells how long messages take.
    :param cut: takes the body of a frame whose descriptors the process has no room for; without it
        that is the end of the channel.
    """

    def __init__(
        self,
        sock: socket.socket,
        reactor: Any,
        receive: Callable[[bytes, tuple[int, ...]], object],
        lost: Callable[[str], object],
        most: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
        now: Callable[[], float] = perf_counter,
        cut: Callable[[bytes], object] | None = None,
    ) -> None:
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._fd = sock.fileno()
        self._reactor = reactor
        self._receive = receive
        self._lost = lost
        self._reader = FrameReader(most)
        self._most_waiting = most_waiting
        self._now = now
        self._cut = cut
        self._queue: deque[Waiting] = deque()
        self._waiting = 0
        self._came: deque[Frame] = deque()
        self._calls: set[Any] = set()
        self._is_ending = False
        reactor.addReader(self)

    @property
    def is_open(self) -> bool:
        """Whether what is sent may still arrive."""
        return self._sock is not None and not self._is_ending

    @property
    def waits(self) -> bool:
        """Whether something was sent that the other side has not taken yet."""
        return bool(self._queue) and self.is_open

    def send(self, body: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send a frame now, or as soon as the other side takes it; to one that is gone nothing is
        sent.

        :raise FramingError: where it has too many descriptors.
        """
        if not self.is_open:
            return
        for piece in pieces_of(body, descriptors):
            data = memoryview(piece.data)
            kept = piece.descriptors
            if not self._queue:
                sent = self._write(data, kept)
                data, kept = data[sent:], () if sent else kept
            if data and self.is_open:
                self._keep(data, kept)
        if self._waiting > self._most_waiting:
            self._end_soon(f"it does not read: {self._waiting} bytes wait")
        elif self._queue:
            self._reactor.addWriter(self)

    def close(self) -> None:
        """Let go of the other side, which sees an end.  What waits is not sent any more."""
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        for call in self._calls:
            call.cancel()
        self._calls.clear()
        _close_all(self._reader.abandon())
        for frame in self._came:
            _close_all(frame.descriptors)
        for waiting in self._queue:
            _close_all(waiting.descriptors)
        self._came.clear()
        self._queue.clear()
        self._waiting = 0
        sock.close()

    # What the reactor calls

    def fileno(self) -> int:
        """The socket's descriptor; -1 once it is closed."""
        return self._fd if self._sock is not None else -1

    def logPrefix(self) -> str:
        """For the reactor's own messages."""
        return "channel"

    def connectionLost(self, reason: Any) -> None:
        """The reactor gives up on the descriptor."""
        self._end(ENDED)

    def doRead(self) -> None:
        """Something came, or the other side is gone."""
        end = self._now() + SLICE
        with self._ending_on_errors():
            is_more = True
            while is_more:
                is_more = self._take_in()
                is_more = self._deliver(end) and is_more and self._now() < end

    def _take_in(self) -> bool:
        """Read once; whether there may well be more: what stands behind descriptors the kernel
        gives out in the next call.
        """
        data, descriptors, is_cut = self._read()
        has_descriptors = bool(descriptors) or is_cut
        if is_cut:
            _close_all(descriptors)
            descriptors = []
            if self._cut is None:
                raise FramingError("descriptors are lost: there is no room for them here")
        if not data and not descriptors:
            raise FramingError(
                "it ended in the middle of a message" if self._reader.is_inside else ENDED
            )
        self._came += self._reader.feed(data, descriptors, is_cut)
        return has_descriptors

    def doWrite(self) -> None:
        """The other side takes something."""
        while self._queue and self.is_open:
            waiting = self._queue[0]
            sent = self._write(waiting.data, waiting.descriptors)
            if not sent:
                return
            self._waiting -= sent
            _close_all(waiting.descriptors)
            if sent < len(waiting.data):
                self._queue[0] = Waiting(waiting.data[sent:], ())
            else:
                self._queue.popleft()
        self._reactor.removeWriter(self)

    # Inside

    def _keep(self, data: memoryview, descriptors: Sequence[int]) -> None:
        """Send this later."""
        try:
            with all_or_nothing() as undo:
                kept = []
                for fd in descriptors:
                    kept.append(os.dup(fd))
                    undo.callback(os.close, kept[-1])
        except OSError as e:
            self._end_soon(e.strerror or str(e))
            return
        self._queue.append(Waiting(data, tuple(kept)))
        self._waiting += len(data)

    def _deliver(self, end: float) -> bool:
        """Hand messages on, until the time of a turn is over; whether that were all."""
        while self._came and self._sock is not None:
            frame = self._came.popleft()
            try:
                if frame.is_cut and self._cut is not None:
                    _close_all(frame.descriptors)
                    self._cut(frame.body)
                else:
                    self._receive(frame.body, frame.descriptors)
            except FramingError:
                raise
            except Exception:
                log.failure("a message of another process could not be dealt with")
            if self._now() >= end:
                break
        if self._came and self._sock is not None:
            self._reactor.removeReader(self)
            self._call(self._deliver_more)
        return not self._came

    def _deliver_more(self) -> None:
        with self._ending_on_errors():
            self._deliver(self._now() + SLICE)
        if self._sock is not None and not self._came:
            self._reactor.addReader(self)

    @contextmanager
    def _ending_on_errors(self) -> Iterator[None]:
        """What is wrong with a frame, or what a receiver says is wrong with its body (it raises
        `FramingError` too), is the end of the channel.
        """
        try:
            yield
        except BlockingIOError:
            pass
        except FramingError as e:
            self._end(str(e))
        except OSError as e:
            self._end(e.strerror or str(e))

    def _read(self) -> tuple[bytes, list[int], bool]:
        """What there is: bytes, descriptors, and whether some of these were lost."""
        if self._sock is None:
            raise BlockingIOError
        data, beside, flags, _ = self._sock.recvmsg(READ_SIZE, _SPACE, socket.MSG_CMSG_CLOEXEC)
        found: list[int] = []
        for level, kind, content in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(content[: len(content) // _INT * _INT])
                found += numbers
        return data, found, bool(flags & socket.MSG_CTRUNC)

    def _write(self, data: memoryview, descriptors: Sequence[int]) -> int:
        """Send, and say how much was taken; the descriptors went with the first byte."""
        assert self._sock is not None
        beside: list[Any] = []
        if descriptors:
            beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        try:
            return self._sock.sendmsg([data], beside, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as e:
            self._end_soon(e.strerror or str(e))
            return 0

    def _call(self, act: Callable[..., object], *arguments: object) -> None:
        """Do something in the next turn."""

        def run() -> None:
            self._calls.discard(call)
            act(*arguments)

        call = self._reactor.callLater(0, run)
        self._calls.add(call)

    def _end_soon(self, reason: str) -> None:
        """Nobody who sends is to find the other side lost meanwhile."""
        if not self._is_ending:
            self._is_ending = True
            self._call(self._end, reason)

    def _end(self, reason: str) -> None:
        if self._sock is not None:
            self.close()
            self._lost(reason)


def _close_all(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        with suppress(OSError):
            os.close(fd)
