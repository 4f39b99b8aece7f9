"""What RING_HASH and MAGLEV share: a table for each priority, built when hosts change, asked with
the hash of the connection.

The hash also chooses the priority, so the same client stays with the same one.  Only healthy hosts
are in the table of a priority, or all of them when it is in panic; degraded hosts never are, as in
Envoy.  A connection without a hash gets a random one.

Of the `context` of a pick this reads `hash`, a number of 64 bits or `None`, and `attempted`; with a
hash policy of its own it reads `stream_info` in place of `hash`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

from envoy.extensions.load_balancing_policies.common.v3.common_pb2 import (
    ConsistentHashingLbConfig,
    LocalityLbConfig,
)
from zope.interface import implementer

from twisted.internet.defer import Deferred
from twisted.internet.task import Cooperator

from tcpmesh.cluster.balancing.bounded_load import BoundedTable
from tcpmesh.cluster.balancing.hash_policy import ClientHash, route_hash
from tcpmesh.cluster.balancing.hash_tables import Buildable, HashTable, Share, shares_of
from tcpmesh.cluster.balancing.policy import FirstTables, PolicyContext, candidates
from tcpmesh.cluster.balancing.priority_load import Kind, PriorityLoad
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.cluster.hosts.host_sets import HostSet, HostSets
from tcpmesh.facts import dataclass
from tcpmesh.interfaces import ILoadBalancer

AT_ONCE = 8192
"""Places of a table that is built at once: some ten milliseconds."""

FIRST_AT_ONCE = 1 << 17
"""The same of the first table of a priority, before which there is nothing to ask."""

FURTHER_ATTEMPTS = 8
"""How often a table is asked for a host that was not tried yet."""


Table = TypeVar("Table", bound=Buildable)


@dataclass(frozen=True)
class Hashing:
    """How hosts are hashed, whatever the table."""

    by_hostname: bool = False
    balance_factor: int = 0
    """Percent of its share that a host may have; 0 for no bound."""

    by_locality: bool = False
    """Whether the weights of localities count."""

    client_hash: ClientHash | None = None
    """What goes before the hash of the context, where the policy itself says what to go by."""

    @classmethod
    def of(cls, config: Any) -> Hashing:
        """As a policy's typed message says."""
        hashing = config.consistent_hashing_lb_config
        by_locality = config.HasField("locality_weighted_lb_config")
        client_hash = route_hash(hashing.hash_policy)
        return cls(
            hashing.use_hostname_for_hashing,
            hashing.hash_balance_factor.value,
            by_locality,
            client_hash,
        )


def hashing_config(message: Any) -> dict[str, Any]:
    """What `common_lb_config` of a `cluster.v3.Cluster` says, as the fields of a policy's typed
    message.
    """
    common = message.common_lb_config
    found: dict[str, Any] = {}
    if common.HasField("consistent_hashing_lb_config"):
        old = common.consistent_hashing_lb_config
        made = ConsistentHashingLbConfig(use_hostname_for_hashing=old.use_hostname_for_hashing)
        if old.HasField("hash_balance_factor"):
            made.hash_balance_factor.CopyFrom(old.hash_balance_factor)
        found["consistent_hashing_lb_config"] = made
    if common.HasField("locality_weighted_lb_config"):
        found["locality_weighted_lb_config"] = LocalityLbConfig.LocalityWeightedLbConfig()
    return found


class Outdated:
    """A table that is asked while the one of today's hosts is being built: it passes over those
    that have gone.
    """

    def __init__(self, table: HashTable | None, shares: Sequence[Share]) -> None:
        self._table = table
        self._hosts = tuple(share.host for share in shares)
        self._are_there = frozenset(self._hosts)

    def choose(self, key: int, attempt: int = 0) -> Host | None:
        """The host of the table, or the first of a few further attempts that is still there, or
        else any.
        """
        if self._table is not None:
            for further in range(FURTHER_ATTEMPTS + 1):
                host = self._table.choose(key, attempt + further)
                if host in self._are_there:
                    return host
        return self._hosts[key % len(self._hosts)] if self._hosts else None


