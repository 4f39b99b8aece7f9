"""A connection of which much is known, for what formats say of it."""

from __future__ import annotations

import sys
from typing import Any

from envoy.config.core.v3 import base_pb2

from tcpmesh.accesslog.text_format import TextFormat
from tcpmesh.connection.state_objects import FACTORIES
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.filter_state import Sharing
from tcpmesh.values.stream.moment import LogType, Moment
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import ClusterInfo, ListenerInfo, StreamInfo, UpstreamInfo
from tests.mesh import parse

MOMENT = 1795541510.442668
"""2026-11-24 17:31:50.442668 UTC: when Envoy wrote what is expected of this connection."""

LATER = Moment(1001.5, MOMENT + 1.5, LogType.TCP_CONNECTION_END, room=sys.maxsize)
"""The moment at which is asked: the network's clock counts from elsewhere.  It is shared by tests,
so it has room for all of them.
"""


class Ends:
    """The two addresses of a connection."""

    def __init__(self, peer: str, host: str) -> None:
        self.peer, self.host = Address(*_split(peer)), Address(*_split(host))

    def getPeer(self) -> Address:
        return self.peer

    def getHost(self) -> Address:
        return self.host


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host else (text, 0)


def metadata(text: str) -> Any:
    """A `core.v3.Metadata` of this YAML."""
    return parse(base_pb2.Metadata, f"filter_metadata: {text}")


def known(peer: str = "127.0.0.1:36210", host: str = "127.0.0.1:32116") -> StreamInfo:
    """A connection that is 1.5 seconds old, with filter state and metadata."""
    info = StreamInfo(7, Ends(peer, host), started=1000.0)
    for key, kind, text in (
        ("pre", "envoy.string", 'a"b,1'),
        ("addr", "envoy.network.transport_socket.original_dst_address", "1.2.3.4:80"),
        ("num", "envoy.upstream.dynamic_port", "7"),
        ("cl", "envoy.tcp_proxy.cluster", "c"),
        ("yes", "envoy.bool", "1"),
        ("angle", "envoy.string", "<é>"),
    ):
        made = FACTORIES[kind](text)
        assert made is not None
        sharing = Sharing.ONCE if key == "pre" else Sharing.NONE
        info.set_filter_state(key, made, sharing=sharing)
    info.metadata = {"ns": {"word": "x y", "number": 3, "deep": {"list": [1, None]}}}
    info.listener = ListenerInfo(
        "entry", "chain", metadata("{l: {k: lv}}"), metadata("{f: {k: fv}}"), direction=1
    )
    info.bytes = (10, 9, 2000, 1999)
    return info


HOST = HostSpec(Address("10.0.0.3", 5432), hostname="db.example:5432")
CLUSTER = ClusterInfo("db", "database", metadata("{m: {k: v, number: 2.5, deep: {x: [1, a]}}}"))


def connected() -> StreamInfo:
    """The same, connected to its host at the second attempt."""
    info = known()
    upstream = info.upstream = UpstreamInfo(CLUSTER)
    refused = HostSpec(Address("10.0.0.2", 5432))
    host = HostSpec(HOST.address, HOST.hostname, metadata=metadata("{h: {k: hv}}"))
    upstream.attempted = (refused, host)
    upstream.failed_host = refused
    upstream.failure = CloseReason(
        EndedBy.UPSTREAM,
        CONNECTING,
        Cause.CONNECT_FAILED,
        111,
        "delayed_connect_error:_Connection_refused",
    )
    upstream.connect_began, upstream.connect_ended = 1000.25, 1000.5
    upstream.addresses = Ends("10.0.0.3:5432", "10.0.0.1:40000")
    info.ended = 1001.25
    return info


def said(text: str, about: Any = None, at: Moment = LATER) -> str:
    """What a text says of a connection."""
    return TextFormat(text).format(about or known(), at)
