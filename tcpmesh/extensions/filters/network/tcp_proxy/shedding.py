"""Sessions of a tcp_proxy where load may be shed: at the load shed points of the overload manager.

Envoy's three points for tcp_proxy are asked as there: `tcp_proxy_upstream_connect` before anything
else of each attempt, `connection_pool_new_connection` before a connection is made, which counts as
an attempt, and `tcp_proxy_on_data` for all that a client sends, its end included.  What comes from
the upstream is not asked for.  Where no point is configured there are no such sessions, and while
nothing is to be shed the bytes of these go the same way as those of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from twisted.internet.task import Cooperator

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.extensions.filters.network.tcp_proxy.session import ENDING, Session
from tcpmesh.extensions.filters.network.tcp_proxy.tunnel_session import TunnelSession
from tcpmesh.net.cooperator import do_all
from tcpmesh.values.overload import (
    CONNECTION_POOL_NEW_CONNECTION,
    TCP_PROXY_ON_DATA,
    TCP_PROXY_UPSTREAM_CONNECT,
    LoadShedPoint,
    Overload,
)
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import UpstreamInfo

OVERLOAD_WORDS = "overload_manager_close"

NOT_CONNECTED = CloseReason(
    EndedBy.PROXY, CONNECTING, Cause.OVERLOAD, detail="tcp_proxy_upstream_connect"
)
NO_CONNECTION = CloseReason(
    EndedBy.PROXY, CONNECTING, Cause.OVERLOAD, detail="connection_pool_new_connection"
)


class Points(NamedTuple):
    """The load shed points that sessions ask, those of them that are configured."""

    upstream_connect: LoadShedPoint | None
    new_connection: LoadShedPoint | None
    on_data: LoadShedPoint | None


def points_of(overload: Overload) -> Points | None:
    """Those of an overload manager; `None` where it has none."""
    names = (TCP_PROXY_UPSTREAM_CONNECT, CONNECTION_POOL_NEW_CONNECTION, TCP_PROXY_ON_DATA)
    points = Points(*map(overload.point, names))
    return None if points == (None, None, None) else points


class SheddingSession(Session):
    """One client."""

    __slots__ = ()

    @property
    def _points(self) -> Points:
        points: Points = self._context.points
        return points

    def start(self) -> None:
        """Connect, or let the client speak first."""
        self.gate()
        super().start()

    def _connect(self) -> None:
        made = len(self.stream_info.upstream.attempted)
        if made < self._context.settings.max_attempts and _sheds(self._points.upstream_connect):
            self._under_way = None
            self._context.stats.cx_overload_close.tally += 1
            self._refuse(ResponseFlag.OM, NOT_CONNECTED, OVERLOAD_WORDS)
        else:
            super()._connect()

    def _dial(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        if _sheds(self._points.new_connection):
            cluster.stats.rq_pending_total.tally += 1
            self.pool_shed()
        else:
            super()._dial(cluster, host, upstream)

    def pool_shed(self) -> None:
        """No connection is made for it, as if an attempt had failed."""
        self._pool = None
        self.stream_info.upstream.failure = NO_CONNECTION
        self._try_again()

    # What the client sends

    def gate(self) -> None:
        """Whether what the client sends is to be asked for may be another thing from now on."""
        point = self._points.on_data
        self.relay.gate(self._shed if point is not None and point.level else None)

    def on_early_data(self) -> None:
        """The client has sent something before its upstream is connected."""
        if not self._shed():
            super().on_early_data()

    def on_early_end(self) -> None:
        """The client has sent all it will, before its upstream is connected."""
        if not self._shed():
            super().on_early_end()

    def _shed(self) -> bool:
        """The client has sent something: whether it is closed for that."""
        if self.stream_info.phase in ENDING or not _sheds(self._points.on_data):
            return False
        self._context.stats.cx_overload_close.tally += 1
        self.stream_info.flags |= ResponseFlag.OM
        self._close(Cause.OVERLOAD, OVERLOAD_WORDS, "tcp_proxy_on_data")
        return True


class SheddingTunnelSession(SheddingSession, TunnelSession):
    """One client that goes through a proxy."""

    __slots__ = ()


class Gates:
    """Sees to it that all sessions of a tcp_proxy ask for what clients send, as long as something
    may be shed for that.

    :param sessions: those there are at each moment.
    """

    def __init__(
        self,
        overload: Overload,
        sessions: set[Session],
        cooperator: Cooperator,
    ) -> None:
        self._overload = overload
        self._sessions = sessions
        self._cooperator = cooperator
        self._is_on = self._sheds
        overload.watch(TCP_PROXY_ON_DATA, self._change)

    @property
    def _sheds(self) -> bool:
        return self._overload.level(TCP_PROXY_ON_DATA) > 0

    def _change(self) -> None:
        if self._sheds is not self._is_on:
            self._is_on = self._sheds
            do_all(self._cooperator, self._telling())

    def _telling(self) -> Iterator[None]:
        for session in tuple(self._sessions):
            if session in self._sessions and isinstance(session, SheddingSession):
                session.gate()
            yield

    def stop(self) -> None:
        """There are no sessions any more."""
        self._overload.unwatch(TCP_PROXY_ON_DATA, self._change)


def _sheds(point: LoadShedPoint | None) -> bool:
    return point is not None and point.level > 0 and point.sheds()
