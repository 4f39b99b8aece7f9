"""tcp_proxy: gives a client to a host of a cluster, and relays.

The terminal filter of nearly every chain.  What its message says is read in `settings` and
`routes`; what happens to a client is in `session`, one `Session` each, and how that comes to an
upstream connection in `attempts`.  Clients that go through a proxy are in `tunnel_session`.

Of Envoy's tcp_proxy this leaves out, and refuses in a configuration: on-demand clusters.  One thing
it does otherwise: with ON_DOWNSTREAM_DATA a client that sends FIN and no data is closed at once,
where Envoy 1.40 holds it until the idle timeout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from zope.interface import implementer

from tcpmesh.accesslog.access_logs import access_logs
from tcpmesh.cluster.upstream.counting import held
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.filters import NetworkFilter
from tcpmesh.connection.relay import idle_queue
from tcpmesh.extensions.filters.network.tcp_proxy import moving
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import SessionContext
from tcpmesh.extensions.filters.network.tcp_proxy.logs import SessionLogs
from tcpmesh.extensions.filters.network.tcp_proxy.proxy_header import ProxyHeader
from tcpmesh.extensions.filters.network.tcp_proxy.routes import route_finder
from tcpmesh.extensions.filters.network.tcp_proxy.session import Session
from tcpmesh.extensions.filters.network.tcp_proxy.settings import settings_of
from tcpmesh.extensions.filters.network.tcp_proxy.shedding import (
    Gates,
    SheddingSession,
    SheddingTunnelSession,
    points_of,
)
from tcpmesh.extensions.filters.network.tcp_proxy.stats import TcpProxyStats
from tcpmesh.extensions.filters.network.tcp_proxy.tunnel_session import TunnelSession
from tcpmesh.extensions.filters.network.tcp_proxy.tunnelling import Tunnelling
from tcpmesh.interfaces import (
    ILogsConnections,
    IMovesClients,
    IReleasedFilter,
    IStoppableFilter,
)
from tcpmesh.net.cooperator import do_all
from tcpmesh.registry import WorkerContext, extension
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.stream.moved import MovedConnection


@extension(tcp_proxy_pb2.TcpProxy)
@implementer(ILogsConnections, IMovesClients, IReleasedFilter, IStoppableFilter)
class TcpProxy(NetworkFilter):
    """What a filter chain's `TcpProxy` message says, and the sessions it has."""

    def __init__(self, message: Any, context: WorkerContext) -> None:
        self._store = context.store
        self._settings = settings_of(message)
        self._sessions: set[Session] = set()
        self._buffered = (0, 0)
        self._closed = False
        self._drain = context.drain if self._settings.closes_draining else None
        """What is asked whether sessions are to be closed; `None` where that is not wanted."""
        self.serves_many_chains = self._drain is None
        """Whether it is all the same to it whose clients they are: chains drain one by one."""
        self._network = context.network
        points = points_of(context.overload)
        idle, timers = self._settings.idle_timeout, context.network.timers
        queue = idle_queue(timers, idle) if idle is not None else None
        route = route_finder(message, context.random)
        header = ProxyHeader(message, context)
        self._tunnelling: Tunnelling | None = None
        if message.HasField("tunneling_config"):
            self._tunnelling = Tunnelling(message.tunneling_config, context)
        with all_or_nothing() as undo:
            self.access_logs = access_logs(message.access_log, context)
            logs = None
            if self.access_logs is not None:
                undo.callback(self.access_logs.close)
                logs = SessionLogs(message, self.access_logs, timers, Session.log_periodically)
                if logs.is_silent:  # as most are: nobody need call it for each client
                    logs = None
            # The last that can fail, for it is to be given back.
            self._stats = TcpProxyStats(context.store, message.stat_prefix)
        self._context = SessionContext(
            settings=self._settings,
            stats=self._stats,
            route=route,
            find_cluster=context.cluster,
            clock=context.network.clock,
            now=context.network.clock.seconds,
            timers=timers,
            idle_queue=queue,
            random=context.random,
            header=header,
            release=self._release,
            logs=logs,
            drain=self._drain,
            points=points,
            tunnelling=self._tunnelling,
        )
        self._new_tunnel = TunnelSession if points is None else SheddingTunnelSession
        self._new_session: type[Session] = Session if points is None else SheddingSession
        self._gates: Gates | None = None
        if points is not None and points.on_data is not None:
            self._gates = Gates(context.overload, self._sessions, self._network.cooperator)
        if self._drain is not None:
            self._drain.watch(self._drain_sessions)

    def on_accept(self, connection: Connection) -> None:
        """Count a client, which is not read before it has an upstream unless it may speak first."""
        self._stats.cx_total.tally += 1
        if self._settings.early_limit is None:
            connection.transport.pauseProducing()

    def attach(self, connection: Connection) -> None:
        """Serve a client that all filters before have let pass."""
        self._session(connection).start()

    def _session(self, connection: Connection) -> Session:
        tunnelling, new = self._tunnelling, self._new_session
        if tunnelling is not None and tunnelling.is_for(connection.stream_info):
            new = self._new_tunnel
        session = new(self._context, connection)
        if not self._sessions:
            self._store.add_collector(self._collect)
        self._sessions.add(session)
        if self._drain is not None and self._drain.is_on:
            session.drain()
        return session

    # Clients that leave this process, or come from another one

    def clients(self) -> tuple[Session, ...]:
        """Those there are."""
        return tuple(self._sessions)

    def why_stays(self, client: Session) -> str:
        """Why one cannot leave now."""
        return moving.why_stays(client, self._network)

    def leave(self, client: Session) -> tuple[MovedConnection, tuple[int, int]]:
        """Let one go."""
        return moving.leave(client, self._network)

    def takes(self, moved: MovedConnection) -> str:
        """Why one of another process cannot go on here."""
        return moving.takes(self._context, moved)

    def arrive(self, connection: Connection, moved: MovedConnection, upstream: Any) -> None:
        """Go on with one of another process."""
        session = self._session(connection)
        session.gate()
        moving.arrive(session, moved, upstream)

    def _drain_sessions(self) -> None:
        """A drain begins."""
        do_all(self._network.cooperator, self._draining())

    def _draining(self) -> Iterator[None]:
        for session in tuple(self._sessions):
            if session in self._sessions:
                session.drain()
            yield

    def stop(self) -> None:
        """End all sessions at once."""
        for session in tuple(self._sessions):
            session.stop()

    def close(self) -> None:
        """The chain takes no more clients; those it has are served to their end."""
        self._closed = True
        logs, self.access_logs = self.access_logs, None
        if logs is not None:
            logs.close()
        if not self._sessions:
            self._end()

    def release(self) -> None:
        """Nobody is attached any more, not even one that another filter had held up."""
        del self._context  # which knows whom to release sessions to

    def _release(self, session: Session) -> None:
        """The session is over."""
        self._sessions.discard(session)
        if not self._sessions:
            self._store.remove_collector(self._collect)
            self._collect()
            if self._closed:
                self._end()

    def _end(self) -> None:
        """Nothing is left of it."""
        self._stats.scope.close()
        if self._drain is not None:
            self._drain.unwatch(self._drain_sessions)
        if self._gates is not None:
            self._gates.stop()

    def _collect(self) -> None:
        """Count what open sessions have moved since they were last counted, and what they hold at
        this moment.
        """
        read = unsent = 0
        for session in self._sessions:
            session.flush_counters()
            if session.cluster is not None:
                now = held(session.relay)
                read, unsent = read + now.read_of_client, unsent + now.for_client
                if now.for_upstream:
                    session.cluster.stats.cx_tx_bytes_buffered.add(now.for_upstream)
                session.cluster.stats.cx_rx_bytes_buffered.add(now.read_of_upstream)
        before, self._buffered = self._buffered, (read, unsent)
        # Added, not set: other filters of the same stat_prefix have a share in these gauges.
        self._stats.cx_rx_bytes_buffered.add(read - before[0])
        if unsent != before[1]:
            self._stats.cx_tx_bytes_buffered.add(unsent - before[1])
