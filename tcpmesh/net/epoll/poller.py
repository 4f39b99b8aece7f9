"""One edge-triggered epoll set that the reactor sees as a single reader.

Twisted's reactor does for each event what any program may need: a log context, two dictionary
look-ups, a choice between reading and writing.  A proxy handles so many events that this is most of
its cost.  So all sockets of the fast transports live in an epoll set of their own, and the set,
being itself a descriptor that becomes readable, is registered with the reactor once.  `doRead` then
drains it in a tight loop.

Each socket is registered once, edge-triggered, for reading and writing, and never touched again.
The price is a duty: an edge is told once, so a channel that stops before the kernel said "would
block" must remember that it was readable, and ask to be called `again`.

The way back to the reactor and from there to the next events costs as much as several events.  So
the poller lingers: it waits for what comes next itself, a few milliseconds, as long as that turns
out to be worth it, and never for longer than `STAY` before it lets the reactor look at its timers
and other readers.  Medians of four alternating runs: without it a message of a single connection
costs 80 us of CPU, with it 58; waiting after any number of events, not only after one or two, took
another 4 % off a message at 8 connections and 12 % off a new connection.

Where many events come at once, those that say no more than "bytes are there, and there is room to
write" are served first, for they are messages of connections that are up, and cheap.  What is left
begins or ends connections: clients to accept, connects that are over, FIN and resets.  That is
dearer, and may come from hundreds in one moment, so it waits in a table of its own, of which a part
is served in each round, for `SLICE` seconds; and so does what channels have put off themselves.
Thus a message waits for two slices, and not for a thousand clients that leave.  An event that waits
is never lost: another one for the same descriptor is added to it, and closing the descriptor throws
it away.

Descriptors are closed only after the events in hand have been served: a number that the kernel
gives to a new socket while an event for its former owner still waits in the list would deliver that
event to the wrong connection.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from itertools import islice
from time import monotonic
from typing import Any, Protocol

from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger

log = Logger(namespace="connection")

WATCH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
"""What a connection is registered for, once and for all."""

HANGUP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
"""What makes a short read prove nothing: there is an end behind it, or urgent data, at which every
read stops.
"""

READABLE = select.EPOLLIN | HANGUP

MESSAGE = select.EPOLLIN | select.EPOLLOUT
"""The events of a connection that is up, has received bytes, and has room for others."""

EVENTS = 256
"""Events taken from the kernel in one call."""

CROWD = 64
"""In a list of more events than these, messages are served before all else."""

SLICE = 0.002
"""Seconds of each round for beginnings and ends, and as many for what was put off, while more of
them wait.
"""

EVERY = 4
"""Between two looks at the clock so many are served."""

STAY = 0.01
"""Seconds in one `doRead` before the reactor's timers and other readers get their turn."""

LINGER = 0.004
"""Seconds to wait for the next event.  With 1 ms, a peer that loses its processor for a moment
already looked silent.
"""

MOST_SKIPPED = 63
"""After waiting in vain once, twice, ..., so many chances to wait are left out, 1, 3, 7, ... up to
this.
"""

MOST_STOPS = 100
"""Rounds in which what is opened while all is closed is closed too."""


class Channel(Protocol):
    """Something with a descriptor in the set."""

    def ready(self, mask: int) -> None:
        """The kernel reported these epoll events."""

    def ready_again(self) -> None:
        """What was put off is due now."""

    def failed(self) -> None:
        """One of the two above raised: end what this channel stands for."""

    def stop(self) -> None:
        """The poller stops: close, now, and tell whom it concerns."""


