"""A worker and main, joined: what each tells the other, and when."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.metrics.v3.stats_pb2 import StatsConfig

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.debug import debug_logger
from tcpmesh.registry import BrokenExtension, UnknownExtension
from tcpmesh.server.assembly import assemble
from tcpmesh.server.link.link import DirectLink
from tcpmesh.server.link.numbers import MainMessage, WorkerMessage
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.values.link import Begin, ClusterUsed, ConnectOutcome, Outcome
from tcpmesh.values.workers import connection_ids, worker_name
from tests.mesh import MeshTestCase, cluster_message, listener_message, parse, tcp_proxy

HOST = "127.0.0.2:80"


class RecordingLink(DirectLink):
    """Keeps what passes."""

    def __init__(self) -> None:
        self.told_worker: list[WorkerMessage] = []
        self.told_main: list[MainMessage] = []

    def to_worker(self, message: WorkerMessage, descriptors: Sequence[int] = ()) -> None:
        """Keep it, and hand it over."""
        self.told_worker.append(message)
        super().to_worker(message, descriptors)

    def to_main(self, message: MainMessage, descriptors: Sequence[int] = ()) -> None:
        """Keep it, and hand it over."""
        self.told_main.append(message)
        super().to_main(message, descriptors)

    def clear(self) -> None:
        """Begin anew."""
        self.told_worker.clear()
        self.told_main.clear()


class TrafficTests(SynchronousTestCase):
    """What is told while clients are served."""

    def setUp(self) -> None:
        """A listener before a cluster that detects outliers."""
        self.link = RecordingLink()
        self.mesh = Mesh("{}", link=self.link)
        more = "outlier_detection: {consecutive_5xx: 5}"
        self.mesh.clusters.add_or_update(cluster_message("c", [HOST], more))
        self.mesh.listeners.add_or_update(listener_message("l", "127.0.0.1:1", tcp_proxy()))
        self.mesh.upstream(HOST)
        self.link.clear()

    def connect(self, times: int = 1) -> None:
        """So many clients come and go."""
        for _ in range(times):
            client = self.mesh.connect("127.0.0.1:1")
            client.transport.loseConnection()
            self.mesh.pump()

    def test_success(self) -> None:
        """Only the first of all connections is told; those after it say nothing and ask nothing."""
        self.connect()
        self.assertEqual([ClusterUsed(1)], self.link.told_main)
        self.connect(20)
        self.assertEqual(([ClusterUsed(1)], []), (self.link.told_main, self.link.told_worker))

    def test_failures(self) -> None:
        """Each failure is told, and the first connection that is made after some."""
        self.connect()
        self.link.clear()
        self.mesh.network.refused.add(address_of(HOST))
        self.connect(2)
        self.mesh.network.refused.clear()
        self.connect(3)
        told = [Outcome.FAILED, Outcome.FAILED, Outcome.RECOVERED]
        self.assertEqual([ConnectOutcome(1, 1, each) for each in told], self.link.told_main)


class BeginTests(SynchronousTestCase):
    """How a worker begins."""

    def test_begin(self) -> None:
        """It is told its number, the node, and what of the bootstrap concerns all clusters."""
        text = (
            "cluster_manager: {local_cluster_name: me, "
            "upstream_bind_config: {source_address: {address: 127.0.0.9, port_value: 0}}}"
        )
        bootstrap = parse(bootstrap_pb2.Bootstrap, text)
        node = Node(id="n")
        main, worker = assemble(bootstrap, node, MemoryNetwork(), Store())
        config = bootstrap.cluster_manager.upstream_bind_config
        self.assertEqual(Begin(3, node, "me", config, StatsConfig()), main.begin(3))
        context = worker.context
        self.assertEqual(
            ("me", config, node), (context.local_cluster, context.bind_config, context.node)
        )

    def test_names(self) -> None:
        """Workers are told apart in statistics, and number their connections apart."""
        self.assertEqual("worker_2", worker_name(2))
        ids = [list(islice(connection_ids(index), 2)) for index in range(2)]
        self.assertEqual([[1, 3], [(1 << 48) + 1, (1 << 48) + 3]], ids)

    def test_generations(self) -> None:
        """Those of a process that has taken over are others, and larger, as long as the row is
        short; all are whole numbers for JavaScript too.
        """
        first, second = (next(connection_ids(1, generation)) for generation in (1, 2))
        self.assertLess(first + (1 << 39), second)
        self.assertLess(next(connection_ids(31, 256)), 1 << 53)
        self.assertEqual(first, next(connection_ids(1, 257)))

    def test_log_levels(self) -> None:
        """It writes debug events of the loggers that main says."""
        mesh = Mesh("{}")
        before = {"connection": "info", "upstream": "info"}
        self.addCleanup(mesh.main.set_log_levels, before, "info")
        mesh.main.set_log_levels({"connection": "debug", "upstream": "info"}, "info")
        enabled = [debug_logger(name).enabled for name in ("connection", "upstream")]
        self.assertEqual([True, False], enabled)


class RefusalTests(MeshTestCase):
    """What a worker cannot build."""

    UNKNOWN = '[{name: x, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty}}]'

    def test_listener(self) -> None:
        """A listener with a filter that nobody knows is an error that names it; what was there
        stays, and nothing is left of the other.
        """
        self.mesh.add_listener("l", "127.0.0.1:1", "[]")
        self.mesh.listeners.start()
        before = self.mesh.stats("listener_manager.")
        for name in ("l", "other"):
            failure = self.assertRaises(
                UnknownExtension, self.mesh.add_listener, name, "127.0.0.1:2", self.UNKNOWN
            )
            self.assertIn("google.protobuf.Empty", str(failure))
        self.assertEqual(before, self.mesh.stats("listener_manager."))
        self.assertEqual({}, self.mesh.stats("listener.127.0.0.1_2."))
        self.mesh.connect("127.0.0.1:1")

    def test_broken(self) -> None:
        """An extension of another package that fails is an error that says so, in a cluster as in a
        listener.
        """

        def fail(*arguments: Any) -> None:
            raise BrokenExtension("its own trouble")

        from tcpmesh.cluster import cluster
        from tcpmesh.listener import filter_chains

        self.patch(cluster, "balancer", fail)
        self.patch(filter_chains, "ChainFilters", fail)
        for add in (
            lambda: self.mesh.add_cluster("c", HOST),
            lambda: self.mesh.add_listener("l", "127.0.0.1:1", "[]"),
        ):
            self.assertEqual("its own trouble", str(self.assertRaises(BrokenExtension, add)))
        self.assertEqual({}, self.mesh.stats("cluster.c."))
