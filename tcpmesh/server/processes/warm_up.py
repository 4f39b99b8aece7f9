"""What the fork server does once for all workers: it builds a worker that serves nobody, and throws
it away, several times.

Python writes to what it executes: it counts how often code runs and rewrites it for the kinds of
values that it meets, and it keeps what it has looked up.  Each page that is written to after a fork
is a page more for each worker.  What is done here before is shared: two megabytes of each.
"""

from __future__ import annotations

from random import Random

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import Node
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from tcpmesh.logs.pattern import DEFAULT_PATTERN, Record, line_of
from tcpmesh.server.link.frames import TO_MAIN, TO_WORKER
from tcpmesh.server.link.numbers import MainMessage
from tcpmesh.server.worker import Worker, worker_store
from tcpmesh.server.workers.no_network import NoNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HostSpec
from tcpmesh.values.link import (
    AddCluster,
    AddListener,
    AskNumbers,
    Begin,
    Hosts,
    Prepare,
    Rebalance,
    ServeCluster,
    Start,
    Stop,
)

TIMES = 10
"""So often Python wants to see code before it rewrites it, and a little more."""


def warm_up() -> None:
    """Do it."""
    line = line_of(DEFAULT_PATTERN)
    for _ in range(TIMES):
        line(Record("warm-up", "info", "main", 0.0))
        _build()


def _build() -> None:
    """Build a worker with a cluster and a listener, which connect to nobody and accept nobody."""
    cluster = Cluster(name="warm-up")
    listener = Listener(name="warm-up")
    listener.address.socket_address.address = "127.0.0.1"
    chain = listener.filter_chains.add()
    chain.filters.add(name="tcp").typed_config.Pack(
        TcpProxy(stat_prefix="warm-up", cluster="warm-up")
    )

    def take(message: MainMessage) -> None:
        TO_MAIN.decode(TO_MAIN.encode(message))

    begin = TO_WORKER.decode(TO_WORKER.encode(Begin(0, Node(), workers=2)))
    worker = Worker(begin, NoNetwork(), worker_store(begin), take, Random(0), owns_store=True)
    hosts = Assignment((HostSpec(Address("127.0.0.1", 1)),))
    for message in (
        AddCluster(1, cluster),
        Hosts(1, (1,), (0,), hosts),
        Rebalance(1),
        ServeCluster(1),
        AddListener(1, "warm-up", listener),
        AskNumbers(),
        Prepare(),
        Start(),
        AskNumbers(),
        Stop(),
    ):
        worker.receive(TO_WORKER.decode(TO_WORKER.encode(message)))
