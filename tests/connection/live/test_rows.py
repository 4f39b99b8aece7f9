"""A connection as a row, in each phase of its life."""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.testing.mesh import Mesh
from tcpmesh.values.address import Address
from tcpmesh.values.stream.live import CloseQuery, CloseRow, ConnectionQuery, ConnectionRow
from tcpmesh.values.stream.tcp_facts import TcpFacts

Result = TypeVar("Result")

CONFIG = """
static_resources:
  listeners:
  - name: front
    address: {socket_address: {address: 127.0.0.1, port_value: 10000}}
    LISTENER
    filter_chains:
    - name: all
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: db
          PROXY
  clusters:
  - name: db
    connect_timeout: 3s
    load_assignment:
      cluster_name: db
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: 8080}}}
"""

INSPECTOR = """listener_filters:
    - name: tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector
"""

EARLY = "max_early_data_bytes: 100\n          upstream_connect_mode: ON_DOWNSTREAM_DATA"


def mesh_of(listener: str = "", proxy: str = "") -> Mesh:
    """A proxy with one listener and one cluster."""
    return Mesh(CONFIG.replace("LISTENER", listener).replace("PROXY", proxy))


def answer(mesh: Mesh, asked: Deferred[Result]) -> Result:
    """What comes of a question, which may take some turns."""
    found: list[Result] = []
    asked.addCallback(found.append)
    for _ in range(1000):
        if found:
            break
        mesh.advance(0)
    return found[0]


def rows(mesh: Mesh, **query: Any) -> tuple[ConnectionRow, ...]:
    """The connections that there are."""
    return answer(mesh, mesh.main.live.connections(ConnectionQuery(**query))).rows


def closes(mesh: Mesh, **query: Any) -> tuple[CloseRow, ...]:
    """The connections that have ended."""
    return answer(mesh, mesh.main.live.closes(CloseQuery(**query)))


class RowTests(SynchronousTestCase):
    """What is seen of a connection."""

    def test_relaying(self) -> None:
        """A relayed connection shows who is connected to what, and what has moved each way."""
        mesh = mesh_of()
        upstream = mesh.upstream("127.0.0.1:8080")
        client = mesh.connect("127.0.0.1:10000")
        client.transport.write(b"hello")
        upstream.built[0].transport.write(b"hi")
        mesh.pump()
        mesh.advance(4)
        (row,) = rows(mesh)
        self.assertEqual(
            (1, 0, "front", "all", "db", "127.0.0.1:8080", "relaying", 4.0),
            (
                *(row.id, row.worker, row.listener, row.filter_chain, row.cluster, row.host),
                *(row.phase, row.age),
            ),
        )
        self.assertEqual("127.0.0.1:10000", row.local)
        self.assertEqual(str(client.transport.getHost()), row.client)
        self.assertEqual(
            (5, 5, 2, 2),
            (row.received, row.upstream_sent, row.upstream_received, row.sent),
        )
        self.assertEqual((0, 0), (row.buffered, row.upstream_buffered))
        self.assertEqual((1.25, 0.5, 4.0), (row.received_rate, row.sent_rate, row.rate_over))

    def test_kernel(self) -> None:
        """Round-trip times and retransmits are those of both sockets; idle is since the last of
        both moved.
        """
        mesh = mesh_of()
        upstream = mesh.upstream("127.0.0.1:8080")
        client = mesh.connect("127.0.0.1:10000")
        client.transport.far.facts = TcpFacts(120, 3, 9.0)
        upstream.built[0].transport.far.facts = TcpFacts(70, 1, 2.5)
        (row,) = rows(mesh)
        self.assertEqual(
            (120, 3, 70, 1, 2.5),
            (
                *(row.rtt, row.retransmits, row.upstream_rtt, row.upstream_retransmits),
                row.idle,
            ),
        )

    def test_connecting(self) -> None:
        """A connection that waits for its host shows which one that is."""
        mesh = mesh_of()
        mesh.network.silent.add(Address("127.0.0.1", 8080))
        mesh.connect("127.0.0.1:10000")
        (row,) = rows(mesh)
        self.assertEqual(("connecting", "db", "127.0.0.1:8080"), (row.phase, row.cluster, row.host))
        self.assertIsNone(row.upstream_rtt)

    def test_early(self) -> None:
        """What a client has sent before its upstream is connected waits for the host."""
        mesh = mesh_of(proxy=EARLY)
        mesh.network.silent.add(Address("127.0.0.1", 8080))
        client = mesh.connect("127.0.0.1:10000")
        client.transport.write(b"hello")
        mesh.pump()
        (row,) = rows(mesh)
        self.assertEqual((5, 0, 5), (row.received, row.upstream_sent, row.upstream_buffered))

    def test_peeking(self) -> None:
        """A client that a listener filter looks at is shown too."""
        mesh = mesh_of(listener=INSPECTOR)
        mesh.connect("127.0.0.1:10000")
        (row,) = rows(mesh)
        self.assertEqual(
            ("peeking", "front", "", ""), (row.phase, row.listener, row.filter_chain, row.cluster)
        )

    def test_ended(self) -> None:
        """A connection that has ended is remembered with the reason in words, and shown as open no
        more.
        """
        mesh = mesh_of()
        upstream = mesh.upstream("127.0.0.1:8080")
        client = mesh.connect("127.0.0.1:10000")
        client.transport.write(b"hello")
        mesh.pump()
        mesh.advance(2)
        upstream.built[0].transport.abortConnection()
        mesh.pump()
        self.assertEqual((), rows(mesh))
        (row,) = closes(mesh)
        self.assertEqual(
            (1, "upstream", "UR", "upstream 127.0.0.1:8080 reset", 2.0, 5, 0),
            (row.id, row.by, row.flags, row.reason, row.duration, row.received, row.sent),
        )

    def test_unserved(self) -> None:
        """A client that no filter chain has had is remembered without a number."""
        mesh = mesh_of(listener=INSPECTOR)
        client = mesh.connect("127.0.0.1:10000")
        client.transport.abortConnection()
        mesh.pump()
        (row,) = closes(mesh)
        self.assertEqual((0, "downstream", ""), (row.id, row.by, row.cluster))
