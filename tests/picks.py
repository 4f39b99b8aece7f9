"""Clusters that tests ask for hosts, and the clients on whose behalf they ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from xxhash import xxh64_intdigest

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.load_assignment import assignment
from tcpmesh.cluster.hosts.metadata import Criteria
from tcpmesh.registry import WorkerContext
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.served import ServedCluster
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.stream_info import StreamInfo


@dataclass
class Client:
    """What a policy may ask of a connection."""

    hash: int | None = None
    metadata_match: Criteria | None = None
    attempted: tuple[Host, ...] = ()
    stream_info: StreamInfo = field(default_factory=StreamInfo)


def clients(count: int) -> Iterable[Client]:
    """So many clients, each with a hash of its own that never changes."""
    return (Client(xxh64_intdigest(f"client {number}".encode())) for number in range(count))


def cluster_of(message: Any, store: Store | None = None, seed: int = 1) -> Cluster:
    """A cluster that has found the hosts of its `load_assignment`."""
    return served_of(message, store, seed).cluster


def served_of(message: Any, store: Store | None = None, seed: int = 1) -> ServedCluster:
    """The same with what main knows of it."""
    served = ServedCluster(
        message, WorkerContext(MemoryNetwork(), store or Store(), lambda name: None, Random(seed))
    )
    served.update_hosts(assignment(message.load_assignment))
    return served


def host(text: str, **facts: Any) -> Host:
    """A host at an address such as `10.0.0.1:80`."""
    name, _, port = text.rpartition(":")
    return Host(HostSpec(Address(name, int(port)), **facts))


def hosts(count: int, **facts: Any) -> tuple[Host, ...]:
    """So many hosts that differ by their address alone."""
    return tuple(host(f"10.0.{number >> 8}.{number & 255}:80", **facts) for number in range(count))