class Turn:
    """A call that is to come soon, as a channel without a descriptor."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def ready(self, mask: int) -> None:
        """There is no descriptor."""

    def ready_again(self) -> None:
        """Now."""
        self._call()

    def failed(self) -> None:
        """The call raised; nothing stands behind it that could be closed."""

    def stop(self) -> None:
        """Nothing is open."""


@implementer(IReadDescriptor)
class Poller:
    """The set; see the module's text.

    :param now: the clock that turns are measured by.
    """

    def __init__(self, reactor: Any, now: Callable[[], float] = monotonic) -> None:
        self._reactor = reactor
        self._now = now
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._again: list[Channel] = []
        self._late: dict[int, int] = {}
        """Events that others go before, by their descriptors."""
        self._closing: list[int] = []
        self._running = False
        self._stopping: list[Deferred[None]] = []
        self._is_stopped = False
        self._wakeup: Any = None
        self._misses = self._skip = 0
        self.turn = 0
        """Rounds through all that was ready, so far; two events of one channel in the same round or
        in two that follow each other mean that the first left something behind."""
        self.until = 0.0
        """When what is being served is to let others have their turn, if it can stop before its
        end; by the clock of `is_over`."""
        reactor.addReader(self)

    def fileno(self) -> int:
        """The descriptor of the set itself."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """The name of this reader in the reactor's log context."""
        return "epoll"

    def connectionLost(self, reason: object) -> None:
        """The reactor stops watching at its shutdown; there is nothing to close before the process
        ends.
        """

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

    def replace(self, fd: int, channel: Channel) -> None:
        """From now on this channel gets the events of a descriptor that is already watched."""
        self._channels[fd] = channel

    def close(self, fd: int) -> None:
        """Close a descriptor, watched or not, once the events in hand are served."""
        self._channels[fd] = GONE
        self._late.pop(fd, None)
        self._closing.append(fd)
        if not self._running:
            self._wake()

    def again(self, channel: Channel) -> None:
        """Call `ready_again` of the channel soon, after others had their turn."""
        self._again.append(channel)
        if not self._running:
            self._wake()

    def doRead(self) -> None:
        """Serve what is ready, and what becomes ready soon after."""
        poll, channels, late = self._epoll.poll, self._channels, self._late
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

    def is_over(self) -> bool:
        """Whether what is being served is to stop, if it can before its end."""
        return self._now() > self.until

    def _worth_waiting(self, events: int, waited: float) -> bool:
        """Whether to wait for the next event here rather than in the reactor."""
        if waited:
            self._misses = 0 if events else min(2 * self._misses + 1, MOST_SKIPPED)
            self._skip = self._misses
        if not events:
            return False
        if self._skip:
            self._skip -= 1
            return False
        return True

    def stop(self) -> Deferred[None]:
        """Stop all channels, leave the reactor and close the set; fires when that is done, at once
        unless this is called for one of the events.
        """
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        if not self._running:
            self._stop()
        return stopped

    def _stop(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._stop_channels()
            if self._wakeup is not None:
                self._wakeup.cancel()
                self._wakeup = None
            self._reactor.removeReader(self)
            self._epoll.close()
        stopping, self._stopping = self._stopping, []
        for stopped in stopping:
            stopped.callback(None)

    def _stop_channels(self) -> None:
        """Stop all there are, and those that are opened for it, though not for ever."""
        self._running = True
        self._late.clear()
        for _ in range(MOST_STOPS):
            self._close_all()
            open_ones = [each for each in self._channels.values() if each is not GONE]
            if not open_ones and not self._again:
                break
            for channel in open_ones:
                try:
                    channel.stop()
                except BaseException:
                    self._fail(channel)
            turn, self._again = self._again, []
            for channel in turn:
                self._call_again(channel)
        self._running = False

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

    def _serve_again(self) -> None:
        """Serve some of what was put off; what that puts off waits behind the rest."""
        turn, self._again = self._again, []
        self.until = self._now() + SLICE
        for number, channel in enumerate(turn, 1):
            self._call_again(channel)
            if not number % EVERY and self.is_over():
                self._again[:0] = turn[number:]
                break

    def _call_again(self, channel: Channel) -> None:
        try:
            channel.ready_again()
        except BaseException:
            self._fail(channel)

    def _fail(self, channel: Channel) -> None:
        log.failure("closing a connection whose protocol failed")
        try:
            channel.failed()
        except BaseException:
            log.failure("closing it failed too")

    def _close_all(self) -> None:
        closing, self._closing = self._closing, []
        for fd in closing:
            del self._channels[fd]
            os.close(fd)

    def _wake(self) -> None:
        if self._wakeup is None:
            self._wakeup = self._reactor.callLater(0, self._woken)

    def _woken(self) -> None:
        self._wakeup = None
        self.doRead()


class _Gone:
    """The channel of a descriptor that waits to be closed: late events do nothing."""

    def ready(self, mask: int) -> None:
        pass

    def ready_again(self) -> None:
        pass

    def failed(self) -> None:
        pass

    def stop(self) -> None:
        pass


GONE = _Gone()
