"""What it costs to choose one of many hosts, in this process and with nothing else around it: the
part of a connection that Envoy cannot be asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from google.protobuf import json_format
from xxhash import xxh64_intdigest

from benchmarks.growth.bootstraps import cluster, loopback
from benchmarks.workloads import Values
from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.served import ServedCluster
from tcpmesh.values.stream.stream_info import StreamInfo

_CLIENTS, REPEATS, SECONDS = 1_000, 7, 0.02


@dataclass
class Client:
    """What a policy may ask of a connection."""

    hash: int | None = None
    metadata_match: Any = None
    attempted: Sequence[Any] = ()
    stream_info: StreamInfo = field(default_factory=StreamInfo)


def served(policy: str, count: int) -> ServedCluster:
    """A cluster of so many hosts, with all its tables."""
    message = json_format.ParseDict(
        cluster([(host, 80) for host in loopback(count)], policy), cluster_pb2.Cluster()
    )
    network = MemoryNetwork()
    made = ServedCluster(message, WorkerContext(network, Store(), lambda name: None, Random(1)))
    made.update_hosts(assignment(message.load_assignment))
    built = made.cluster.prepare()
    while not built.called:
        network.clock.advance(0.01)
    return made


def measured(policy: str, site: object, proxy: str, count: int) -> Values:
    """Microseconds of CPU for a pick, the lowest of several repeats."""
    made = served(policy, count)
    clients = [Client(xxh64_intdigest(b"client %d" % number)) for number in range(_CLIENTS)]
    return {"pick": min(_once(made, clients) for _ in range(REPEATS)) / 1000}


def _once(made: ServedCluster, clients: Sequence[Client]) -> float:
    """Nanoseconds for each pick of some rounds of all these clients."""
    picks, spent = 0, 0
    while spent < SECONDS * 1e9:
        began = time.process_time_ns()
        for client in clients:
            made.pick(client)
        spent += time.process_time_ns() - began
        picks += len(clients)
    return spent / picks
