"""A reactor whose timers follow the monotonic clock, which nobody can set.

Twisted's reactors tell the time by the wall clock.  An administrator, or a time server after a
machine slept, may set that by hours: back, and no timer of the process fires for as long; forward,
and all fire at once, which closes connections that are idle for an hour, or may last one.  A
`MonotonicReactor` is the same reactor for everything but time: `seconds` is `time.monotonic`, and
`callLater` keeps its own order of calls.  What wakes it is a timer of the kernel (timerfd) that
counts on the same clock, and that the reactor watches as one more descriptor.

The reactor itself is left as it is, for it may be that of a program in which the proxy is only a
part.  Whoever wants time takes this object in its place: the networks have it as their `clock`.
What Twisted does by itself on the reactor below still follows the wall clock, so nothing here may
depend on such a time: connect timeouts are ours on every kind of transports.

While no call waits there is no timer and nothing is watched, and `stop` forgets all calls: what was
started with such a reactor leaves nothing behind.  On systems without timerfd, or where there is no
descriptor left for one, the reactor's own `callLater` wakes it: late, once the wall clock was set
back, and never early.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from time import monotonic
from typing import Any

from zope.interface import implementer

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger

from tcpmesh.net import timerfd
from tcpmesh.values.all_or_nothing import all_or_nothing

log = Logger(namespace="main")

MOST_CANCELLED = 64
"""So many cancelled calls may wait for their time; with more, all are thrown out as soon as they
are half of what waits."""

SLICE = 0.004
"""Seconds of a turn of the reactor, after which other calls that are due wait for the next one."""

SHORTEST = 1e-9
"""Seconds: a kernel timer that is set to nothing is off."""


@implementer(IReactorTime)
class MonotonicReactor:
    """A reactor, with another clock; see the module's text."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._heap: list[tuple[float, int, DelayedCall]] = []
        """Calls by their times.  One that was put off or cancelled stays where it was until then,
        and one that was made sooner is here twice."""
        self._numbers = count()
        self._waiting = 0
        """Calls that are to be made."""
        self._alarm: _KernelAlarm | _ReactorAlarm | None = None
        self._rings = 0.0
        self.seconds: Callable[[], float] = monotonic
        """The monotonic clock: the function itself, for a method around it would cost twice as
        much, a dozen times for each connection.
        """
        # Here, because to look below costs more, and stock transports do so for every event.
        for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
            if hasattr(reactor, name):
                setattr(self, name, getattr(reactor, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """Call in so many seconds of the monotonic clock."""
        call = DelayedCall(
            monotonic() + delay, callable, args, kw, self._cancelled, self._push, monotonic
        )
        self._push(call)
        self._waiting += 1
        return call

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """The calls that are to be made."""
        return list(dict.fromkeys(call for _, _, call in self._heap if call.active()))

    def stop(self) -> None:
        """Forget all calls; nothing is watched any more, even where one of them says so."""
        for _, _, call in tuple(self._heap):
            if call.active():
                call.cancel()
        self._rest()

    def _push(self, call: DelayedCall) -> None:
        """A call waits; also where it was reset to an earlier time."""
        if self._alarm is None or call.time < self._rings:
            self._set(call.time)
        heappush(self._heap, (call.time, next(self._numbers), call))

    def _set(self, due: float) -> None:
        seconds = max(due - monotonic(), SHORTEST)
        if self._alarm is not None:
            self._alarm.set(seconds)
        else:
            with all_or_nothing() as undo:
                alarm = _alarm_of(self._reactor, self._run)
                undo.callback(alarm.close)
                alarm.set(seconds)
            self._alarm = alarm
        self._rings = due

    def _cancelled(self, call: DelayedCall) -> None:
        """DelayedCall: it was cancelled."""
        self._waiting -= 1
        if not self._waiting:
            self._heap.clear()
            self._rest()
        elif MOST_CANCELLED < len(self._heap) > 2 * self._waiting:
            self._heap = [entry for entry in self._heap if entry[2].active()]
            heapify(self._heap)

    def _run(self) -> None:
        """The alarm rang: make the calls that are due, not those that are added meanwhile; of very
        many only as many as fit into a slice.
        """
        now = monotonic()
        while (call := self._next(now)) is not None:
            self._waiting -= 1
            call.called = 1
            try:
                call.func(*call.args, **call.kw)
            except BaseException:
                log.failure("a timer failed")
            if monotonic() - now > SLICE:
                break
        if self._waiting:
            self._set(self._heap[0][0])
        else:
            self._rest()

    def _next(self, now: float) -> DelayedCall | None:
        """Of the calls that were due by then, the next one."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, call = heappop(heap)
            if not call.active() or call.time != when:
                continue
            if call.delayed_time:
                call.activate_delay()
                heappush(heap, (call.time, next(self._numbers), call))
            else:
                return call
        return None

    def _rest(self) -> None:
        """Nothing waits."""
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.close()


@implementer(IReadDescriptor)
class _KernelAlarm:
    """Rings by a timerfd that the reactor watches."""

    def __init__(self, reactor: Any, ring: Callable[[], object]) -> None:
        self._reactor = reactor
        self._ring = ring
        with all_or_nothing() as undo:
            self._fd = timerfd.create()
            undo.callback(os.close, self._fd)
            reactor.addReader(self)

    def set(self, seconds: float) -> None:
        """Ring once, in so many seconds."""
        timerfd.set_time(self._fd, seconds)

    def close(self) -> None:
        """Ring no more."""
        self._reactor.removeReader(self)
        fd, self._fd = self._fd, -1
        os.close(fd)

    def fileno(self) -> int:
        """The descriptor of the timer."""
        return self._fd

    def logPrefix(self) -> str:
        """The name of this reader in the reactor's log context."""
        return "timers"

    def doRead(self) -> None:
        """The reactor: it is time."""
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._ring()

    def connectionLost(self, reason: object) -> None:
        """The reactor watches no more, as at its end."""


class _ReactorAlarm:
    """Rings by the reactor's own timers."""

    def __init__(self, reactor: Any, ring: Callable[[], object]) -> None:
        self._reactor = reactor
        self._ring = ring
        self._call: IDelayedCall | None = None

    def set(self, seconds: float) -> None:
        """Ring once, in so many seconds."""
        self.close()
        self._call = self._reactor.callLater(seconds, self._rung)

    def close(self) -> None:
        """Ring no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _rung(self) -> None:
        self._call = None
        self._ring()


def _alarm_of(reactor: Any, ring: Callable[[], object]) -> _KernelAlarm | _ReactorAlarm:
    if timerfd.AVAILABLE and IReactorFDSet.providedBy(reactor):
        with suppress(OSError):  # there is no descriptor left for it
            return _KernelAlarm(reactor, ring)
    return _ReactorAlarm(reactor, ring)
