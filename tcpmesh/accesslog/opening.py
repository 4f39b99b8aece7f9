"""How the file of an access log is opened: for whole records of several processes, and so that
nothing waits.

Whoever opens a FIFO for writing waits until somebody reads it, and whoever opens `/dev/stdout`
opens anew what standard output is, which a socket does not allow and for a pipe is to wait again.
So a FIFO is opened for both, and holds what comes until somebody reads it, and of standard output
and standard error the descriptors are duplicated that the process was started with: `sys.stdout`
may be another by now, for `twistd` puts its log there.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress

NOWHERE = "/dev/null"


class CannotLog(Exception):
    """The file of a log cannot be opened; the text says which, and why."""


_FLAGS = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_MODE = 0o644

_STANDARD = {"/dev/stdout": 1, "/dev/fd/1": 1, "/proc/self/fd/1": 1}
_STANDARD |= {"/dev/stderr": 2, "/dev/fd/2": 2, "/proc/self/fd/2": 2}


def open_for_records(path: str) -> int:
    """A descriptor to which records are appended; it may not wait, so that its writes may be
    refused with `EAGAIN`.

    :raise OSError: where it cannot be had.
    """
    number = _STANDARD.get(path)
    if number is not None:
        return _standard(path, number)
    if "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    if _is_fifo(path):
        with suppress(PermissionError):  # who may not read it can only write, if somebody reads
            return os.open(path, os.O_RDWR | _FLAGS)
    return os.open(path, os.O_WRONLY | _FLAGS, _MODE)


def _standard(path: str, number: int) -> int:
    """Standard output or error.  Where it is a file, others write to it by the same descriptor,
    such as the log of the process: opened anew it would have a place of its own in the file, and
    one would write over the other.
    """
    known = sys.__stdout__ if number == 1 else sys.__stderr__
    if known is None:  # closed when the process was started: the number is another file's by now
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), path)
    return os.dup(number)


def _is_fifo(path: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False
