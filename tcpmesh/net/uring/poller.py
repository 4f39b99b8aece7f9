"""One io_uring that the reactor sees as a single reader.

Theory of operation.  Each round is one call to the kernel: it takes what was asked for since the
last one, and comes back with what was completed.  Bytes that were received stand in buffers of
`tcpmesh.net.uring.buffers`; most of them only have to go to another socket, and for each of those
the round puts an entry that sends them from where they are.  All are handed over by the next call,
which so does the work of as many calls of `write` and `read` as there were messages.  Whatever else
was completed - connects, ends, bytes for a protocol - is served after that, when what was received
before it has been sent.

A send is asked to end at once, and to say nothing if the kernel took all of it.  One that the
kernel did not take, or not all of, has completed when the call comes back, before anything else of
that round; its bytes are still in their buffer, for buffers are given back a round later.  Two
sends to one socket may not stand in the same call: of the first a part might be left over.

What is under way holds its file: closing the descriptor would neither send FIN nor free the number.
So `close` first cancels what there is, and the last completion closes.

The kernel may miss an end: where bytes and a reset came before it looked, it delivers the bytes,
and waits for something more to come, which never will (seen with Linux 6.18; of TCP's FIN it takes
care).  So whatever has received is looked at once more, some milliseconds later, and begins anew
where the end is there.  On unix sockets, where it misses ends too, each piece is asked for by
itself.

The kernel tells by an eventfd that something was completed while nobody was in a round.  It does so
only for the first of several, and not for what came while the round had that switched off; so
whoever leaves looks once more.

Where many events come at once, messages go first: what begins or ends connections waits, and a part
of it is served in each round, as `tcpmesh.net.epoll.poller` tells.  An epoll set would keep what
comes meanwhile in the kernel; here it is bounded by receiving no more from whoever has sent again
while it waits; all else is told once each time that somebody asks.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor

from tcpmesh.net.epoll.base_poller import EVERY, LINGER, SLICE, STAY
from tcpmesh.net.uring.buffers import ReceiveBuffers
from tcpmesh.net.uring.requests import (
    CANCELLED,
    CONNECTED,
    DESCRIPTOR,
    GONE,
    POLLED,
    READY,
    RECEIVED,
    SENT,
    SERIAL,
    WEIGHTS,
    RingRequests,
)
from tcpmesh.net.uring.ring import (
    CQ_EVENTFD_DISABLED,
    CQE_BUFFER,
    CQE_MORE,
    CQE_SKIP_SUCCESS,
    OP_SEND,
    REGISTER_EVENTFD,
    SQ_TASKRUN,
)

EVENTS = 128
"""Completions in a round, or a few more."""

BUFFERS, SIZE = 512, 16384
"""Buffers to receive into, a power of two and enough for those of two rounds, and bytes of each at
most.  Of their 8 MiB the system gives only the pages that bytes have been in.
"""

GOES_ON = CQE_BUFFER | CQE_MORE

SEND = OP_SEND | CQE_SKIP_SUCCESS << 8
NOW = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL | socket.MSG_WAITALL
"""At once, and all of it: the kernel reports a send that did not take all as one that failed."""

MOST_WAITS = 1000
"""Rounds in which something cancelled has to have ended."""

LAST_CALLS = 3
"""Calls to the kernel, before a round is left, in which it has to come to something that it says it
has.  It may say so of nothing: it puts work on a list and then says that there is some, between
which the list may have been worked off.  Then it is asked again after `LOOK`, to be sure.
"""

LOOK = 0.02
"""Seconds until a connection that has received is looked at once more; and until one whose peer has
ended is watched for a reset, for most are closed by then.
"""

ENDS = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@implementer(IReadDescriptor)
class UringPoller(RingRequests):
    """The ring; see the module's text.

    :param size: bytes received at once, at most.
    :raise OSError: where there is no ring to be had.
    """

    def __init__(
        self, reactor: Any, now: Callable[[], float] = monotonic, size: int = SIZE
    ) -> None:
        super().__init__(reactor, now)
        ring = self._ring
        self.size = size
        try:
            self._buffers = ReceiveBuffers(ring, BUFFERS, size)
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            ring.close()
            raise
        ring.register(REGISTER_EVENTFD, bytearray(struct.pack("=i", self._bell)), 1)
        self._settled = 0
        """Of how many completions it is known whether they are of sends that failed."""
        self._held = self._held_before = 0
        """Buffers that this round has filled, and those of the round before."""
        self._rest: deque[tuple[int, int, int, Any]] = deque()
        """Completions that are to be served: what they are of, the result, the flags, and the
        bytes, where those are not in their buffer any more.
        """
        self._odd: dict[int, int] = {}
        """Of how many of those each descriptor is."""
        self._dying: set[int] = set()
        """Descriptors that the last completion closes."""
        self._ended: list[Any] = []
        self._received: set[int] = set()
        """What is to be looked at once more: transports, and descriptors."""
        self._look: Any = None
        self._backstop: Any = None
        self._unpack = struct.Struct("<QiI").iter_unpack
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._bell

    def logPrefix(self) -> str:
        """The name of this reader in the reactor's log context."""
        return "io_uring"

    def unregister(self, fd: int) -> None:
        """Stop whatever is under way with a descriptor that stays open, now."""
        self._channels[fd] = GONE
        self.settle(fd)
        self._received.discard(fd)

    def settle(self, fd: int) -> None:
        """Let the channel have all that was completed for it, and nothing more be under way."""
        if fd in self._polls:
            self.leave_poll(fd)
        self._end_all_of(fd)
        if fd in self._odd:
            rest = tuple(self._rest)
            self._rest.clear()
            self._rest.extend(each for each in rest if each[0] >> 3 & DESCRIPTOR != fd)
            for each in rest:
                if each[0] >> 3 & DESCRIPTOR == fd:
                    self._is_served(fd)
                    self._serve(*each)

    def watch_ended(self, transport: Any) -> None:
        """The peer of this one has ended: if that is all for a while, hear of a reset."""
        self._ended.append(transport)
        self._look_soon()

    def _look_soon(self) -> None:
        if self._look is None:
            self._look = self._reactor.callLater(LOOK, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        ended, self._ended = self._ended, []
        for transport in ended:
            transport.watch_for_reset()
        received, self._received = self._received, set()
        poll = select.poll()
        for fd in received:
            if fd in self._channels:
                poll.register(fd, ENDS)
        for fd, _ in poll.poll(0):
            self._channels[fd].receive_anew()

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
            if wait:
                ring.wait(wait)
            else:
                ring.exchange()
            count = self._take()
            # One call works off some twenty completions: behind these may be messages.
            while count < EVENTS and words[ring.sq_flags] & SQ_TASKRUN:
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

    def _leave(self) -> None:
        ring, words = self._ring, self._ring.words
        words[ring.cq_flags] = 0
        # A call to the kernel between this store and the look below: no processor changes the order
        # of the two.
        for _ in range(LAST_CALLS):
            ring.exchange()
            if not words[ring.sq_flags] & SQ_TASKRUN or self._has_more():
                break
        self._settle()
        if self._held_before:
            self._buffers.give_back(self._held_before)
            self._held_before = 0
        ring.submit()  # what sends that failed have asked for
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
                    if flags & GOES_ON == GOES_ON and fd not in odd:
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
                    fd = known >> 3 & DESCRIPTOR
                odd[fd] = odd.get(fd, 0) + 1
                rest.append((known, result, flags, None))
        ring.tail = put
        if sent:
            self._received.update(sent.values())
            self._look_soon()
        self._head = head
        words[ring.cq_head] = head & 0xFFFFFFFF
        self._held += held
        return tail - first

    def _settle(self) -> None:
        """Let the kernel send what was put, and look which of the sends failed."""
        ring = self._ring
        ring.submit()
        head = self._settled
        tail = head + (ring.words[ring.cq_tail] - head & 0xFFFFFFFF)
        while head != tail:
            at = (head & (ring.room - 1)) << 4
            for known, result, _ in self._unpack(ring.cqes[at : at + 16]):
                if known & 7 == SENT:
                    self._send_failed(known >> 3, result)
            head += 1
        self._settled = head

    def _send_failed(self, entry: int, result: int) -> None:
        """The kernel took only so many bytes of what this entry says, or none by an error."""
        _, fd, _, place, length, *_ = self._ring.unpack(self._ring.sqes, entry << 6)
        channel = self._channels[fd]
        if channel is not GONE:
            start = place - self._buffers.places[0]
            taken = 0 if result == -errno.EAGAIN else result
            left = self._buffers.view[start + max(taken, 0) : start + length]
            try:
                channel.send_failed(left, taken < 0)
            except BaseException:
                self._fail(channel)

    def _serve_rest(self) -> None:
        """Serve some of what messages go before."""
        rest = self._rest
        if not rest:
            return
        self.until = self._now() + SLICE
        served = []
        while rest:
            each = rest.popleft()
            served.append(each[0] >> 3 & DESCRIPTOR)
            self._serve(*each)
            if not len(served) % EVERY and self.is_over():
                break
        if not rest:
            self._odd.clear()
            return
        for fd in served:
            self._is_served(fd)
        self._keep()

    def _is_served(self, fd: int) -> None:
        """One of those that wait is, or goes with another one."""
        self._odd[fd] -= 1
        if not self._odd[fd]:
            del self._odd[fd]

    def _keep(self) -> None:
        """What is left waits for the next round; its buffers do not.

        So that no more waits than there are connections, however fast their peers are, one of which
        more came before the first was served is not received from any more until that is.
        """
        rest, new = self._rest, []
        while rest and rest[-1][3] is None:
            new.append(rest.pop())
        for known, result, flags, _ in reversed(new):
            fd = known >> 3 & DESCRIPTOR
            if flags & CQE_MORE and self._odd[fd] > 1:
                self._channels[fd].receive_anew()
            rest.append((known, result, flags, self._copied(known, flags, result)))

    def _copied(self, known: int, flags: int, result: int) -> bytes:
        if known & 7 != RECEIVED or not flags & CQE_BUFFER:
            return b""
        start = (flags >> 16) * self.size
        return bytes(self._buffers.view[start : start + result])

    def _serve(self, known: int, result: int, flags: int, data: Any) -> None:
        """A completion, for its channel."""
        kind, fd = known & 7, known >> 3 & DESCRIPTOR
        channel = self._channels[fd]
        if not flags & CQE_MORE:
            left = self._under_way[fd] = self._under_way[fd] - WEIGHTS[kind]
            if not left and fd in self._dying:
                self._dying.discard(fd)
                self._close_now(fd)
                return
        try:
            if kind == RECEIVED:
                if result > 0:
                    if data is None:
                        start = (flags >> 16) * self.size
                        data = self._buffers.view[start : start + result]
                    else:
                        data = memoryview(data)
                    channel.received(data)
                    self._received.add(fd)
                    self._look_soon()
                if not flags & CQE_MORE:
                    channel.receive_ended(result)
            elif kind == POLLED:
                self._polled(fd, channel, known >> SERIAL, result)
            elif kind == CONNECTED:
                channel.connect_done(result)
            elif kind == READY:
                if result != -errno.ECANCELED:  # else nobody awaits it any more
                    channel.has_become_ready(select.EPOLLERR if result < 0 else result)
            else:
                channel.has_room(select.EPOLLOUT if result < 0 else result)
        except BaseException:
            self._fail(channel)

    def _polled(self, fd: int, channel: Any, serial: int, result: int) -> None:
        asked = self._polls.get(fd)
        if asked is None or asked[0] != serial:
            return  # it is of one that was left
        if result < 0 or asked[1] & select.EPOLLONESHOT:
            del self._polls[fd]
        try:
            channel.ready(result if result > 0 else select.EPOLLERR)
        finally:
            if self._polls.get(fd) == asked:
                self._poll(fd)

    # Ends

    def _close_all(self) -> None:
        closing, self._closing = self._closing, []
        for fd in closing:
            if fd < len(self._under_way) and self._under_way[fd]:
                self._cancel_all_of(fd)
                self._dying.add(fd)
            else:
                self._close_now(fd)

    def _close_now(self, fd: int) -> None:
        del self._channels[fd]
        self._received.discard(fd)  # its next owner may be no transport
        os.close(fd)

    def _end_all_of(self, fd: int) -> None:
        """Cancel whatever is under way with a descriptor, and let it end."""
        if not self._is_under_way(fd):
            return
        self._settle()
        self._cancel_all_of(fd)
        for _ in range(MOST_WAITS):
            self._ring.exchange()
            self._take_for_later()
            if not self._still_under_way(fd):
                return

    def _take_for_later(self) -> None:
        """Keep all completions, with their bytes, for they are not to be served here."""
        self._settle()
        self._keep()
        ring = self._ring
        for at in range(self._head, self._settled):
            place = (at & (ring.room - 1)) << 4
            for known, result, flags in self._unpack(ring.cqes[place : place + 16]):
                if known & 7 in (SENT, CANCELLED):
                    continue
                if flags & CQE_BUFFER and known & 7 == RECEIVED:
                    self._held += 1
                data = self._copied(known, flags, result)
                self._rest.append((known, result, flags, data))
                fd = known >> 3 & DESCRIPTOR
                self._odd[fd] = self._odd.get(fd, 0) + 1
        self._head = self._settled
        ring.words[ring.cq_head] = self._head & 0xFFFFFFFF
        if not self._running:
            self._buffers.give_back(self._held_before + self._held)
            self._held_before = self._held = 0
            self._wake()

    def _still_under_way(self, fd: int) -> bool:
        """Whether something is, beside what waits to be served."""
        ended = sum(
            WEIGHTS[known & 7]
            for known, _, flags, _ in self._rest
            if not flags & CQE_MORE and known >> 3 & DESCRIPTOR == fd
        )
        return self._under_way[fd] > ended

    def _stop_channels(self) -> None:
        super()._stop_channels()
        self._running = True
        for _ in range(MOST_WAITS):
            if not self._dying:
                break
            self._ring.exchange()
            self._take()
            self._settle()
            while self._rest:
                self._serve(*self._rest.popleft())
            self._close_all()
        self._running = False

    def _close_set(self) -> None:
        for timer in filter(None, (self._look, self._backstop)):
            timer.cancel()
        self._look = self._backstop = None
        self._ring.close()
        os.close(self._bell)
