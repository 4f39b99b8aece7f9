"""A whole mesh in one process and without sockets: listeners and clusters of a bootstrap, on a
memory network with a clock.

What a configuration does can so be tested as a user wrote it, in milliseconds and the same way
every time::

    mesh = Mesh(CONFIG)
    mesh.upstream("127.0.0.1:8080", Named("a"))
    client = mesh.connect("127.0.0.1:10000")
    assert client.received == b"a"

The configuration is judged as `twistd tcpmesh` judges it.  Time passes only in `advance`.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.config.load import load
from tcpmesh.server.assembly import DEFAULT_OPTIONS, assemble, assemble_main
from tcpmesh.server.link.link import ILink, default_link
from tcpmesh.server.workers.workers import Workers
from tcpmesh.stats.settings import stats_store
from tcpmesh.stats.store import Store
from tcpmesh.testing.access_logs import MemoryAccessLogs
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.worker_in_memory import WorkerInMemory
from tcpmesh.values.address import PATHS, Address
from tcpmesh.values.server_options import ServerOptions


def address_of(text: str) -> Address:
    """The address that `127.0.0.1:80`, `[::1]:80` or the path of a unix socket means."""
    if text.startswith(PATHS):
        return Address(text)
    host, _, port = text.rpartition(":")
    return Address(host.strip("[]"), int(port))


def values_of(store: Store) -> dict[str, int]:
    """All counters and gauges by name, as of now."""
    store.collect()
    values = {counter.name: counter.tally for counter in store.counters()}
    return {**values, **{gauge.name: gauge.tally for gauge in store.gauges()}}


class Mesh:
    """The proxy that a bootstrap, in YAML, describes; its listeners are open."""

    def __init__(
        self,
        bootstrap: str,
        network: MemoryNetwork | None = None,
        seed: int = 1,
        start: bool = True,
        link: ILink | None = None,
        options: ServerOptions = DEFAULT_OPTIONS,
        workers: int = 1,
    ) -> None:
        """`network` where others are to be on it too, or its buffers are to be small; `seed` for
        what is chosen at random.

        `link` joins main and the worker, where it is not to be the one of the environment.
        Without `start` the listeners stay closed until `listeners.start()`.  `options` is the
        command line.  With several `workers` main tells each as bytes what it would tell a process.

        :raise tcpmesh.config.text.problems.ConfigError: where the bootstrap is wrong.
        :raise tcpmesh.net.listen.BindError: where two listeners want one address.
        """
        self.bootstrap = load(config_yaml=bootstrap).bootstrap
        self.network = network if network is not None else MemoryNetwork()
        self.store = stats_store(self.bootstrap.stats_config)
        node = self.bootstrap.node
        self.link = link if link is not None else default_link()
        self._access_logs: list[MemoryAccessLogs] = []
        self._seed = seed
        self.workers: list[WorkerInMemory] = []
        """The workers, where there are several."""
        self._all: Workers | None = None
        if workers == 1:
            self.main, self.worker = assemble(
                self.bootstrap,
                node,
                self.network,
                self.store,
                link=self.link,
                seed=seed,
                options=options,
                make_access_logs=self._make_access_logs,
            )
        else:
            self._assemble(node, options, workers)
        self.clusters = self.main.clusters
        self.listeners = self.main.listeners
        self.main.build()
        if start:
            self.listeners.start()

    def _assemble(self, node: Any, options: ServerOptions, workers: int) -> None:
        self.main, self._all = assemble_main(
            self.bootstrap,
            node,
            self.network,
            self.store,
            workers,
            seed=self._seed,
            options=options,
            make_access_logs=self._make_access_logs,
        )
        self.workers += (self.new_worker(index) for index in range(workers))
        self.worker = self.workers[0].worker

    def new_worker(self, index: int) -> WorkerInMemory:
        """A worker of several, that joins the others."""
        assert self._all is not None
        seed = self._seed + index
        return WorkerInMemory(index, self._all, self.network, self._make_access_logs, seed)

    def replace_worker(self, index: int) -> None:
        """Another worker joins in place of one that has died."""
        self.workers[index] = self.new_worker(index)
        self.network.pump()

    def cluster(self, name: str) -> Cluster | None:
        """The cluster that a client is served by now; of several workers, the first one's."""
        return self.worker.clusters.get(name)

    # Who is around it

    def upstream(self, address: str, factory: Any = None) -> Any:
        """Let a server factory, a `Server` if not given, listen at an address, as an upstream; the
        factory.
        """
        factory = factory if factory is not None else Server()
        self.network.listen(self.network.bind(address_of(address)), factory)
        return factory

    def dial(self, address: str, protocol: Any = None) -> Client:
        """Begin to connect a client, a `RecordingProtocol` if not given; nothing has happened
        yet.
        """
        factory = Client(protocol if protocol is not None else RecordingProtocol())
        self.network.connect(address_of(address), factory, 10.0)
        return factory

    def connect(self, address: str, protocol: Any = None) -> Any:
        """Connect a client, a `RecordingProtocol` if not given, and let all happen that follows at
        once; the client.

        :raise twisted.internet.error.ConnectError: where nobody listens.
        """
        factory = self.dial(address, protocol)
        self.network.pump()
        if factory.failure is not None:
            factory.failure.raiseException()
        return factory.given

    def pump(self) -> None:
        """Let all happen that can happen now."""
        self.network.pump()

    def advance(self, seconds: float) -> None:
        """Let time pass, and what comes with it happen."""
        self.network.advance(seconds)

    # What it logs and counts

    def _make_access_logs(self, *args: Any) -> MemoryAccessLogs:
        made = MemoryAccessLogs(*args)
        self._access_logs.append(made)
        return made

    def logged(self, path: str) -> list[str]:
        """The records of an access log, which are kept in memory."""
        found = [each.files[path].records for each in self._access_logs if path in each.files]
        return [record for records in found for record in records]

    def stats(self, prefix: str = "") -> dict[str, int]:
        """Counters and gauges by what follows the prefix in their names: without one, all by their
        full names.
        """
        self._ask()
        return {
            name[len(prefix) :]: value
            for name, value in values_of(self.store).items()
            if name.startswith(prefix)
        }

    def _ask(self) -> None:
        """Have several workers tell what they have counted."""
        if self.workers:
            self.main.numbers()
            self.network.pump()

    def stat(self, name: str) -> int:
        """The value of a counter or gauge as of now."""
        return self.stats()[name]

    def moved(self, prefix: str) -> dict[str, int]:
        """As `stats`, without those that are 0."""
        return {name: value for name, value in self.stats(prefix).items() if value}

    def times(self, name: str) -> tuple[int, float]:
        """How many values a histogram has, and their sum."""
        self._ask()
        self.store.collect()
        self.store.merge_histograms()
        found = next(each for each in self.store.histograms() if each.name == name)
        return found.cumulative.count, round(found.cumulative.sum, 3)
