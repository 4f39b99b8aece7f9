"""What the live page asks for: the stream of events, the map, and the files it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePath

from tcpmesh.admin.answers.assets import SERVED, TYPES, asset
from tcpmesh.admin.answers.endpoint import (
    EVENTS,
    JSON,
    Answer,
    Call,
    Endpoint,
    Parameter,
    Refusal,
)
from tcpmesh.admin.live.feed import MOST_VIEWERS
from tcpmesh.admin.live.topology import Topology

LONGEST_SEARCH = 200


def _live(call: Call) -> Answer:
    assert call.feed is not None
    if call.feed.is_full:
        raise Refusal(f"{MOST_VIEWERS} look at this already, and no more may: try again\n", 503)
    return Answer("", content_type=EVENTS, follow=call.feed.add)


def _topology(call: Call) -> Answer:
    assert call.feed is not None
    search = call.parameters.get("search", "")
    if len(search) > LONGEST_SEARCH:
        raise Refusal(f"search: at most {LONGEST_SEARCH} characters\n")
    return Answer(_map(Topology(call.server, call.feed.flows, search)), content_type=JSON)


def _map(topology: Topology) -> Iterator[str]:
    for _ in topology.steps():
        yield ""
    yield from topology.pieces()
    yield "\n"


def _asset(name: str, call: Call) -> Answer:
    return Answer(iter((asset(name),)), content_type=TYPES[PurePath(name).suffix])


ENDPOINTS = (
    Endpoint("/live", "what the home page shows, as server-sent events", _live),
    Endpoint(
        "/topology",
        "listeners, filter chains, clusters and hosts, and what is connected to what",
        _topology,
        (Parameter("search", "A part of names or addresses"),),
    ),
    *(
        Endpoint(
            f"/assets/{name}", "a file of the home page", partial(_asset, name), is_listed=False
        )
        for name in SERVED
    ),
)
