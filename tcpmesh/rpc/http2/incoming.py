"""What a host sends: its frames, read a few at a time.

To read one takes some 50 us however small it is, unless it has bytes of a tunnel and nothing else,
and one with many header fields takes milliseconds.  So a few are read at once, and where more have
come, the socket is paused and the rest are steps of the network's cooperator, which gives all such
work together a short time of each turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter

from twisted.internet.task import SchedulerStopped
from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.interfaces import INetwork, IStreamTransport
from tcpmesh.wire.http2 import FrameReader

log = Logger(namespace="http2")

READ_SIZE = 1 << 14
READ_AT_ONCE = 128
"""Frames that are read in one go."""

READ_FOR = 0.001
"""Seconds after which no further one is read in this turn."""


class Incoming:
    """That of one connection.

    :param read: reads the next frame, if it is complete; whether it was, and the connection is
        still there.
    :param failed: called where that raises, which is a mistake of ours.
    """

    __slots__ = ("_failed", "_is_later", "_network", "_read", "frames")

    def __init__(
        self, network: INetwork, read: Callable[[], bool], failed: Callable[[], object]
    ) -> None:
        self.frames = FrameReader()
        self._network = network
        self._read = read
        self._failed = failed
        self._is_later = False
        """Whether frames are read in later turns, for they were too many for one."""

    def received(self, transport: IStreamTransport, data: bytes) -> None:
        """Read what came: some at once, and the rest, where there is more, later."""
        self.frames.add(data)
        if self._is_later:
            return
        end = perf_counter() + READ_FOR
        for _ in range(READ_AT_ONCE):
            if not self._read():
                return
            if perf_counter() >= end:
                break
        if self.frames.has_frame:
            self._is_later = True
            transport.pauseProducing()
            work = self._network.cooperator.cooperate(self._steps(transport))
            work.whenDone().addErrback(self._broken)

    def stop(self) -> None:
        """The connection is gone, and is not kept: nothing is read any more."""
        self.frames.clear()
        self._read = self._failed = _nothing

    def _steps(self, transport: IStreamTransport) -> Iterator[None]:
        while self._read():
            yield
        self._is_later = False
        transport.resumeProducing()

    def _broken(self, failure: Failure) -> None:
        if not failure.check(SchedulerStopped):
            log.failure("reading HTTP/2 failed", failure)
            self._failed()


def _nothing() -> bool:
    return False
