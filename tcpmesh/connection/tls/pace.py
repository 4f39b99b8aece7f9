"""How many handshakes get their turn at once.

A step of a handshake takes up to a millisecond, a hundred times as long as a message, and hundreds
of clients may begin in the same moment.  Everybody else would wait for all of them.  So handshakes
together get one short time of each turn; those that come later wait for the next, in their order,
and what was sent meanwhile waits with them.  What OpenSSL holds for a connection is freed in the
same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

from tcpmesh.interfaces import INetwork

log = Logger(namespace="connection")

SLICE = 0.004
"""Seconds of a turn that are for handshakes."""

TURN = 0.01
"""Seconds after which a turn is over where nobody waits."""


class HandshakePace:
    """That of all handshakes of a process.

    :param network: on whose clock it is seen how long steps take.
    """

    def __init__(self, network: INetwork) -> None:
        self._network = network
        self._seconds = network.clock.seconds
        self._waiting: deque[Callable[[], object]] = deque()
        self._began = self._spent = 0.0

    def close(self) -> None:
        """Nobody begins a handshake any more; those that go on do."""

    def take(self, step: Callable[..., object], *arguments: object) -> bool:
        """Take a step now, if there is time; whether it was taken."""
        if self._waiting:
            return False
        seconds = self._seconds
        start = seconds()
        if start - self._began > TURN:
            self._began, self._spent = start, 0.0
        if self._spent >= SLICE:
            return False
        try:
            step(*arguments)
        finally:
            self._spent += seconds() - start
        return True

    def take_later(self, step: Callable[[], object]) -> None:
        """Take a step in one of the next turns."""
        self._waiting.append(step)
        if len(self._waiting) == 1:
            self._network.call_soon(self._turn_comes)

    def _turn_comes(self) -> None:
        seconds, waiting = self._seconds, self._waiting
        end = seconds() + SLICE
        while waiting:
            try:
                waiting[0]()
            except BaseException:
                log.failure("a handshake that had to wait failed")
            waiting.popleft()
            if seconds() >= end:
                break
        if waiting:
            self._network.call_soon(self._turn_comes)
