"""What all sessions of one tcp_proxy have in common, as they see it.

The filter is an extension and may know of sessions; sessions, which are below it, know only this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tcpmesh.connection.connection import Connection
from tcpmesh.registry import WorkerContext

IDLE_TIMEOUT = 3600.0
"""Seconds: `idle_timeout` where nothing is said, and the longest that a side may flush where there
is no idle timeout.
"""

Route = tuple[str, "Mapping[str, Any] | None"]
"""The name of a cluster, and the criteria that its hosts' metadata is to match."""


class Proxy(Protocol):
    """The filter that makes sessions."""

    context: WorkerContext
    stats: Any
    """Statistics under `tcp.<stat_prefix>.`."""

    hash_of: Callable[[Connection], int | None] | None
    """What consistent hashing goes by, as a 64-bit number."""

    max_attempts: int
    backoff: Any
    """Its `pause(failures)` tells the seconds before another attempt; `None` where that is made at
    once.
    """

    early_limit: int | None
    """Bytes the client may send before the upstream is connected; `None` where it is not read until
    then.
    """

    waits_for_data: bool
    """Whether nothing is looked up before the client has sent something."""

    max_duration: float | None
    duration_jitter: float
    """By how much the maximum duration may be exceeded at random: 1.0 is twice as long."""

    def route(self, connection: Connection) -> Route:
        """Where the next attempt for a client goes."""

    def idle_for(self, connection: Connection) -> float | None:
        """Seconds without a byte after which a client is closed; `None` for no limit."""

    def forget(self, session: Any) -> None:
        """The session is over."""
