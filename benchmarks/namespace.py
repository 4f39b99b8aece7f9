"""A loopback of our own, with a congestion control of our choice.

Where the system's is BBR, all that a proxy sends is paced, over loopback too: Envoy's bulk rate was
two thirds of what it was with cubic, the default of Linux, at one and a half times the CPU.  The
setting is the machine's, but each network namespace has its own.  So we move into a new one, which
ends with the last process in it, and leave the machine as it is.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

from benchmarks.process import BenchmarkError

SETTING = Path("/proc/sys/net/ipv4/tcp_congestion_control")

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def enter(congestion: str) -> None:
    """Move this process, and all that it will start, into a network namespace with nothing but
    loopback.

    :raise BenchmarkError: it is not allowed, or the kernel has no such congestion control.
    """
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise BenchmarkError(
            f"another congestion control needs a network namespace of its own, which root may "
            f"make: {reason}"
        )
    with socket.socket() as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _IFF_UP))
    try:
        SETTING.write_text(congestion)
    except OSError:
        available = SETTING.with_name("tcp_available_congestion_control").read_text().strip()
        raise BenchmarkError(
            f"the kernel has no congestion control {congestion}, but {available}"
        ) from None
