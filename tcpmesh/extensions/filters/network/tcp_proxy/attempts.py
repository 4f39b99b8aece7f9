"""How a client of a tcp_proxy comes to an upstream connection: one attempt after the other.

For each attempt the cluster is looked up, the limit of attempts checked, the circuit breakers asked
and a host picked, in this order, as in Envoy; then the host is dialled, or its pool asked for a
connection.  The load balancer gets this object as the context of its pick: `hash`, `attempted`,
`metadata_match` and `stream_info` are for it.

Where a client is on this way has a name, and nothing else says so:

    WAITING --the client has sent something--> PAUSED
    PAUSED --a host is dialled--> DIALLING --connected--> CONNECTED
    PAUSED --the cluster is paused (/clusters/pause)--> PAUSED
    PAUSED --a pool is asked--> QUEUED --it gives a connection--> CONNECTED
    DIALLING, QUEUED --none is to be had--> PAUSED
    PAUSED, DIALLING, QUEUED --a proxy is asked for a tunnel--> ASKING --it opens one--> CONNECTED
    ASKING --it does not--> PAUSED
    PAUSED --there is no cluster, no host, no further attempt--> OVER
    any --closed from either side--> OVER
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from errno import ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT
from random import Random
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.upstream.counting import closed, dialled, ended, failed, waits
from tcpmesh.cluster.upstream.pool import Pool
from tcpmesh.connection.connection import Connection
from tcpmesh.connection.relay import Relay
from tcpmesh.connection.transport_sockets import options_of
from tcpmesh.connection.wrapped.network import HandshakeFailed
from tcpmesh.connection.wrapped.states import RESET, TransportSocketError
from tcpmesh.extensions.filters.network.tcp_proxy.proxy_header import ProxyHeader
from tcpmesh.extensions.filters.network.tcp_proxy.routes import FindRoute
from tcpmesh.extensions.filters.network.tcp_proxy.settings import Settings
from tcpmesh.extensions.filters.network.tcp_proxy.stats import TcpProxyStats
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import ICluster
from tcpmesh.net.protocol import OneShotFactory
from tcpmesh.net.timeout_queues import TimeoutQueue, TimeoutQueues
from tcpmesh.values.address import Address
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE
from tcpmesh.values.stream.phase import CONNECTING
from tcpmesh.values.stream.stream_info import NO_UPSTREAM, StreamInfo, UpstreamInfo
from tcpmesh.values.stream.transport_socket_options import NO_OPTIONS, TransportSocketOptions

REMOTE_ERRORS = {ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT}
"""What `connect` fails with once the network has answered, or has not; all else it says at once."""


class AttemptState(Enum):
    """Where a client is on its way to an upstream connection."""

    WAITING = "waiting"
    """It has to send something first."""

    PAUSED = "paused"
    """Before the first attempt, or between two."""

    DIALLING = "dialling"
    """A connection of its own is being made."""

    QUEUED = "queued"
    """It waits for a connection of a pool."""

    ASKING = "asking"
    """It waits for a proxy to open its tunnel: only of a `TunnelSession`."""

    CONNECTED = "connected"
    """It is relayed."""

    OVER = "over"
    """It is, or is being, closed."""


# An attribute of an Enum costs several times what a name of a module does.
WAITING = AttemptState.WAITING
PAUSED = AttemptState.PAUSED
DIALLING = AttemptState.DIALLING
QUEUED = AttemptState.QUEUED
ASKING = AttemptState.ASKING
CONNECTED = AttemptState.CONNECTED
OVER = AttemptState.OVER

OVERFLOW = CloseReason(EndedBy.PROXY, CONNECTING, Cause.OVERFLOW, detail="max_connections")
PENDING_OVERFLOW = replace(OVERFLOW, detail="max_pending_requests")
HELD_OVERFLOW = replace(OVERFLOW, detail="too many wait for a pause to end")
GONE = CloseReason(EndedBy.DOWNSTREAM, CONNECTING, Cause.END_OF_STREAM)
TIMED_OUT = CloseReason(EndedBy.PROXY, CONNECTING, Cause.CONNECT_TIMEOUT)
UNHEALTHY = CloseReason(EndedBy.PROXY, CONNECTING, Cause.HOST_UNHEALTHY)

# The words for them in DOWNSTREAM_LOCAL_CLOSE_REASON, spelled as in Envoy.
_WORDS = "tcp_initializion_failure:"
CONNECT_FAILED_WORDS = f"{_WORDS}0"
NO_HOST_WORDS = f"{_WORDS}1"
OVERFLOW_WORDS = f"{_WORDS}2"
NO_CLUSTER_WORDS = f"{_WORDS}3"


@dataclass(frozen=True)
class SessionContext:
    """What all sessions of one tcp_proxy have in common."""

    settings: Settings
    stats: TcpProxyStats
    route: FindRoute
    find_cluster: Callable[[str], ICluster | None]
    clock: IReactorTime
    now: Callable[[], float]
    """Of that clock: asked several times for each client, so it is not looked up there."""

    timers: TimeoutQueues
    idle_queue: TimeoutQueue[Relay] | None
    """Where those wait that have the idle timeout of the settings; `None` without one."""

    random: Random
    header: ProxyHeader
    release: Callable[[Any], None]
    """Called with each session once it is over."""

    logs: Any = None
    """The `SessionLogs`, where something is written before the end."""

    drain: Any = None
    """The `DrainDecision`, where sessions are closed by drains (`check_drain_close`)."""

    tunnelling: Any = None
    """The `Tunnelling`, where clients go through a proxy."""

    points: Any = None
    """The `Points`, where there are some at which load may be shed."""


class Attempts(OneShotFactory):
    """One client on its way; the client factory of its upstream connection.

    `tcpmesh.extensions.filters.network.tcp_proxy.session.Session` builds upon it.
    """

    __slots__ = (
        "__weakref__",
        "_context",
        "_host",
        "_pool",
        "_state",
        "_under_way",
        "attempted",
        "cluster",
        "connection",
        "metadata_match",
        "relay",
        "stream_info",
    )

    stream_info: StreamInfo
    """What is known of the client; its `upstream` is written here."""

    connection: Connection
    relay: Relay
    """Of which the upstream connection becomes a part."""

    cluster: Any
    """The cluster of the host picked last."""

    attempted: tuple[Host, ...]
    """The hosts that could not be connected to."""

    metadata_match: Mapping[str, Any] | None

    _context: SessionContext
    _state: AttemptState
    _host: Any
    _pool: Pool | None
    """Whose connection it waits for, or has."""

    _under_way: Any
    """The connector while DIALLING, the delayed call of the next attempt while PAUSED."""

    def _leave(self, reason: CloseReason, words: str = "") -> None:
        """Close a client that is connected to nothing."""
        raise NotImplementedError

    @property
    def hash(self) -> int | None:
        """The 64-bit number that consistent hashing goes by, or `None`."""
        hash_of = self._context.settings.hash_of
        return hash_of(self.stream_info) if hash_of is not None else None

    # The choice of a host

    def _connect(self) -> None:
        """Make the next attempt, if there may be one."""
        self._state, self._under_way = PAUSED, None
        context, info = self._context, self.stream_info
        route, find_cluster = context.route, context.find_cluster
        name, self.metadata_match = route(info)
        cluster: Any = find_cluster(name)
        if cluster is None:
            context.stats.cx_no_route.tally += 1
            self._refuse(ResponseFlag.NC, _none(Cause.NO_CLUSTER, name), NO_CLUSTER_WORDS)
            return
        upstream = info.upstream
        if upstream is NO_UPSTREAM:
            upstream = info.upstream = UpstreamInfo(cluster.info)
        elif upstream.cluster is not cluster.info:
            upstream.cluster = cluster.info
        if cluster.paused is not None:
            self._hold(cluster)
            return
        if len(upstream.attempted) >= context.settings.max_attempts:
            cluster.stats.cx_connect_attempts_exceeded.tally += 1
            upstream.attempts_allowed = context.settings.max_attempts
            self._refuse(ResponseFlag.URX, upstream.failure or TIMED_OUT, CONNECT_FAILED_WORDS)
            return
        breakers = cluster.breakers
        if breakers.connections.total >= breakers.max_connections:
            cluster.stats.cx_overflow.tally += 1
            self._refuse(ResponseFlag.UO, OVERFLOW, OVERFLOW_WORDS)
            return
        host = cluster.pick(self)
        if host is None:
            cluster.stats.cx_none_healthy.tally += 1
            reason = _none(Cause.NO_HOST, cluster.why_no_host())
            self._refuse(ResponseFlag.UH, reason, NO_HOST_WORDS)
            return
        if host.cluster is not cluster:
            # Picked by an aggregate cluster: the one that the host belongs to serves.
            cluster = host.cluster
            if cluster.paused is not None:
                self._hold(cluster)
                return
            breakers = cluster.breakers
            if breakers.full:
                cluster.make_wait()
        upstream.attempted += (host.spec,)
        self.cluster, self._host = cluster, host
        if cluster.dialer.needs_header:
            context.header.complete(info)
        if cluster.pools is None and breakers.pending.total < breakers.max_pending:
            self._dial(cluster, host, upstream)
        else:
            self._queue(cluster, host, upstream)

    def _hold(self, cluster: Any) -> None:
        """Wait until connections are made again, if not too many do."""
        self._under_way = cluster.paused.hold(self)
        if self._under_way is None:
            cluster.stats.cx_overflow.tally += 1
            self._refuse(ResponseFlag.UO, HELD_OVERFLOW, OVERFLOW_WORDS)

    def go_on(self) -> None:
        """The pause of a cluster is over; the client may have gone meanwhile."""
        self._under_way = None
        if self.stream_info.phase is CONNECTING:
            self._connect()
        else:
            self._leave(GONE)

    def _queue(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        """Wait for a connection that others make, if there is any."""
        if cluster.pools is not None:
            if upstream.first_asked is None:
                upstream.first_asked = self._context.clock.seconds()
            self._state = QUEUED
            self._pool = cluster.pools.pool(host, self)
            self._pool.serve(self)
        else:
            cluster.stats.rq_pending_overflow.tally += 1
            upstream.failure = PENDING_OVERFLOW
            self._try_again()

    def _refuse(self, flag: ResponseFlag, reason: CloseReason, words: str) -> None:
        """There is no upstream for this client."""
        info = self.stream_info
        info.flags |= flag
        if info.upstream is not NO_UPSTREAM:
            info.upstream.gave_up = self._context.clock.seconds()
        self._leave(reason, words)

    def _try_again(self) -> None:
        """See whether there is another attempt: in the next turn of the event loop, or after a
        pause.
        """
        context, upstream = self._context, self.stream_info.upstream
        settings, made = context.settings, len(upstream.attempted)
        if upstream.first_asked is None:
            upstream.first_asked = upstream.connect_began
        pause = 0.0
        if settings.backoff is not None and made < settings.max_attempts:
            pause = settings.backoff.pause(made, context.random)
        self._state = PAUSED
        self._under_way = context.clock.callLater(pause, self._connect)

    # A connection of its own

    def _dial(self, cluster: Any, host: Host, upstream: UpstreamInfo) -> None:
        now = self._context.now
        upstream.connect_began = now()
        dialled(host)
        if cluster.close_on_failure:
            host.sessions.add(self)
        self._state = DIALLING
        dialer, told = cluster.dialer, NO_OPTIONS
        if dialer.wraps or self.stream_info.filter_state is not NO_FILTER_STATE:
            told = self.told
        self._under_way = dialer.connect(
            host, self, cluster.connect_timeout, self._count_another, told
        )

    @property
    def told(self) -> TransportSocketOptions:
        """What the transport socket of its upstream connection is told."""
        return options_of(self.stream_info)

    def _count_another(self) -> None:
        """A further one of the host's addresses is tried, in the same attempt."""
        self._host.cx_total += 1
        self.cluster.stats.cx_total.tally += 1

    def buildProtocol(self, addr: Any) -> Any:
        """The upstream is connected: what is to get its events."""
        return self.relay.from_upstream

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """An attempt failed: try again if another is allowed, else close the client."""
        if connector is not self._under_way:
            return  # given up by us, and counted then; there may be another attempt by now
        flags, remote = failed(self._host, reason)
        self.stream_info.flags |= flags
        self._failed(failure_of(reason, self._host.address), remote)

    def _failed(self, failure: CloseReason, remote: bool) -> None:
        """No connection came of this attempt."""
        self._undial(remote)
        self._note_no_connection(failure)
        self._try_again()

    def _note_no_connection(self, failure: CloseReason) -> None:
        self._note_failure(failure)
        self.cluster.stats.rq_pending_failure_eject.tally += 1

    def _note_failure(self, failure: CloseReason) -> None:
        host, upstream = self._host, self.stream_info.upstream
        upstream.failure, upstream.failed_host = failure, host.spec
        self.attempted += (host,)

    def _count_request_over(self, remote: bool) -> None:
        """The one request of a connection is over, and the connection with it.

        :param remote: whether that was the upstream's doing.
        """
        cluster = self.cluster
        now, began = self._context.now, self.stream_info.upstream.connect_began
        assert began is not None
        ended(self._host, now() - began, remote)
        if cluster.close_on_failure or cluster.pools is not None:
            self._leave_host()

    def _undial(self, remote: bool) -> None:
        """An attempt is over without a connection."""
        began: Any = self.stream_info.upstream.connect_began
        self._under_way = None
        waits(self._host, -1)
        closed(self._host, self._context.clock.seconds() - began, remote, active=False)
        self._leave_host()

    def _leave_host(self) -> None:
        """Nothing of this client is there that the host or its pools are to know of."""
        cluster = self.cluster
        if cluster.close_on_failure:
            self._host.sessions.discard(self)
        if cluster.pools is not None:
            cluster.pools.left(self._host, self._pool)

    # What a pool tells

    def pool_ready(self, dialled: float) -> None:
        """There is a connection, begun at this time; the relay starts next."""
        self.stream_info.upstream.connect_began = dialled
        if self.cluster.close_on_failure:
            self._host.sessions.add(self)

    def pool_failed(self, flags: ResponseFlag, reason: Failure | None) -> None:
        """There is none to be had of the host; without a reason because that is unhealthy."""
        self._pool = None
        self.stream_info.flags |= flags
        address = self._host.address
        failure = failure_of(reason, address) if reason is not None else UNHEALTHY
        self._note_no_connection(failure)
        self._try_again()

    def pool_full(self) -> None:
        """Too many wait already."""
        self._pool = None
        self.stream_info.upstream.failure = PENDING_OVERFLOW
        self._try_again()

    def pool_shed(self) -> None:
        """No connection is made, for want of resources: of a `SheddingSession`."""
        raise NotImplementedError

    # Ends

    def _give_up(self) -> None:
        """Leave the attempt that is under way, or the queue for one, or do not begin another."""
        state, under_way = self._state, self._under_way
        self._state = OVER
        if state is DIALLING:
            self.cluster.stats.rq_cancelled.tally += 1
            self._undial(remote=False)
            under_way.stopConnecting()
        elif state is QUEUED:
            assert self._pool is not None
            self._pool.leave(self)
        elif state is PAUSED and under_way is not None:
            self._under_way = None
            under_way.cancel()


