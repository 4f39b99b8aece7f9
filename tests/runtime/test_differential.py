"""What the real Envoy made of layers, files and requests, and what we make of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from twisted.internet.task import Clock, Cooperator
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load
from tcpmesh.runtime.layers import Layers
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tests.admin.client import Client
from tests.admin.fakes import FakeServer
from tests.runtime.record import KEY, RECORDED, put_files

DEFAULT = 1024
"""The integer without a runtime value."""


class DifferentialTests(SynchronousTestCase):
    """Every case of recorded.json."""

    def answers(self, case: dict[str, Any]) -> dict[str, Any]:
        """What we say, in the form of Envoy's answers."""
        root = Path(self.mktemp()).absolute()
        root.mkdir()
        put_files(root, case["files"])
        text = f"layered_runtime: {{layers: [{case['layers'].replace('ROOT', str(root))}]}}"
        bootstrap = load(config_yaml=text).bootstrap
        store = Store()
        server = FakeServer()
        server.layers = Layers(bootstrap, "", store, lambda told: None)
        clock = Clock()
        cooperator = Cooperator(lambda: lambda: False, lambda work: clock.callLater(0, work))
        server.layers.start(clock, cooperator)
        self.addCleanup(server.layers.stop)
        client = Client(server)
        modified = [client.ask(f"/runtime_modify?{each}", "POST") for each in case["modify"]]
        clock.pump([0] * 10)
        shown = json.loads(client.ask("/runtime").body)
        entries = shown["entries"].items()
        stats = values_of(store).items()
        return {
            "modified": [
                [each.status, each.body if each.status == 200 else ""] for each in modified
            ],
            "layers": shown["layers"],
            "entries": {key: list(map(plain, each["layer_values"])) for key, each in entries},
            "final": {key: plain(each["final_value"]) for key, each in entries},
            "stats": {name.removeprefix("runtime."): value for name, value in stats if value},
            "integer": server.layers.runtime.integer(KEY, DEFAULT),
        }

    def test_all(self) -> None:
        """They are the same: pages, statistics, and what an integer comes to."""
        cases = json.loads(RECORDED.read_text())
        self.assertGreater(len(cases), 35)
        for case in cases:
            self.assertEqual(case["envoy"], self.answers(case), case["name"])

    def test_cases(self) -> None:
        """Each case has a name of its own, and YAML that anybody can read."""
        cases = json.loads(RECORDED.read_text())
        self.assertEqual(len({case["name"] for case in cases}), len(cases))
        for case in cases:
            yaml.safe_load(f"[{case['layers']}]")


def plain(text: str) -> str:
    """A number in protobuf's text form as C++ writes it."""
    return re.sub(r"(number_value: -?\d+)\.0\n", r"\1\n", text)
