"""All messages of both ways: those of `tcpmesh.values`, and that of a worker's numbers, which is
made of statistics and so stands above the others.
"""

from __future__ import annotations

from typing import TypeAlias

from tcpmesh.facts import dataclass
from tcpmesh.stats.deltas import Deltas
from tcpmesh.values.lifecycle.moving import MovingToMain, MovingToWorker
from tcpmesh.values.link import ToMain, ToWorker
from tcpmesh.values.live.clients import AskTopClients, TopClientRows
from tcpmesh.values.live.traffic import AskTraffic, FlowCounts, TrafficTold
from tcpmesh.values.stream.live import (
    AskCloses,
    AskConnections,
    CloseConnections,
    CloseRows,
    ConnectionRows,
    ConnectionsClosed,
)


@dataclass(frozen=True)
class Numbers:
    """What a worker has counted since it was last asked."""

    worker: int
    connections: int
    """Clients at this moment."""

    deltas: Deltas | None = None
    """What has happened in its store; `None` where main has the same one."""

    is_last: bool = True
    """Whether there are no more parts of these."""


MainMessage: TypeAlias = (
    ToMain
    | MovingToMain
    | Numbers
    | ConnectionRows
    | CloseRows
    | ConnectionsClosed
    | FlowCounts
    | TrafficTold
    | TopClientRows
)
"""All that a worker may tell main."""

WorkerMessage: TypeAlias = (
    ToWorker
    | MovingToWorker
    | AskConnections
    | AskCloses
    | CloseConnections
    | AskTraffic
    | AskTopClients
)
"""All that main may tell a worker."""
