"""What main watches of a cluster: it stands between discovery, which knows what hosts there are,
and the membership, which workers are told of.

Active health checks and outlier detection are told of the same hosts as workers, and say by flags
what they find.  Hosts that discovery has dropped stay while they pass their health checks, as in
Envoy: discovery that is out of order takes down nobody who is well.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, succeed

from tcpmesh.cluster.health.checker import HealthCheck, HealthStats, HostCheck
from tcpmesh.cluster.health.combined import CheckView, CombinedHealth
from tcpmesh.cluster.health.event_log import EventLog, IEventSink
from tcpmesh.cluster.health.outlier_detection import Detector
from tcpmesh.cluster.health.outlier_settings import OutlierStats
from tcpmesh.cluster.health.probe import MakeProbe, tcp_probes
from tcpmesh.cluster.membership import KnownHost, Membership
from tcpmesh.cluster.upstream.dialer import Dialer
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.registry import MainContext, build
from tcpmesh.stats.store import Declaration
from tcpmesh.values.all_or_nothing import all_or_nothing
from tcpmesh.values.hosts import Assignment, HealthFlag
from tcpmesh.values.link import Outcome
from tcpmesh.values.statuses import NO_RATES, HostRates, OutlierStatus

LEAVING = int(HealthFlag.pending_dynamic_removal)
GIVEN_UP = ("UNHEALTHY", "TIMEOUT")
"""Health that discovery gave a host, with which the host does not stay."""


def _verifies(context: MainContext) -> bool:
    """Whether the service in an answer is looked at: in so many percent of the cases as the runtime
    says, as a rule always.
    """
    percent = context.runtime.integer("health_check.verify_cluster", 100)
    return percent >= 100 or context.random.randrange(100) < percent


HTTP1 = Declaration(
    counters=(
        "dropped_headers_with_underscores",
        "metadata_not_supported_error",
        "requests_rejected_with_underscores_in_headers",
        "response_flood",
    )
)
"""What Envoy's HTTP/1 would count of the connections of health checks, and ours never sees."""


