"""Writes lines to a descriptor and never waits: not for a reader that has stopped reading, not for
a disk that is full.

A proxy that waits for its log serves nobody meanwhile, and a pipe whose reader sleeps would make it
wait for ever.  Setting such a descriptor to non-blocking is no way out where it is standard error,
for that would count for all processes that share it.  So the kernel is asked before each piece,
which is no larger than what it takes whole (PIPE_BUF) once it takes anything.

What cannot be written yet is kept, up to `MOST_KEPT` bytes, and comes first later; lines beyond
that are counted in `lost`, as are those that cannot be written at all.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections import deque

MOST_KEPT = 1 << 20
"""Bytes that wait for a slow reader."""


class Output:
    """A descriptor that lines are written to."""

    def __init__(self, fd: int, is_own: bool = False) -> None:
        """:param is_own: whether `close` closes it."""
        self.lost = 0
        """Lines that nobody will see."""
        self._fd = fd
        self._is_own = is_own
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._always_takes = stat.S_ISREG(os.fstat(fd).st_mode)

    @classmethod
    def open(cls, path: str) -> Output:
        """The end of a file, which is made where there is none.

        :raise OSError: where it cannot be opened.
        """
        for name, fd in (("/dev/stdout", 1), ("/dev/stderr", 2)):
            if path == name:
                return cls(os.dup(fd), is_own=True)
        # Not to wait at a named pipe that nobody reads.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return cls(os.open(path, flags, 0o666), is_own=True)

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._kept)

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
        while self._kept and self._takes():
            line = self._kept.popleft()
            self._size -= len(line)
            try:
                piece = line if self._always_takes else line[: select.PIPE_BUF]
                written = os.write(self._fd, piece)
            except OSError as e:
                if e.errno == errno.EAGAIN:
                    written = 0
                else:
                    self.lost += 1
                    continue
            if written < len(line):
                self._kept.appendleft(line[written:])
                self._size += len(line) - written
                if not written:
                    return

    def close(self, patience: float = 0.0) -> None:
        """Write what waits, for so many seconds at most, and let go of the descriptor."""
        limit = time.monotonic() + patience
        self.flush()
        while self._kept and (left := limit - time.monotonic()) > 0:
            self._poll(left)
            self.flush()
        if self._is_own:
            os.close(self._fd)

    def _takes(self) -> bool:
        return self._always_takes or self._poll(0.0)

    def _poll(self, seconds: float) -> bool:
        """Whether the descriptor takes something, or says at once that it never will."""
        poll = select.poll()
        try:
            poll.register(self._fd, select.POLLOUT)
            return bool(poll.poll(seconds * 1000))
        except OSError:
            return True
