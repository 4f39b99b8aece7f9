"""The mesh in one process: a configuration, tried without sockets."""

from __future__ import annotations

from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.testing.harness import pattern
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import Mesh
from tcpmesh.testing.upstreams import Echo, Named

CONFIG = """
static_resources:
  listeners:
  - name: l
    address: { socket_address: { address: 0.0.0.0, port_value: 10000 } }
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: t
          cluster: c
          idle_timeout: 8s
  clusters:
  - name: c
    connect_timeout: 0.25s
    type: STATIC
    load_assignment:
      cluster_name: c
      endpoints:
      - lb_endpoints:
        - { endpoint: { address: { socket_address: { address: 127.0.0.2, port_value: 80 } } } }
        - { endpoint: { address: { socket_address: { address: "::1", port_value: 80 } } } }
"""


class MeshTests(SynchronousTestCase):
    """One proxy, two upstreams."""

    def test_round_robin(self) -> None:
        """Clients are given to the upstreams in turn, and counted."""
        mesh = Mesh(CONFIG)
        mesh.upstream("127.0.0.2:80", Named("a"))
        mesh.upstream("[::1]:80", Named("b"))
        said = [bytes(mesh.connect("127.0.0.1:10000").received) for _ in range(4)]
        self.assertEqual([b"a", b"b"] * 2, said if said[0] == b"a" else said[1:] + said[:1])
        self.assertEqual(4, mesh.stats()["tcp.t.downstream_cx_total"])

    def test_time(self) -> None:
        """Time passes when told: an idle connection lives until its timeout, and an eighth more at
        most.
        """
        mesh = Mesh(CONFIG)
        for address in ("127.0.0.2:80", "[::1]:80"):
            mesh.upstream(address, Echo())
        client = mesh.connect("127.0.0.1:10000")
        for _ in range(7):
            mesh.advance(1)
        self.assertFalse(client.ended)
        for _ in range(2):
            mesh.advance(1)
        self.assertTrue(client.ended)
        self.assertEqual(1, mesh.stats()["tcp.t.idle_timeout"])

    def test_network_of_ones_own(self) -> None:
        """A network with tiny buffers carries the same bytes."""
        mesh = Mesh(CONFIG, MemoryNetwork(capacity=100, chunk=70))
        for address in ("127.0.0.2:80", "[::1]:80"):
            mesh.upstream(address, Echo())
        client = mesh.connect("127.0.0.1:10000")
        client.transport.write(pattern(0, 20_000))
        client.transport.loseWriteConnection()
        mesh.pump()
        self.assertTrue(client.received == pattern(0, 20_000))
        self.assertTrue(client.ended)

    def test_nobody_listens(self) -> None:
        """Connecting where nobody listens is refused."""
        self.assertRaises(ConnectionRefusedError, Mesh(CONFIG).connect, "127.0.0.1:9")

    def test_wrong_configuration(self) -> None:
        """A configuration with a mistake is refused with its place."""
        error = self.assertRaises(ConfigError, Mesh, CONFIG.replace("idle_timeout", "idle_time"))
        self.assertIn("idle_time", str(error))
