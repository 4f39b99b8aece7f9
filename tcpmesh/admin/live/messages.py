"""What the viewers of the live page are told, kind by kind.

Each is one JSON object, complete by itself, so that a slow viewer can miss some; and bounded, so
that neither many connections nor long names make it large.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from tcpmesh.admin.live.names import cut
from tcpmesh.admin.live.repeater import Steps
from tcpmesh.admin.live.topology import Topology
from tcpmesh.interfaces import IServer
from tcpmesh.values.live.traffic import Flow
from tcpmesh.values.stream.live import (
    CloseQuery,
    CloseRow,
    ConnectionQuery,
    ConnectionRow,
    Connections,
)
from tcpmesh.values.workers import worker_name
from tcpmesh.version import __version__

EVENTS = 100
TEXT_LIMIT = 400
"""Characters of a warning."""

WARNINGS = 100


BUSIEST = ConnectionQuery(sort="received_rate", descending=True, limit=50)
LAST = CloseQuery(limit=50)
"""The rows that all are told; who wants others asks for them."""


class Messages:
    """What there is to tell of one server.

    :param wall: seconds since 1970.
    """

    def __init__(self, server: IServer, wall: Callable[[], float] = time) -> None:
        self._server = server
        self._wall = wall
        self._flows: Mapping[Flow, int] = {}
        self._events = -1
        self._ends: tuple[CloseRow, ...] | None = None
        self.kinds: Mapping[str, Callable[[], Steps]] = {
            "tick": self._tick,
            "connections": self._connections,
            "closes": self._closes,
            "map": self._map,
            "events": self._host_events,
        }
        """What begins another message, by its kind."""

    def greeting(self) -> str:
        """What only a newcomer is told."""
        server = self._server
        self._events = -1
        self._ends = None
        return json.dumps(
            {
                "version": __version__,
                "pid": os.getpid(),
                "node": cut(server.node.id),
                "cluster": cut(server.node.cluster),
                "config": cut(server.options.config_path),
                "loaded_at": server.origin.loaded_at,
                "started_at": self._wall() - server.uptime,
                "workers": [worker_name(index) for index in range(server.options.concurrency)],
                "warnings": [
                    {
                        "place": cut(each.place),
                        "path": cut(each.path),
                        "text": each.text[:TEXT_LIMIT],
                    }
                    for each in server.origin.warnings[:WARNINGS]
                ],
                "warning_count": server.origin.warning_count,
                "samples": [*server.samples],
            }
        )

    def _tick(self) -> Steps:
        server = self._server
        told: list[Any] = []
        yield server.traffic().addCallback(told.append)
        traffic = told[0]
        self._flows = traffic.flows
        return json.dumps(
            {
                "at": traffic.sample.when,
                "state": server.state,
                "uptime": server.uptime,
                "sample": traffic.sample,
            }
        )

    def _connections(self) -> Steps:
        told: list[Connections] = []
        yield self._server.connections(BUSIEST).addCallback(told.append)
        found = told[0]
        return json.dumps(
            {
                "connections": list(map(_row, found.rows)),
                "matched": found.matched,
                "total": found.total,
            }
        )

    def _closes(self) -> Steps:
        told: list[tuple[CloseRow, ...]] = []
        yield self._server.closes(LAST).addCallback(told.append)
        if told[0] == self._ends:
            return None
        self._ends = told[0]
        return json.dumps({"closes": list(map(_row, told[0]))})

    def _map(self) -> Steps:
        yield self._server.host_numbers()
        topology = Topology(self._server, self._flows)
        yield from topology.steps()
        pieces: list[str] = []
        for piece in topology.pieces():
            pieces.append(piece)
            yield None
        return "".join(pieces)

    def _host_events(self) -> Steps:
        recent = self._server.host_events
        if recent.count == self._events:
            return None
        self._events = recent.count
        rows = list(recent.events)[-EVENTS:]
        yield None
        return json.dumps(
            {"count": recent.count, "events": [[cut(text) for text in row] for row in rows]}
        )


def _row(row: ConnectionRow | CloseRow) -> dict[str, Any]:
    """A row by the names of its fields."""
    values = ((name, getattr(row, name)) for name in row.__slots__)
    return {name: cut(value) if isinstance(value, str) else value for name, value in values}
