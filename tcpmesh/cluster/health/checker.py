"""Active health checks: main asks each host how it is, and tells the cluster what it finds.

A `HealthCheck` is what a `core.v3.HealthCheck` says, a `HostCheck` one host under it.  A
`HostCheck` runs a probe, judges the outcome by Envoy's rules and sets the time of the next one:

- a host begins as failed, and its first result alone decides what it is;
- after that `unhealthy_threshold` failures in a row take it out, and `healthy_threshold` successes
  in a row put it back; but an answer that says "unhealthy" takes it out at once, unless it is a
  status that may be retried;
- the interval depends on what came out, and on whether the cluster has ever made a connection for a
  client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from tcpmesh.cluster.health.event_log import IEventSink, host_event
from tcpmesh.cluster.health.probe import Failed, IProbe, MakeProbe
from tcpmesh.config.fields.values import host_and_port, seconds
from tcpmesh.facts import dataclass
from tcpmesh.net.timer_wheel import Entry, TimerWheel
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.metrics import Merge
from tcpmesh.stats.store import Scope
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import NO_FLAGS, HealthFlag, HostSpec

NO_TRAFFIC_INTERVAL = 60.0

NO_BOUND = (1 << 64) - 1

SHORTEST = 0.001
"""Seconds: what Envoy makes of an interval of 0."""

# What active health checks say of a host; nobody else sets these.  Here they are plain numbers, for
# a check looks at them often, and an operation on an IntFlag costs ten times as much.
FAILED = int(HealthFlag.failed_active_hc)
DEGRADED = int(HealthFlag.degraded_active_hc)
PENDING = int(HealthFlag.pending_active_hc)
TIMED_OUT = int(HealthFlag.active_hc_timeout)
EXCLUDED = int(HealthFlag.excluded_via_immediate_hc_fail)
CHECK_FLAGS = HealthFlag(FAILED | DEGRADED | PENDING | TIMED_OUT | EXCLUDED)


class HealthStats:
    """The statistics of a check: under `cluster.<name>.health_check.`, and with a name under
    `name.<name>.` below that.
    """

    def __init__(self, scope: Scope) -> None:
        self.attempt = scope.counter("attempt")
        self.success = scope.counter("success")
        self.failure = scope.counter("failure")
        self.network_failure = scope.counter("network_failure")
        self.passive_failure = scope.counter("passive_failure")
        self.verify_cluster = scope.counter("verify_cluster")
        self.healthy = scope.gauge("healthy", Merge.MAIN)
        self.degraded = scope.gauge("degraded", Merge.MAIN)


@dataclass(frozen=True)
class Intervals:
    """When the next check of a host is due; seconds (the fields of these names in
    `core.v3.HealthCheck`).
    """

    healthy: float
    healthy_edge: float
    unhealthy: float
    unhealthy_edge: float
    no_traffic: float
    no_traffic_healthy: float
    initial_jitter: float
    jitter: float
    jitter_percent: int

    @classmethod
    def from_message(cls, message: Any) -> Intervals:
        """What is not given is like what it is a variety of."""

        def given(name: str, default: float) -> float:
            return seconds(getattr(message, name)) if message.HasField(name) else default

        interval = seconds(message.interval)
        unhealthy = given("unhealthy_interval", interval)
        no_traffic = given("no_traffic_interval", NO_TRAFFIC_INTERVAL)
        return cls(
            healthy=interval,
            healthy_edge=given("healthy_edge_interval", interval),
            unhealthy=unhealthy,
            unhealthy_edge=given("unhealthy_edge_interval", unhealthy),
            no_traffic=no_traffic,
            no_traffic_healthy=given("no_traffic_healthy_interval", no_traffic),
            initial_jitter=given("initial_jitter", 0.0),
            jitter=given("interval_jitter", 0.0),
            jitter_percent=message.interval_jitter_percent,
        )

    def first(self, random: Random) -> float:
        """Until the first check."""
        return random.uniform(0, self.initial_jitter) if self.initial_jitter else 0.0

    def next(self, random: Random, healthy: bool, edge: bool, traffic: bool) -> float:
        """Until the check after one that came out healthy or not.

        :param edge: whether the result differs from the state of the host, which more of the kind
            will change.
        :param traffic: whether the cluster has ever made a connection for a client.
        """
        if not traffic:
            time = self.no_traffic_healthy if healthy and not edge else self.no_traffic
        elif healthy:
            time = self.healthy_edge if edge else self.healthy
        else:
            time = self.unhealthy_edge if edge else self.unhealthy
        if self.jitter_percent:
            time += random.uniform(0, time * self.jitter_percent / 100)
        if self.jitter:
            time += random.uniform(0, self.jitter)
        return time


class ICheckedCluster(Protocol):
    """What health checks ask of the cluster."""

    name: str

    def set_flags(
        self, key: int, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """The host of this key has, or no longer has, these flags."""

    def has_traffic(self) -> bool:
        """Whether a connection has ever been tried for a client."""


class HealthCheck:
    """One `core.v3.HealthCheck` of a cluster, for all its hosts."""

    def __init__(
        self,
        message: Any,
        cluster: ICheckedCluster,
        unchecked: HealthFlag,
        make_probe: MakeProbe,
        wheel: TimerWheel,
        random: Random,
        stats: HealthStats,
        logs: Iterable[IEventSink],
        runtime: Runtime,
    ) -> None:
        """`unchecked`: the flags of a host that was not checked yet."""
        self.message = message
        self.cluster = cluster
        self.unchecked = unchecked
        self.make_probe = make_probe
        self.wheel = wheel
        self.random = random
        self.stats = stats
        self._intervals = Intervals.from_message(message)
        self._runtime = runtime
        self.healthy_threshold: int = message.healthy_threshold.value
        self.unhealthy_threshold: int = message.unhealthy_threshold.value
        self.log_failures: bool = message.always_log_health_check_failures
        self.log_successes: bool = message.always_log_health_check_success
        self.on_result: Callable[[HostCheck, bool], object] = lambda host, passed: None
        """Called after each check, with its host and whether the check was passed."""
        self._kind = message.WhichOneof("health_checker").removesuffix("_health_check").upper()
        self._logs = tuple(logs)
        self._hosts: dict[int, HostCheck] = {}
        self._waiting: set[HostCheck] = set()
        self._first_round: Deferred[None] | None = None

    def update_hosts(self, specs: Mapping[int, HostSpec]) -> None:
        """The cluster has these hosts now, by key: begin to check the new ones, and stop with those
        that are gone.
        """
        wanted = {key: spec for key, spec in specs.items() if spec.is_checked}
        for key, host in list(self._hosts.items()):
            spec = wanted.get(key)
            if spec is None or spec.health_check_config != host.spec.health_check_config:
                self._remove(key)
            else:
                host.spec = spec
        started = [
            HostCheck(self, key, spec) for key, spec in wanted.items() if key not in self._hosts
        ]
        for host in started:
            self._hosts[host.key] = host
        for host in started:
            host.start()

    def until_first(self) -> float:
        """Seconds until the first check of a host."""
        time = self._intervals.first(self.random)
        return self._bounded(time) if time else 0.0

    def until_next(self, healthy: bool, edge: bool) -> float:
        """Seconds until the check after one that came out healthy or not; see `Intervals.next`."""
        traffic = self.cluster.has_traffic()
        return self._bounded(self._intervals.next(self.random, healthy, edge, traffic))

    def _bounded(self, time: float) -> float:
        """A time within the bounds that the runtime has, in milliseconds, for all clusters."""
        runtime = self._runtime
        if runtime.is_empty:
            return time
        shortest = runtime.integer("health_check.min_interval", 0) / 1000
        longest = runtime.integer("health_check.max_interval", NO_BOUND) / 1000
        return max(SHORTEST, shortest, min(time, longest))

    def first_round(self) -> Deferred[None]:
        """Fires once every host there is at this moment has a result, or is gone."""
        self._waiting = {host for host in self._hosts.values() if host.is_new}
        first_round: Deferred[None] = Deferred()
        self._first_round = first_round
        self._count_down()
        return first_round

    def is_failed(self, key: int) -> bool:
        """Whether a host is out, or not checked."""
        host = self._hosts.get(key)
        return host is None or host.is_failed

    def stop(self) -> None:
        """End all checks."""
        for host in self._hosts.values():
            host.stop()
        self._hosts.clear()
        self._waiting.clear()
        self._first_round = None

    def has_result(self, host: HostCheck, passed: bool) -> None:
        """A check came to its end."""
        if self._waiting:
            self._waiting.discard(host)
            self._count_down()
        self.on_result(host, passed)

    def log(self, host: HostCheck, event: str, **details: object) -> None:
        """Write an event of a host, named after its field in `data.core.v3.HealthCheckEvent`."""
        for log in self._logs:
            log.write(
                host_event(self._kind, self.cluster.name, host.spec, log.now(), event, details)
            )

    def _remove(self, key: int) -> None:
        host = self._hosts.pop(key)
        host.stop()
        self.cluster.set_flags(key, remove=CHECK_FLAGS)
        if self._waiting:
            self._waiting.discard(host)
            self._count_down()

    def _count_down(self) -> None:
        if not self._waiting and self._first_round is not None:
            first_round, self._first_round = self._first_round, None
            first_round.callback(None)


class HostCheck:
    """One host, checked again and again."""

    __slots__ = ("_check", "_entry", "_flags", "_in_a_row", "_probe", "is_new", "key", "spec")

    def __init__(self, check: HealthCheck, key: int, spec: HostSpec) -> None:
        self._check = check
        self.key = key
        self.spec = spec
        self._flags = int(check.unchecked)
        self.is_new = True
        """Whether it has had no result yet."""
        self._in_a_row = 0
        """Results so far that speak against the state the host is in."""
        self._entry: Entry | None = None
        self._probe: IProbe | None = check.make_probe(target(spec), spec, self)

    @property
    def is_failed(self) -> bool:
        """Whether the host is out."""
        return bool(self._flags & FAILED)

    def start(self) -> None:
        """Begin, now or after a jitter."""
        check = self._check
        check.cluster.set_flags(self.key, add=check.unchecked)
        self._entry = check.wheel.add(check.until_first(), self._run)

    def stop(self) -> None:
        """End; a check under way has no result."""
        self._unschedule()
        probe, self._probe = self._probe, None  # which knows whom to tell: this one
        assert probe is not None
        probe.stop()
        stats = self._check.stats
        stats.healthy.add(-1 if not self._flags & FAILED else 0)
        stats.degraded.add(-1 if self._flags & DEGRADED else 0)

    def _run(self) -> None:
        self._entry = None
        assert self._probe is not None
        self._check.stats.attempt.tally += 1
        self._probe.start()

    def succeeded(self, degraded: bool = False) -> None:
        """The host is well, or well enough (`x-envoy-degraded`)."""
        check = self._check
        check.stats.success.tally += 1
        add = remove = 0
        edge = False
        if self._flags & FAILED:
            self._in_a_row += 1
            if self.is_new or self._in_a_row >= check.healthy_threshold:
                self._in_a_row = 0
                remove = FAILED | TIMED_OUT | EXCLUDED
                check.stats.healthy.add(1)
                check.log(self, "add_healthy_event", first_check=self.is_new)
            else:
                edge = True
        else:
            self._in_a_row = 0
        if degraded != bool(self._flags & DEGRADED):
            add, remove = (DEGRADED, remove) if degraded else (add, remove | DEGRADED)
            check.stats.degraded.add(1 if degraded else -1)
            check.log(self, "degraded_healthy_host" if degraded else "no_longer_degraded_host")
        if check.log_successes:
            check.log(self, "successful_health_check_event")
        self._finish(add, remove | PENDING, True, edge)

    def failed(
        self, kind: Failed, retriable: bool = False, status: int = 0, exclude: bool = False
    ) -> None:
        """The host is not well.

        :param retriable: whether this counts against the threshold though the host itself said it.
        :param status: of HTTP, for the event log.
        :param exclude: whether the host asked not to be counted at all
            (`x-envoy-immediate-health-check-fail`).
        """
        check = self._check
        stats = check.stats
        stats.failure.tally += 1
        if kind is not Failed.ACTIVE:
            stats.network_failure.tally += 1
        add, remove = (EXCLUDED if exclude else 0), PENDING
        edge = False
        if self._flags & FAILED:
            self._in_a_row = 0
        else:
            self._in_a_row += 1
            if (
                kind is Failed.ACTIVE and not retriable
            ) or self._in_a_row >= check.unhealthy_threshold:
                self._in_a_row = 0
                add |= FAILED
                stats.healthy.add(-1)
                check.log(
                    self, "eject_unhealthy_event", failure_type=kind.name, http_status_code=status
                )
            else:
                edge = True
        if (self._flags | add) & FAILED:
            add, remove = (
                (add | TIMED_OUT, remove)
                if kind is Failed.NETWORK_TIMEOUT
                else (add, remove | TIMED_OUT)
            )
        if self.is_new or check.log_failures:
            check.log(
                self,
                "health_check_failure_event",
                failure_type=kind.name,
                first_check=self.is_new,
                http_status_code=status,
            )
        self._finish(add, remove, False, edge)

    def not_tried(self) -> None:
        """This machine could not ask it, so nothing is known that was not before: ask again after
        the interval.
        """
        self._schedule(not self.is_failed, False)

    def _finish(self, add: int, remove: int, healthy: bool, edge: bool) -> None:
        check = self._check
        self.is_new = False
        flags = (self._flags & ~remove) | add
        if flags != self._flags:
            self._flags = flags
            check.cluster.set_flags(self.key, HealthFlag(add), HealthFlag(remove))
        self._schedule(healthy, edge)
        check.has_result(self, healthy)

    def _schedule(self, healthy: bool, edge: bool) -> None:
        check = self._check
        if self._entry is not None:
            self._unschedule()
        self._entry = check.wheel.add(check.until_next(healthy, edge), self._run)

    def _unschedule(self) -> None:
        if self._entry is not None:
            self._check.wheel.cancel(self._entry)
            self._entry = None


def target(spec: HostSpec) -> Address:
    """Where a host is to be checked (`endpoint.v3.Endpoint.HealthCheckConfig`)."""
    config = spec.health_check_config
    if config is None:
        return spec.address
    host, port = (
        host_and_port(config.address)
        if config.HasField("address")
        else (spec.address.host, spec.address.port)
    )
    return Address(host, config.port_value or port)
