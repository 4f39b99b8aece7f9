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

    rtt_variance: int = 0
    """How much the round-trip time varies, in microseconds."""

    unacked: int = 0
    """Segments that were sent and not been acknowledged."""

    unsent: int = 0
    """Bytes that were written and not been sent."""

    segments_sent: int = 0
    segments_received: int = 0
    data_segments_sent: int = 0
    data_segments_received: int = 0
    bytes_sent: int = 0
    """With those that were sent again."""

    bytes_received: int = 0
