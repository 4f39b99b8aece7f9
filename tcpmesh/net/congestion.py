"""No pacing between processes of one machine.

BBR spreads what it sends over time, at the rate that it takes for the path's: on a path between
machines that keeps the queues of routers short.  On the loopback device there is no queue of
anybody's to spare, and pacing is a timer of the kernel for every few packets.  Medians of eight
alternating runs of 1 GiB on a machine whose default is BBR: with it 1.92 GB/s to the client and
2.03 GB/s from it at 0.28 and 0.25 s of CPU per GB, without it 2.31 and 2.69 GB/s at 0.20 and 0.18
s.

So a socket that is bound to, or about to connect to, a loopback address gets `PLAIN` where the
system's default paces, and what a listening socket has is inherited by the connections that it
accepts.  It has to be so early: the kernel goes on pacing a connection that once had BBR, whatever
it is given later.  All other sockets keep the system's default, and `socket_options` that choose a
TCP_CONGESTION are set after this.
"""

from __future__ import annotations

import socket
from functools import cache
from typing import Any

from tcpmesh.values.address import Address

PLAIN = b"reno"
"""Does not pace, is part of every Linux kernel, and open to every process."""

DEFAULT = "/proc/sys/net/ipv4/tcp_congestion_control"


@cache
def default_paces() -> bool:
    """Whether the system's default for this process, when first asked for, is one of the BBR
    family.
    """
    try:
        with open(DEFAULT, "rb") as f:
            return f.read().startswith(b"bbr")
    except OSError:
        return False


def spare_loopback(sock: Any, address: Address) -> None:
    """Do not pace what a socket will send, if the address is one of this machine's own."""
    if default_paces() and (address.host.startswith("127.") or address.host == "::1"):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PLAIN)
        except OSError:
            return  # a system that forbids it: its own choice works too
