"""What main and a worker tell each other while clients go to the process that has taken over, or
come from the one before (`tcpmesh.server.handover`).

A client on its way is a few bytes that only workers read (`state`), and two descriptors beside the
message, the client's and the host's.  These are lent for as long as the message is dealt with: who
needs them longer makes copies.
"""

from __future__ import annotations

from typing import TypeAlias

from tcpmesh.facts import dataclass

# From main to a worker of the process that clients leave


@dataclass(frozen=True)
class MoveClients:
    """Let clients leave that can, or no more."""

    is_on: bool
    reason: str = ""
    """Why no more."""


@dataclass(frozen=True)
class ClientMoved:
    """Another process has a client that has left."""

    client: int


@dataclass(frozen=True)
class ClientStays:
    """No other process takes a client that has left: go on with it."""

    client: int
    reason: str


# From a worker of that process to main


@dataclass(frozen=True)
class ClientLeaves:
    """A client is as it says, and nothing happens to it here until main says what is to be.  Both
    descriptors come with the message.
    """

    worker: int
    client: int
    """A number that the worker gives it."""

    state: bytes


@dataclass(frozen=True)
class ClientsStay:
    """All that could have left."""

    worker: int
    moved: int
    reasons: tuple[tuple[str, int], ...]
    """Why others stay, and how many."""


# From main to a worker of the process that clients come to


@dataclass(frozen=True)
class OfferClient:
    """Can this client go on here?  Both descriptors come with the message."""

    client: int
    """A number that the other process gives it."""

    state: bytes


@dataclass(frozen=True)
class TakeClient:
    """A client that was offered goes on here."""

    client: int


@dataclass(frozen=True)
class ForgetClient:
    """... goes on elsewhere."""

    client: int


# From a worker of that process to main


@dataclass(frozen=True)
class OfferAnswered:
    """What came of an offer."""

    worker: int
    client: int
    refused: str
    """Why the client cannot go on here; empty where it can, and is waited for."""


MovingToWorker: TypeAlias = (
    MoveClients | ClientMoved | ClientStays | OfferClient | TakeClient | ForgetClient
)
MovingToMain: TypeAlias = ClientLeaves | ClientsStay | OfferAnswered
