"""A client of a tcp_proxy leaves this process, or comes from another one, without noticing.

What it is counted in goes with it: where it leaves it is no open connection, request or limit any
more, and where it arrives it is; accepted, connected or closed it is in neither.  What an access
log says at its end is said where that is.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from tcpmesh.connection import moving
from tcpmesh.extensions.filters.network.tcp_proxy.attempts import CONNECTED, SessionContext
from tcpmesh.extensions.filters.network.tcp_proxy.session import Session
from tcpmesh.net.timeout_queues import TimeoutQueue
from tcpmesh.values.response_flags import ResponseFlag
from tcpmesh.values.stream.filter_state import NO_FILTER_STATE
from tcpmesh.values.stream.moved import MOST_ON_THE_WAY, NOT_YET, TOO_MUCH, MovedConnection
from tcpmesh.values.stream.stream_info import NO_METADATA, UpstreamInfo


def why_stays(session: Session, network: Any) -> str:
    """Why a client cannot leave now; empty where it can."""
    info, cluster, relay = session.stream_info, session.cluster, session.relay
    served: Any = session._context.find_cluster(cluster.info.name) if cluster else None
    if session._state is not CONNECTED:
        return NOT_YET
    if info.filter_state is not NO_FILTER_STATE or info.metadata is not NO_METADATA:
        return "filters have left something with it"
    if cluster.pools is not None:
        return "its cluster makes connections in advance"
    if cluster.dialer.wraps:
        return "a transport socket wraps its connection to the host"
    if served is not cluster:
        return "its cluster was replaced or removed"
    if cluster.host_at(session._host.address) is not session._host:
        return "its host is none of its cluster any more"
    if not moving.can_leave(relay, network):
        return "it is being closed, or a side of it is no connection of the system's"
    if relay.from_downstream.buffered + relay.from_upstream.buffered > MOST_ON_THE_WAY:
        return TOO_MUCH
    return ""


def leave(session: Session, network: Any) -> tuple[MovedConnection, tuple[int, int]]:
    """Let a client go of which `why_stays` says nothing."""
    session.flush_counters()
    info, host, cluster = session.stream_info, session._host, session.cluster
    upstream, now = info.upstream, session._context.clock.seconds()
    relay, descriptors = moving.leave(session.relay, network)
    moved = MovedConnection(
        listener=info.listener.name,
        filter_chain=info.listener.filter_chain_name,
        cluster=cluster.info.name,
        asked_cluster=upstream.cluster.name,
        host=host.address,
        relay=relay,
        id=info.id,
        age=now - info.started,
        connecting_since=now - (upstream.connect_began or now),
        connected_since=now - (upstream.connect_ended or now),
        expires_in=_left(session._expiry, session, now),
        counted=info.bytes,
        server_name=info.hello.server_name,
        application_protocols=info.hello.application_protocols,
        transport_protocol=info.hello.transport_protocol,
        ja3=info.hello.ja3,
        ja4=info.hello.ja4,
        restored_remote=info.restored_remote,
        restored_local=info.restored_local,
        flags=int(info.flags),
        left=now,
    )
    host.sessions.discard(session)
    _count(session, -1)
    session._end()
    session.connection.leave()
    return moved, descriptors


def takes(context: SessionContext, moved: MovedConnection) -> str:
    """Why a client of another process cannot go on here; empty where it can."""
    if context.tunnelling is not None:
        return "clients go through a proxy here"
    cluster: Any = context.find_cluster(moved.cluster)
    if cluster is None:
        return f"there is no cluster {moved.cluster}"
    if cluster.pools is not None or cluster.dialer.wraps:
        return f"cluster {moved.cluster} connects otherwise"
    if cluster.host_at(moved.host) is None:
        return f"cluster {moved.cluster} has no host {moved.host}"
    return ""


def arrive(session: Session, moved: MovedConnection, upstream: Any) -> None:
    """Let a new session go on with what another process had, and `takes` says nothing of."""
    context, info = session._context, session.stream_info
    cluster: Any = context.find_cluster(moved.cluster)
    asked: Any = context.find_cluster(moved.asked_cluster) or cluster
    host, now = cluster.host_at(moved.host), context.clock.seconds()
    session.cluster, session._host, session._state = cluster, host, CONNECTED
    info.upstream = UpstreamInfo(asked.info)
    info.upstream.attempted = (host.spec,)
    info.upstream.connect_began = now - moved.connecting_since
    info.upstream.connect_ended = now - moved.connected_since
    info.upstream.addresses = upstream
    info.flags = ResponseFlag(moved.flags)
    info.bytes = moved.counted
    if cluster.close_on_failure:
        host.sessions.add(session)
    if not cluster.is_used:
        cluster.first_used()
    _count(session, 1)
    upstream.high_watermark = cluster.buffer_limit
    moving.arrive(session.relay, upstream, moved.relay)
    if info.listener.wants_upstream:
        session._keep_facts(info.listener.wanted)
    if context.logs is not None:
        context.logs.arrived(session)
    _watch(session, moved)


def _watch(session: Session, moved: MovedConnection) -> None:
    """Its timers go on."""
    context = session._context
    queue = context.idle_queue
    if queue is not None:
        session.relay.watch_idle(queue)
    if moved.expires_in is not None and context.settings.max_duration is not None:
        session._expiry = context.clock.callLater(max(0.0, moved.expires_in), session.expired)


def _count(session: Session, change: int) -> None:
    """It is open here, or no more."""
    host, cluster = session._host, session.cluster
    stats, breakers = cluster.stats, cluster.breakers
    host.cx_active += change
    host.rq_active += change
    breakers.connections.own += change
    breakers.requests.own += change
    stats.cx_active.add(change)
    stats.rq_active.add(change)


def _left(expiry: Any, session: Session, now: float) -> float | None:
    """Seconds that a session may still live."""
    if expiry is None:
        return None
    if isinstance(expiry, TimeoutQueue):
        return expiry.due(session) - now
    call: IDelayedCall = expiry
    return call.getTime() - now
