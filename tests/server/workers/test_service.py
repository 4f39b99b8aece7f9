"""A server with several workers, from its start to its end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from errno import EFBIG
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.logs.levels import Levels
from tcpmesh.server import stats
from tcpmesh.server.service import CannotStart, Server
from tcpmesh.server.workers.interface import IWorkers
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.harness import Client
from tcpmesh.testing.harness import Server as Upstream
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import address_of, values_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.worker_in_memory import WorkerInMemory
from tcpmesh.values.server_options import ServerOptions
from tests.mesh import FRONT, cluster_message, listener_message, tcp_proxy
from tests.server.test_service import HOST, bootstrap


class InMemory:
    """An `IWorkerProcesses` without processes."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self.workers: list[WorkerInMemory] = []
        self.stopped: Deferred[None] = Deferred()
        self.is_stopping = self.is_retired = False

    def prepare(self, clock: Any) -> None:
        """There is nothing to prepare."""

    def start(self, workers: IWorkers, store: Store) -> None:
        """All join at once."""
        for index in range(workers.count):
            self.workers.append(WorkerInMemory(index, workers, self._network, MemoryAccessLogs))

    def retire(self) -> None:
        """Note it."""
        self.is_retired = True

    def pids(self) -> list[int]:
        """Two that there are not."""
        return [1 << 30, (1 << 30) + 1]

    def stop(self) -> Deferred[None]:
        """Fires when a test says so."""
        self.is_stopping = True
        return self.stopped


class SeveralTests(SynchronousTestCase):
    """Three workers."""

    def setUp(self) -> None:
        """A listener before one host."""
        self.reactor: Any = MemoryReactorClock()
        self.network = MemoryNetwork(self.reactor)
        self.upstream = Upstream()
        self.network.listen(self.network.bind(address_of(HOST)), self.upstream)
        self.processes = InMemory(self.network)
        message = bootstrap(listener_message("l", FRONT, tcp_proxy()))
        self.server = Server(
            self.reactor,
            message,
            ServerOptions(concurrency=3),
            Levels("info", {}),
            self.network,
            processes=self.processes,
        )

    def start(self) -> None:
        """What twistd does."""
        self.server.privilegedStartService()
        self.server.startService()
        self.network.pump()
        self.reactor.running = True

    def connect(self) -> RecordingProtocol:
        """A client."""
        client = RecordingProtocol()
        self.network.connect(address_of(FRONT), Client(client), 10.0)
        self.network.pump()
        return client

    def values(self) -> dict[str, int]:
        """All counters and gauges, once workers have told theirs."""
        self.server.numbers()
        self.network.pump()
        return values_of(self.server.store)

    def test_no_memory_to_share(self) -> None:
        """Where the system has no memory for counts, as with a limit for the size of files, that is
        one line, and no descriptor is left.
        """

        def too_large(fd: int, size: int) -> None:
            raise OSError(EFBIG, "File too large")

        before = len(os.listdir("/proc/self/fd"))
        self.patch(os, "ftruncate", too_large)
        error = self.assertRaises(CannotStart, self.server.privilegedStartService)
        self.assertEqual("there can be no memory that workers share: File too large", str(error))
        self.assertTrue(self.processes.is_stopping)
        self.assertEqual(before, len(os.listdir("/proc/self/fd")))

    def test_serves(self) -> None:
        """Addresses are bound before workers are there, clients are accepted once these are ready,
        and all workers serve.
        """
        self.server.privilegedStartService()
        self.assertEqual([], self.processes.workers)
        self.server.startService()
        self.network.pump()
        self.assertEqual("LIVE", self.server.state)
        clients = [self.connect() for _ in range(6)]
        self.assertEqual([False] * 6, [client.ended for client in clients])
        values = self.values()
        prefix = "listener.127.0.0.1_1.worker_"
        self.assertEqual([2] * 3, [values[f"{prefix}{n}.downstream_cx_total"] for n in range(3)])
        self.assertEqual(3, values["server.concurrency"])
        watchdogs = [name for name in values if name.endswith(".watchdog_miss")]
        self.assertIn("server.worker_2.watchdog_miss", watchdogs)

    def test_memory(self) -> None:
        """The memory of all processes is shown and counts for the overload manager."""
        asked: list[Sequence[int]] = []

        def used(pids: Sequence[int]) -> int:
            asked.append(pids)
            return 1234

        self.patch(stats, "used_bytes", used)
        self.start()
        assert self.server._proxy is not None
        pids = [os.getpid(), *self.processes.pids()]
        self.assertEqual(pids, asked[-1])
        self.assertEqual(pids, self.server.main.context.processes())
        self.assertEqual(1234, self.values()["server.memory_allocated"])

    def test_flush(self) -> None:
        """At a flush workers are asked first, so what is shown of the process is of that moment."""
        self.start()
        self.connect()
        self.network.advance(5)
        values = values_of(self.server.store)
        self.assertEqual(1, values["server.total_connections"])
        self.assertEqual(1, values["listener.127.0.0.1_1.downstream_cx_total"])

    def test_one_is_enough(self) -> None:
        """With --concurrency 1 nothing is started, and one worker serves in this process."""
        message = bootstrap(listener_message("l", FRONT, tcp_proxy()))
        server = Server(
            self.reactor,
            message,
            ServerOptions(concurrency=1),
            Levels("info", {}),
            self.network,
            processes=self.processes,
        )
        server.privilegedStartService()
        server.startService()
        self.assertEqual([], self.processes.workers)
        self.assertFalse(self.connect().ended)

    def test_stop(self) -> None:
        """It has stopped when all clients are gone and no worker is left."""
        self.start()
        client = self.connect()
        stopped = self.server.stopService()
        self.network.pump()
        self.assertTrue(client.ended)
        self.assertTrue(all(each.is_closed for each in self.processes.workers))
        self.assertTrue(self.processes.is_stopping)
        self.assertNoResult(stopped)
        self.processes.stopped.callback(None)
        self.network.pump()
        self.successResultOf(stopped)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_counted_at_the_end(self) -> None:
        """How clients end when all stops is counted too, before it is over."""
        self.start()
        for _ in range(4):
            self.connect()
        self.processes.stopped.callback(None)
        self.server.store.deltas()
        stopped = self.server.stopService()
        self.network.pump()
        self.successResultOf(stopped)
        counted = self.server.store.deltas().counters
        self.assertEqual(4, counted["listener.127.0.0.1_1.downstream_cx_destroy"])

    def test_cannot_start(self) -> None:
        """An address that is in use is said before any worker is started."""
        self.network.bind(address_of(FRONT))
        self.assertRaises(CannotStart, self.server.privilegedStartService)
        self.processes.stopped.callback(None)
        self.assertEqual([], self.processes.workers)

    def test_graceful_count(self) -> None:
        """Clients are counted anew in all workers."""
        self.start()
        for _ in range(4):
            self.connect()
        counted = self.server.count_connections()
        self.network.pump()
        self.assertEqual(4, self.successResultOf(counted))

    def test_changes(self) -> None:
        """What is added while it runs is served by all workers."""
        self.start()
        assert self.server._proxy is not None
        main = self.server._proxy.main
        main.clusters.add_or_update(cluster_message("d", [HOST]))
        main.listeners.add_or_update(listener_message("m", "127.0.0.1:2", tcp_proxy("cluster: d")))
        self.assertEqual(3, len(self.network.ports[address_of("127.0.0.1:2")]))
