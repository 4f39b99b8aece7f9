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
    reason_to_refuse = refusal(congestion)
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
        raise BenchmarkError(reason_to_refuse) from None


def refusal(congestion: str) -> str:
    """Why there may be no such congestion control: namespaces have but those that are for all."""
    names = {}
    for kind in ("available", "allowed"):
        path = SETTING.with_name(f"tcp_{kind}_congestion_control")
        names[kind] = path.read_text().strip() if path.exists() else "unknown"
    if congestion not in names["available"].split():
        return f"the kernel has no congestion control {congestion}, but {names['available']}"
    return (
        f"the kernel keeps the congestion control {congestion} from network namespaces, but not "
        f"{names['allowed']} (net.ipv4.tcp_allowed_congestion_control); reno does not pace either"
    )
