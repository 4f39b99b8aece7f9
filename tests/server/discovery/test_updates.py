"""Updates of listeners and clusters by files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.resources import CLUSTER, LISTENER
from tcpmesh.net.moves import INTERVAL
from tcpmesh.testing.mesh import Mesh

TYPE = "type.googleapis.com/"
PROXY = TYPE + "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LDS, CDS = "listener_manager.lds.", "cluster_manager.cds."


def address(text: str) -> dict[str, Any]:
    """An address as JSON has it."""
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def cluster(name: str, host: str, **more: Any) -> dict[str, Any]:
    """A cluster of one host."""
    group = {"lb_endpoints": [{"endpoint": {"address": address(host)}}]}
    assignment = {"cluster_name": name, "endpoints": [group]}
    return {"name": name, "connect_timeout": "1s", "load_assignment": assignment, **more}


def listener(name: str, at: str, to: str = "a", **more: Any) -> dict[str, Any]:
    """A listener with a tcp_proxy."""
    filters = [{"name": "t", "typed_config": {"@type": PROXY, "stat_prefix": "t", "cluster": to}}]
    return {"name": name, "address": address(at), "filter_chains": [{"filters": filters}], **more}


class UpdateTests(SynchronousTestCase):
    """A proxy in memory with both kinds of files."""

    def setUp(self) -> None:
        """Two hosts that say their names, a static listener and a static cluster."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.put(CLUSTER, cluster("a", "127.0.0.2:1"), version="c1")
        self.put(LISTENER, listener("l", "127.0.0.1:1"), version="l1")
        self.start()

    def start(self) -> None:
        """The proxy."""
        sources = {
            f"{kind}_config": {"path_config_source": {"path": str(self.folder / f"{kind}.json")}}
            for kind in ("lds", "cds")
        }
        bootstrap = {
            "node": {"id": "n", "cluster": "c"},
            "dynamic_resources": sources,
            "static_resources": {
                "listeners": [listener("static", "127.0.0.1:9", "static")],
                "clusters": [cluster("static", "127.0.0.2:9")],
            },
        }
        self.mesh = Mesh(json.dumps(bootstrap))
        for port in (1, 2, 9):
            self.mesh.upstream(f"127.0.0.2:{port}")

    def put(self, kind: str, *resources: dict[str, Any], version: str = "", text: str = "") -> None:
        """Move a file of these into place."""
        name = {LISTENER: "lds.json", CLUSTER: "cds.json"}[kind]
        typed = [{"@type": TYPE + kind, **each} for each in resources]
        new = self.folder / "new"
        new.write_text(text or json.dumps({"version_info": version, "resources": typed}))
        os.replace(new, self.folder / name)
        if hasattr(self, "mesh"):
            self.mesh.advance(INTERVAL)

    def served_by(self, at: str = "127.0.0.1:1") -> str:
        """The cluster that a client comes to; nothing where it is closed."""
        before = self.totals()
        client = self.mesh.connect(at)
        if client.ended:
            return ""
        (found,) = [name for name, total in self.totals().items() if total != before.get(name)]
        return found

    def totals(self) -> dict[str, int]:
        """Connections of each cluster so far."""
        stats = self.mesh.stats()
        return {name: stats.get(f"cluster.{name}.upstream_cx_total", 0) for name in ("a", "static")}

    def listeners(self) -> dict[str, str]:
        """Versions of the listeners that the file has brought."""
        found = self.mesh.main.discoveries.of_listeners()
        return {each.message.name: each.version for each in found.statuses}

    def test_from_the_start(self) -> None:
        """Both kinds are there when the proxy starts, and counted."""
        self.assertEqual(("a", "static"), (self.served_by(), self.served_by("127.0.0.1:9")))
        for prefix in (LDS, CDS):
            self.assertEqual(1, self.mesh.stat(prefix + "update_attempt"))
            self.assertEqual(1, self.mesh.stat(prefix + "update_success"))
        self.assertEqual(1, self.mesh.stat(CDS + "config_reload"))
        self.assertEqual({"l": "l1"}, self.listeners())
        self.assertEqual("c1", self.mesh.main.discoveries.of_clusters().version)

    def test_changed(self) -> None:
        """A cluster and a listener that change serve new clients, and keep those they had."""
        before = self.mesh.connect("127.0.0.1:1")
        self.put(CLUSTER, cluster("a", "127.0.0.2:2"), version="c2")
        self.put(LISTENER, listener("l", "127.0.0.1:2"), version="l2")
        self.assertFalse(before.ended)
        self.assertEqual("a", self.served_by("127.0.0.1:2"))
        self.assertEqual({"l": "l2"}, self.listeners())
        self.assertEqual(1, self.mesh.stat("cluster_manager.cluster_modified"))
        self.assertEqual(1, self.mesh.stat("listener_manager.listener_modified"))

    def test_in_place(self) -> None:
        """Where only filter chains change the listener keeps its version, as in Envoy."""
        self.put(LISTENER, listener("l", "127.0.0.1:1", "static"), version="l2")
        self.assertEqual("static", self.served_by())
        self.assertEqual({"l": "l1"}, self.listeners())
        self.assertEqual("l2", self.mesh.main.discoveries.of_listeners().version)
        self.assertEqual(1, self.mesh.stat("listener_manager.listener_in_place_updated"))

    def test_equal(self) -> None:
        """What is as it was is not touched, whatever the version says."""
        self.put(LISTENER, listener("l", "127.0.0.1:1"), version="l2")
        self.assertEqual(2, self.mesh.stat(LDS + "update_success"))
        self.assertEqual(0, self.mesh.stat("listener_manager.listener_modified"))
        self.assertEqual("l1", self.mesh.main.discoveries.of_listeners().version)

    def test_gone(self) -> None:
        """What an update lacks is removed: clients find no cluster, or nobody listens."""
        self.put(CLUSTER, version="c2")
        client = self.mesh.connect("127.0.0.1:1")
        self.assertTrue(client.ended)
        self.put(LISTENER, version="l2")
        self.assertEqual({}, self.listeners())
        refused = self.mesh.dial("127.0.0.1:1")
        self.mesh.pump()
        self.assertIsNotNone(refused.failure)
        self.assertEqual("static", self.served_by("127.0.0.1:9"))

    def test_static(self) -> None:
        """Files neither change nor remove what the bootstrap has."""
        self.put(LISTENER, listener("static", "127.0.0.1:3"), listener("l", "127.0.0.1:1"))
        self.put(CLUSTER, cluster("static", "127.0.0.2:1"), cluster("a", "127.0.0.2:1"))
        self.assertEqual("static", self.served_by("127.0.0.1:9"))
        self.assertEqual({"l": "l1"}, self.listeners())

    def test_partly_wrong(self) -> None:
        """Of an update in which something is wrong the rest is taken; what was there of the wrong
        ones stays, and it counts as rejected.
        """
        self.put(
            LISTENER,
            listener("l", "127.0.0.1:1", stat_prefix=7),
            listener("m", "127.0.0.1:2"),
            listener("n", "127.0.0.1:9"),
            listener("m", "127.0.0.1:4"),
            version="l2",
        )
        self.assertEqual({"l": "l1", "m": "l2"}, self.listeners())
        self.assertEqual(("a", "a"), (self.served_by(), self.served_by("127.0.0.1:2")))
        self.assertEqual(1, self.mesh.stat(LDS + "update_rejected"))
        self.assertEqual(1, self.mesh.stat(LDS + "update_success"))

    def test_not_readable(self) -> None:
        """A file that is no DiscoveryResponse changes nothing, and counts as a failure."""
        self.put(CLUSTER, text="{")
        self.assertEqual("a", self.served_by())
        self.assertEqual(1, self.mesh.stat(CDS + "update_failure"))
        self.assertEqual(2, self.mesh.stat(CDS + "update_attempt"))

    def test_unknown_fields(self) -> None:
        """Fields that nobody knows are counted."""
        self.put(CLUSTER, cluster("a", "127.0.0.2:2", nonsense=1), version="c2")
        self.assertEqual(1, self.mesh.stat("server.dynamic_unknown_fields"))
        self.assertEqual(2, self.mesh.stat(CDS + "update_success"))

    def test_stopped(self) -> None:
        """A proxy that has stopped reads nothing any more."""
        self.mesh.main.stop()
        self.put(LISTENER, listener("m", "127.0.0.1:2"), version="l2")
        self.assertEqual(1, self.mesh.stat(LDS + "update_attempt"))
