"""sni_cluster: the name that a client asks for is that of its cluster."""

from __future__ import annotations

from tests.extensions.filters.network.filtered import (
    FilteredTestCase,
    cluster,
    listener_filter,
    network_filter,
    tcp_proxy,
)
from tests.listener.test_sni_router import hello

HOSTS = {"one.test": "127.0.0.3:80", "two.test": "127.0.0.4:80"}


class ClusterTests(FilteredTestCase):
    """A proxy with a cluster for each name, and one for all others."""

    def served(self, first: bytes) -> list[str]:
        """The clusters that a client which begins so is served by."""
        self.serve(
            network_filter("sni_cluster.v3.SniCluster"),
            tcp_proxy("%UPSTREAM_CLUSTER%"),
            listener={"listener_filters": [listener_filter("tls_inspector.v3.TlsInspector")]},
            clusters=tuple(cluster(name, address) for name, address in HOSTS.items()),
        )
        servers = {name: self.mesh.upstream(address) for name, address in HOSTS.items()}
        self.say(self.connect(), first)
        return [name for name, server in {"c": self.host, **servers}.items() if server.built]

    def test_name(self) -> None:
        """A client goes to the cluster of the name it asks for, however that is written."""
        self.assertEqual(["one.test"], self.served(hello("one.test")))
        self.assertEqual(["two.test"], self.served(hello("TWO.Test")))

    def test_no_name(self) -> None:
        """One that asks for none, or speaks something else, goes where tcp_proxy says."""
        self.assertEqual(["c"], self.served(hello(None)))
        self.assertEqual(["c"], self.served(b"plain text"))

    def test_unknown_name(self) -> None:
        """Where no cluster has that name the client is closed."""
        self.assertEqual([], self.served(hello("three.test")))
        self.assertEqual(1, self.mesh.stat("tcp.t.downstream_cx_no_route"))
