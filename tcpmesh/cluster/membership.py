"""Which hosts a cluster has and how they are, as main knows it; workers are told by messages.

Discovery says what hosts there are, health checks and outlier detection how they are.  Each host
has a number of its own, its key: two hosts may have one address, and what is known of the one is
nothing to the other.  A host stays the same, with its key, its flags and its numbers, for as long
as discovery finds it at the same endpoint and addresses.

What is known of a host is told at once.  When the load balancers are to go by it is told apart from
that, for a change costs them time in proportion to the hosts: see `merge_window`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any

from tcpmesh.cluster.hosts.host_sets import EXCLUDED, locality_weights
from tcpmesh.cluster.hosts.stats import MembershipStats
from tcpmesh.cluster.merge_window import MergeWindow
from tcpmesh.cluster.upstream.circuit_breakers import thresholds_of
from tcpmesh.cluster.upstream.socket_matches import MatchRules
from tcpmesh.config.fields.values import seconds
from tcpmesh.registry import MainContext
from tcpmesh.stats.store import sanitize
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import (
    BALANCED_FLAGS,
    EDS_FLAGS,
    NO_FLAGS,
    Assignment,
    Health,
    HealthFlag,
    HostSpec,
    health_of,
)
from tcpmesh.values.link import (
    HOST_COUNTERS,
    HOST_GAUGES,
    AskHostNumbers,
    AskRates,
    Flags,
    HostNumbers,
    Hosts,
    Rebalance,
    ToWorker,
)
from tcpmesh.values.statuses import (
    BreakerThresholds,
    ClusterStatus,
    HostRates,
    HostStatus,
    OutlierStatus,
)

MERGE_WINDOW = 1.0
"""Seconds (`update_merge_window`)."""

_BALANCED = int(BALANCED_FLAGS)
_EXCLUDED = int(EXCLUDED)
_DRAINED = int(HealthFlag.drained_by_operator)
_NO_NUMBERS = (0,) * len(HOST_COUNTERS + HOST_GAUGES)

Send = Callable[[ToWorker], object]


class KnownHost:
    """One host."""

    __slots__ = ("_eds_flags", "_spec", "flags", "key")

    def __init__(self, key: int, spec: HostSpec, flags: int) -> None:
        self.key = key
        self.spec = spec
        self.flags = flags
        """What checks and outlier detection have found of it."""

    @property
    def spec(self) -> HostSpec:
        """What discovery says of it."""
        return self._spec

    @spec.setter
    def spec(self, spec: HostSpec) -> None:
        self._spec = spec
        self._eds_flags = int(EDS_FLAGS.get(spec.health_status, NO_FLAGS))

    @property
    def all_flags(self) -> int:
        """With what discovery says of its health."""
        return self.flags | self._eds_flags


class Membership:
    """The hosts of one cluster.

    :param cluster: the number of the cluster.
    :param message: a `cluster.v3.Cluster`.
    :param send: tells workers.
    """

    def __init__(self, cluster: int, message: Any, context: MainContext, send: Send) -> None:
        self.cluster = cluster
        self.message = message
        self.name: str = message.name
        self.hosts: dict[int, KnownHost] = {}
        """By key, in the order of discovery."""
        self.is_used = False
        """Whether a connection was ever made for a client."""
        self.unchecked = unchecked_flags(message)
        self._send = send
        self._runtime = context.runtime
        self._thresholds: tuple[BreakerThresholds, BreakerThresholds] | None = None
        """The limits as they are shown; `None` where that is to be worked out again."""
        self._keys = count(1)
        self._drained: set[str] = set()
        """The addresses that an operator wants no new connections to go to."""
        self._assignment = Assignment()
        self._numbers: dict[int, tuple[int, ...]] = {}
        self._is_counted = True
        self._is_warm = False
        common = message.common_lb_config
        window = (
            seconds(common.update_merge_window)
            if common.HasField("update_merge_window")
            else MERGE_WINDOW
        )
        self._rebalance = partial(send, Rebalance(cluster))
        self._merging = MergeWindow(context.network.clock, window, context.store, self._rebalance)
        self._socket_rules = MatchRules(message)
        # Last, for it is to be given back.
        name = message.alt_stat_name or message.name
        self.stats = MembershipStats(context.store, name, self._socket_rules.names)

    # Which hosts there are

    def match(self, specs: Iterable[HostSpec]) -> tuple[list[KnownHost], list[KnownHost]]:
        """The host that each spec is, known or new, and the known ones that none of them is."""
        left: dict[tuple[int, Address, tuple[Address, ...]], list[KnownHost]] = {}
        for host in reversed(self.hosts.values()):
            left.setdefault(_identity(host.spec), []).append(host)
        found = []
        for spec in specs:
            same = left.get(_identity(spec))
            found.append(same.pop() if same else self._new(spec))
        return found, [host for hosts in left.values() for host in reversed(hosts)]

    def _new(self, spec: HostSpec) -> KnownHost:
        flags = int(self.unchecked) if spec.is_checked else 0
        if str(spec.address) in self._drained:
            flags |= _DRAINED
        return KnownHost(next(self._keys), spec, flags)

    def update(self, hosts: Sequence[KnownHost], assignment: Assignment) -> None:
        """These are the hosts from now on, with the specs of the assignment in the same order."""
        before = {(key, host.spec.priority) for key, host in self.hosts.items()}
        keys = tuple(host.key for host in hosts)
        if assignment == self._assignment and keys == tuple(self.hosts):
            if not keys:
                self._count()
            return
        self._count_matches(
            spec for key, spec in zip(keys, assignment.hosts, strict=True) if key not in self.hosts
        )
        for host, spec in zip(hosts, assignment.hosts, strict=True):
            host.spec = spec
        self.hosts = dict(zip(keys, hosts, strict=True))
        self._assignment = assignment
        if self._drained:
            self._drained.intersection_update(str(spec.address) for spec in assignment.hosts)
        flags = tuple(host.flags for host in hosts)
        self._send(Hosts(self.cluster, keys, flags, assignment))
        moved = before.symmetric_difference(
            (key, host.spec.priority) for key, host in self.hosts.items()
        )
        self.stats.change.tally += len({priority for _, priority in moved})
        if not self._is_warm:
            self._rebalance()
        elif moved:
            self._merging.hosts_changed()
        else:
            self._merging.health_changed()
        self._count()

    def _count_matches(self, specs: Iterable[HostSpec]) -> None:
        """Count which transport socket each new host gets."""
        rules = self._socket_rules
        for spec in specs:
            index = rules.index(spec)
            self.stats.matched(None if index is None else rules.names[index])

    def told(self) -> Hosts:
        """What workers were told of the hosts last, with their flags as they are by now."""
        flags = tuple(host.flags for host in self.hosts.values())
        return Hosts(self.cluster, tuple(self.hosts), flags, self._assignment)

    # How they are

    def set_flags(
        self, key: int, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """What health checks or outlier detection have found of a host."""
        host = self.hosts.get(key)
        if host is None:
            return
        before = host.flags
        host.flags = flags = (before & ~int(remove)) | int(add)
        if (before ^ flags) & _BALANCED:
            self._send(Flags(self.cluster, key, flags))
            self._is_counted = False
            if self._is_warm:
                self._merging.health_changed()
            else:
                self._rebalance()

    def set_drained(self, address: str, drained: bool) -> int:
        """An operator wants no new connections to go to the hosts of an address, as long as there
        are any, or wants some again.

        :return: how many these are.
        """
        keys = [key for key, host in self.hosts.items() if str(host.spec.address) == address]
        if drained and keys:
            self._drained.add(address)
        else:
            self._drained.discard(address)
        flag = HealthFlag.drained_by_operator
        for key in keys:
            self.set_flags(key, *((flag, NO_FLAGS) if drained else (NO_FLAGS, flag)))
        if keys:
            self._rebalance()  # now, and not when other changes are told too
        return len(keys)

    def has_traffic(self) -> bool:
        """Whether a connection was ever made for a client."""
        return self.is_used

    def ask_numbers(self) -> None:
        """Have workers say what they have counted of each host."""
        self._send(AskHostNumbers(self.cluster))

    def ask_rates(self) -> None:
        """Have workers say how connections came out."""
        self._send(AskRates(self.cluster))

    def warmed(self) -> None:
        """The cluster has its first hosts, with their first health: from now on changes of health
        are merged.
        """
        self._is_warm = True

    # What is shown

    def collect(self) -> None:
        """Bring the gauges up to date."""
        if not self._is_counted:
            self._count()

    def _count(self) -> None:
        """Membership is shown as it is, also while load balancers do not know yet."""
        self._is_counted = True
        health = [health_of(host.all_flags) for host in self.hosts.values()]
        stats = self.stats
        stats.total.set(len(health))
        stats.healthy.set(health.count(Health.HEALTHY))
        stats.degraded.set(health.count(Health.DEGRADED))
        stats.excluded.set(sum(bool(host.all_flags & _EXCLUDED) for host in self.hosts.values()))

    def take_numbers(self, told: HostNumbers) -> None:
        """A worker says what it has counted of each host."""
        self._numbers = {numbers[0]: numbers[1:] for numbers in told.numbers}

    def status(
        self, outliers: OutlierStatus | None, rates: Callable[[int], HostRates]
    ) -> ClusterStatus:
        """The cluster as the admin interface shows it.

        :param rates: of the host with this key.
        """
        weights = locality_weights(self._assignment)
        default, high = self._limits()
        return ClusterStatus(
            name=self.name,
            observability_name=sanitize(self.message.alt_stat_name or self.name),
            default_priority=default,
            high_priority=high,
            hosts=tuple(
                _status(
                    host,
                    self._numbers.get(key, _NO_NUMBERS),
                    weights.get((host.spec.priority, host.spec.locality), 0),
                    rates(key),
                )
                for key, host in self.hosts.items()
            ),
            outliers=outliers,
        )

    def _limits(self) -> tuple[BreakerThresholds, BreakerThresholds]:
        if self._thresholds is None:
            self._thresholds = thresholds_of(
                self.message.circuit_breakers.thresholds, self.name, self._runtime
            )
        return self._thresholds

    def limits_changed(self) -> None:
        """The runtime has others now."""
        self._thresholds = None

    # Its end

    def stop(self) -> None:
        """Deliver nothing more of what waits."""
        self._merging.stop()

    def release(self) -> None:
        """Nothing is left of the cluster, or a successor goes on with its statistics."""
        self.stats.scope.close()


def _identity(spec: HostSpec) -> tuple[int, Address, tuple[Address, ...]]:
    return spec.endpoint, spec.address, spec.additional_addresses


def _status(
    host: KnownHost, numbers: tuple[int, ...], locality_weight: int, rates: HostRates
) -> HostStatus:
    spec, flags = host.spec, host.all_flags
    status = spec.health_status
    return HostStatus(
        address=str(spec.address),
        hostname=spec.hostname,
        health_flags=tuple(flag.name or "" for flag in HealthFlag if flag & flags) if flags else (),
        eds_health_status="DRAINING"
        if flags & _DRAINED
        else {"UNKNOWN": "HEALTHY", "TIMEOUT": "UNHEALTHY"}.get(status, status),
        health=health_of(flags).name,
        weight=spec.weight,
        priority=spec.priority,
        region=spec.locality.region,
        zone=spec.locality.zone,
        sub_zone=spec.locality.sub_zone,
        locality_weight=locality_weight,
        canary=spec.is_canary,
        success_rate=rates.external,
        local_origin_success_rate=rates.local_origin,
        counters=dict(zip(HOST_COUNTERS, numbers, strict=False)),
        gauges=dict(zip(HOST_GAUGES, numbers[len(HOST_COUNTERS) :], strict=True)),
        metadata=spec.metadata,
        health_check_config=spec.health_check_config,
    )


def unchecked_flags(message: Any) -> HealthFlag:
    """What a host is until its first health check: out, and not even counted with
    `ignore_new_hosts_until_first_hc`.

    The hosts of STATIC clusters are counted: in Envoy only what discovery brings later is ignored.
    """
    if not message.health_checks:
        return NO_FLAGS
    ignored = (
        message.common_lb_config.ignore_new_hosts_until_first_hc and message.type != message.STATIC
    )
    return HealthFlag.failed_active_hc | (HealthFlag.pending_active_hc if ignored else NO_FLAGS)
