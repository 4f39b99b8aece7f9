"""What is under way between two sockets of this machine: sent, and not arrived.

Where a processor is busy the kernel may have no room for a packet on loopback and drop it
(`netdev_max_backlog`).  The sender repeats it after 200 ms, in which nothing moves though nothing
is full: a quiet moment is no proof that a connection takes no more.
"""

from __future__ import annotations

import struct
import sys
from fcntl import ioctl
from typing import Any

from tcpmesh.net.sockets import unsent

_SIOCOUTQNSD = 0x894B
"""Of linux/sockios.h: bytes in the queue of a socket that were not sent yet."""


def in_flight(transport: Any) -> int:
    """Bytes that a TCP transport, or one of ours above it, has sent and that its peer has not
    acknowledged; 0 where the system does not tell.
    """
    while hasattr(transport, "below"):
        transport = transport.below
    fd = transport.fd if hasattr(transport, "fd") else transport.fileno()
    if sys.platform != "linux" or fd < 0:
        return 0
    (waiting,) = struct.unpack("i", ioctl(fd, _SIOCOUTQNSD, b"\0\0\0\0"))
    return unsent(fd) - int(waiting)
