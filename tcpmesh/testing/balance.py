"""A cluster without a network: which host would get a connection, asked a million times in seconds.

For questions of shares: what weights, priorities, zones and failures do to each host, and what a
policy does with hosts that are slow.  Hosts are only names here, time passes only when it is told
to, and chance comes from a seed, so every answer can be had again::

    hosts = [SimHost("fast", lasts=0.1), SimHost("slow", lasts=2.0)]
    balance = Balance("lb_policy: LEAST_REQUEST", hosts)
    assert balance.serve(10_000, per_second=50)["fast"] > 7_000
    balance.fail("fast")
    assert balance.shares(100) == {"slow": 1.0}

The fields of the cluster are judged as `twistd tcpmesh` judges them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

import yaml
from envoy.config.core.v3.base_pb2 import Metadata, Node

from tcpmesh.cluster.cluster import Cluster
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.config.load import load
from tcpmesh.registry import WorkerContext
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.store import Store
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.served import ServedCluster
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HealthFlag, HostSpec, Locality

LOCAL = "local"
"""The name of the cluster of proxies."""


@dataclass(frozen=True)
class SimHost:
    """A host that is only a name, and how it takes its connections."""

    name: str
    """Also its `hash_key`, so that policies by hash go by it."""

    weight: int = 1
    priority: int = 0
    zone: str = ""
    status: str = "HEALTHY"
    """A name of `core.v3.HealthStatus`."""

    lasts: float = 0.0
    """Seconds that a connection to it stays open."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """What subsets go by (`envoy.lb`)."""


@dataclass(frozen=True)
class PickContext:
    """What a policy may look at; see `ICluster.pick`."""

    hash: int | None = None
    metadata_match: Any = None
    attempted: tuple[Host, ...] = ()


class Balance:
    """A cluster with its hosts."""

    def __init__(
        self,
        cluster: str,
        hosts: Iterable[SimHost],
        *,
        seed: int = 1,
        zone: str = "",
        zone_weights: Mapping[str, int] | None = None,
        overprovisioning_factor: int = 140,
        proxies: Iterable[SimHost] = (),
    ) -> None:
        """`cluster` is YAML of the fields of a `cluster.v3.Cluster` beside its hosts; `proxies` are
        the members of the cluster that this proxy, in `zone`, belongs to.

        :raise tcpmesh.config.text.problems.ConfigError: where the cluster is wrong.
        """
        self.store = Store()
        self.network = MemoryNetwork()
        self.runtime = Runtime()
        """The runtime values that the policies go by."""
        self._weights = dict(zone_weights or {})
        self._factor = overprovisioning_factor
        self._clusters: dict[str, ServedCluster] = {}
        self._addresses: dict[str, Address] = {}
        self._hosts: dict[str, SimHost] = {}
        self._open: list[tuple[float, int, Host]] = []
        self._count = 0
        node = Node()
        if zone:
            node.locality.zone = zone
        members = list(proxies)
        context = WorkerContext(
            self.network,
            self.store,
            self._find,
            Random(seed),
            node=node,
            local_cluster=LOCAL if members else "",
            runtime=self.runtime,
        )
        for name, fields, found in ((LOCAL, "", members), ("c", cluster, list(hosts))):
            self._clusters[name] = ServedCluster(cluster_message(name, fields), context)
            self._clusters[name].update_hosts(self._assignment(found))
            self._clusters[name].warmed()
        self.served = self._clusters["c"]
        self.cluster = self.served.cluster

    def _find(self, name: str) -> Cluster | None:
        served = self._clusters.get(name)
        return None if served is None else served.cluster

    # Hosts

    def set_hosts(self, hosts: Iterable[SimHost]) -> None:
        """These are the hosts from now on; one of a name that was there is the same host."""
        self.served.update_hosts(self._assignment(list(hosts)))

    def set_proxies(self, proxies: Iterable[SimHost]) -> None:
        """These are the proxies from now on."""
        self._clusters[LOCAL].update_hosts(self._assignment(list(proxies)))

    def fail(self, *names: str) -> None:
        """Let these hosts fail their health checks."""
        for name in names:
            self.served.set_flags(self._addresses[name], add=HealthFlag.failed_active_hc)

    def recover(self, *names: str) -> None:
        """Let these hosts pass their health checks again."""
        for name in names:
            self.served.set_flags(self._addresses[name], remove=HealthFlag.failed_active_hc)

    def host(self, name: str) -> Host:
        """The host of this name, with its counters."""
        address = self._addresses[name]
        return next(host for host in self.cluster.hosts if host.address == address)

    # Connections

    def pick(self, context: PickContext | None = None) -> str | None:
        """The name of the host that the next connection would go to; `None` where there is none."""
        host = self.cluster.pick(context if context is not None else _NO_CONTEXT)
        return host.spec.hostname if host is not None else None

    def picks(
        self, number: int, hash_of: Callable[[int], int] | None = None
    ) -> Counter[str | None]:
        """How many of so many picks go to each host; the hash of each may be a function of its
        number.
        """
        if hash_of is not None:
            return Counter(self.pick(PickContext(hash_of(index))) for index in range(number))
        pick = self.cluster.pick
        found = Counter(pick(_NO_CONTEXT) for _ in range(number))
        return Counter(
            {
                host.spec.hostname if host is not None else None: times
                for host, times in found.items()
            }
        )

    def shares(self, number: int) -> dict[str | None, float]:
        """The same as parts of 1."""
        return {name: times / number for name, times in self.picks(number).items()}

    def connect(self) -> str | None:
        """Make a connection, that stays open as long as its host says; the name of the host."""
        host = self.cluster.pick(_NO_CONTEXT)
        if host is None:
            return None
        host.rq_active += 1
        self.cluster.breakers.requests.own += 1
        lasts = self._hosts[host.spec.hostname].lasts
        self._count += 1
        heappush(self._open, (self.network.clock.seconds() + lasts, self._count, host))
        return host.spec.hostname

    def serve(self, connections: int, per_second: float) -> Counter[str | None]:
        """Make so many connections, evenly over time; how many went to each host."""
        found: Counter[str | None] = Counter()
        for _ in range(connections):
            found[self.connect()] += 1
            self.advance(1 / per_second)
        return found

    # Time and numbers

    def advance(self, seconds: float) -> None:
        """Let time pass: connections end, and what was held back reaches the load balancer."""
        until = self.network.clock.seconds() + seconds
        while self._open and self._open[0][0] <= until:
            heappop(self._open)[2].rq_active -= 1
            self.cluster.breakers.requests.own -= 1
        self.network.advance(seconds)

    def stat(self, name: str) -> int:
        """A counter or gauge of the cluster, such as `lb_healthy_panic`."""
        self.store.collect()
        stats = {
            each.name: each.tally
            for kind in (self.store.counters(), self.store.gauges())
            for each in kind
        }
        return stats[f"cluster.c.{name}"]

    def _assignment(self, hosts: list[SimHost]) -> Assignment:
        self._hosts.update({host.name: host for host in hosts})
        zones = {(host.priority, host.zone) for host in hosts}
        return Assignment(
            hosts=tuple(map(self._spec, hosts)),
            locality_weights=tuple(
                (priority, Locality(zone=zone), self._weights[zone])
                for priority, zone in sorted(zones)
                if zone in self._weights
            ),
            overprovisioning_factor=self._factor,
        )

    def _spec(self, host: SimHost) -> HostSpec:
        number = len(self._addresses) + 1
        address = self._addresses.setdefault(
            host.name, Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 80)
        )
        metadata = Metadata()
        metadata.filter_metadata["envoy.lb"].update({"hash_key": host.name, **host.metadata})
        return HostSpec(
            address,
            hostname=host.name,
            weight=host.weight,
            priority=host.priority,
            locality=Locality(zone=host.zone),
            health_status=host.status,
            metadata=metadata,
        )


_NO_CONTEXT = PickContext()


def cluster_message(name: str, fields: str) -> Any:
    """The message of a cluster without hosts.

    :raise tcpmesh.config.text.problems.ConfigError: where it is wrong.
    """
    assignment = {"cluster_name": name, "endpoints": []}
    cluster = {"load_assignment": assignment, **(yaml.safe_load(fields) or {}), "name": name}
    text = yaml.safe_dump({"static_resources": {"clusters": [cluster]}})
    return load(config_yaml=text).bootstrap.static_resources.clusters[0]
