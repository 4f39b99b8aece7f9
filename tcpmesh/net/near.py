"""Peers so near that little should be under way to them.

The kernel lets a send queue grow to megabytes, which a long path needs: what is sent and not yet acknowledged has to cover
the time of a round trip.  On this machine or in the same rack a round trip is over in microseconds, and a long queue does
nothing but harm: by the time its reader gets to them, the bytes have left the processor's cache and have to be fetched
from memory again.  Medians of eight alternating runs of 1 GiB on loopback, two processors with a cache of 1 MiB
each: with the kernel's own queue 1.56 GB/s and 0.31 s of CPU per GB, with a short one 1.98 GB/s and 0.26 s.  128 KiB and
256 KiB both gave less.

So a direction that has become bulk asks how far away its sink is, which the kernel has measured, and shortens the queue
where that is at most `NEAR`.  At that distance `QUEUE` still lets 2 GB/s through.  A queue whose length was
chosen by the configuration (SO_SNDBUF in `socket_options`) stays as it is.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

NEAR = 100
"""Microseconds: the shortest round trip that was seen, at most this."""

QUEUE = 192 * 1024
"""Bytes of payload asked for; the kernel doubles it, for what it needs itself."""

SO_BUF_LOCK = 72
SNDBUF_LOCKED = 1
"""Linux 5.19: whether somebody has chosen the length of the send queue."""

_MIN_RTT = 148
"""Where `tcpi_min_rtt` stands in `struct tcp_info` (Linux 4.6)."""

_NEVER = 0xFFFFFFFF


def round_trip(sock: Any) -> int | None:
    """The shortest round trip of a connection so far, in microseconds; `None` where nobody knows."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT + 4)
    except OSError:
        return None
    if len(info) < _MIN_RTT + 4:
        return None
    (shortest,) = struct.unpack_from("I", info, _MIN_RTT)
    return shortest if shortest != _NEVER else None


def limit_queue(sock: Any, near: int = NEAR) -> None:
    """Shorten the send queue of a TCP connection whose peer is at most so many microseconds away."""
    distance = round_trip(sock)
    if distance is None or distance > near:
        return
    try:
        chosen = sock.getsockopt(socket.SOL_SOCKET, SO_BUF_LOCK) & SNDBUF_LOCKED
        if not chosen and sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > 2 * QUEUE:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUEUE)
    except OSError:
        return  # a kernel that cannot tell whether the length was chosen
