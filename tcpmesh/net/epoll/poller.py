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

Descriptors are closed only after the events in hand have been served: a number that the kernel
gives to a new socket while an event for its former owner still waits in the list would deliver that
event to the wrong connection.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
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

EVENTS = 256
"""Events taken from the kernel in one call."""

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
    """The set; see the module's text."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._channels: dict[int, Channel] = {}
        self._again: list[Channel] = []
        self._closing: list[int] = []
        self._running = False
        self._stopping: list[Deferred[None]] = []
        self._is_stopped = False
        self._wakeup: Any = None
        self._misses = self._skip = 0
        self.turn = 0
        """Rounds through what was ready, so far; two events of one channel in the same round or in
        two that follow each other mean that the first left something behind."""
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
        self._epoll.unregister(fd)

    def replace(self, fd: int, channel: Channel) -> None:
        """From now on this channel gets the events of a descriptor that is already watched."""
        self._channels[fd] = channel

    def close(self, fd: int) -> None:
        """Close a descriptor, watched or not, once the events in hand are served."""
        self._channels[fd] = GONE
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
        poll, channels = self._epoll.poll, self._channels
        leave = monotonic() + STAY
        wait = 0.0
        self._running = True
        while True:
            events = poll(wait, EVENTS)
            if len(events) < EVENTS:  # a full list may be one of several that make a round
                self.turn += 1
            for fd, mask in events:
                try:
                    channel = channels[fd]
                except KeyError:
                    # Closed here, but a fork or a duplicate keeps it open, and so in the set.
                    continue
                try:
                    channel.ready(mask)
                except Exception:
                    self._fail(channel)
            if self._again:
                self._serve_again()
                wait = 0.0
            elif not self._worth_waiting(len(events), wait):
                break
            else:
                wait = LINGER
            if self._closing:
                self._close_all()
            if monotonic() > leave:
                break
        if self._closing:
            self._close_all()
        self._running = False
        if self._stopping:
            self._stop()
        elif self._again:
            self._wake()

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
        for _ in range(MOST_STOPS):
            self._close_all()
            open_ones = [each for each in self._channels.values() if each is not GONE]
            if not open_ones and not self._again:
                break
            for channel in open_ones:
                try:
                    channel.stop()
                except Exception:
                    self._fail(channel)
            self._serve_again()
        self._running = False

    def _serve_again(self) -> None:
        turn, self._again = self._again, []
        for channel in turn:
            try:
                channel.ready_again()
            except Exception:
                self._fail(channel)

    def _fail(self, channel: Channel) -> None:
        log.failure("closing a connection whose protocol failed")
        try:
            channel.failed()
        except Exception:
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
