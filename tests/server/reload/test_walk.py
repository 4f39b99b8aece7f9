"""Any configurations, one after the other: what is served in the end is what a fresh start would
serve.
"""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from twisted.internet.task import Clock

from tcpmesh.config.load import load
from tcpmesh.logs.levels import Levels
from tcpmesh.server.service import Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.values.lifecycle.reload import Verdict
from tcpmesh.values.server_options import ServerOptions
from tests.admin.client import Client
from tests.server.reload.test_reloads import ReloadTestCase, cluster, listener

KEPT = listener("kept", "127.0.0.1:1", "kept"), cluster("kept")
"""What each configuration has."""

CLUSTERS = st.lists(
    st.builds(
        cluster,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["127.0.0.2:1", "127.0.0.2:2"]),
        connect_timeout=st.sampled_from(["1s", "2s"]),
    ),
    max_size=4,
    unique_by=lambda each: str(each["name"]),
)
LISTENERS = st.lists(
    st.builds(
        listener,
        st.sampled_from(["", "l", "m", "n", "o"]),
        st.sampled_from([f"127.0.0.1:{port}" for port in range(2, 6)]),
        st.sampled_from(["kept", "a"]),
        per_connection_buffer_limit_bytes=st.sampled_from([1000, 2000]),
    ),
    max_size=4,
    unique_by=lambda each: json.dumps(each["address"]),
)
LAYERS = st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 3)).map(
    lambda layer: {"layered_runtime": {"layers": [{"name": "s", "static_layer": layer}]}}
)


@st.composite
def configurations(draw: Any) -> dict[str, Any]:
    """One: listeners may name clusters that are not there, and of two of one name the first is
    served.
    """
    static = {"listeners": [*draw(LISTENERS), KEPT[0]], "clusters": [KEPT[1], *draw(CLUSTERS)]}
    return {"static_resources": static, **draw(LAYERS)}


class WalkTests(ReloadTestCase):
    """Random walks."""

    @settings(max_examples=40, deadline=None)
    @given(st.lists(configurations(), min_size=1, max_size=5))
    def test_as_fresh(self, walk: list[dict[str, Any]]) -> None:
        """The state is that of a fresh start with the last one that was not refused, and a client
        of a listener that every one of them has notices nothing.
        """
        self.setUp()
        last = {"static_resources": {"listeners": [KEPT[0]], "clusters": [KEPT[1]]}, **RUNTIME}
        self.write(last)
        server = self.start()
        client = self.connect("127.0.0.1:1")
        for configuration in walk:
            self.write(configuration)
            done = self.done(server.reloads.reload("signal"))
            self.assertIn(done.verdict, (Verdict.APPLIED, Verdict.UNCHANGED, Verdict.REFUSED), done)
            if done.verdict is not Verdict.REFUSED:
                last = configuration
        self.assertEqual(self.fresh(last), self.state(server))
        self.assertFalse(client.ended)
        client.transport.write(b"x")
        self.network.pump()
        host = self.upstreams["127.0.0.2:1"].built[0]
        self.assertEqual(b"x", bytes(host.received))
        server.stopService()
        self.network.pump()
        self.assertEqual([], self.network.clock.getDelayedCalls())

    def write(self, configuration: dict[str, Any]) -> None:
        """The file."""
        self.path.with_suffix(".json").write_text(json.dumps(configuration))

    def fresh(self, configuration: dict[str, Any]) -> list[str]:
        """The state of another proxy that begins with it."""
        self.write(configuration)
        path = str(self.path.with_suffix(".json"))
        network = MemoryNetwork(Clock())
        server = Server(
            Clock(),
            load(path).bootstrap,
            ServerOptions(config_path=path),
            Levels("info", {}),
            network,
        )
        server.startService()
        network.pump()
        found = self.state(server)
        server.stopService()
        network.pump()
        return found

    def state(self, server: Server) -> list[str]:
        """What the admin interface shows, without times, traffic and names that are made up."""
        pages = [
            Client(server).ask(path).body
            for path in ("/config_dump?include_eds", "/listeners", "/clusters", "/runtime")
        ]
        pages[0] = re.sub(r'"last_updated": "[^"]*"', "", pages[0])
        pages[1] = re.sub(r"^\w{8}-[\w-]+::", "::", pages[1], flags=re.MULTILINE)
        pages[2] = re.sub(r"::[cr][xq]_\w+::\d+", "", pages[2])
        return pages


RUNTIME = {"layered_runtime": {"layers": [{"name": "s", "static_layer": {}}]}}
