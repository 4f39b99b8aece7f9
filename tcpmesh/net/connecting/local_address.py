"""The address of this machine, as Envoy finds it for the header fields of its own requests."""

from __future__ import annotations

import socket
import struct
from fcntl import ioctl

SIOCGIFADDR = 0x8915
"""Of linux/sockios.h."""


def local_address() -> str:
    """The first IPv4 address of an interface other than loopback; 127.0.0.1 where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            try:
                found = ioctl(sock, SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            except OSError:
                continue
            host = socket.inet_ntoa(found[20:24])
            if not host.startswith("127."):
                return host
    return "127.0.0.1"
