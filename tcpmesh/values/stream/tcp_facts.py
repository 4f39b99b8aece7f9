"""What the kernel knows of a TCP connection."""

from __future__ import annotations

from typing import NamedTuple


class TcpFacts(NamedTuple):
    """A part of `tcp_info` (linux/tcp.h)."""

    rtt: int
    """Smoothed round-trip time, in microseconds."""

    retransmits: int
    """Segments that were sent again, since the beginning."""

    quiet: float
    """Seconds since data has come or gone."""
