"""What a poller of this program is, whatever the kernel tells it by: a single reader in Twisted's
reactor, behind which all fast transports are served in a tight loop.

The way back to the reactor and from there to the next events costs as much as several events.  So a
poller lingers: it waits for what comes next itself, a few milliseconds, as long as that turns out
to be worth it, and never for longer than `STAY` before it lets the reactor look at its timers and
other readers.  Medians of four alternating runs: without it a message of a single connection costs
80 us of CPU, with it 58; waiting after any number of events, not only after one or two, took
another 4 % off a message at 8 connections and 12 % off a new connection.

Descriptors are closed only after the events in hand have been served: a number that the kernel
gives to a new socket while an event for its former owner still waits would deliver that event to
the wrong connection.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

log = Logger(namespace="connection")

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


class BasePoller:
    """What all pollers have: channels, turns and an end.  Whoever builds on it is the reactor's
    `IReadDescriptor`.

    :param now: the clock that turns are measured by.
    :param busy: seconds in which, after an event, the kernel is asked again and again before this
        sleeps (`tcpmesh.net.epoll.busy_poll`).
    """

    def __init__(
        self, reactor: Any, now: Callable[[], float] = monotonic, busy: float = 0.0
    ) -> None:
        self._reactor = reactor
        self._now = now
        self._busy = busy
        self._channels: dict[int, Any] = {}
        self._again: list[Channel] = []
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

    def connectionLost(self, reason: object) -> None:
        """The reactor stops watching at its shutdown; there is nothing to close before the process
        ends.
        """

    def replace(self, fd: int, channel: Channel) -> None:
        """From now on this channel gets the events of a descriptor that is already watched."""
        self._channels[fd] = channel

    def again(self, channel: Channel) -> None:
        """Call `ready_again` of the channel soon, after others had their turn; not any more where
        the poller has stopped.
        """
        self._again.append(channel)
        if not self._running:
            self._wake()

    def is_over(self) -> bool:
        """Whether what is being served is to stop, if it can before its end."""
        now = self._now
        return now() > self.until

    def _worth_waiting(self, events: int, waited: float) -> bool:
        """Whether to wait for the next event here rather than in the reactor."""
        if waited:
            self._misses = 0 if events else min(2 * self._misses + 1, MOST_SKIPPED)
            self._skip = self._misses
        if not events:
            return False
        if self._skip and not self._busy:
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
            self._close_set()
        stopping, self._stopping = self._stopping, []
        for stopped in stopping:
            stopped.callback(None)

    def _stop_channels(self) -> None:
        """Stop all there are, and those that are opened for it, though not for ever."""
        self._running = True
        for _ in range(MOST_STOPS):
            self._close_all()
            open_ones = [each for each in self._channels.values() if not isinstance(each, Gone)]
            if not open_ones and not self._again:
                break
            for channel in open_ones:
                try:
                    channel.stop()
                except BaseException:
                    self._fail(channel)
            turn, self._again = self._again, []
            for channel in turn:
                try:
                    channel.ready_again()
                except BaseException:
                    self._fail(channel)
        self._running = False

    def _serve_again(self) -> None:
        """Serve some of what was put off; what that puts off waits behind the rest."""
        turn, self._again = self._again, []
        self.until = self._now() + SLICE
        for number, channel in enumerate(turn, 1):
            try:  # not by a method: each connection comes here twice
                channel.ready_again()
            except BaseException:
                self._fail(channel)
            if not number % EVERY and self.is_over():
                self._again[:0] = turn[number:]
                break

    def _fail(self, channel: Channel) -> None:
        log.failure("closing a connection whose protocol failed")
        try:
            channel.failed()
        except BaseException:
            log.failure("closing it failed too")

    def _wake(self) -> None:
        if self._wakeup is None and not self._is_stopped:
            self._wakeup = self._reactor.callLater(0, self._woken)

    def _woken(self) -> None:
        self._wakeup = None
        self.doRead()

    def doRead(self) -> None:
        """Serve what is ready, and what becomes ready soon after."""
        raise NotImplementedError

    def _close_all(self) -> None:
        """Close what was to be closed after the events in hand."""
        raise NotImplementedError

    def _close_set(self) -> None:
        """All channels are closed: give back to the kernel what told of them."""
        raise NotImplementedError


class Gone:
    """The channel of a descriptor that waits to be closed: late events do nothing."""

    def ready(self, mask: int) -> None:
        pass

    def ready_again(self) -> None:
        pass

    def failed(self) -> None:
        pass

    def stop(self) -> None:
        pass


GONE = Gone()
