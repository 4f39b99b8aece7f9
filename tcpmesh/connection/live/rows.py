"""One connection as it is seen at this moment: each field of a `ConnectionRow` by itself, because
who sorts a hundred thousand connections by their age need not ask the kernel for the round-trip
times of all of them.

Nothing is kept for this while nobody looks: what is there anyway is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.connection.connection import Connection
from tcpmesh.connection.early_data import EarlyData
from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.values.stream.close_words import close_reason_text
from tcpmesh.values.stream.live import CONNECTION_FIELDS, CloseRow, ConnectionRow
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.tcp_facts import TcpFacts

Rates = tuple[float, float, float]
"""Bytes in a second from the client and to it, and over how many seconds."""

_NOT_ASKED = object()


def relay_of(connection: Connection) -> Relay | None:
    """The relay of a connection that has one."""
    protocol = getattr(connection.read_source, "protocol", None)
    relay: Relay | None = None
    if isinstance(protocol, (Direction, EarlyData)):
        relay = protocol.relay
    return relay


def moved(connection: Connection) -> tuple[int, int, int, int]:
    """Bytes from the client, to the host, from the host, to the client, so far."""
    relay = relay_of(connection)
    return connection.stream_info.bytes if relay is None else relay.moved()


class Look:
    """A connection that is being looked at.

    :param now: the time of the network's clock.
    :param worker: the number of the worker.
    :param rates: tells its rates, when they are asked for.
    """

    __slots__ = ("_moved", "_relay", "_tcp", "connection", "info", "now", "rates", "worker")

    def __init__(
        self, connection: Connection, now: float, worker: int, rates: Callable[[Look], Rates]
    ) -> None:
        self.connection = connection
        self.info: StreamInfo = connection.stream_info
        self.now = now
        self.worker = worker
        self.rates = rates
        self._relay: Any = _NOT_ASKED
        self._moved: tuple[int, int, int, int] | None = None
        self._tcp: tuple[TcpFacts | None, TcpFacts | None] | None = None

    @property
    def relay(self) -> Relay | None:
        """Its relay, if it has one."""
        if self._relay is _NOT_ASKED:
            self._relay = relay_of(self.connection)
        relay: Relay | None = self._relay
        return relay

    @property
    def moved(self) -> tuple[int, int, int, int]:
        """Bytes so far, as `moved`."""
        if self._moved is None:
            self._moved = moved(self.connection)
        return self._moved

    @property
    def tcp(self) -> tuple[TcpFacts | None, TcpFacts | None]:
        """What the kernel knows of both sides: a system call each."""
        if self._tcp is None:
            upstream: Any = self.info.upstream.addresses
            self._tcp = (
                self.connection.transport.tcp_facts(),
                upstream.tcp_facts() if upstream is not None else None,
            )
        return self._tcp

    def row(self) -> ConnectionRow:
        """All fields."""
        return ConnectionRow(*[read(self) for read in READERS.values()])


def _idle(look: Look) -> float | None:
    return min((facts.quiet for facts in look.tcp if facts is not None), default=None)


def _rtt(side: int) -> Callable[[Look], int | None]:
    return lambda look: facts.rtt if (facts := look.tcp[side]) is not None else None


def _retransmits(side: int) -> Callable[[Look], int | None]:
    return lambda look: facts.retransmits if (facts := look.tcp[side]) is not None else None


def _moved(place: int) -> Callable[[Look], int]:
    return lambda look: look.moved[place]


def _buffered(look: Look) -> int:
    relay = look.relay
    side = look.connection.transport if relay is None else relay.from_upstream
    return int(side.buffered)


def _upstream_buffered(look: Look) -> int:
    relay = look.relay
    if relay is None:
        return 0
    return len(relay.early.data) if relay.early is not None else relay.from_downstream.buffered


def _host(info: StreamInfo) -> str:
    """The host that is connected to, or that is being tried."""
    attempted = info.upstream.attempted
    return str(attempted[-1].address) if attempted else ""


def _sni(info: StreamInfo) -> str:
    return info.hello.server_name or info.tls.server_name


READERS: dict[str, Callable[[Look], Any]] = {
    "id": lambda look: look.info.id,
    "worker": lambda look: look.worker,
    "client": lambda look: str(look.info.remote_address),
    "local": lambda look: str(look.info.local_address),
    "sni": lambda look: _sni(look.info),
    "listener": lambda look: look.info.listener.name,
    "filter_chain": lambda look: look.info.listener.filter_chain_name,
    "cluster": lambda look: look.info.upstream.cluster.name,
    "host": lambda look: _host(look.info),
    "phase": lambda look: look.info.phase.value,
    "age": lambda look: max(0.0, look.now - look.info.started),
    "idle": _idle,
    "received": _moved(0),
    "sent": _moved(3),
    "upstream_sent": _moved(1),
    "upstream_received": _moved(2),
    "received_rate": lambda look: look.rates(look)[0],
    "sent_rate": lambda look: look.rates(look)[1],
    "rate_over": lambda look: look.rates(look)[2],
    "rtt": _rtt(0),
    "retransmits": _retransmits(0),
    "upstream_rtt": _rtt(1),
    "upstream_retransmits": _retransmits(1),
    "buffered": _buffered,
    "upstream_buffered": _upstream_buffered,
}
"""What reads each field, in their order."""

assert list(READERS) == list(CONNECTION_FIELDS)


def close_row(info: StreamInfo, worker: int, wall_offset: float) -> CloseRow:
    """A connection that has ended.

    :param wall_offset: what to add to a time of the network's clock for seconds since 1970.
    """
    ended = info.ended if info.ended is not None else info.started
    reason = info.close_reason
    host = info.upstream.host
    return CloseRow(
        id=info.id,
        worker=worker,
        when=ended + wall_offset,
        client=str(info.remote_address),
        sni=_sni(info),
        listener=info.listener.name,
        filter_chain=info.listener.filter_chain_name,
        cluster=info.upstream.cluster.name,
        host=str(host.address) if host is not None else "",
        duration=max(0.0, ended - info.started),
        received=info.bytes[0],
        sent=info.bytes[3],
        flags=str(info.flags),
        reason=close_reason_text(info) or "",
        by=reason.by.value if reason is not None else "",
    )
