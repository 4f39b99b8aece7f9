"""How much traffic there is, and what is connected to what: as workers tell main, for people."""

from __future__ import annotations

from typing import NamedTuple

from tcpmesh.facts import dataclass

MOST_FLOWS = 2000
"""Flows that are told apart; of more than that, those of a cluster are one, whatever the host."""


class Flow(NamedTuple):
    """Where connections lead from and to.  Empty is what they have not come to yet."""

    listener: str
    filter_chain: str
    cluster: str
    host: str


class Sample(NamedTuple):
    """How much there was up to a moment."""

    when: float
    """Seconds since 1970."""

    open: int
    """Connections of clients at that moment."""

    accepted: int
    """... since the start."""

    received: int
    """Bytes from clients, that were relayed, since the start."""

    sent: int
    """... to clients."""


@dataclass(frozen=True)
class Traffic:
    """All of it at a moment."""

    sample: Sample
    flows: dict[Flow, int]
    """How many connections each has."""


# From main to a worker


@dataclass(frozen=True)
class AskTraffic:
    """How much is there?"""


# From a worker to main


@dataclass(frozen=True)
class FlowCounts:
    """Some of the flows, each with how many connections it has."""

    worker: int
    flows: tuple[tuple[str, str, str, str, int], ...]


@dataclass(frozen=True)
class TrafficTold:
    """All flows were told, and this is how much there was since the worker has begun."""

    worker: int
    open: int
    accepted: int
    received: int
    sent: int
    spent: float
    """Seconds that it took the worker to find out."""
