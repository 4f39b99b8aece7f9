"""How many clients are accepted, and which are not for want of resources.

The runtime value `envoy.resource_limits.listener.<name>.connection_limit` is for one listener, in
all workers together.  The limit for all listeners, but for those that `ignore_global_conn_limit`,
is that of the overload manager (`downstream_connections`), or else the runtime value
`overload.global_downstream_max_connections`, which is there for old configurations.  A client too
many is closed as soon as it is accepted.  Clients count from then on, so also while listener
filters look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tcpmesh.listener.stats import ListenerStats
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.overload import LoadShedPoint, Overload

LISTENER_PREFIX = "envoy.resource_limits.listener."
GLOBAL_KEY = "overload.global_downstream_max_connections"

NO_LIMIT = (1 << 64) - 1


class AcceptLimit(NamedTuple):
    """The limits for the clients of one listener."""

    own: int
    of_all: int
    clients: Callable[[], int]
    """Tells how many clients the listener has."""

    clients_of_all: Callable[[], int]
    """The same of all listeners."""

    stats: ListenerStats
    turned_away: Any
    """A counter of the overload manager's for those that are too many for all listeners; `None`
    where that is not its limit.
    """

    sheds: tuple[LoadShedPoint, ...] = ()
    """By chance clients are turned away here, whatever room there is."""

    def admits(self) -> bool:
        """Whether there is room for a client more; where there is none, that is counted."""
        if self.of_all != NO_LIMIT and self.clients_of_all() >= self.of_all:
            self.stats.global_overflow.tally += 1
            if self.turned_away is not None:
                self.turned_away.tally += 1
            return False
        if any(point.sheds() for point in self.sheds):
            self.stats.overload_reject.tally += 1
            return False
        if self.own != NO_LIMIT and self.clients() >= self.own:
            self.stats.overflow.tally += 1
            return False
        return True


def limits_of(message: Any, runtime: Runtime, overload: Overload) -> tuple[int, int]:
    """The limit of a `listener.v3.Listener`, and that of all listeners, for it."""
    own = runtime.integer(f"{LISTENER_PREFIX}{message.name}.connection_limit", NO_LIMIT)
    if not counts_for_all(message, overload):
        return own, NO_LIMIT
    most = overload.settings.most_connections
    return own, runtime.integer(GLOBAL_KEY, NO_LIMIT) if most is None else most


def counts_for_all(message: Any, overload: Overload) -> bool:
    """Whether the limit of all listeners holds for a listener.  Where it is the overload manager's,
    clients of others do not count against it either.
    """
    is_exempt = message.ignore_global_conn_limit
    if overload.settings.most_connections is not None:
        is_exempt = is_exempt or message.bypass_overload_manager
    return not is_exempt
