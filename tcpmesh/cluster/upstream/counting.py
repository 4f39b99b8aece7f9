"""What an upstream connection moves in the statistics of its cluster and its host, whoever makes
it, and what a session holds.

A connection that one client makes for itself, as nearly all are, moves all of it in three steps:
`dialled`, `connected`, `ended`.  Each of them does in one call what takes two or three of the
others, which are for connections that are made, wait and serve at different times.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.error import ConnectBindError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.python.failure import Failure

from tcpmesh.cluster.hosts.host import Host
from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.net.sockets import is_exhausted
from tcpmesh.values.response_flags import NO_FLAGS, ResponseFlag
from tcpmesh.values.socket_options import OptionError
from tcpmesh.values.stream.relay_state import OPEN


class Held(NamedTuple):
    """Bytes that a session holds, as Envoy's gauges have them: of a peer that has sent all, none
    are read any more.
    """

    read_of_client: int
    for_upstream: int
    read_of_upstream: int
    for_client: int


def held(relay: Relay) -> Held:
    """What the two directions of a relay hold at this moment."""
    down, up, early = relay.from_downstream, relay.from_upstream, relay.early
    to_upstream, to_client = down.buffered, up.buffered
    read = to_upstream
    if early is not None:
        read = 0 if early.eof else len(early.data)
    return Held(
        read if down.state is OPEN else 0,
        to_upstream,
        to_client if up.state is OPEN else 0,
        to_client,
    )


def count_pauses(direction: Direction, stats: Any) -> None:
    """Add to the statistics of its source how often a direction was paused and resumed since the
    last call.
    """
    stats.flow_control_paused.tally += direction.pauses
    stats.flow_control_resumed.tally += direction.resumes
    direction.pauses = direction.resumes = 0


def dialled(host: Host) -> None:
    """A client makes a connection for itself, and waits for it."""
    host.cx_total += 1
    host.cx_active += 1
    host.rq_pending_active += 1
    cluster = host.cluster
    if not cluster.is_used:
        cluster.first_used()
    breakers, stats = cluster.breakers, cluster.stats
    breakers.connections.own += 1
    breakers.pending.own += 1
    stats.cx_total.tally += 1
    stats.cx_active.raised += 1
    stats.rq_pending_total.tally += 1
    stats.rq_pending_active.raised += 1


def connected(host: Host, seconds: float) -> None:
    """It has its connection, after so long, which is a request in Envoy's terms."""
    host.rq_pending_active -= 1
    host.rq_total += 1
    host.rq_active += 1
    cluster = host.cluster
    breakers, stats = cluster.breakers, cluster.stats
    breakers.pending.own -= 1
    breakers.requests.own += 1
    stats.cx_connect_ms.record(int(seconds * 1000))
    stats.rq_pending_active.lowered += 1
    stats.rq_total.tally += 1
    stats.rq_active.raised += 1
    if host.outlier is not None:
        host.outlier.connect_succeeded()


def ended(host: Host, seconds: float, remote: bool) -> None:
    """The connection of a client is over, whoever made it, `seconds` after it was begun.

    :param remote: whether that was the host's doing.
    """
    host.cx_active -= 1
    host.rq_active -= 1
    cluster = host.cluster
    breakers, stats = cluster.breakers, cluster.stats
    breakers.connections.own -= 1
    breakers.requests.own -= 1
    stats.cx_active.lowered += 1
    stats.rq_active.lowered += 1
    stats.cx_destroy.tally += 1
    stats.cx_destroy_with_active_rq.tally += 1
    if remote:
        stats.cx_destroy_remote.tally += 1
        stats.cx_destroy_remote_with_active_rq.tally += 1
    else:
        stats.cx_destroy_local.tally += 1
        stats.cx_destroy_local_with_active_rq.tally += 1
    stats.cx_length_ms.record(int(seconds * 1000))


def opened(host: Host) -> None:
    """A connection is being made."""
    host.cx_total += 1
    host.cx_active += 1
    cluster = host.cluster
    if not cluster.is_used:
        cluster.first_used()
    cluster.breakers.connections.own += 1
    stats = cluster.stats
    stats.cx_total.tally += 1
    stats.cx_active.raised += 1


def closed(host: Host, seconds: float, remote: bool, active: bool) -> None:
    """A connection is over, whether it was in use (active) or not, or was only tried; `seconds`
    after it was begun.
    """
    host.cx_active -= 1
    cluster = host.cluster
    cluster.breakers.connections.own -= 1
    stats = cluster.stats
    stats.cx_active.lowered += 1
    stats.destroyed(remote, active)
    stats.cx_length_ms.record(int(seconds * 1000))


def waits(host: Host, change: int) -> None:
    """So many more clients wait for a connection, or so many fewer."""
    host.rq_pending_active += change
    host.cluster.breakers.pending.own += change
    host.cluster.stats.rq_pending_active.add(change)


def begins(host: Host) -> None:
    """A connection has a client: one active request, in Envoy's terms."""
    stats = host.cluster.stats
    host.rq_total += 1
    host.rq_active += 1
    host.cluster.breakers.requests.own += 1
    stats.rq_total.tally += 1
    stats.rq_active.raised += 1


def over(host: Host) -> None:
    """Such a one is over."""
    host.rq_active -= 1
    host.cluster.breakers.requests.own -= 1
    host.cluster.stats.rq_active.lowered += 1


def responded(stats: Any, status: int) -> None:
    """A request of the proxy's own has come to this; so `internal` has it too."""
    for prefix in ("upstream_rq", "internal.upstream_rq"):
        for name in (f"_{status}", f"_{status // 100}xx", "_completed"):
            stats.scope.counter(f"{prefix}{name}").tally += 1


def failed(host: Host, reason: Failure) -> tuple[ResponseFlag, bool]:
    """An attempt came to nothing, and outlier detection is told.  Where that is for lack of
    descriptors or memory here, it is no failure of the host, and not counted as one.

    :return: the flag that its client gets, and whether it was the host that ended the attempt.
    """
    stats, outlier = host.cluster.stats, host.outlier
    if is_exhausted(reason):
        return ResponseFlag.UF, False
    stats.cx_connect_fail.tally += 1
    host.cx_connect_fail += 1
    if reason.check(ConnectBindError):
        stats.bind_errors.tally += 1
        return NO_FLAGS, False
    if reason.check(ConnectTimeout):
        stats.cx_connect_timeout.tally += 1
        if outlier is not None:
            outlier.connect_failed()
        return ResponseFlag.UF, False
    ours = reason.check(OptionError) is not None
    if outlier is not None and not ours:
        outlier.connect_failed()
    return ResponseFlag.UF, not ours
