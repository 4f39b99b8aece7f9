"""Sockets of other network namespaces than the process's own: a socket belongs to the one that its
thread was in when it was made, and stays there.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

OWN = "/proc/thread-self/ns/net"
CLONE_NEWNET = 0x40000000


@contextmanager
def network_namespace(path: str) -> Iterator[None]:
    """Let this thread be in a network namespace meanwhile.

    :param path: its file, such as `/run/netns/blue`; empty for where the thread is already.
    :raise OSError: where there is none, or the process may not enter it.
    """
    if not path:
        yield
        return
    own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(fd: int) -> None:
    """`os.setns`, which Python has only since 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET):
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
