"""What main watches of a cluster: it stands between discovery, which knows what hosts there are,
and the cluster, which uses them.

Active health checks and outlier detection are told of the same hosts as the cluster, and tell it by
flags what they find.  Hosts that discovery has dropped stay while they pass their health checks, as
in Envoy: discovery that is out of order takes down nobody who is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tcpmesh.cluster.cluster import Cluster, unchecked_flags
from tcpmesh.cluster.health.checker import HealthCheck, HealthStats, HostCheck
from tcpmesh.cluster.health.combined import CheckView, CombinedHealth
from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.cluster.health.http_probe import http_probes
from tcpmesh.cluster.health.outlier_detection import Detector
from tcpmesh.cluster.health.outlier_settings import OutlierStats
from tcpmesh.cluster.health.probe import MakeProbe, tcp_probes
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.registry import Context, build
from tcpmesh.stats.store import Scope
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import Assignment, HealthFlag, HostSpec
from tcpmesh.values.statuses import OutlierStatus

LEAVING = HealthFlag.pending_dynamic_removal
GIVEN_UP = ("UNHEALTHY", "TIMEOUT")
"""Health that discovery gave a host, with which the host does not stay."""


class HealthMonitor:
    """The health checks and the outlier detection of one cluster.

    :param wheel: where the next check of each host waits.
    :param log: of outliers, where there is one.
    :raise CannotLog: where an event log cannot be opened.
    """

    def __init__(
        self,
        message: Any,
        cluster: Cluster,
        context: Context,
        wheel: TimerWheel,
        log: EventLog | None,
    ) -> None:
        self._cluster = cluster
        # A host that connections name goes when none names it any more.
        self._ignores_health = (
            message.ignore_health_on_host_removal or message.lb_policy == message.CLUSTER_PROVIDED
        )
        self._logs: list[EventLog] = []
        self._assignment = Assignment()
        self._left: dict[Address, HostSpec] = {}
        """Hosts that discovery has dropped and that stay, for they are well."""
        self._detector: Detector | None = None
        count = len(message.health_checks)
        self._combined = CombinedHealth(cluster, count, _scope_of(cluster)) if count > 1 else None
        self._checks = tuple(
            self._health_check(each, number, message, context, wheel)
            for number, each in enumerate(message.health_checks)
        )
        if message.HasField("outlier_detection"):
            stats = OutlierStats(cluster.stats.scope)
            clock = context.network.clock
            self._detector = Detector(
                message.outlier_detection, cluster, stats, clock, wheel, context.random, log
            )

    def outliers(self) -> OutlierStatus | None:
        """What outlier detection has found of the cluster as a whole; `None` where there is
        none.
        """
        return None if self._detector is None else self._detector.status()

    def update_hosts(self, assignment: Assignment) -> None:
        """Discovery knows of these hosts now."""
        known = (*self._assignment.hosts, *self._left.values())
        self._assignment = assignment
        present = {spec.address for spec in assignment.hosts}
        left_before, self._left = (
            self._left,
            {spec.address: spec for spec in self._staying(known, present)},
        )
        hosts = (*assignment.hosts, *self._left.values())
        self._cluster.update_hosts(replace(assignment, hosts=hosts) if self._left else assignment)
        for address in self._left.keys() - left_before.keys():
            self._cluster.set_flags(address, add=LEAVING)
        for address in left_before.keys() - self._left.keys():
            self._cluster.set_flags(address, remove=LEAVING)
        if self._detector is not None:
            self._detector.update_hosts(self._cluster.hosts)
        for check in self._checks:
            check.update_hosts(hosts)
        if self._combined is not None:
            self._combined.keep(spec.address for spec in hosts if spec.is_checked)

    def first_round(self) -> Deferred[None]:
        """Fires once each host there is at this moment has a result of each health check; at once
        where there are none.
        """
        return gatherResults([check.first_round() for check in self._checks]).addCallback(
            lambda results: None
        )

    def stop(self) -> None:
        """HealthMonitor no more."""
        for check in self._checks:
            check.stop()
        if self._detector is not None:
            self._detector.stop()
        for log in self._logs:
            log.close()

    def reopen_logs(self) -> None:
        """Open event logs anew."""
        for log in self._logs:
            log.reopen()

    def _staying(self, known: tuple[HostSpec, ...], present: set[Address]) -> Iterator[HostSpec]:
        """Of the hosts that are known and not present any more, those that are well."""
        if not self._checks or self._ignores_health:
            return
        for spec in known:
            if (
                spec.address not in present
                and not self._is_failed(spec.address)
                and spec.health_status not in GIVEN_UP
            ):
                yield spec

    def _is_failed(self, address: Address) -> bool:
        """Whether one of the checks says that the host at this address is out, or is not
        checked.
        """
        return any(check.is_failed(address) for check in self._checks)

    def _health_check(
        self, message: Any, number: int, cluster: Any, context: Context, wheel: TimerWheel
    ) -> HealthCheck:
        scope = _scope_of(self._cluster)
        stats = HealthStats(scope.scope("name").scope(message.name) if message.name else scope)
        logs = [build(each.typed_config, context) for each in message.event_logger]
        if message.event_log_path:
            logs.append(EventLog(message.event_log_path))
        self._logs += logs
        told = self._cluster if self._combined is None else CheckView(self._combined, number)
        probes = self._probes(message, context, stats)
        check = HealthCheck(
            message, told, unchecked_flags(cluster), probes, wheel, context.random, stats, logs
        )
        check.on_result = self._has_result
        return check

    def _probes(self, message: Any, context: Context, stats: HealthStats) -> MakeProbe:
        network, dialer = context.network, self._cluster.dialer

        def connect(address: Address, factory: Any, timeout: float) -> Any:
            return network.connect(address, factory, timeout, dialer.options(address))

        def connect_check(address: Address, listener: Any, timeout: float) -> Any:
            return network.connect_check(address, listener, timeout, dialer.options(address))

        if message.HasField("http_health_check"):
            return http_probes(
                message, connect, network.timers, self._cluster.name, stats.verify_cluster
            )
        if message.HasField("grpc_health_check"):
            # Here, as only these checks need h2.
            from tcpmesh.cluster.health.grpc_probe import grpc_probes

            return grpc_probes(message, connect, network.timers, self._cluster.name)
        return tcp_probes(message, connect, connect_check, network.timers)

    def _has_result(self, host: HostCheck, passed: bool) -> None:
        address = host.spec.address
        if host.is_failed:
            if address in self._left:
                self.update_hosts(self._assignment)
        elif passed and self._detector is not None and not self._is_failed(address):
            self._detector.health_check_passed(address)


def _scope_of(cluster: Cluster) -> Scope:
    """Of the statistics of a cluster's health checks."""
    return cluster.stats.scope.scope("health_check")
