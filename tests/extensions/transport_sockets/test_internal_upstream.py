"""The transport socket internal_upstream: what an internal listener is told of its client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh
from tests.internal_listeners import (
    BACK,
    FRONT,
    Proxy,
    cluster,
    filter_state,
    internal,
    internal_upstream,
    tcp_proxy,
)

ORIGINAL_DST = "envoy.filters.listener.original_dst"


class InternalUpstreamTests(SynchronousTestCase):
    """A chain of three listeners."""

    def setUp(self) -> None:
        """The third listener, between the second one and the host."""
        self.proxy = Proxy()
        self.proxy.inner["filter_chains"][0]["filters"] = [tcp_proxy("third")]
        self.proxy.listeners.append(internal("third", tcp_proxy("back")))
        self.to_third = cluster("third", "third", transport_socket=internal_upstream())
        self.proxy.clusters.append(self.to_third)

    def told(self) -> list[str]:
        """What each of the three knows in the end: its object, and its metadata."""
        self.mesh = Mesh(self.proxy.text())
        self.mesh.upstream(BACK)
        client = self.mesh.connect(FRONT)
        client.transport.abortConnection()
        self.mesh.pump()
        (records) = [self.mesh.logged(f"/{name}")[0] for name in ("inner", "third", "back")]
        return [" ".join(each.split()[6:8]) for each in records]

    def share(self, sharing: str) -> None:
        """The first listener sets an object."""
        self.proxy.outer["filter_chains"][0]["filters"].insert(0, filter_state("v", sharing))

    def test_filter_state(self) -> None:
        """An object goes as far as its sharing says."""
        self.proxy.to_inner["transport_socket"] = internal_upstream()
        self.share("NONE")
        self.assertEqual(["v -", "- -", "- -"], self.told())
        for sharing, third in (("ONCE", "-"), ("TRANSITIVE", "v")):
            self.share(sharing)
            del self.proxy.outer["filter_chains"][0]["filters"][1]
            self.assertEqual(["v -", "v -", f"{third} -"], self.told())

    def test_without_it(self) -> None:
        """Without this transport socket nothing is told."""
        self.share("TRANSITIVE")
        self.proxy.to_inner["metadata"] = {"filter_metadata": {"names": {"a": 1}}}
        self.assertEqual(["v -", "- -", "- -"], self.told())

    def test_metadata(self) -> None:
        """The metadata of the cluster or of the host is dynamic metadata of the next listener's
        client alone; of two sources with one name the last one counts.
        """
        (endpoint,) = self.proxy.to_inner["load_assignment"]["endpoints"][0]["lb_endpoints"]
        endpoint["metadata"] = {"filter_metadata": {"names": {"of": "host"}}}
        self.proxy.to_inner["metadata"] = {"filter_metadata": {"names": {"of": [1, True]}}}
        sources = [("cluster", "names"), ("host", "names")]
        for told in ('{"of":"host"}', '{"of":[1,true]}'):
            self.proxy.to_inner["transport_socket"] = internal_upstream(*sources)
            self.assertEqual(["- -", f"- {told}", "- -"], self.told())
            sources.reverse()

    def test_no_metadata(self) -> None:
        """A source that has nothing under its name is counted."""
        socket = internal_upstream(("host", "names"), ("cluster", "names"))
        self.proxy.to_inner["transport_socket"] = socket
        self.assertEqual(["- -"] * 3, self.told())
        self.assertEqual(2, self.mesh.stat("cluster.inner.internal_upstream.no_metadata"))

    def test_shared_pool(self) -> None:
        """Where clients share the connections of a pool, one never gets what another one has
        shared.
        """
        self.proxy.to_inner["transport_socket"] = internal_upstream()
        self.proxy.to_inner["preconnect_policy"] = {"per_upstream_preconnect_ratio": 2.0}
        text = "%DOWNSTREAM_REMOTE_PORT%"
        self.proxy.outer["filter_chains"][0]["filters"].insert(0, filter_state(text, "ONCE"))
        mesh = Mesh(self.proxy.text())
        mesh.upstream(BACK)
        clients = [mesh.connect(FRONT) for _ in range(3)]
        ports = [str(each.transport.getHost().port) for each in clients]
        for each in clients:
            each.transport.abortConnection()
        mesh.pump()
        told = {record.split()[6] for record in mesh.logged("/third")}
        self.assertEqual(set(ports), told & set(ports))

    def test_original_dst(self) -> None:
        """The listener filter original_dst goes by what was passed on: filter state, or else
        metadata.
        """
        self.proxy.to_inner["transport_socket"] = internal_upstream(("cluster", ORIGINAL_DST))
        self.proxy.to_inner["metadata"] = {
            "filter_metadata": {ORIGINAL_DST: {"local": "1.1.1.1:1"}}
        }
        kind = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
        self.proxy.inner["listener_filters"] = [
            {"name": "original_dst", "typed_config": {"@type": kind}}
        ]
        self.told()
        self.assertIn(
            "envoy://internal_client_address/ 1.1.1.1:1 [] ", self.mesh.logged("/third")[0]
        )
        filters = self.proxy.outer["filter_chains"][0]["filters"]
        for end, value in (("local", "2.2.2.2:2"), ("remote", "[::3]:3")):
            filters.insert(0, filter_state(value, "ONCE", f"{ORIGINAL_DST}.{end}_ip"))
        self.told()
        self.assertIn("[::3]:3 2.2.2.2:2 [] ", self.mesh.logged("/third")[0])

    def test_original_dst_without(self) -> None:
        """What is no address restores nothing."""
        self.proxy.to_inner["transport_socket"] = internal_upstream(("cluster", ORIGINAL_DST))
        kind = "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
        self.proxy.inner["listener_filters"] = [
            {"name": "original_dst", "typed_config": {"@type": kind}}
        ]
        for value in ("nonsense", 3):
            metadata = {"filter_metadata": {ORIGINAL_DST: {"local": value}}}
            self.proxy.to_inner["metadata"] = metadata
            self.told()
            self.assertIn(" envoy://inner/ ", self.mesh.logged("/third")[0])
