"""Timers of the Linux kernel as descriptors, timerfd_create(2): Python has them since 3.13 only."""

from __future__ import annotations

import ctypes
import os
import sys
import time

if sys.version_info >= (3, 13) and sys.platform == "linux":
    AVAILABLE = True
    """Whether this system has such timers."""

    def create() -> int:
        """The descriptor of a timer on the monotonic clock: not set, non-blocking, and readable
        once it has rung.

        :raise OSError: where the system refuses.
        """
        return os.timerfd_create(
            time.CLOCK_MONOTONIC,
            flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC,
        )

    def set_time(fd: int, seconds: float) -> None:
        """Let a timer ring once, in so many seconds, more than 0."""
        os.timerfd_settime(fd, initial=seconds)

else:
    _MONOTONIC = 1
    _NANOSECONDS = 1_000_000_000
    _libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

    # Of 64 bits, as the system's `time_t` is there; where it is not that long, nothing is tried.
    AVAILABLE = hasattr(_libc, "timerfd_create") and ctypes.sizeof(ctypes.c_long) == 8
    """Whether this system has such timers."""

    class _Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class _Itimerspec(ctypes.Structure):
        _fields_ = (("interval", _Timespec), ("value", _Timespec))

    def create() -> int:
        """The descriptor of a timer on the monotonic clock: not set, non-blocking, and readable
        once it has rung.

        :raise OSError: where the system refuses.
        """
        assert _libc is not None
        fd = int(_libc.timerfd_create(_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return fd

    def set_time(fd: int, seconds: float) -> None:
        """Let a timer ring once, in so many seconds, more than 0."""
        assert _libc is not None
        whole, rest = divmod(max(int(seconds * _NANOSECONDS), 1), _NANOSECONDS)
        value = _Itimerspec(_Timespec(), _Timespec(whole, rest))
        if _libc.timerfd_settime(fd, 0, ctypes.byref(value), None) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
