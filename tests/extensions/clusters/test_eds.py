"""Clusters whose hosts a file tells."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tcpmesh.config.resources import ASSIGNMENT
from tcpmesh.net.moves import INTERVAL
from tcpmesh.values.server_options import ServerOptions
from tests.mesh import Mesh, MeshTestCase


def assignment(*hosts: str, name: str = "c") -> dict[str, Any]:
    """An assignment of these hosts."""
    endpoints = []
    for each in hosts:
        address, _, port = each.rpartition(":")
        at = {"socket_address": {"address": address, "port_value": int(port)}}
        endpoints.append({"endpoint": {"address": at}})
    groups = [{"lb_endpoints": endpoints}] if endpoints else []
    return {
        "@type": f"type.googleapis.com/{ASSIGNMENT}",
        "cluster_name": name,
        "endpoints": groups,
    }


class EdsTests(MeshTestCase):
    """A cluster `c`, and the file of its hosts."""

    def setUp(self) -> None:
        """A file of one host."""
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.put(assignment("127.0.0.2:1"), version="e1")
        self.add()

    def add(self, more: str = "") -> None:
        """Add the cluster."""
        source = f"eds_config: {{path_config_source: {{path: {self.path}}}}}"
        self.mesh.add_cluster("c", more=f"type: EDS\neds_cluster_config: {{{source}, {more}}}")

    def put(self, *resources: dict[str, Any], version: str = "", text: str = "") -> None:
        """Move another file into place."""
        new = self.path.with_suffix(".new")
        new.write_text(text or json.dumps({"version_info": version, "resources": resources}))
        os.replace(new, self.path)
        self.mesh.advance(INTERVAL)

    def hosts(self) -> list[str]:
        """The addresses of the hosts."""
        (status,) = self.mesh.main.cluster_statuses()
        return [str(host.address) for host in status.hosts]

    def counts(self) -> dict[str, int]:
        """What was counted of updates."""
        moved = self.mesh.moved("cluster.c.")
        return {
            name: value
            for name, value in moved.items()
            if name.startswith("update_") and name != "update_time"
        }

    def test_from_the_start(self) -> None:
        """The hosts are there at once."""
        self.assertEqual(["127.0.0.2:1"], self.hosts())
        self.assertEqual({"update_attempt": 1, "update_success": 1}, self.counts())

    def test_changed(self) -> None:
        """They follow the file; a connection to a host that goes stays."""
        self.mesh.upstream("127.0.0.2:1")
        self.mesh.serve()
        client = self.mesh.connect()
        self.put(assignment("127.0.0.2:2", "127.0.0.2:3"), version="e2")
        self.assertEqual(["127.0.0.2:2", "127.0.0.2:3"], self.hosts())
        self.assertFalse(client.ended)
        self.put(assignment(), version="e3")
        self.assertEqual([], self.hosts())
        self.assertEqual({"update_attempt": 3, "update_success": 3}, self.counts())

    def test_equal(self) -> None:
        """An update that says the same rebuilds nothing."""
        self.put(assignment("127.0.0.2:1"), version="e2")
        self.assertEqual(
            {"update_attempt": 2, "update_success": 2, "update_no_rebuild": 1}, self.counts()
        )

    def test_unknown_fields(self) -> None:
        """Fields that nobody knows are counted; where the command line says so they are errors, or
        not counted.
        """
        unknown = {**assignment("127.0.0.2:2"), "nobody_knows": 1}
        for options, count, host in (
            (ServerOptions(), 1, "127.0.0.2:2"),
            (ServerOptions(ignore_unknown_dynamic_fields=True), 0, "127.0.0.2:2"),
            (ServerOptions(reject_unknown_dynamic_fields=True), 0, "127.0.0.2:1"),
        ):
            self.put(assignment("127.0.0.2:1"))
            self.mesh = Mesh(1, options=options)
            self.add()
            self.put(unknown, version="e2")
            self.assertEqual([host], self.hosts())
            counted = self.mesh.stats("server.").get("dynamic_unknown_fields", 0)
            self.assertEqual(count, counted)

    def test_service_name(self) -> None:
        """The assignment may have a name of its own."""
        self.put(assignment("127.0.0.2:4", name="service"))
        self.assertEqual(["127.0.0.2:1"], self.hosts())
        self.add("service_name: service")
        self.assertEqual(["127.0.0.2:4"], self.hosts())

    def test_wrong(self) -> None:
        """Whatever else the file says the hosts stay: an assignment of another name, two of them, a
        host that is a name, or none at all.
        """
        wrong = assignment("host.example.com:1")
        for number, resources in enumerate(
            ([assignment("127.0.0.2:2", name="d")], [assignment(), assignment()], [wrong]), 1
        ):
            self.put(*resources)
            self.assertEqual(number, self.counts()["update_rejected"])
        self.put()
        self.assertEqual(1, self.counts()["update_empty"])
        self.put(text="{")
        self.assertEqual(1, self.counts()["update_failure"])
        self.assertEqual(["127.0.0.2:1"], self.hosts())
        self.put(assignment("127.0.0.2:2"))
        self.assertEqual(["127.0.0.2:2"], self.hosts())

    def test_wrong_from_the_start(self) -> None:
        """A proxy whose file is wrong starts without these hosts."""
        self.mesh.clusters.remove("c")
        self.put(assignment("127.0.0.2:1", name="d"))
        self.add()
        self.mesh.serve()
        self.assertTrue(self.mesh.connect().ended)
        self.assertEqual("UH", self.flags())

    def test_removed(self) -> None:
        """Of a cluster that is removed the file is not read any more."""
        self.mesh.clusters.remove("c")
        self.put(assignment("127.0.0.2:2"))
        self.assertEqual([], [*self.mesh.main.cluster_statuses()])
        self.assertEqual({}, self.mesh.stats("cluster.c."))