class HealthMonitor:
    """The health checks and the outlier detection of one cluster.

    :param membership: the hosts.
    :param dialer: how they are connected to; `None` where the cluster has no health checks.
    :param wheel: where the next check of each host waits.
    :param log: of outliers, where there is one.
    :param dropped_hosts_stay: whether hosts that discovery drops stay while they are well.
    :raise CannotLog: where an event log cannot be opened.
    """

    def __init__(
        self,
        message: Any,
        membership: Membership,
        dialer: Dialer | None,
        context: MainContext,
        wheel: TimerWheel,
        log: EventLog | None,
        dropped_hosts_stay: bool = True,
    ) -> None:
        self._membership = membership
        self._dialer = dialer
        self._keeps = dropped_hosts_stay and not message.ignore_health_on_host_removal
        self._logs: list[EventLog] = []
        self._assignment = Assignment()
        self._left: set[int] = set()
        """Hosts that discovery has dropped and that stay, for they are well."""
        self._detector: Detector | None = None
        count = len(message.health_checks)
        scope = membership.stats.scope
        self._combined = (
            CombinedHealth(membership, count, scope.scope("health_check")) if count > 1 else None
        )
        self._checks: list[HealthCheck] = []
        with all_or_nothing() as undo:
            undo.callback(self.stop)
            for number, each in enumerate(message.health_checks):
                self._checks.append(self._health_check(each, number, context, wheel))
            if message.HasField("outlier_detection"):
                self._detector = Detector(
                    message.outlier_detection,
                    context.runtime,
                    membership,
                    OutlierStats(scope),
                    context.network.clock,
                    wheel,
                    context.random,
                    (context.events,) if log is None else (context.events, log),
                )

    def update_hosts(self, assignment: Assignment) -> None:
        """Discovery knows of these hosts now."""
        self._assignment = assignment
        membership = self._membership
        found, dropped = membership.match(assignment.hosts)
        staying = [host for host in dropped if self._stays(host)]
        for host in found:
            host.flags &= ~LEAVING
        for host in staying:
            host.flags |= LEAVING
        self._left = {host.key for host in staying}
        if staying:
            specs = (*assignment.hosts, *(host.spec for host in staying))
            assignment = replace(assignment, hosts=specs)
        membership.update([*found, *staying], assignment)
        hosts = {key: host.spec for key, host in membership.hosts.items()}
        if self._detector is not None:
            self._detector.update_hosts(hosts)
        for check in self._checks:
            check.update_hosts(hosts)
        if self._combined is not None:
            self._combined.keep(key for key, spec in hosts.items() if spec.is_checked)

    def _stays(self, host: KnownHost) -> bool:
        """Whether a host that discovery has dropped is well."""
        return bool(
            self._keeps
            and self._checks
            and not self._is_failed(host.key)
            and host.spec.health_status not in GIVEN_UP
        )

    # What workers tell

    def outcome(self, key: int, outcome: Outcome) -> None:
        """What came of a connection to a host."""
        if self._detector is not None:
            self._detector.outcome(key, outcome)

    def take_rates(self, rates: Iterable[tuple[int, int, int]]) -> None:
        """(host, connections tried, connections made) of the interval that is over."""
        if self._detector is not None:
            self._detector.interval_told(rates)

    # What the runtime says

    def outliers_changed(self) -> None:
        """What outlier detection goes by is other now."""
        if self._detector is not None:
            self._detector.refresh()

    # What is shown

    def outliers(self) -> OutlierStatus | None:
        """What outlier detection has found of the cluster as a whole; `None` where there is
        none.
        """
        return None if self._detector is None else self._detector.status()

    def rates(self, key: int) -> HostRates:
        """What it has found of a host."""
        return NO_RATES if self._detector is None else self._detector.rates(key)

    # Its life

    def first_round(self) -> Deferred[None]:
        """Fires once each host there is at this moment has a result of each health check; at once
        where there are none.
        """
        if not self._checks:
            return succeed(None)
        rounds = [check.first_round() for check in self._checks]
        return gatherResults(rounds, consumeErrors=True).addCallback(lambda results: None)

    def stop(self) -> None:
        """Check and judge no more."""
        # Each check knows this monitor, which lets go of them, so that nothing goes in a circle.
        checks, self._checks = self._checks, []
        for check in checks:
            check.stop()
        if self._detector is not None:
            self._detector.stop()
        for log in self._logs:
            log.close()

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        for log in self._logs:
            log.reopen()

    def _is_failed(self, key: int) -> bool:
        """Whether one of the checks says that the host is out, or is not checked."""
        return any(check.is_failed(key) for check in self._checks)

    def _health_check(
        self, message: Any, number: int, context: MainContext, wheel: TimerWheel
    ) -> HealthCheck:
        membership = self._membership
        scope = membership.stats.scope.scope("health_check")
        stats = HealthStats(scope.scope("name").scope(message.name) if message.name else scope)
        if message.HasField("http_health_check"):
            membership.stats.scope.scope("http1").declare(HTTP1)
        logs: list[EventLog] = []
        for each in message.event_logger:
            logs.append(build(each.typed_config, context))
            self._logs.append(logs[-1])
        if message.event_log_path:
            logs.append(EventLog(message.event_log_path))
            self._logs.append(logs[-1])
        sinks: tuple[IEventSink, ...] = (context.events, *logs)
        told = membership if self._combined is None else CheckView(self._combined, number)
        probes = self._probes(message, context, stats)
        check = HealthCheck(
            message,
            told,
            membership.unchecked,
            probes,
            wheel,
            context.random,
            stats,
            sinks,
            context.runtime,
        )
        check.on_result = self._has_result
        return check

    def _probes(self, message: Any, context: MainContext, stats: HealthStats) -> MakeProbe:
        network, dialer = context.network, self._dialer
        assert dialer is not None
        of_hosts = dialer.for_checks(message)
        host_dial = of_hosts.dial if of_hosts is not None else None
        if message.HasField("http_health_check"):
            # Here, as only these checks need HTTP.
            from tcpmesh.cluster.health.http_probe import http_probes

            return http_probes(
                message,
                dialer.dial,
                network,
                self._membership.name,
                stats.verify_cluster,
                partial(_verifies, context),
                host_dial,
            )
        if message.HasField("grpc_health_check"):
            # As above, and h2.
            from tcpmesh.cluster.health.grpc_probe import grpc_probes

            return grpc_probes(message, dialer.dial, network, self._membership.name, host_dial)
        return tcp_probes(
            message,
            dialer.dial,
            dialer.connect_check,
            network,
            host_dial,
            of_hosts.connect_check if of_hosts is not None else None,
        )

    def _has_result(self, host: HostCheck, passed: bool) -> None:
        key = host.key
        if host.is_failed:
            if key in self._left:
                self.update_hosts(self._assignment)
        elif passed and self._detector is not None and not self._is_failed(key):
            self._detector.health_check_passed(key)
