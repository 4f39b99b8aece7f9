"""What the live page asks for: the stream of events, the map, and the files it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from typing import Any

from twisted.internet.defer import Deferred

from tcpmesh.admin.answers.assets import SERVED, TYPES, asset
from tcpmesh.admin.answers.endpoint import (
    EVENTS,
    JSON,
    Answer,
    Call,
    Endpoint,
    Parameter,
    Refusal,
    waited,
)
from tcpmesh.admin.live.feed import MOST_VIEWERS
from tcpmesh.admin.live.topology import Topology
from tcpmesh.values.live.traffic import Traffic

LONGEST_SEARCH = 200


def _live(call: Call) -> Answer:
    assert call.feed is not None
    if call.feed.is_full:
        raise Refusal(f"{MOST_VIEWERS} look at this already, and no more may: try again\n", 503)
    return Answer("", content_type=EVENTS, follow=call.feed.add)


def _topology(call: Call) -> Answer:
    search = call.parameters.get("search", "")
    if len(search) > LONGEST_SEARCH:
        raise Refusal(f"search: at most {LONGEST_SEARCH} characters\n")
    return Answer(_map(call, search), content_type=JSON)


def _map(call: Call, search: str) -> Iterator[str | Deferred[Any]]:
    told: list[Traffic] = []
    yield call.server.traffic().addCallback(told.append)
    yield from waited(call.server.host_numbers())
    topology = Topology(call.server, told[0].flows, search)
    for _ in topology.steps():
        yield ""
    yield from topology.pieces()
    yield "\n"


def _asset(name: str, call: Call) -> Answer:
    return Answer(iter((asset(name),)), content_type=TYPES[PurePath(name).suffix])


ENDPOINTS = (
    Endpoint("/live", "what the home page shows, as server-sent events", _live, is_own=True),
    Endpoint(
        "/topology",
        "listeners, filter chains, clusters and hosts, and what is connected to what",
        _topology,
        (Parameter("search", "A part of names or addresses"),),
        is_own=True,
    ),
    *(
        Endpoint(
            f"/assets/{name}", "a file of the home page", partial(_asset, name), is_listed=False
        )
        for name in SERVED
    ),
)
