"""The statsd sink, over datagrams and over connections of a cluster, and its two dialects."""

from __future__ import annotations

import os
import socket
from typing import Any

from envoy.config.metrics.v3.stats_pb2 import DogStatsdSink, StatsdSink
from envoy.extensions.stat_sinks.graphite_statsd.v3.graphite_statsd_pb2 import GraphiteStatsdSink
from zope.interface.verify import verifyObject

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.stat_sinks import statsd
from tcpmesh.interfaces import IStatsSink
from tcpmesh.registry import MainContext, build
from tcpmesh.stats.store import Store
from tcpmesh.testing.harness import Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tests.mesh import parse
from tests.stats.test_snapshot import snapshot_of
from tests.test_registry import packed
from tests.told import told_in

SERVER = Address("127.0.0.2", 8125)


class Cluster:
    """A cluster of one host, or of none."""

    connect_timeout = 5.0

    def __init__(self, network: MemoryNetwork) -> None:
        self.host: Address | None = SERVER
        self.dialer = self
        self._network = network

    def pick(self, context: None) -> Address | None:
        return self.host

    def connect(self, host: Address, factory: Any, timeout: float, another: object) -> Any:
        return self._network.connect(host, factory, timeout)


class SinkTestCase(SynchronousTestCase):
    """A test with a store that has one counter."""

    def setUp(self) -> None:
        """Nothing is counted yet."""
        self.store = Store()
        self.network = MemoryNetwork(MemoryReactorClock())
        self.cluster: Any = Cluster(self.network)
        self.context = MainContext(self.network, self.store, cluster=self.find)
        self.counter = self.store.counter("cluster.c.total")

    def find(self, name: str) -> Any:
        """The only cluster."""
        return self.cluster if name == "sd" else None

    def sink(self, kind: Any, text: str) -> Any:
        """A sink of this type, from YAML, closed at the end."""
        made = build(packed(parse(kind, text)), self.context)
        self.addCleanup(made.close)
        verifyObject(IStatsSink, made)
        return made

    def flush(self, sink: Any, growth: int = 1) -> None:
        """Count so much, and flush."""
        self.counter.tally += growth
        for _ in sink.flush(snapshot_of(self.store)):
            pass
        self.network.pump()


class DatagramTests(SinkTestCase):
    """All three, to an address."""

    def received(self, kind: Any, more: str = "") -> bytes:
        """The datagram of a flush of one counter."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(5)
            port = server.getsockname()[1]
            address = f"{{protocol: UDP, address: 127.0.0.1, port_value: {port}}}"
            self.flush(self.sink(kind, f"{{address: {{socket_address: {address}}}{more}}}"), 3)
            return server.recv(1000)

    def test_statsd(self) -> None:
        """statsd is sent full names, behind `envoy` where there is no other prefix."""
        self.assertEqual(b"envoy.cluster.c.total:3|c", self.received(StatsdSink))
        self.assertEqual(b"p.cluster.c.total:3|c", self.received(StatsdSink, ", prefix: p"))

    def test_dog_statsd(self) -> None:
        """dog_statsd is sent tags at the end of a line."""
        self.assertEqual(
            b"envoy.cluster.total:3|c|#envoy.cluster_name:c",
            self.received(DogStatsdSink, ", max_bytes_per_datagram: 512"),
        )

    def test_graphite(self) -> None:
        """graphite_statsd is sent tags behind the name."""
        self.assertEqual(
            b"g.cluster.total;envoy.cluster_name=c:3|c",
            self.received(GraphiteStatsdSink, ", prefix: g"),
        )

    def test_closed(self) -> None:
        """Each lets go of its socket at the end."""
        address = "{address: {socket_address: {address: 127.0.0.1, port_value: 9}}}"
        for kind in (StatsdSink, DogStatsdSink, GraphiteStatsdSink):
            before = os.listdir("/proc/self/fd")
            sink = self.sink(kind, address)
            self.flush(sink)
            self.assertNotEqual(before, os.listdir("/proc/self/fd"))
            sink.close()
            self.assertEqual(before, os.listdir("/proc/self/fd"))


class ConnectionTests(SinkTestCase):
    """statsd over TCP."""

    def setUp(self) -> None:
        """A server that keeps what it gets, and a sink."""
        super().setUp()
        self.server = Server()
        self.port = self.network.listen(self.network.bind(SERVER), self.server)
        self.tcp = self.sink(StatsdSink, "{tcp_cluster_name: sd}")

    def lost(self) -> tuple[int, int]:
        """What could not be sent, for each of the two reasons."""
        values = values_of(self.store)
        return values["statsd.cx_overflow"], values.get("statsd.cx_unavailable", 0)

    def test_lines(self) -> None:
        """One connection has the lines of all flushes, each with a line end."""
        self.flush(self.tcp, 2)
        self.flush(self.tcp, 3)
        (client,) = self.server.built
        self.assertEqual(b"envoy.cluster.c.total:2|c\nenvoy.cluster.c.total:3|c\n", client.received)
        self.assertEqual((0, 0), self.lost())

    def test_close(self) -> None:
        """At the end the server has all, and the connection is closed."""
        self.flush(self.tcp)
        self.tcp.close()
        self.network.pump()
        self.assertEqual(b"envoy.cluster.c.total:1|c\n", self.server.built[0].received)
        self.assertTrue(self.server.built[0].ended)

    def test_reconnects(self) -> None:
        """A connection that is lost is replaced at the next flush."""
        self.flush(self.tcp)
        self.server.built[0].transport.abortConnection()
        self.network.pump()
        self.flush(self.tcp, 5)
        self.assertEqual(b"envoy.cluster.c.total:5|c\n", self.server.built[1].received)

    def test_no_host(self) -> None:
        """While there is nobody to send to nothing is kept, and it is counted."""
        self.cluster.host = None
        self.flush(self.tcp)
        self.assertEqual((0, 1), self.lost())

    def test_no_cluster(self) -> None:
        """The same where the cluster is gone."""
        sink = self.sink(StatsdSink, "{tcp_cluster_name: other}")
        self.flush(sink)
        self.assertEqual((0, 1), self.lost())

    def test_refused(self) -> None:
        """A server that is down costs what was to be sent, each time, and is tried again; the log
        says once that it is lost.
        """
        told = told_in(self, "stats")
        self.port.stopListening()
        for _ in range(2):
            self.flush(self.tcp)
        self.assertEqual((0, 2), self.lost())
        (lost,) = told.lines
        self.assertIn("statsd of cluster 'sd' is lost: Connection was refused", lost)
        self.network.listen(self.network.bind(SERVER), self.server)
        self.flush(self.tcp, 7)
        self.assertIn(b"envoy.cluster.c.total:7|c\n", self.server.built[0].received)

    def test_slow(self) -> None:
        """For a server that takes nothing a bounded number of bytes waits; the rest is counted."""
        self.patch(statsd, "BUFFERED_LIMIT", 60)
        self.cluster.connect = lambda *arguments: None
        for _ in range(5):
            self.flush(self.tcp)
        self.assertEqual((3, 0), self.lost())

    def test_never_connected(self) -> None:
        """A connection that is still being made at the end is given up."""
        self.flush(self.tcp)
        sink = self.sink(StatsdSink, "{tcp_cluster_name: sd}")
        self.counter.tally += 1
        for _ in sink.flush(snapshot_of(self.store)):
            pass
        sink.close()
        self.network.pump()
        self.assertEqual(1, len(self.server.built))
