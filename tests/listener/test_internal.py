"""Internal listeners: who comes to them, what is known of him, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.harness import pattern
from tcpmesh.testing.mesh import Mesh
from tests.internal_listeners import BACK, FRONT, Proxy, cluster, internal, tcp_proxy

ROOT = Path(__file__).resolve().parents[2]
CLIENT = "envoy://internal_client_address/"
REFUSED = "immediate_connect_error:_Invalid_argument|remote_address:"


class InternalListenerTests(SynchronousTestCase):
    """A listener, an internal one behind it, and a host."""

    def setUp(self) -> None:
        """The configuration, which a test may change."""
        self.proxy = Proxy()

    def serve(self, workers: int = 1) -> Mesh:
        """The proxy, and the host behind it."""
        self.mesh = Mesh(self.proxy.text(), workers=workers)
        self.host = self.mesh.upstream(BACK)
        return self.mesh

    def ended(self, path: str) -> str:
        """The record of the one connection in a log, once its client has left."""
        (record,) = self.mesh.logged(path)
        return record.strip()

    def test_relayed(self) -> None:
        """Bytes and ends pass through both listeners, both ways, and each has its record."""
        client = self.serve().connect(FRONT)
        (host,) = self.host.built
        client.transport.write(pattern(0, 300_000))
        client.transport.loseWriteConnection()
        self.mesh.pump()
        host.transport.write(pattern(7, 300_000))
        host.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(pattern(0, 300_000), bytes(host.received))
        self.assertEqual(pattern(7, 300_000), bytes(client.received))
        self.assertTrue(client.ended)
        client.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(
            f"{CLIENT} envoy://inner/ [] 127.0.0.2:80 - - - - [] -", self.ended("/back")
        )
        port = client.transport.getHost().port
        self.assertEqual(
            f"127.0.0.1:{port} 127.0.0.1:1 [] envoy://inner/ - - - - [{port}] 0",
            self.ended("/inner"),
        )
        self.assertEqual(
            {
                "downstream_cx_total": 1,
                "downstream_cx_destroy": 1,
                "worker_0.downstream_cx_total": 1,
            },
            self.mesh.moved("listener.envoy_internal_inner."),
        )

    def test_endpoint_id(self) -> None:
        """The id of the endpoint that was connected to is in the local address, whole."""
        self.proxy.clusters[0] = cluster("inner", "inner/10.0.0.1:80")
        client = self.serve().connect(FRONT)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertIn(f"{CLIENT} envoy://inner/10.0.0.1:80 [10.0.0.1:80] ", self.ended("/back"))

    def test_shown(self) -> None:
        """Its address is the one that it has in Envoy, its statistics may have a prefix."""
        self.proxy.inner["stat_prefix"] = "mine"
        self.serve().connect(FRONT)
        statuses = self.mesh.main.listener_statuses()
        self.assertEqual(["127.0.0.1:1", "envoy://inner/"], [str(s.addresses[0]) for s in statuses])
        self.assertEqual(1, self.mesh.stat("listener.mine.downstream_cx_active"))

    def test_reset(self) -> None:
        """A reset of the host is one for the client, and one of the client's is one for the
        host.
        """
        client = self.serve().connect(FRONT)
        self.host.built[0].transport.abortConnection()
        self.mesh.pump()
        self.assertTrue(client.lost_to(ConnectionLost), client.reason)
        client = self.mesh.connect(FRONT)
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertTrue(self.host.built[1].lost_to(ConnectionLost), self.host.built[1].reason)

    def test_back_pressure(self) -> None:
        """A host that does not read stops the client, and no more is held than the marks and
        buffers have room for.
        """
        for each in self.proxy.listeners + self.proxy.clusters:
            each["per_connection_buffer_limit_bytes"] = 10_000
        extension = self.proxy.rest["bootstrap_extensions"][0]
        extension["typed_config"]["buffer_size_kb"] = 8
        client = self.serve().connect(FRONT)
        (host,) = self.host.built
        host.transport.pauseProducing()
        client.transport.write(pattern(0, 2_000_000))
        self.mesh.pump()
        self.assertLess(2_000_000 - client.transport.buffered, 600_000)
        host.transport.resumeProducing()
        self.mesh.pump()
        self.assertEqual(pattern(0, 2_000_000), bytes(host.received))

    def test_nobody_there(self) -> None:
        """A cluster whose listener is not there cannot be connected to (UF), as in Envoy."""
        self.proxy.clusters[0] = cluster("inner", "nobody")
        client = self.serve().connect(FRONT)
        self.assertTrue(client.ended)
        self.assertIn(f" UF,URX {REFUSED}envoy://nobody/ ", self.ended("/inner"))
        self.assertEqual(1, self.mesh.stat("cluster.inner.upstream_cx_connect_fail"))

    def test_without_extension(self) -> None:
        """Without the bootstrap extension there is no internal listener to connect to."""
        self.proxy.rest = {}
        self.proxy.listeners.remove(self.proxy.inner)
        self.serve().connect(FRONT)
        self.assertIn(f" UF,URX {REFUSED}envoy://inner/ ", self.ended("/inner"))

    def test_turned_away(self) -> None:
        """A client whom no filter chain is for was never connected."""
        self.proxy.inner["filter_chains"][0]["filter_chain_match"] = {"destination_port": 9}
        self.serve().connect(FRONT)
        self.assertIn(f" UF,URX {REFUSED}envoy://inner/ ", self.ended("/inner"))
        self.assertEqual(1, self.mesh.stat("listener.envoy_internal_inner.no_filter_chain_match"))

    def test_circle(self) -> None:
        """Who goes round in circles is stopped."""
        self.proxy.inner["filter_chains"] = [
            {"filters": [tcp_proxy("back")], "filter_chain_match": {"application_protocols": "a"}},
            {"filters": [tcp_proxy("inner")]},
        ]
        client = self.serve().connect(FRONT)
        self.assertTrue(client.ended)
        self.assertEqual(32, self.mesh.stat("cluster.inner.upstream_cx_total") - 1)
        records = self.mesh.logged("/inner")
        self.assertEqual(1, sum("Too_many_levels_of_symbolic_links" in each for each in records))

    def test_limit(self) -> None:
        """A limit of connections is none of an internal listener's, as in Envoy."""
        values = {"envoy.resource_limits.listener.inner.connection_limit": 0}
        layers = [{"name": "static", "static_layer": values}]
        self.proxy.rest["layered_runtime"] = {"layers": layers}
        client = self.serve().connect(FRONT)
        self.assertFalse(client.ended)

    def test_several_workers(self) -> None:
        """Each of several workers has internal listeners of its own."""
        self.serve(workers=2)
        for _ in range(4):
            client = self.mesh.connect(FRONT)
            client.transport.write(b"x")
        self.mesh.pump()
        self.assertEqual([b"x"] * 4, [bytes(each.received) for each in self.host.built])
        self.assertEqual(4, self.mesh.stat("listener.envoy_internal_inner.downstream_cx_active"))

    def test_replaced(self) -> None:
        """A listener that is replaced gets no more clients, and its own stay for the drain time."""
        before = self.serve().connect(FRONT)
        other = Proxy()
        other.inner = internal("inner", tcp_proxy("back"), stat_prefix="new")
        other.listeners[1] = other.inner
        message = Mesh(other.text(), start=False).bootstrap.static_resources.listeners[1]
        self.mesh.listeners.add_or_update(message)
        after = self.mesh.connect(FRONT)
        for each in (before, after):
            each.transport.write(b"here")
        self.mesh.pump()
        self.assertEqual([b"here"] * 2, [bytes(each.received) for each in self.host.built])
        self.assertEqual(1, self.mesh.stat("listener.new.downstream_cx_active"))
        self.mesh.advance(600)
        self.assertEqual((True, False), (before.ended, after.ended))

    def test_removed(self) -> None:
        """A listener that is removed can be connected to no more, but again once it is back."""
        self.serve()
        message = self.mesh.bootstrap.static_resources.listeners[1]
        self.mesh.listeners.remove("inner")
        self.assertTrue(self.mesh.connect(FRONT).ended)
        self.mesh.listeners.add_or_update(message)
        self.assertFalse(self.mesh.connect(FRONT).ended)

    def test_example(self) -> None:
        """configs/internal-listeners.yaml: the inner listener knows and logs who the client is."""
        mesh = Mesh((ROOT / "configs" / "internal-listeners.yaml").read_text())
        mesh.upstream("127.0.0.1:8080")
        client = mesh.connect("127.0.0.1:10000")
        client.transport.abortConnection()
        mesh.pump()
        port = client.transport.getHost().port
        self.assertEqual(
            [f"127.0.0.1:{port} by envoy://limited/front to 127.0.0.1:8080"],
            [record.strip() for record in mesh.logged("/dev/stdout")],
        )

    def test_stop(self) -> None:
        """A proxy that stops ends what is relayed, and nothing is left."""
        client = self.serve().connect(FRONT)
        stopped = self.mesh.main.stop()
        self.mesh.pump()
        self.successResultOf(stopped)
        self.assertTrue(client.ended and self.host.built[0].ended)
