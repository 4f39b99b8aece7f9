"""One edge-triggered epoll set that the reactor sees as a single reader.

Twisted's reactor does for each event what any program may need: a log context, two dictionary
look-ups, a choice between reading and writing.  A proxy handles so many events that this is most of
its cost.  So all sockets of the fast transports live in an epoll set of their own, and the set,
being itself a descriptor that becomes readable, is registered with the reactor once.  `doRead` then
drains it in a tight loop.

Each socket is registered once, edge-triggered, for reading and writing, and never touched again.
The price is a duty: an edge is told once, so a channel that stops before the kernel said "would
block" must remember that it was readable, and ask to be called `again`.

Where many events come at once, those that say no more than "bytes are there, and there is room to
write" are served first, for they are messages of connections that are up, and cheap.  What is left
begins or ends connections: clients to accept, connects that are over, FIN and resets.  That is
dearer, and may come from hundreds in one moment, so it waits in a table of its own, of which a part
is served in each round, for `SLICE` seconds; and so does what channels have put off themselves.
Thus a message waits for two slices, and not for a thousand clients that leave.  An event that waits
is never lost: another one for the same descriptor is added to it, and closing the descriptor throws
it away.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Any

from zope.interface import implementer

from twisted.internet.interfaces import IReadDescriptor

from tcpmesh.net.epoll.base_poller import EVERY, GONE, LINGER, SLICE, STAY, BasePoller, Channel
from tcpmesh.net.epoll.busy_poll import busily

WATCH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
"""What a connection is registered for, once and for all."""

HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
"""What makes a short read prove nothing: there is an end behind it, or urgent data, at which every
read stops.
"""

DOUBTFUL = select.EPOLLERR | select.EPOLLPRI
"""With one of these, only another read tells whether it is an end of stream that is behind a short
read.  EPOLLHUP alone says no more than that both sides have ended.
"""

READABLE = select.EPOLLIN | HANGUP

MESSAGE = select.EPOLLIN | select.EPOLLOUT
"""The events of a connection that is up, has received bytes, and has room for others."""

EVENTS = 256
"""Events taken from the kernel in one call."""

CROWD = 64
"""In a list of more events than these, messages are served before all else."""


@implementer(IReadDescriptor)
class Poller(BasePoller):
    """The set; see the module's text."""

    def __init__(
        self, reactor: Any, now: Callable[[], float] = monotonic, busy: float = 0.0
    ) -> None:
        super().__init__(reactor, now, busy)
        self._epoll = select.epoll()
        self._poll = busily(self._epoll.poll, busy, now) if busy else self._epoll.poll
        self._late: dict[int, int] = {}
        """Events that others go before, by their descriptors."""
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor of the set itself."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """The name of this reader in the reactor's log context."""
        return "epoll"

    def register(self, fd: int, channel: Channel, mask: int) -> None:
        """Watch a descriptor; its readiness of this moment is reported too."""
        self._epoll.register(fd, mask)
        self._channels[fd] = channel

    def unregister(self, fd: int) -> None:
        """Stop watching a descriptor that stays open; an event for it that is in hand already does
        nothing.
        """
        self._channels[fd] = GONE
        self._late.pop(fd, None)
        self._epoll.unregister(fd)

    def close(self, fd: int) -> None:
        """Close a descriptor, watched or not, once the events in hand are served."""
        self._channels[fd] = GONE
        if self._late:
            self._late.pop(fd, None)
        self._closing.append(fd)
        if not self._running:
            self._wake()

    def doRead(self) -> None:
        """Serve what is ready, and what becomes ready soon after."""
        poll, channels, late = self._poll, self._channels, self._late
        leave = self.until = self._now() + STAY
        wait = 0.0
        self._running = True
        while True:
            events = poll(wait, EVENTS)
            count = len(events)
            if count < EVENTS and not late:  # a full list may be one of several that make a round
                self.turn += 1
            if count > CROWD or late:
                events = self._messages_among(events)
            for fd, mask in events:
                try:
                    channel = channels[fd]
                except KeyError:
                    # Closed here, but a fork or a duplicate keeps it open, and so in the set.
                    continue
                try:
                    channel.ready(mask)
                # Whatever it raises: as Twisted's reactors do, which would drop this set for it.
                except BaseException:
                    self._fail(channel)
            if late or self._again:
                if count < EVENTS or self.is_over():  # else messages may stand behind a full list
                    self._serve_late()
                    self._serve_again()
                    self.until = leave
                wait = 0.0
            elif not self._worth_waiting(count, wait):
                break
            else:
                wait = LINGER
            if self._closing:
                self._close_all()
            if self._now() > leave:
                break
        if self._closing:
            self._close_all()
        self._running = False
        if self._stopping:
            self._stop()
        elif late or self._again:
            self._wake()

    def _stop_channels(self) -> None:
        self._late.clear()
        super()._stop_channels()

    def _messages_among(self, events: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those that are served at once; the others wait, in the order in which they came."""
        late = self._late
        messages = [event for event in events if event[1] == MESSAGE and event[0] not in late]
        if len(messages) < len(events):
            for fd, mask in events:
                if mask != MESSAGE or fd in late:
                    late[fd] = late.get(fd, 0) | mask
        return messages

    def _serve_late(self) -> None:
        """Serve some of the events that others went before."""
        late, channels = self._late, self._channels
        self.until = self._now() + SLICE
        for number, fd in enumerate(list(islice(late, EVENTS)), 1):
            mask = late.pop(fd, 0)
            channel = channels.get(fd)
            if mask and channel is not None:
                try:
                    channel.ready(mask)
                except BaseException:
                    self._fail(channel)
            if not number % EVERY and self.is_over():
                break

    def _close_all(self) -> None:
        closing, self._closing = self._closing, []
        for fd in closing:
            del self._channels[fd]
            os.close(fd)

    def _close_set(self) -> None:
        self._epoll.close()
