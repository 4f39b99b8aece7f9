"""What was completed and is no plain passing on: served a little in each round.

Where many events come at once, messages go first: what begins or ends connections waits, and a part
of it is served in each round, as `tcpmesh.net.epoll.poller` tells.  An epoll set would keep what
comes meanwhile in the kernel; here it is bounded by receiving no more from whoever has sent again
while it waits; all else is told once each time that somebody asks.

What is under way holds its file: closing the descriptor would neither send FIN nor free the number.
So `close` first cancels what there is, and the last completion closes.

The kernel may miss an end: where bytes and a reset came before it looked, it delivers the bytes,
and waits for something more to come, which never will (seen with Linux 6.18; of TCP's FIN it takes
care).  So whatever has received is looked at once more, some milliseconds later, and begins anew
where the end is there.  On unix sockets, where it misses ends too, each piece is asked for by
itself.
"""

from __future__ import annotations

import errno
import os
import select
import struct
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from tcpmesh.net.epoll.base_poller import EVERY, SLICE
from tcpmesh.net.uring.buffers import ReceiveBuffers
from tcpmesh.net.uring.requests import (
    CANCELLED,
    CONNECTED,
    GONE,
    POLLED,
    READY,
    RECEIVED,
    SENT,
    WEIGHTS,
    RingRequests,
)
from tcpmesh.net.uring.ring import CQE_BUFFER, CQE_MORE

BUFFERS, SIZE = 512, 16384
"""Buffers to receive into, a power of two and enough for those of two rounds, and bytes of each at
most.  Of their 8 MiB the system gives only the pages that bytes have been in.  They are no more
than a quarter of the completions that find room, half of which are left for what is sent from them:
each send may fail, and wait for room.
"""

MOST_WAITS = 1000
"""Rounds in which something cancelled has to have ended."""

LOOK = 0.02
"""Seconds until a connection that has received is looked at once more; and until one whose peer has
ended is watched for a reset, for most are closed by then.
"""

ENDS = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class RingCompletions(RingRequests):
    """The serving half of a `UringPoller`.

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
        super().__init__(reactor, now, busy)
        self.size = size
        try:
            self._buffers = ReceiveBuffers(self._ring, BUFFERS, size)
        except OSError:
            self._ring.close()
            raise
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
        self._unpack = struct.Struct("<QiI").iter_unpack

    def unregister(self, fd: int) -> None:
        """Stop whatever is under way with a descriptor that stays open, now."""
        self._channels[fd] = GONE
        self.settle(fd)
        self._received.discard(fd)

    def settle(self, fd: int) -> None:
        """Let the channel have all that was completed for it, and nothing more be under way."""
        self._polls.pop(fd, None)
        self._end_all_of(fd)
        if fd in self._odd:
            rest = tuple(self._rest)
            self._rest.clear()
            self._rest.extend(each for each in rest if each[0] >> 3 != fd)
            for each in rest:
                if each[0] >> 3 == fd:
                    self._is_served(fd)
                    self._serve(*each)

    def watch_ended(self, transport: Any) -> None:
        """The peer of this one has ended: if that is all for a while, hear of a reset."""
        self._ended.append(transport)
        if self._look is None:
            self._look_soon()

    def _look_soon(self) -> None:
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
            served.append(each[0] >> 3)
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
            fd = known >> 3
            if flags & CQE_MORE and self._odd[fd] > 1:
                self._channels[fd].receive_anew()
            rest.append((known, result, flags, self._copied(flags, result)))

    def _copied(self, flags: int, result: int) -> bytes:
        if not flags & CQE_BUFFER:
            return b""
        start = (flags >> 16) * self.size
        return bytes(self._buffers.view[start : start + result])

    def _serve(self, known: int, result: int, flags: int, data: Any) -> None:
        """A completion, for its channel."""
        kind, fd = known & 7, known >> 3
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
                    self._received.add(fd)  # before it may be given away
                    if self._look is None:
                        self._look_soon()
                    channel.received(data)
                if not flags & CQE_MORE:
                    channel.receive_ended(result)
            elif kind == POLLED:
                self._polled(fd, channel, result)
            elif kind == CONNECTED:
                channel.connect_done(result)
            elif kind == READY:
                if result != -errno.ECANCELED:  # else nobody awaits it any more
                    channel.has_become_ready(result if result > 0 else select.EPOLLERR)
            else:
                channel.has_room(select.EPOLLOUT if result < 0 else result)
        except BaseException:
            self._fail(channel)

    def _polled(self, fd: int, channel: Any, result: int) -> None:
        asked = self._polls.get(fd)
        if asked is None:
            return  # nobody watches it any more
        (mask,) = asked
        if result < 0 or mask & select.EPOLLONESHOT:
            del self._polls[fd]
        try:
            channel.ready(result if result > 0 else select.EPOLLERR)
        finally:
            if self._polls.get(fd) is asked:
                self._poll(fd, mask)

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
                if flags & CQE_BUFFER:
                    self._held += 1
                data = self._copied(flags, result)
                self._rest.append((known, result, flags, data))
                fd = known >> 3
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
            if not flags & CQE_MORE and known >> 3 == fd
        )
        return self._under_way[fd] > ended
