"""Connections as access logs see them, made up."""

from __future__ import annotations

from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.stream_info import ClusterInfo, StreamInfo, UpstreamInfo

BEGAN = 1795541510.442668
"""When a connection began that is 1.5 seconds old at `LATER`."""

LATER = Moment(1001.5, BEGAN + 1.5, LogType.TCP_CONNECTION_END)


class Ends:
    """The two addresses of a connection."""

    def __init__(self, peer: str, host: str) -> None:
        self.peer, self.host = _address(peer), _address(host)

    def getPeer(self) -> Address:
        return self.peer

    def getHost(self) -> Address:
        return self.host


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port)) if host else Address(text)


def connection(peer: str = "127.0.0.1:36210", host: str = "127.0.0.1:32116") -> StreamInfo:
    """One that lives, and has no upstream."""
    return StreamInfo(7, Ends(peer, host), started=1000.0)


def served(info: StreamInfo | None = None) -> StreamInfo:
    """One that was relayed, and has ended."""
    info = info or connection()
    upstream = info.upstream = UpstreamInfo(ClusterInfo("db", "alt"))
    upstream.attempted = (HostSpec(Address("10.0.0.3", 5432)),)
    upstream.connect_began, upstream.connect_ended = 1000.1, 1000.2
    upstream.addresses = Ends("10.0.0.3:5432", "10.0.0.9:41000")
    info.bytes = (5, 6, 7, 8)
    info.ended = 1001.25
    return info
