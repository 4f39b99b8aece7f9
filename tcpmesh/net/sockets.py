"""What both kinds of transports ask of a socket beyond reading and writing."""

from __future__ import annotations

import socket
import struct
import termios
from fcntl import ioctl

from tcpmesh.net.address import Address

HIGH_WATERMARK = 1 << 20
"""Bytes: the high watermark of a transport that is told no other; Envoy's per_connection_buffer_limit_bytes."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, of no time: close sends RST."""

UNSENT_POLL = 0.01
UNSENT_POLLS = 500
"""A reset waits until the kernel has sent what came before it: looked at every 10 ms, for 5 s at most."""


def unsent(fd: int) -> int:
    """Bytes in the kernel's queue that the peer has not acknowledged."""
    (count,) = struct.unpack("i", ioctl(fd, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)


def bind_source(sock: socket.socket, source: Address) -> None:
    """Bind an outgoing socket to a source address, leaving the port to be chosen at connect.

    With IP_BIND_ADDRESS_NO_PORT the kernel may use one port for several destinations, so ports do not run out early.
    """
    if source.port == 0 and source.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    sock.bind(source.sockaddr)