class _Level(Generic[Table]):
    """One priority: the hosts that are wanted, and the table that is asked.

    Small tables are built at once, and so is the first one of a usual size, as there is nothing
    else to ask.  Where that would take long, the table is built in steps, and until it is ready the
    one before it is asked.  Hosts that change meanwhile wait for the next one, so each is built to
    its end.  A proxy that begins waits for first tables (`PolicyContext.first_tables`).
    """

    def __init__(
        self, balancer: HashBalancer[Table], cooperator: Cooperator, first_tables: FirstTables
    ) -> None:
        self._balancer = balancer
        self._cooperator = cooperator
        self._first_tables = first_tables
        self._shares: Sequence[Share] = ()
        self._built: tuple[Sequence[Share], Table] | None = None
        self._asked: HashTable | None = None
        """The last table that was built of any hosts."""
        self._is_building = False
        self.table: HashTable = Outdated(None, ())

    @property
    def built(self) -> Table | None:
        """The table that is there; `None` where there are no hosts."""
        return self._built[1] if self._built is not None and self._built[0] else None

    def want(self, shares: Sequence[Share]) -> None:
        """From now on choose among these."""
        if self._built is not None and self._shares == shares:
            return
        self._shares = shares
        if self._is_building:
            self.table = Outdated(self._asked, shares)
            return
        table = self._balancer.build(shares)
        is_first = self._asked is None
        if table.size <= (FIRST_AT_ONCE if is_first else AT_ONCE):
            for _ in table.build():
                pass
            self._set(shares, table)
            return
        self.table = Outdated(self._asked, shares)
        self._is_building = True
        built: Deferred[None] = Deferred()
        self._cooperator.cooperate(self._build(table, built))
        if is_first:
            self._first_tables.add(built)

    def _build(self, table: Table, built: Deferred[None]) -> Iterator[None]:
        while True:
            shares = self._shares
            yield from table.build()
            self._set(shares, table)
            if shares is self._shares:
                break
            table = self._balancer.build(self._shares)
        self._is_building = False
        built.callback(None)

    def _set(self, shares: Sequence[Share], table: Table) -> None:
        self._built = shares, table
        asked = self._balancer.bounded(table, shares)
        if shares:
            self._asked = asked
        self.table = asked if shares is self._shares else Outdated(asked, self._shares)
        self._balancer.was_built()


@implementer(ILoadBalancer)
class HashBalancer(ABC, Generic[Table]):
    """One policy over one set of hosts; its subclass says which table."""

    def __init__(self, hashing: Hashing, context: PolicyContext) -> None:
        self._hashing = hashing
        own = hashing.client_hash
        self._hash_of: Callable[[Any], int | None] = (
            attrgetter("hash") if own is None else lambda context: own(context.stream_info)
        )
        self._by_locality = hashing.by_locality or context.locality_weighted
        self._context = context
        self._sets = HostSets()
        self._load = PriorityLoad(self._sets)
        self._levels: list[_Level[Table]] = []
        self._healthy_panic = context.stats.scope.counter("lb_healthy_panic")

    @abstractmethod
    def build(self, shares: Sequence[Share]) -> Table:
        """A table of these hosts, which may be none, to be built."""

    @abstractmethod
    def show(self, table: Table) -> None:
        """Say in the statistics how large a table is."""

    def update(self, sets: HostSets) -> None:
        """Build the tables anew, of those priorities where something has changed."""
        self._sets = sets
        self._load = load = PriorityLoad(sets, self._context.panic_threshold)
        while len(self._levels) < len(sets.sets):
            self._levels.append(
                _Level(self, self._context.network.cooperator, self._context.first_tables)
            )
        del self._levels[len(sets.sets) :]
        for level, host_set, panic in zip(self._levels, sets.sets, load.panic, strict=True):
            level.want(self._shares(host_set, panic))

    def was_built(self) -> None:
        """A table is ready: show how large they are."""
        for level in self._levels:
            if level.built is not None:
                self.show(level.built)

    def bounded(self, table: Table, shares: Sequence[Share]) -> HashTable:
        """A table that was built, with the bound on how busy a host may be."""
        if not self._hashing.balance_factor:
            return table
        requests = self._context.requests
        return BoundedTable(table, shares, self._hashing.balance_factor, lambda: requests.own)

    def _shares(self, host_set: HostSet, panic: bool) -> list[Share]:
        if (
            self._by_locality and self._sets.has_locality_weights
        ):  # one without a weight gets nothing, also where no other has one
            localities = sorted(host_set.localities, key=lambda each: each.locality)
            total = sum(each.weight or 0 for each in localities)
            groups = [
                (each.weight / total, each.hosts if panic else each.healthy)
                for each in localities
                if each.weight
            ]
        else:
            groups = [(1.0, host_set.hosts if panic else host_set.healthy)]
        return shares_of(groups, self._hashing.by_hostname)

    def pick(self, context: Any) -> Host | None:
        """The host of the connection's hash; where that was tried in vain, one that comes later in
        the table.
        """
        key = None if context is None else self._hash_of(context)
        if key is None:
            key = self._context.random.getrandbits(64)
        chosen = self._load.choose(key)
        if chosen is None:
            return None
        host_set, kind = chosen
        if kind is Kind.PANIC:
            self._healthy_panic.tally += 1
        table = self._levels[host_set.priority].table
        host = table.choose(key)
        if context is not None and host in context.attempted:
            others = (table.choose(key, attempt) for attempt in range(1, FURTHER_ATTEMPTS + 1))
            return next((other for other in others if other not in context.attempted), host)
        return host

    def candidates(self, context: Any) -> Iterator[Host]:
        """All hosts that a pick may choose."""
        return candidates(self._sets, self._load)
