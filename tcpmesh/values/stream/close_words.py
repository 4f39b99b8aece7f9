"""Why a connection ended, in words: what `%TCPMESH(close_reason)%` and the log of the process say.

The facts are those of its `StreamInfo`, a `CloseReason` above all.  These are all the words there
are; docs/access-logs.md has the table that `REASONS` makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import ECONNREFUSED, ETIMEDOUT

from tcpmesh.facts import dataclass
from tcpmesh.values.stream.close_reason import Cause, CloseReason, EndedBy
from tcpmesh.values.stream.phase import Phase
from tcpmesh.values.stream.stream_info import StreamInfo

IDLE_FROM = 0.1
"""Seconds without a byte from which on they are worth a word."""

_WHILE = {
    Phase.ACCEPTING: " before anybody looked at it",
    Phase.PEEKING: " before the listener filters had seen enough",
    Phase.FILTERING: " while filters had it",
    Phase.HALF_CLOSED: " after one side had sent all",
    Phase.FLUSHING: " while it was closed",
}

_ORDINALS = {1: "st", 2: "nd", 3: "rd"}

Words = Callable[[CloseReason, StreamInfo], str]


@dataclass(frozen=True)
class Explained:
    """One cause: what makes the words, and for the documentation what they look like, and when that
    is.
    """

    words: Words
    example: str
    meaning: str


def close_reason_text(info: StreamInfo) -> str | None:
    """Why a connection ended, in one line; `None` of one that has not ended, and is not about
    to.
    """
    reason = info.close_reason
    if reason is None:
        return None
    return " ".join(REASONS[reason.cause].words(reason, info).split())


def _host(info: StreamInfo) -> str:
    host = info.upstream.host
    return str(host.address) if host is not None else "its upstream"


def _idle(info: StreamInfo) -> str:
    idle = info.idle_for
    return f" after {idle:.1f} s idle" if idle is not None and idle >= IDLE_FROM else ""


def _who(reason: CloseReason, info: StreamInfo, did: str) -> str:
    """A side that has done something, and when."""
    who = f"upstream {_host(info)}" if reason.by is EndedBy.UPSTREAM else "client"
    if reason.phase is Phase.CONNECTING:
        attempted = info.upstream.attempted
        when = f" while connecting to {attempted[-1].address}" if attempted else " too early"
    else:
        when = _WHILE.get(reason.phase, "")
    return f"{who} {did}{when}{_idle(info)}"


def _attempts(info: StreamInfo) -> str:
    """Which attempt it was, where there may be several."""
    allowed, made = info.upstream.attempts_allowed, len(info.upstream.attempted)
    if allowed < 2:
        return ""
    ordinal = "th" if made % 100 in (11, 12, 13) else _ORDINALS.get(made % 10, "th")
    return f", {made}{ordinal} of {allowed} attempts"


def _failed_host(info: StreamInfo) -> str:
    host = info.upstream.failed_host or info.upstream.host
    return str(host.address) if host is not None else "the upstream"


def _connect_failed(reason: CloseReason, info: StreamInfo) -> str:
    errno = reason.errno
    if errno is None:
        what = f"failed: {reason.detail}" if reason.detail else "failed"
    elif errno in (ECONNREFUSED, ETIMEDOUT):
        what = "refused" if errno == ECONNREFUSED else "timed out"
        what = f"{what} (errno {errno})"
    else:
        what = f"failed: {os.strerror(errno)} (errno {errno})"
    return f"connect to {_failed_host(info)} {what}{_attempts(info)}"


def _connect_timeout(reason: CloseReason, info: StreamInfo) -> str:
    return f"connect to {_failed_host(info)} not answered within connect_timeout{_attempts(info)}"


def _unhealthy(reason: CloseReason, info: StreamInfo) -> str:
    when = " while connecting" if reason.phase is Phase.CONNECTING else ""
    host = _failed_host(info) if when else _host(info)
    return f"host {host} became unhealthy{when}"


def _filter(reason: CloseReason, info: StreamInfo) -> str:
    more = f" ({info.termination_details})" if info.termination_details else ""
    return f"closed by a filter: {reason.detail}{more}"


def _lived(reason: CloseReason, info: StreamInfo) -> str:
    lived = f" after {info.ended - info.started:.1f} s" if info.ended is not None else ""
    return f"max_downstream_connection_duration reached{lived}"


def _always(text: str) -> Words:
    return lambda reason, info: text


def _with_detail(text: str) -> Words:
    return lambda reason, info: f"{text} {reason.detail}".rstrip(" :")


REASONS: dict[Cause, Explained] = {
    Cause.END_OF_STREAM: Explained(
        lambda reason, info: _who(reason, info, "closed"),
        "client closed",
        "The side that is named was the first to send FIN.",
    ),
    Cause.RESET: Explained(
        lambda reason, info: _who(reason, info, "reset"),
        "upstream 10.0.0.3:5432 reset after 12.4 s idle",
        "The side that is named sent RST, or its host vanished; idle is the time since a byte "
        "went either way, where the kernel knows it.",
    ),
    Cause.LISTENER_FILTER: Explained(
        _always("rejected by a listener filter"),
        "rejected by a listener filter",
        "Its first bytes were not what a listener filter wants.",
    ),
    Cause.LISTENER_FILTER_TIMEOUT: Explained(
        _always("too little sent within listener_filters_timeout"),
        "too little sent within listener_filters_timeout",
        "The listener filters waited for bytes that did not come.",
    ),
    Cause.HANDSHAKE_FAILED: Explained(
        _with_detail("handshake with the client failed:"),
        "handshake with the client failed: no shared cipher",
        "Its transport socket could not agree with the client.",
    ),
    Cause.HANDSHAKE_TIMEOUT: Explained(
        _always("handshake with the client took longer than transport_socket_connect_timeout"),
        "handshake with the client took longer than transport_socket_connect_timeout",
        "The client did not finish the handshake in time.",
    ),
    Cause.NO_FILTER_CHAIN: Explained(
        _always("no filter chain matches"),
        "no filter chain matches",
        "No filter_chain_match fits, and there is no default_filter_chain.",
    ),
    Cause.NO_FILTERS: Explained(
        _always("the filter chain has no filters"),
        "the filter chain has no filters",
        "There is nobody who would serve the client.",
    ),
    Cause.CHAIN_REMOVED: Explained(
        _always("its filter chain was removed"),
        "its filter chain was removed",
        "An update has left its filter chain out, or changed it, and the drain time is over.",
    ),
    Cause.LISTENER_REMOVED: Explained(
        _always("its listener was replaced or removed"),
        "its listener was replaced or removed",
        "An update has changed its listener, or left it out, and the drain time is over.",
    ),
    Cause.DRAINED: Explained(
        _always("its listener drains"),
        "its listener drains",
        "With check_drain_close, a drain closes connections when they carry bytes.",
    ),
    Cause.FILTER: Explained(
        _filter,
        "closed by a filter: over_connection_limit",
        "A network filter denied the connection, in its own words.",
    ),
    Cause.SERVED: Explained(
        _always("answered without an upstream"),
        "answered without an upstream",
        "A filter such as direct_response has answered, and that was all.",
    ),
    Cause.NO_CLUSTER: Explained(
        _with_detail("no cluster"),
        "no cluster db",
        "The route names a cluster that does not exist.",
    ),
    Cause.NO_HOST: Explained(
        _with_detail("no host:"),
        "no host: all 3 of cluster db are unhealthy (panic off)",
        "The load balancer has no host to choose.",
    ),
    Cause.OVERFLOW: Explained(
        lambda reason, info: (
            f"circuit breaker of cluster {info.upstream.cluster.name} is open: {reason.detail}"
        ),
        "circuit breaker of cluster db is open: max_connections",
        "As many as the named limit allows are there.",
    ),
    Cause.OVERLOAD: Explained(
        _with_detail("shed by the overload manager:"),
        "shed by the overload manager: tcp_proxy_on_data",
        "A resource runs short; the load shed point that is named has turned it away.",
    ),
    Cause.CONNECT_FAILED: Explained(
        _connect_failed,
        "connect to 10.0.0.3:5432 refused (errno 111), 2nd of 2 attempts",
        "The last attempt that was allowed failed.",
    ),
    Cause.CONNECT_TIMEOUT: Explained(
        _connect_timeout,
        "connect to 10.0.0.3:5432 not answered within connect_timeout, 2nd of 2 attempts",
        "The last attempt that was allowed took too long.",
    ),
    Cause.IDLE_TIMEOUT: Explained(
        _with_detail("idle for idle_timeout:"),
        "idle for idle_timeout: 3600 s",
        "No byte went either way for so long.",
    ),
    Cause.FLUSH_TIMEOUT: Explained(
        _always("no byte taken while it was flushed"),
        "no byte taken while it was flushed",
        "One side was gone, and the other took nothing of what was for it.",
    ),
    Cause.MAX_DURATION: Explained(
        _lived,
        "max_downstream_connection_duration reached after 60.0 s",
        "It has lived for as long as it may.",
    ),
    Cause.HOST_UNHEALTHY: Explained(
        _unhealthy,
        "host 10.0.0.3:5432 became unhealthy",
        "The cluster has close_connections_on_host_health_failure.",
    ),
    Cause.OPERATOR: Explained(
        _with_detail("closed by an operator"),
        "closed by an operator",
        "Somebody has asked for it at the admin interface; `to rebalance`, also to move clients to "
        "other hosts.",
    ),
    Cause.STOPPED: Explained(
        _always("the proxy ended"),
        "the proxy ended",
        "The process was told to end.",
    ),
}
"""All causes, each with its words."""
