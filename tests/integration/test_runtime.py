"""Runtime values that change what a real process does."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.child import Child, free_port, wait_for
from tests.integration.test_filters import a_filter, chain
from tests.integration.test_serve import PATIENCE, TCP_PROXY, bootstrap, received, tcp

LIMIT = a_filter(
    "connection_limit.v3.ConnectionLimit",
    "stat_prefix: l, max_connections: 1, runtime_enabled: {default_value: false, runtime_key: lim}",
)


class RuntimeTests(SynchronousTestCase):
    """A proxy whose only host, a listener of its own, is out; with layers on disk and of
    operators.
    """

    def setUp(self) -> None:
        """Start it."""
        self.folder = Path(self.mktemp()).absolute()
        self.tree("one", **{"upstream/healthy_panic_threshold": "# none\n0\n"})
        self.point("one")
        self.front, back = free_port(), free_port()
        proxy = f'{{name: t, typed_config: {{"@type": {TCP_PROXY}, stat_prefix: t, cluster: c}}}}'
        says = a_filter("direct_response.v3.Config", "response: {inline_string: hello}")
        host = f"{{health_status: UNHEALTHY, endpoint: {{address: {tcp('127.0.0.1', back)}}}}}"
        assignment = f"{{cluster_name: c, endpoints: [{{lb_endpoints: [{host}]}}]}}"
        layers = (
            f"layered_runtime: {{layers: [{{name: d, disk_layer: {{symlink_root: "
            f"{self.folder / 'link'}}}}}, {{name: a, admin_layer: {{}}}}]}}\n"
        )
        text = bootstrap(
            chain("front", self.front, LIMIT, proxy) + chain("back", back, says),
            f"  - {{name: c, load_assignment: {assignment}}}\n",
        )
        self.proxy = Child(text + layers)
        self.addCleanup(self.proxy.stop)
        self.proxy.wait_ready()

    def tree(self, name: str, **files: str) -> None:
        """A tree of files."""
        for key, value in files.items():
            path = self.folder / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)

    def point(self, name: str) -> None:
        """The link points there from now on."""
        (self.folder / "new").symlink_to(name)
        os.rename(self.folder / "new", self.folder / "link")

    def client(self) -> socket.socket:
        """A client."""
        return socket.create_connection(("127.0.0.1", self.front), PATIENCE)

    def answer(self) -> bytes:
        """What a client is told; nothing where it is closed."""
        with self.client() as client:
            return received(client)

    def modify(self, query: str) -> None:
        """An operator sets values."""
        self.assertEqual((200, "OK\n"), self.proxy.admin(f"/runtime_modify?{query}", "POST"))

    def test_changes(self) -> None:
        """Panic and a limit of connections follow a new tree and an operator."""
        self.assertEqual(self.answer(), b"")
        self.tree("two", **{"upstream/healthy_panic_threshold": "50", "lim": "false"})
        self.point("two")
        wait_for(lambda: self.answer() == b"hello", "the new tree to count")
        self.assertEqual(self.proxy.stat("runtime.load_success"), 3)
        self.modify("upstream.healthy_panic_threshold=0")
        self.assertEqual(self.answer(), b"")
        self.modify("upstream.healthy_panic_threshold=&lim=true")
        with self.client() as first:
            self.assertEqual(received(first, 5), b"hello")
            self.assertEqual(self.answer(), b"")
            self.modify("lim=0")
            self.assertEqual(self.answer(), b"hello")
        entries = json.loads(self.proxy.admin("/runtime")[1])["entries"]
        self.assertEqual(
            {key: each["layer_values"] for key, each in entries.items()},
            {"lim": ["false", "0"], "upstream.healthy_panic_threshold": ["50", ""]},
        )
