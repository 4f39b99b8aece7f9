"""What main watches of a cluster: it stands between discovery, which knows what hosts there are, and the cluster, which uses them.

Active health checks and outlier detection are told of the same hosts as the cluster, and tell it by flags what they find.  Hosts
that discovery has dropped stay while they pass their health checks, as in Envoy: discovery that is out of order takes down nobody
who is well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed

from tcpmesh.cluster.cluster import Cluster, unchecked_flags
from tcpmesh.cluster.events import EventLog
from tcpmesh.cluster.health import HealthCheck, HealthStats, HostCheck
from tcpmesh.cluster.host import Assignment, HealthFlag, HostSpec
from tcpmesh.cluster.http_probe import http_probes
from tcpmesh.cluster.outlier_settings import OutlierStats
from tcpmesh.cluster.outliers import Detector
from tcpmesh.cluster.probes import MakeProbe, tcp_probes
from tcpmesh.net.address import Address
from tcpmesh.net.calls import Calls
from tcpmesh.registry import Context, build

LEAVING = HealthFlag.pending_dynamic_removal
GIVEN_UP = ("UNHEALTHY", "TIMEOUT")
"""Health that discovery gave a host, with which the host does not stay."""


class Watch:
    """The health checks and the outlier detection of one cluster.

    @param calls: where the next check of each host waits.
    @param log: of outliers, where there is one.
    @raise CannotLog: where an event log cannot be opened.
    """

    def __init__(self, message: Any, cluster: Cluster, context: Context, calls: Calls, log: EventLog | None) -> None:
        self._cluster = cluster
        self._ignores_health = message.ignore_health_on_host_removal
        self._logs: list[EventLog] = []
        self._assignment = Assignment()
        self._left: dict[Address, HostSpec] = {}
        """Hosts that discovery has dropped and that stay, for they are well."""
        self._check: HealthCheck | None = None
        self._detector: Detector | None = None
        for each in message.health_checks:
            self._check = self._health_check(each, message, context, calls)
        if message.HasField("outlier_detection"):
            stats = OutlierStats(cluster.stats.scope)
            clock = context.network.clock
            self._detector = Detector(message.outlier_detection, cluster, stats, clock, calls, context.random, log)

    def update_hosts(self, assignment: Assignment) -> None:
        """Discovery knows of these hosts now."""
        known = (*self._assignment.hosts, *self._left.values())
        self._assignment = assignment
        present = {spec.address for spec in assignment.hosts}
        left_before, self._left = self._left, {spec.address: spec for spec in self._staying(known, present)}
        hosts = (*assignment.hosts, *self._left.values())
        self._cluster.update_hosts(replace(assignment, hosts=hosts) if self._left else assignment)
        for address in self._left.keys() - left_before.keys():
            self._cluster.set_flags(address, add=LEAVING)
        for address in left_before.keys() - self._left.keys():
            self._cluster.set_flags(address, remove=LEAVING)
        if self._detector is not None:
            self._detector.update_hosts(self._cluster.hosts)
        if self._check is not None:
            self._check.update_hosts(hosts)

    def first_round(self) -> Deferred[None]:
        """Fires once each host there is at this moment has the result of a health check; at once where there are none."""
        return self._check.first_round() if self._check is not None else succeed(None)

    def stop(self) -> None:
        """Watch no more."""
        if self._check is not None:
            self._check.stop()
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
        if self._check is None or self._ignores_health:
            return
        for spec in known:
            if spec.address not in present and not self._check.is_failed(spec.address) and spec.health_status not in GIVEN_UP:
                yield spec

    def _health_check(self, message: Any, cluster: Any, context: Context, calls: Calls) -> HealthCheck:
        stats = HealthStats(self._cluster.stats.scope)
        self._logs += [build(each.typed_config, context) for each in message.event_logger]
        if message.event_log_path:
            self._logs.append(EventLog(message.event_log_path))
        probes = self._probes(message, context, stats)
        check = HealthCheck(message, self._cluster, unchecked_flags(cluster), probes, calls, context.random, stats, self._logs)
        check.on_result = self._has_result
        return check

    def _probes(self, message: Any, context: Context, stats: HealthStats) -> MakeProbe:
        network, dialer = context.network, self._cluster.dialer

        def connect(address: Address, factory: Any, timeout: float) -> Any:
            return network.connect(address, factory, timeout, dialer.options(address))

        if message.HasField("http_health_check"):
            return http_probes(message, connect, network.timers, self._cluster.name, stats.verify_cluster)
        if message.HasField("grpc_health_check"):
            # Here, as only these checks need h2.
            from tcpmesh.cluster.grpc_probe import grpc_probes

            return grpc_probes(message, connect, network.timers, self._cluster.name)
        return tcp_probes(message, connect, network.timers)

    def _has_result(self, host: HostCheck, passed: bool) -> None:
        if host.is_failed:
            if host.spec.address in self._left:
                self.update_hosts(self._assignment)
        elif passed and self._detector is not None:
            self._detector.health_check_passed(host.spec.address)
