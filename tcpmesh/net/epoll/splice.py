"""Bulk bytes through a kernel pipe: `os.splice` from socket to pipe to socket, so that Python never
sees them.

Theory of operation.  Copying through a buffer is best for what most connections do, and for them it
stays: one read, one write, nothing to set up.  A `Pump` costs two descriptors and two calls for
every chunk, but its calls only move references to the kernel's pages.  Measured on loopback with
one connection, CPU seconds per GB in five alternating runs: copying through 256 KiB 0.44 to 0.59, a
pump with a pipe of 1 MiB 0.28 to 0.32.  A small message would gain nothing and pay for one call
more.  So the choice is made for each direction, by what is measured there:

- a source that filled the whole read buffer `READS` times in a row, with more to come, is bulk: it
  gets a pump;
- but where the sink may buffer more than a pipe holds, by a limit above `PIPE_SIZE` or none, it
  shall: there is no pump;
- a pump whose pipe is empty and that found little waiting `SMALL_READS` times in a row gives its
  pipe back, and the direction copies again.

Nothing else changes.  What is in the pipe counts as buffered by the sink: the pump takes the place
of the sink's buffer of bytes, with a length, so half-close, close and reset wait for it as for any
other byte.  A full pipe pauses the source and a half-empty one resumes it, through the `Direction`,
which counts both.  A pipe that still holds bytes when its connection ends is closed; an empty one
goes back to the pool.

SPLICE_F_MORE is never used: it makes the kernel hold back the last bytes of a transfer.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import sys
from typing import Any

PIPE_SIZE = 1 << 20
"""Bytes asked of the kernel for a pipe: what an unprivileged process may have, but 64 of them only.
Further ones would hold 8 KiB, a call or two for so little: then there is no pump, and bytes are
copied."""

POOLED = 32
"""Empty pipes kept for the next pump."""

PUMPS = 256
"""Pumps at work at the same time, at most, or one for every 64 descriptors that the process may
have: each holds two of them, which clients may need."""

SMALL = 32 * 1024
"""Bytes: less than this found waiting is little."""

SMALL_READS = 16
"""So often little in a row, and a direction copies again."""

MOVES = 4
"""Chunks moved by one pump before other connections get their turn."""

AVAILABLE = hasattr(os, "splice") and hasattr(fcntl, "F_SETPIPE_SZ")

NONBLOCK = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)


class Pipes:
    """Kernel pipes, reused while they are empty.

    :param limit: the descriptors of pipes have lower numbers than this.
    """

    def __init__(self, limit: int = sys.maxsize) -> None:
        self._limit = limit
        self._most = min(PUMPS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 64)
        self._free: list[tuple[int, int, int]] = []
        self.used = 0
        """Pipes that pumps have now, and `taken`, how many there have been."""
        self.taken = 0

    def take(self) -> tuple[int, int, int] | None:
        """A pipe as (read end, write end, size in bytes); `None` where there are too many, or the
        kernel gives no more.
        """
        if self.used >= self._most:
            return None
        if not self._free:
            try:
                self._free.append(_open_pipe(self._limit))
            except OSError:
                return None
        self.used += 1
        self.taken += 1
        return self._free.pop()

    def give_back(self, pipe: tuple[int, int, int], empty: bool) -> None:
        """A pump ends; its pipe is kept if nothing is left in it."""
        self.used -= 1
        if empty and len(self._free) < min(POOLED, self._most):
            self._free.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])

    def close(self) -> None:
        """Close the pipes that wait for use."""
        while self._free:
            reader, writer, _ = self._free.pop()
            os.close(reader)
            os.close(writer)


def _open_pipe(limit: int) -> tuple[int, int, int]:
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if max(reader, writer) >= limit:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        size = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    return reader, writer, size


class Pump:
    """One direction's bytes, through one pipe.

    :param limit: bytes the pipe may hold before the source is paused.
    """

    __slots__ = ("_full", "_last", "_limit", "_pipe", "_pipes", "_small", "direction", "held")

    def __init__(
        self, direction: Any, pipes: Pipes, pipe: tuple[int, int, int], limit: int
    ) -> None:
        self.direction = direction
        self._pipes = pipes
        self._pipe = pipe
        self._limit = min(limit, pipe[2])
        self._full = self._last = False
        self._small = 0
        self.held = 0
        """Bytes in the pipe."""

    def __len__(self) -> int:
        return self.held

    def fill(self, fd: int) -> int:
        """Take what the source has; the number of bytes, 0 at its end.

        :raise BlockingIOError: where it has nothing now.
        :raise OSError: where it was reset.
        """
        got = os.splice(fd, self._pipe[1], self._limit - self.held, flags=NONBLOCK)
        self.held += got
        self.direction.bytes += got
        self._small = self._small + 1 if got < SMALL else 0
        return got

    def empty(self, fd: int) -> bool:
        """Give the sink what it takes; whether that was all.

        :raise OSError: where the sink is gone.
        """
        try:
            while self.held:
                self.held -= os.splice(self._pipe[0], fd, self.held, flags=NONBLOCK)
        except BlockingIOError:
            pass
        if self._full and 2 * self.held <= self._limit:
            self._full = False
            self.direction.resumeProducing()
        return self.held == 0

    def pause(self) -> None:
        """The sink has to take more before the source goes on."""
        if not self._full:
            self._full = True
            self.direction.pauseProducing()

    @property
    def is_paused(self) -> bool:
        """Whether the source waits until the sink has taken more."""
        return self._full

    @property
    def full(self) -> bool:
        """Whether the pipe holds all that it may."""
        return self.held >= self._limit

    @property
    def idle(self) -> bool:
        """Whether the traffic is not bulk any more, or the sink takes nothing any more."""
        return self.held == 0 and (self._small >= SMALL_READS or self._pipe[0] < 0)

    def abandoned(self) -> None:
        """The sink takes nothing any more: its source need not wait for it."""
        if self._full:
            self._full = False
            self.direction.resumeProducing()

    def source_ended(self) -> None:
        """Nothing more will come: what is held is the last."""
        self._last = True
        self.drained()

    def drained(self) -> None:
        """The sink has taken what was there; if that was the last, the pipe is free."""
        if self._last and not self.held:
            self.end()

    def take_back(self) -> bytes:
        """What it holds, which is lost for the sink; the pipe is given up."""
        pieces = []
        while self.held:
            pieces.append(os.read(self._pipe[0], self.held))
            self.held -= len(pieces[-1])
        self.end()
        return b"".join(pieces)

    def end(self) -> None:
        """Give up the pipe, with what it holds."""
        pipe, self._pipe = self._pipe, (-1, -1, 0)
        if pipe[0] >= 0:
            self._pipes.give_back(pipe, empty=not self.held)
        self.held = 0
