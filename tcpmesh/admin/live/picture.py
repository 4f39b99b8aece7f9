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

from tcpmesh import __version__
from tcpmesh.admin.live.names import cut
from tcpmesh.admin.live.pulse import Steps
from tcpmesh.admin.live.topology import Topology
from tcpmesh.interfaces import IServer
from tcpmesh.values.traffic import Flow
from tcpmesh.values.workers import worker_name

EVENTS = 100
TEXT_LIMIT = 400
"""Characters of a warning."""

WARNINGS = 100


WORKERS = 1
"""How many there are."""


class Picture:
    """What there is to tell of one server.

    :param wall: seconds since 1970.
    """

    def __init__(self, server: IServer, wall: Callable[[], float] = time) -> None:
        self._server = server
        self._wall = wall
        self.flows: Mapping[Flow, int] = {}
        """What is connected to what, as last told."""
        self._events = -1
        self.kinds: Mapping[str, Callable[[], Steps]] = {
            "tick": self._tick,
            "map": self._map,
            "events": self._host_events,
        }
        """What begins another message, by its kind."""

    def greeting(self) -> str:
        """What only a newcomer is told."""
        server = self._server
        self._events = -1
        return json.dumps(
            {
                "version": __version__,
                "pid": os.getpid(),
                "node": cut(server.node.id),
                "cluster": cut(server.node.cluster),
                "config": cut(server.options.config_path),
                "loaded_at": server.origin.loaded_at,
                "started_at": self._wall() - server.uptime,
                "workers": [worker_name(index) for index in range(WORKERS)],
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
        self.flows = traffic.flows
        return json.dumps(
            {
                "at": traffic.sample.when,
                "state": server.state,
                "uptime": server.uptime,
                "sample": traffic.sample,
            }
        )

    def _map(self) -> Steps:
        topology = Topology(self._server, self.flows)
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
