"""Writes lines to a descriptor and never waits: not for a reader that has stopped reading, not for
a disk that is full.

A proxy that waits for its log serves nobody meanwhile, and a pipe whose reader sleeps would make it
wait for ever.  Setting such a descriptor to non-blocking is no way out where it is standard error,
for that would count for all processes that share it.  So the kernel is asked before each piece,
which is no larger than what it takes whole (PIPE_BUF) once it takes anything.  Of a terminal that
is not true, but it can be opened once more, for us alone.

What cannot be written yet is kept, up to `MOST_KEPT` bytes, and comes first later; lines beyond
that are counted in `lost`, as are those that cannot be written at all.
"""

from __future__ import annotations

import io
import os
import select
import stat
import time
from collections import deque
from contextlib import suppress

from tcpmesh.logs.rotation import opened_anew

MOST_KEPT = 1 << 20
"""Bytes that wait for a slow reader."""


def _open(path: str) -> int:
    for name, fd in (("/dev/stdout", 1), ("/dev/stderr", 2)):
        if path == name:
            return os.dup(fd)
    # Not to wait at a named pipe that nobody reads.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, 0o666)


class Output:
    """A descriptor that lines are written to."""

    def __init__(self, fd: int, is_own: bool = False) -> None:
        """:param is_own: whether `close` closes it."""
        self.lost = 0
        """Lines that nobody will see."""
        self.fd = fd
        # Whoever forgets an output forgets its descriptor too.
        self._owner = io.FileIO(fd, "w") if is_own else None
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._poller = select.poll()
        self._poller.register(fd, select.POLLOUT)
        self._always_takes = stat.S_ISREG(os.fstat(fd).st_mode)
        self._rest = b""
        """What is left of the line that is being written."""
        self._is_begun = self._is_torn = False
        """Whether some of it is written; whether one before it was given up in the middle."""

    @classmethod
    def open(cls, path: str) -> Output:
        """The end of a file, which is made where there is none.

        :raise OSError: where it cannot be opened.
        """
        return cls(_open(path), is_own=True)

    def opened_anew(self, path: str) -> Output:
        """The file that takes the place of this one, which was moved away.

        :raise OSError: where it cannot be opened.
        """
        return type(self)(opened_anew(path, self.fd, _open), is_own=True)

    @classmethod
    def of(cls, fd: int) -> Output:
        """A descriptor that belongs to others too, such as standard error.

        :raise OSError: where it is none.
        """
        if os.isatty(fd):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            with suppress(OSError):
                return cls(os.open(f"/proc/self/fd/{fd}", flags), is_own=True)
        return cls(fd)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._rest or self._kept)

    def write(self, line: bytes) -> None:
        """Write a line now, or keep it."""
        if self._size + len(line) > MOST_KEPT and self._kept:
            self.lost += 1
            return
        self._kept.append(line)
        self._size += len(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it is taken."""
        while self.is_behind and self._takes():
            if not self._rest:
                line = self._kept.popleft()
                self._size -= len(line)
                self._rest = b"\n" + line if self._is_torn else line
                self._is_begun = False
            try:
                written = os.write(self.fd, self._piece())
            except BlockingIOError:
                return
            except OSError:
                self.lost += 1
                self._is_torn = self._is_torn or self._is_begun
                self._rest = b""
            else:
                self._rest = self._rest[written:]
                self._is_begun, self._is_torn = True, False

    def _piece(self) -> bytes:
        return self._rest if self._always_takes else self._rest[: select.PIPE_BUF]

    def close(self, patience: float = 0.0) -> None:
        """Write what waits, for so many seconds at most, and let go of the descriptor."""
        limit = time.monotonic() + patience
        self.flush()
        while self.is_behind and (left := limit - time.monotonic()) > 0:
            self._poll(left)
            self.flush()
        if self._owner is not None:
            self._owner.close()
        self.fd = -1

    def _takes(self) -> bool:
        return self._always_takes or self._poll(0.0)

    def _poll(self, seconds: float) -> bool:
        """Whether the descriptor takes something, or says at once that it never will."""
        return bool(self._poller.poll(seconds * 1000))