def _none(cause: Cause, detail: str) -> CloseReason:
    """There is nothing to connect to."""
    return CloseReason(EndedBy.PROXY, CONNECTING, cause, detail=detail)


def _words_of(handshake: Failure) -> str:
    """Why a handshake came to nothing, in Envoy's words."""
    words = RESET if handshake.check(ConnectionLost) else ""
    if handshake.check(TransportSocketError):
        words = handshake.getErrorMessage()
    return "_".join(words.split())


def failure_of(reason: Failure, address: Address | None = None) -> CloseReason:
    """Why an attempt failed; `detail` is what Envoy says of it.

    :param address: what was to be connected to.
    """
    if reason.check(ConnectTimeout):
        return TIMED_OUT
    if isinstance(reason.value, HandshakeFailed):
        detail = _words_of(reason.value.reason)
        return CloseReason(EndedBy.UPSTREAM, CONNECTING, Cause.CONNECT_FAILED, None, detail)
    errno = getattr(reason.value, "osError", None)
    detail = ""
    if errno is not None:
        when = "delayed" if errno in REMOTE_ERRORS else "immediate"
        where = f"|remote address:{address}" if when == "immediate" and address else ""
        detail = f"{when} connect error: {os.strerror(errno)}{where}".replace(" ", "_")
    by = EndedBy.UPSTREAM if errno in REMOTE_ERRORS else EndedBy.PROXY
    return CloseReason(by, CONNECTING, Cause.CONNECT_FAILED, errno, detail)
