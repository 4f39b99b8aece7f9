"""One io_uring that the reactor sees as a single reader.

Theory of operation.  Each round is one call to the kernel: it takes what was asked for since the
last one, and comes back with what was completed.  Bytes that were received stand in buffers of
`tcpmesh.net.uring.buffers`; most of them only have to go to another socket, and for each of those
the round puts an entry that sends them from where they are.  All are handed over by the next call,
which so does the work of as many calls of `write` and `read` as there were messages.  Whatever else
was completed - connects, ends, bytes for a protocol - is served after that, when what was received
before it has been sent: see `tcpmesh.net.uring.completions`.

A send is asked to end at once, and to say nothing if the kernel took all of it.  One that the
kernel did not take, or not all of, has completed when the call comes back, before anything else of
that round; its bytes are still in their buffer, for buffers are given back a round later.  Two
sends to one socket may not stand in the same call: of the first a part might be left over.  That
one has failed is known only as long as its completion finds room: so where more than half of the
queue is full, or the kernel keeps completions aside, all bytes go through the protocols.

The kernel tells by an eventfd that something was completed while nobody was in a round.  It does so
only for the first of several, and not for what came while the round had that switched off; so
whoever leaves looks once more.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor

from tcpmesh.net.epoll.base_poller import LINGER, STAY
from tcpmesh.net.uring.completions import LOOK, MOST_WAITS, SIZE, RingCompletions
from tcpmesh.net.uring.requests import CANCELLED, SENT
from tcpmesh.net.uring.ring import (
    CQ_EVENTFD_DISABLED,
    CQE_BUFFER,
    CQE_MORE,
    CQE_SKIP_SUCCESS,
    OP_SEND,
    REGISTER_EVENTFD,
    SQ_CQ_OVERFLOW,
    SQ_TASKRUN,
)
from tcpmesh.values.all_or_nothing import all_or_nothing

EVENTS = 128
"""Completions with bytes in a round, or a few more."""

MOST = 1024
"""Completions in a round."""

GOES_ON = CQE_BUFFER | CQE_MORE
NOTHING = -1
"""Flags of bytes that are sent from their buffer, and in their place flags that nothing has."""

SEND = OP_SEND | CQE_SKIP_SUCCESS << 8
NOW = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_WAITALL
"""At once, and all of it: the kernel reports a send that did not take all as one that failed."""


@implementer(IReadDescriptor)
class UringPoller(RingCompletions):
    """The ring; see the module's text.

    :param size: bytes received at once, at most.
    :raise OSError: where there is no ring to be had.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float] = monotonic,
        size: int = SIZE,
        busy: float = 0.0,
    ) -> None:
        super().__init__(reactor, now, size, busy)
        self._backstop: Any = None
        ring = self._ring
        with all_or_nothing() as undo:
            undo.callback(ring.close)
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            undo.callback(os.close, self._bell)
            ring.register(REGISTER_EVENTFD, bytearray(struct.pack("=i", self._bell)), 1)
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._bell

    def logPrefix(self) -> str:
        """The name of this reader in the reactor's log context."""
        return "io_uring"

    # Rounds

    def doRead(self) -> None:
        """Serve what is ready, and what becomes ready soon after."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        self._work()

    def _woken(self) -> None:
        self._wakeup = None
        self._work()

    def _work(self) -> None:
        ring, words = self._ring, self._ring.words
        words[ring.cq_flags] = CQ_EVENTFD_DISABLED
        leave = self.until = self._now() + STAY
        wait = 0.0
        self._running = True
        while True:
            if not wait:
                ring.exchange()
            elif not self._busy or not self._comes_soon():
                ring.wait(wait)
            count = self._take()
            # One call works off some twenty completions: behind these may be messages, which in a
            # storm of beginnings and ends would wait for many rounds.
            while self._held < EVENTS and count < MOST and words[ring.sq_flags] & SQ_TASKRUN:
                ring.exchange()
                taken = self._take()
                count += taken
                if not taken:
                    break  # what the kernel says is stale, as it may be
            self.turn += 1
            if self._rest or self._again or self._closing:
                self._settle()
                self._serve_rest()
                self._serve_again()
                self.until = leave
                if self._closing:
                    self._close_all()
            if self._held_before:
                self._buffers.give_back(self._held_before)
            self._held_before, self._held = self._held, 0
            if self._rest or self._again or (count and words[ring.sq_flags] & SQ_TASKRUN):
                wait = 0.0
            elif not self._worth_waiting(count, wait):
                break
            else:
                wait = LINGER
            if self._now() > leave:
                break
        self._leave()

    def _comes_soon(self) -> bool:
        """Ask the kernel again and again, whether anything is completed within the time for it."""
        until = self._now() + self._busy
        while True:
            self._ring.exchange()
            if self._has_more():
                return True
            if self._now() >= until:
                return False

    def _leave(self) -> None:
        ring, words = self._ring, self._ring.words
        words[ring.cq_flags] = 0
        # A call to the kernel between this store and the look below: no processor changes the order
        # of the two.
        ring.exchange()
        if words[ring.sq_flags] & SQ_TASKRUN and not self._has_more():
            ring.work_off()
        self._settle()  # what failed ones ask for goes with the next round, which they bring about
        if self._held_before:
            self._buffers.give_back(self._held_before)
            self._held_before = 0
        self._running = False
        if self._stopping:
            self._stop()
        elif self._rest or self._again or self._closing or self._has_more():
            self._wake()
        elif words[ring.sq_flags] & SQ_TASKRUN and self._backstop is None:
            self._backstop = self._reactor.callLater(LOOK, self._look_at_ring)

    def _look_at_ring(self) -> None:
        self._backstop = None
        self._work()

    def _take(self) -> int:
        """Look at all completions: send on what only has to be sent on, keep the others for later;
        how many there are.

        All stands in one loop, and entries are written here, because of what a call costs, once for
        each message.
        """
        ring, channels, odd, rest = self._ring, self._channels, self._odd, self._rest
        words, cqes, room = ring.words, ring.cqes, ring.room
        pack, sqes, last = ring.pack, ring.sqes, ring.entries - 1
        places, size = self._buffers.places, self.size
        head = first = self._head
        tail: int = head + (words[ring.cq_tail] - head & 0xFFFFFFFF)
        is_crowded = words[ring.sq_flags] & SQ_CQ_OVERFLOW or tail - head > room // 2
        goes_on = NOTHING if is_crowded else GOES_ON
        settled, self._settled = self._settled, max(self._settled, tail)
        held = 0
        sent: dict[int, int] = {}
        put, full = ring.tail, ring.limit
        while head != tail:
            is_settled = head < settled
            start = head & (room - 1)
            end = start + min((settled if is_settled else tail) - head, room - start)
            head += end - start
            for known, result, flags in self._unpack(cqes[start << 4 : end << 4]):
                if not known & 7:
                    fd = known >> 3
                    if flags & GOES_ON == goes_on and fd not in odd:
                        channel = channels[fd]
                        onto = channel._onto
                        if (
                            onto is not None
                            and onto._out is None
                            and not channel._paused
                            and channel._pump is None
                        ):
                            to = onto.fd
                            if to in sent or put == full:
                                ring.tail = put
                                self._settle()
                                self._received.update(sent.values())
                                sent.clear()
                                put, full = ring.tail, ring.limit
                            if onto._out is None and not channel._paused:
                                held += 1
                                sent[to] = fd
                                channel._protocol.bytes += result
                                at = put & last
                                place = places[flags >> 16]
                                pack(sqes, at << 6, SEND, to, 0, place, result, NOW, at << 3 | SENT)
                                put += 1
                                if result == size:
                                    ring.tail = put
                                    channel.filled()
                                    put, full = ring.tail, ring.limit
                                continue
                    if flags & CQE_BUFFER:
                        held += 1
                elif known & 7 == SENT:
                    if not is_settled:
                        ring.tail = put
                        self._send_failed(known >> 3, result)
                        put, full = ring.tail, ring.limit
                    continue
                elif known & 7 == CANCELLED:
                    continue
                else:
                    fd = known >> 3
                odd[fd] = odd.get(fd, 0) + 1
                rest.append((known, result, flags, None))
        ring.tail = put
        if sent:
            self._received.update(sent.values())
            if self._look is None:
                self._look_soon()
        self._head = head
        words[ring.cq_head] = head & 0xFFFFFFFF
        self._held += held
        return tail - first

    def _stop_channels(self) -> None:
        super()._stop_channels()
        self._running = True
        for _ in range(MOST_WAITS):
            if not self._dying:
                break
            self._ring.exchange()
            self._take()
            while self._rest:
                self._serve(*self._rest.popleft())
        self._running = False

    def _close_set(self) -> None:
        for timer in filter(None, (self._look, self._backstop)):
            timer.cancel()
        self._look = self._backstop = None
        self._ring.close()
        os.close(self._bell)
