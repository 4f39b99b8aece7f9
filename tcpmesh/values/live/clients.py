"""Which clients have most connections, as limits of each client know it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

from tcpmesh.facts import dataclass


@dataclass(frozen=True, slots=True)
class ClientRow:
    """One client, as a limit sees it."""

    limit: str
    """The name of the limit: the `stat_prefix` of its filter, or its `share_key`."""

    client: str
    """Its address, prefix or server name."""

    active: int
    """Connections at this moment."""

    waiting: int
    """Those that wait to be let in."""

    total: int
    """Connections let in for as long as it is known."""

    limited: int
    """Connections that were too many, likewise."""

    @property
    def rank(self) -> tuple[int, int, int, int]:
        """Who has more of it comes first."""
        return self.active, self.waiting, self.limited, self.total

    def plus(self, other: ClientRow) -> ClientRow:
        """The client as two workers know it together."""
        return replace(
            self,
            active=self.active + other.active,
            waiting=self.waiting + other.waiting,
            total=self.total + other.total,
            limited=self.limited + other.limited,
        )


@dataclass(frozen=True)
class ClientQuery:
    """Which clients somebody wants to see; those with most connections come first."""

    limit: str = ""
    """Those of one limit alone; empty for all."""

    client: str = ""
    """Only those that have this in their name."""

    rows: int = 100


@dataclass(frozen=True)
class AskTopClients:
    """Main to a worker: which clients have most?"""

    ask: int
    query: ClientQuery


@dataclass(frozen=True)
class TopClientRows:
    """A worker to main: some of them, in any order."""

    ask: int
    worker: int
    rows: tuple[ClientRow, ...] = ()
    known: int = 0
    """With the last ones: how many clients are known."""

    is_last: bool = False


@dataclass(frozen=True)
class TopClients:
    """Those of all workers, in order."""

    rows: tuple[ClientRow, ...]
    known: int
    """Clients that are known; one that several workers know counts for each."""


class KnowsClients(Protocol):
    """A limit, as others may ask it."""

    name: str

    def clients(self) -> Iterator[ClientRow | None]:
        """All clients that it knows; `None` now and then, where others may have a turn."""


class Limits:
    """The limits of one worker."""

    def __init__(self) -> None:
        self._all: dict[KnowsClients, None] = {}

    def add(self, limit: KnowsClients) -> None:
        """There is one more."""
        self._all[limit] = None

    def remove(self, limit: KnowsClients) -> None:
        """It is no more."""
        self._all.pop(limit, None)

    def all(self) -> list[KnowsClients]:
        """Those that there are now."""
        return list(self._all)
