"""Who is connected to what, now, and who was: Envoy has no such pages.

`/connections` and `/closes` tell, and `/connections/close` closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.endpoint import JSON, TEXT, Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.admin.answers.json_stream import LazyList, json_stream
from tcpmesh.admin.answers.text_table import duration, shown, size, text_table
from tcpmesh.connection.live.matching import (
    MOST_ROWS,
    ROWS,
    BadQuery,
    close_query,
    connection_query,
    filters_of,
)
from tcpmesh.values.stream.live import CloseRow, ConnectionRow, Connections
from tcpmesh.values.workers import worker_name

Result = TypeVar("Result")

_CONNECTION_TITLES = (
    *("ID", "CLIENT", "SNI", "LISTENER", "CLUSTER", "HOST", "PHASE", "AGE", "IDLE"),
    *("RECEIVED", "SENT", "RECEIVED/S", "SENT/S", "RTT", "RETRANS", "BUFFERED"),
)
_CONNECTION_NUMBERS = frozenset((0, *range(7, 16)))

_CLOSE_TITLES = (
    *("TIME", "ID", "CLIENT", "LISTENER", "CLUSTER", "HOST", "DURATION", "RECEIVED", "SENT"),
    *("FLAGS", "REASON"),
)
_CLOSE_NUMBERS = frozenset((1, 6, 7, 8))


def _asked(result: Deferred[Result]) -> Iterator[Deferred[Any] | Result]:
    """Wait for it, then have it."""
    found: list[Result] = []
    yield result.addCallback(found.append)
    yield from found


def _form(call: Call) -> str:
    form = call.parameters.get("format") or "text"
    if form not in ("text", "json"):
        raise Refusal("usage: format=(text|json)\n")
    return form


def _fields(call: Call) -> dict[str, str]:
    return {name: value for name, value in call.parameters.items() if name != "format"}


def _read(read: Callable[[], Result]) -> Result:
    try:
        return read()
    except BadQuery as e:
        raise Refusal(f"{e}\n") from None


# Those that are open


def _connections(call: Call) -> Answer:
    form, query = _form(call), _read(lambda: connection_query(_fields(call)))

    def pieces() -> Iterator[str | Deferred[Any]]:
        for piece in _asked(call.server.connections(query)):
            if isinstance(piece, Connections):
                yield from _connections_json(piece) if form == "json" else _connections_text(piece)
            else:
                yield piece

    return Answer(pieces(), content_type=JSON if form == "json" else TEXT, is_held=True)


def _connections_json(found: Connections) -> Iterator[str]:
    rows = LazyList(map(row_json, found.rows), shown_empty=True)
    told = {"connections": rows, "matched": found.matched, "total": found.total}
    if found.silent:
        told["silent"] = [worker_name(each) for each in found.silent]
    if found.before:
        told["before"] = {"total": found.before, "stayed": dict(found.why_before)}
    yield from json_stream(told)
    yield "\n"


def row_json(row: ConnectionRow | CloseRow) -> dict[str, Any]:
    """A row by the names of its fields."""
    return {name: _rounded(getattr(row, name)) for name in row.__slots__}


def _rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _connections_text(found: Connections) -> Iterator[str]:
    yield f"{len(found.rows)} of {found.matched} that fit, of {found.total} connections\n"
    for each in found.silent:
        yield f"{worker_name(each)} does not answer: its connections are missing\n"
    if found.before:
        yield f"{found.before} are with processes before this one{_why(found.why_before)}\n"
    yield "\n"
    yield from text_table(_CONNECTION_TITLES, found.rows, _connection_cells, _CONNECTION_NUMBERS)


def _why(reasons: Sequence[tuple[str, int]]) -> str:
    told = ", ".join(f"{number} because {reason}" for reason, number in reasons)
    return f"; stayed: {told}" if told else ""


def _connection_cells(row: ConnectionRow) -> Sequence[str]:
    return (
        str(row.id),
        shown(row.client),
        shown(row.sni),
        shown(row.listener),
        shown(row.cluster),
        shown(row.host),
        row.phase,
        duration(row.age),
        _known(row.idle, duration),
        size(row.received),
        size(row.sent),
        size(row.received_rate),
        size(row.sent_rate),
        _pair(row.rtt, row.upstream_rtt, _round_trip),
        _pair(row.retransmits, row.upstream_retransmits, str),
        f"{size(row.buffered)}/{size(row.upstream_buffered)}",
    )


def _round_trip(microseconds: int) -> str:
    return f"{microseconds}us" if microseconds < 1000 else f"{microseconds / 1000:.1f}ms"


def _known(value: Any, text: Callable[[Any], str]) -> str:
    return text(value) if value is not None else "-"


def _pair(client: int | None, host: int | None, text: Callable[[int], str]) -> str:
    """Of the client's side and of the host's."""
    return f"{_known(client, text)}/{_known(host, text)}"


# Those that have ended


def _closes(call: Call) -> Answer:
    form, query = _form(call), _read(lambda: close_query(_fields(call)))

    def pieces() -> Iterator[str | Deferred[Any]]:
        for piece in _asked(call.server.closes(query)):
            if isinstance(piece, tuple):
                yield from _closes_json(piece) if form == "json" else _closes_text(piece)
            else:
                yield piece

    return Answer(pieces(), content_type=JSON if form == "json" else TEXT, is_held=True)


def _closes_json(rows: Sequence[CloseRow]) -> Iterator[str]:
    shaped = ({**row_json(row), "when": _moment(row.when)} for row in rows)
    yield from json_stream({"closes": LazyList(shaped, shown_empty=True)})
    yield "\n"


def _moment(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _closes_text(rows: Sequence[CloseRow]) -> Iterator[str]:
    yield from text_table(_CLOSE_TITLES, rows, _close_cells, _CLOSE_NUMBERS)


def _close_cells(row: CloseRow) -> Sequence[str]:
    return (
        _moment(row.when),
        str(row.id or "-"),
        shown(row.client),
        shown(row.listener),
        shown(row.cluster),
        shown(row.host),
        duration(row.duration),
        size(row.received),
        size(row.sent),
        row.flags,
        row.reason,
    )


# Closing


def _close(call: Call) -> Answer:
    filters = _read(lambda: filters_of(dict(call.parameters)))
    if not filters:
        raise Refusal(
            "usage: /connections/close?id=<number> or host=<address> or client=<address>, or other "
            "fields of /connections; all that are given have to fit\n"
        )

    def pieces() -> Iterator[str | Deferred[Any]]:
        for piece in _asked(call.server.close_connections(filters)):
            if isinstance(piece, int):
                yield f"closed {piece} connection{'' if piece == 1 else 's'}\n"
            else:
                yield piece

    return Answer(pieces())


_FORMAT = Parameter("format", "Format to use", choices=("text", "json"))
_SEARCH = Parameter("search", "A part of any name or address")
_LIMIT = Parameter("limit", f"At most so many rows, up to {MOST_ROWS}; {ROWS} by default")

ENDPOINTS = (
    Endpoint(
        "/connections",
        "connections at this moment, filtered by any field: cluster=db, client=10.0.0.0/8, age=>60",
        _connections,
        (
            _FORMAT,
            Parameter("sort", "The field to sort by; -field for the largest first"),
            _LIMIT,
            _SEARCH,
            Parameter("client", "The client's address, without the port, or a prefix of it"),
            Parameter("cluster", "The name of the cluster, or ~ and a regular expression"),
            Parameter("host", "The address of the host"),
            Parameter("sni", "The server name that the client asked for"),
            Parameter("phase", "Where it is in its life, such as relaying"),
        ),
        is_own=True,
    ),
    Endpoint(
        "/connections/close",
        "close the connections that fit",
        _close,
        (
            Parameter("id", "The number of a connection"),
            Parameter("host", "The address of a host"),
            Parameter("client", "A client's address, without the port, or a prefix of it"),
        ),
        changes=True,
        is_own=True,
    ),
    Endpoint(
        "/closes",
        "connections that have ended, the last first, and why",
        _closes,
        (
            _FORMAT,
            _LIMIT,
            _SEARCH,
            Parameter("by", "Who ended it", choices=("", "downstream", "upstream", "proxy")),
            Parameter("client", "The client's address, without the port, or a prefix of it"),
            Parameter("cluster", "The name of the cluster, or ~ and a regular expression"),
            Parameter("host", "The address of the host"),
        ),
        is_own=True,
    ),
)
