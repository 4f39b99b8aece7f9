"""Why a connection ended: who ended it, in which phase, and by what.

Envoy says parts of this in four places (response flags, termination details, local close reasons,
failure reasons), and of many ends nothing.  A `CloseReason` is complete, a value, and the same for
logs, pages and the hand-over.
"""

from __future__ import annotations

from enum import Enum

from tcpmesh.facts import dataclass
from tcpmesh.values.stream.phase import HALF_CLOSED, RELAYING, Phase


class EndedBy(Enum):
    """Who ended a connection."""

    DOWNSTREAM = "downstream"
    """The client."""

    UPSTREAM = "upstream"
    """The host."""

    PROXY = "proxy"
    """This side: a timer, a filter, or for want of something."""


class Cause(Enum):
    """By what a connection ended."""

    END_OF_STREAM = "end of stream"
    """The peer has sent all it will; of a relayed connection, it was the first to."""

    RESET = "reset"
    """The peer has reset the connection."""

    LISTENER_FILTER = "rejected by a listener filter"
    LISTENER_FILTER_TIMEOUT = "listener_filters_timeout"
    HANDSHAKE_FAILED = "the handshake failed"
    HANDSHAKE_TIMEOUT = "transport_socket_connect_timeout"
    NO_FILTER_CHAIN = "no filter chain matches"
    NO_FILTERS = "the filter chain has no filters"
    CHAIN_REMOVED = "the filter chain was removed"
    LISTENER_REMOVED = "the listener was replaced or removed"
    DRAINED = "the listener drains"
    FILTER = "closed by a filter"
    SERVED = "served by a filter without an upstream"

    NO_CLUSTER = "no such cluster"
    NO_HOST = "no host to choose"
    OVERFLOW = "a circuit breaker is open"
    OVERLOAD = "shed by the overload manager"
    CONNECT_FAILED = "the connection attempt failed"
    CONNECT_TIMEOUT = "connect_timeout"

    IDLE_TIMEOUT = "idle_timeout"
    FLUSH_TIMEOUT = "no byte taken while flushing"
    MAX_DURATION = "max_downstream_connection_duration"
    HOST_UNHEALTHY = "the host is unhealthy"
    OPERATOR = "closed by an operator"
    STOPPED = "the proxy ends"


@dataclass(frozen=True)
class CloseReason:
    """Why a connection ended.

    `by` is who ended it, `phase` the phase it was in then.  `detail` is what there is to say beyond
    `cause`: the words of a filter, or of the system about `errno`.
    """

    by: EndedBy
    phase: Phase
    cause: Cause
    errno: int | None = None
    detail: str = ""


# Nearly all connections end by one of these, so they are made once.
CLIENT_DONE = CloseReason(EndedBy.DOWNSTREAM, RELAYING, Cause.END_OF_STREAM)
HOST_DONE = CloseReason(EndedBy.UPSTREAM, RELAYING, Cause.END_OF_STREAM)
RESETS = {
    (by is EndedBy.DOWNSTREAM, phase): CloseReason(by, phase, Cause.RESET)
    for by in (EndedBy.DOWNSTREAM, EndedBy.UPSTREAM)
    for phase in (RELAYING, HALF_CLOSED)
}
"""Those of relayed connections, by whether it was the client who reset it, and the phase."""
