"""Runtime layers by files (RTDS)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.resources import RUNTIME
from tcpmesh.net.moves import INTERVAL
from tcpmesh.testing.mesh import Mesh

TYPE = "type.googleapis.com/"


class RuntimeDiscoveryTests(SynchronousTestCase):
    """A proxy in memory with a layer that a file has."""

    def setUp(self) -> None:
        """The values are those of the `Runtime` named `live`."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.put({"name": "live", "layer": {"a.b": 1, "c": "x"}}, version="r1")
        source = {"path_config_source": {"path": str(self.folder / "rtds.json")}}
        layers = [
            {"name": "base", "static_layer": {"a.b": 9, "z": True}},
            {"name": "top", "rtds_layer": {"name": "live", "rtds_config": source}},
        ]
        bootstrap = {
            "node": {"id": "n", "cluster": "c"},
            "layered_runtime": {"layers": layers},
        }
        self.mesh = Mesh(json.dumps(bootstrap))

    def put(self, *resources: dict[str, Any], version: str = "", text: str = "") -> None:
        """Move a file of these into place."""
        typed = [{"@type": TYPE + RUNTIME, **each} for each in resources]
        new = self.folder / "new"
        new.write_text(text or json.dumps({"version_info": version, "resources": typed}))
        os.replace(new, self.folder / "rtds.json")
        if hasattr(self, "mesh"):
            self.mesh.advance(INTERVAL)

    def values(self) -> dict[str, str]:
        """The values of the worker, which are main's too."""
        found = dict(self.mesh.worker.context.runtime.items())
        self.assertEqual(found, dict(self.mesh.main.context.runtime.items()))
        return {key: entry.text for key, entry in found.items()}

    def stat(self, name: str) -> Any:
        """A statistic of the runtime."""
        return self.mesh.stat(f"runtime.{name}")

    def test_start(self) -> None:
        """The values hold from the start, and count as in Envoy."""
        self.assertEqual({"a.b": "1", "c": "x", "z": "true"}, self.values())
        counted = {
            name: self.stat(name)
            for name in ("update_attempt", "update_success", "load_success", "num_layers")
        }
        self.assertEqual(
            {"update_attempt": 1, "update_success": 1, "load_success": 3, "num_layers": 2}, counted
        )
        self.assertEqual("r1", self.mesh.store.text_readout("runtime.version_text").readout)

    def test_update(self) -> None:
        """Another file brings other values, and takes away what it lacks."""
        self.put({"name": "live", "layer": {"a": {"b": 2}}}, version="r2")
        self.assertEqual({"a.b": "2", "z": "true"}, self.values())
        self.assertEqual((2, 4), (self.stat("update_success"), self.stat("load_success")))

    def test_refused(self) -> None:
        """What is wrong changes nothing, and counts."""
        for resources in (
            [{"name": "other", "layer": {"q": 1}}],
            [{"name": "live", "layer": {"q": 1}}, {"name": "live", "layer": {"q": 2}}],
            [],
            [{"name": "live", "layer": {"q": [1]}}],
        ):
            self.put(*resources)
        self.assertEqual(4, self.stat("update_rejected"))
        self.put(text="{")
        self.assertEqual(1, self.stat("update_failure"))
        self.assertEqual({"a.b": "1", "c": "x", "z": "true"}, self.values())
        self.assertEqual((6, 1), (self.stat("update_attempt"), self.stat("update_success")))

    def test_empty(self) -> None:
        """A layer may have nothing."""
        self.put({"name": "live"})
        self.assertEqual({"a.b": "9", "z": "true"}, self.values())

    def test_unknown_fields(self) -> None:
        """A field that nobody knows is let pass, and counted."""
        self.put({"name": "live", "layer": {"q": 1}, "nonsense": 1})
        self.assertEqual("1", self.values()["q"])
        self.assertEqual(1, self.mesh.stat("server.dynamic_unknown_fields"))

    def test_stopped(self) -> None:
        """When the proxy has stopped nobody looks any more."""
        self.mesh.main.stop()
        self.mesh.pump()
        self.put({"name": "live", "layer": {"q": 1}})
        self.assertEqual(1, self.stat("update_attempt"))
