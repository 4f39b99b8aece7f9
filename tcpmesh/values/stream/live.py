"""What is shown of connections: of those that are open, at one moment, and of those that have
ended; and what main and workers tell each other about them.

A worker answers in pieces, and with no more rows than it is asked for, however many connections
there are; main puts the rows of all workers in order.
"""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import NamedTuple

from tcpmesh.facts import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A connection at one moment.  Bytes are counted since it was accepted; `None` is what is not
    known.
    """

    id: int
    worker: int
    client: str
    """The client's address: what a PROXY header says counts more than the socket."""

    local: str
    """Where the client wanted to go."""

    sni: str
    listener: str
    filter_chain: str
    cluster: str
    """Empty as long as none was asked for; so is `host` as long as none was chosen."""

    host: str
    phase: str
    """A `tcpmesh.values.stream.phase.Phase`, as text."""

    age: float
    """Seconds since it was accepted."""

    idle: float | None
    """Seconds since a byte of data came or went on either side."""

    received: int
    """Bytes read from the client."""

    sent: int
    """... that the kernel has taken for the client."""

    upstream_sent: int
    """... that the kernel has taken for the host."""

    upstream_received: int
    """... read from the host."""

    received_rate: float
    """Bytes in a second from the client, in the last `rate_over` seconds."""

    sent_rate: float
    """... to the client."""

    rate_over: float
    """Seconds that the rates are taken over: since somebody has looked before, or since it was
    accepted.
    """

    rtt: int | None
    """The kernel's round-trip time to the client, in microseconds."""

    retransmits: int | None
    """Segments sent to the client again."""

    upstream_rtt: int | None
    upstream_retransmits: int | None
    buffered: int
    """Bytes that wait to be taken by the client."""

    upstream_buffered: int
    """... by the host."""


@dataclass(frozen=True, slots=True)
class CloseRow:
    """A connection that has ended."""

    id: int
    """0 where no filter chain has had it."""

    worker: int
    when: float
    """Seconds since 1970."""

    client: str
    sni: str
    listener: str
    filter_chain: str
    cluster: str
    host: str
    duration: float
    """Seconds."""

    received: int
    sent: int
    flags: str
    """Envoy's response flags, or `-`."""

    reason: str
    """In words, as `%TCPMESH(close_reason)%`."""

    by: str
    """Who ended it: `downstream`, `upstream` or `proxy`."""


class FieldKind(Enum):
    """What can be asked of a field."""

    TEXT = "text"
    NUMBER = "number"
    ADDRESS = "address"


def field_kinds(row: type) -> dict[str, FieldKind]:
    """The fields of a row, in order."""
    return {each.name: _kind(each.name, str(each.type)) for each in fields(row)}


def _kind(name: str, annotation: str) -> FieldKind:
    if name in ("client", "local", "host"):
        return FieldKind.ADDRESS
    return FieldKind.TEXT if annotation == "str" else FieldKind.NUMBER


CONNECTION_FIELDS = field_kinds(ConnectionRow)
CLOSE_FIELDS = field_kinds(CloseRow)


class FieldFilter(NamedTuple):
    """Only rows whose field is like this: what `tcpmesh.connection.live.matching` understands."""

    field: str
    wanted: str


@dataclass(frozen=True)
class ConnectionQuery:
    """Which rows somebody wants to see."""

    filters: tuple[FieldFilter, ...] = ()
    """All of them have to fit."""

    sort: str = "id"
    descending: bool = False
    limit: int = 100


@dataclass(frozen=True)
class CloseQuery:
    """Which ends somebody wants to see; the last ones come first."""

    filters: tuple[FieldFilter, ...] = ()
    limit: int = 100


# From main to a worker


@dataclass(frozen=True)
class AskConnections:
    """Which connections are there?"""

    ask: int
    """The number of the question."""

    query: ConnectionQuery


@dataclass(frozen=True)
class AskCloses:
    """Which connections have ended?"""

    ask: int
    query: CloseQuery


@dataclass(frozen=True)
class CloseConnections:
    """Close those that fit: all of them at once, or the oldest percent gently, a few at a time."""

    ask: int
    filters: tuple[FieldFilter, ...]
    percent: int = 100
    gently: bool = False


# From a worker to main


@dataclass(frozen=True)
class ConnectionRows:
    """Some of the rows that were asked for."""

    ask: int
    worker: int
    rows: tuple[ConnectionRow, ...] = ()
    matched: int = 0
    """With the last ones: how many connections fit the filters."""

    total: int = 0
    """... how many there are."""

    is_last: bool = False


@dataclass(frozen=True)
class CloseRows:
    """Some of the rows that were asked for, the last ends first."""

    ask: int
    worker: int
    rows: tuple[CloseRow, ...] = ()
    is_last: bool = False


@dataclass(frozen=True)
class ConnectionsClosed:
    """So many are closed, or will be soon."""

    ask: int
    worker: int
    count: int


# What main tells who asks


@dataclass(frozen=True)
class Connections:
    """The rows of all workers, in order."""

    rows: tuple[ConnectionRow, ...]
    matched: int
    total: int
    silent: tuple[int, ...] = ()
    """Workers whose rows are missing, for they did not answer."""

    before: int = 0
    """How many have stayed with the processes that this one has taken over from."""

    why_before: tuple[tuple[str, int], ...] = ()
    """Why, and how many did when others moved."""
