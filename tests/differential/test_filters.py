"""Chains of network filters: what is counted and logged, as the real Envoy did it
(`record_filters`).
"""

from __future__ import annotations

import json
from typing import Any

from tcpmesh.testing.mesh import Mesh
from tcpmesh.wire.grpc import framed
from tests.differential.filter_scenarios import (
    ANSWERS,
    FAILS,
    GONE,
    SCENARIOS,
    TOGETHER,
    Scenario,
    bootstrap,
)
from tests.differential.record_filters import RECORDING, shown
from tests.extensions.filters.network.asked import SERVICE, AskedTestCase, service_cluster
from tests.extensions.filters.network.filtered import FRONT, HOST
from tests.rpc.called import Call, ServerConnection


class DifferentialTests(AskedTestCase):
    """Every scenario."""

    def begin(self, scenario: Scenario) -> None:
        """Start the proxy and what is around it."""
        self.mesh = Mesh(json.dumps(bootstrap(scenario, FRONT, HOST, service_cluster())))
        self.host = self.mesh.upstream(HOST)
        self.settings, self.takes, self.calls = {}, True, []
        self.reply = lambda call: None
        if scenario.service == FAILS:
            self.reply = self.refuse
        elif scenario.service == ANSWERS:
            self.reply = lambda call: _answer(call, scenario.answer)
        if scenario.service != GONE:
            self.service = self.mesh.upstream(SERVICE)
            self.service.make = lambda: ServerConnection(self)  # type: ignore[arg-type]

    def play(self, scenario: Scenario) -> dict[str, Any]:
        """What is counted and logged."""
        self.begin(scenario)
        clients = []
        for said in scenario.clients:
            client = self.connect()
            clients.append(client)
            if said is not None:
                client.transport.write(said)
            self.mesh.advance(0.15)
        self.mesh.advance(TOGETHER - 0.15)
        during = shown(self.mesh.stats())
        for client in clients:
            client.transport.loseConnection()
            self.mesh.pump()
            for each in self.host.built:
                if each.ended:
                    each.transport.loseConnection()
            self.mesh.advance(0.15)
        self.mesh.advance(0.15)
        return {"during": during, "after": shown(self.mesh.stats()), "log": self.logged()}

    def test_scenarios(self) -> None:
        """Names and values of statistics are those of Envoy, and so are the lines of the log."""
        recorded = json.loads(RECORDING.read_text())
        self.assertEqual(list(SCENARIOS), list(recorded))
        different = {}
        for name, scenario in SCENARIOS.items():
            ours, envoys = self.play(scenario), recorded[name]
            for part in ("during", "after", "log"):
                if ours[part] != envoys[part]:
                    different[name, part] = _difference(ours[part], envoys[part])
        self.assertEqual({}, different)


def _answer(call: Call, answer: bytes) -> None:
    call.head()
    call.data(framed(answer))
    call.end()


def _difference(ours: Any, envoys: Any) -> Any:
    if isinstance(ours, list):
        return ours, envoys
    names = {*ours, *envoys}
    return {
        name: (ours.get(name), envoys.get(name))
        for name in sorted(names)
        if ours.get(name) != envoys.get(name)
    }
