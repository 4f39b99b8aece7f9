"""Which clients have most connections, as limits of each client know it: Envoy has no such page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.endpoint import JSON, TEXT, Answer, Call, Endpoint, Parameter, Refusal
from tcpmesh.admin.answers.json_stream import LazyList, json_stream
from tcpmesh.admin.answers.text_table import shown, text_table
from tcpmesh.values.live.clients import ClientQuery, ClientRow, TopClients

ROWS, MOST_ROWS = 100, 1000

_TITLES = ("LIMIT", "CLIENT", "CONNECTIONS", "WAITING", "SINCE KNOWN", "LIMITED")
_NUMBERS = frozenset((2, 3, 4, 5))


def _query(call: Call) -> ClientQuery:
    text = call.parameters.get("rows") or str(ROWS)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_ROWS):
        raise Refusal(f"rows: {text!r} is no number from 1 to {MOST_ROWS}\n")
    limit, client = (call.parameters.get(name) or "" for name in ("limit", "client"))
    return ClientQuery(limit, client, int(text))


def _client_limits(call: Call) -> Answer:
    query, form = _query(call), call.parameters.get("format") or "text"
    if form not in ("text", "json"):
        raise Refusal("usage: format=(text|json)\n")

    def pieces() -> Iterator[str | Deferred[Any]]:
        found: list[TopClients] = []
        yield call.server.top_clients(query).addCallback(found.append)
        for each in found:
            yield from _json(each) if form == "json" else _text(each)

    return Answer(pieces(), content_type=JSON if form == "json" else TEXT, is_held=True)


def _json(found: TopClients) -> Iterator[str]:
    rows = ({name: getattr(row, name) for name in row.__slots__} for row in found.rows)
    yield from json_stream({"clients": LazyList(rows, shown_empty=True), "known": found.known})
    yield "\n"


def _text(found: TopClients) -> Iterator[str]:
    yield f"{len(found.rows)} of {found.known} clients that are known\n\n"
    yield from text_table(_TITLES, found.rows, _cells, _NUMBERS)


def _cells(row: ClientRow) -> Sequence[str]:
    return (
        shown(row.limit),
        shown(row.client),
        str(row.active),
        str(row.waiting),
        str(row.total),
        str(row.limited),
    )


ENDPOINTS = (
    Endpoint(
        "/client_limits",
        "clients with most connections, as the filters client_limit know them",
        _client_limits,
        (
            Parameter("format", "Format to use", choices=("text", "json")),
            Parameter("limit", "The stat_prefix of the filter, or its share_key"),
            Parameter("client", "A part of the client's address, prefix or server name"),
            Parameter("rows", f"At most so many rows, up to {MOST_ROWS}; {ROWS} by default"),
        ),
        is_own=True,
    ),
)
