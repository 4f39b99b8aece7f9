"""Limits of how many clients are accepted: runtime values that Envoy has no field for.

`envoy.resource_limits.listener.<name>.connection_limit` is for one listener, in all workers
together, and `overload.global_downstream_max_connections` for all listeners, but for those that
`ignore_global_conn_limit`.  A client too many is closed as soon as it is accepted.  Clients count
from then on, so also while listener filters look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tcpmesh.listener.stats import ListenerStats
from tcpmesh.runtime.runtime import Runtime

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

    def admits(self) -> bool:
        """Whether there is room for a client more; where there is none, that is counted."""
        if self.of_all != NO_LIMIT and self.clients_of_all() >= self.of_all:
            self.stats.global_overflow.tally += 1
            return False
        if self.own != NO_LIMIT and self.clients() >= self.own:
            self.stats.overflow.tally += 1
            return False
        return True


def limits_of(name: str, is_exempt: bool, runtime: Runtime) -> tuple[int, int] | None:
    """The limit of a listener of this name, and that of all listeners; `None` where there is
    neither.

    :param is_exempt: from the limit of all (`ignore_global_conn_limit`).
    """
    own = runtime.integer(f"{LISTENER_PREFIX}{name}.connection_limit", NO_LIMIT)
    of_all = NO_LIMIT if is_exempt else runtime.integer(GLOBAL_KEY, NO_LIMIT)
    return None if own == of_all == NO_LIMIT else (own, of_all)
