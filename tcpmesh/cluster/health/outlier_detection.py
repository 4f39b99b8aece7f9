"""Outlier detection: hosts that fail their clients, where their companions do not, are out for a
while.

What a worker sees of a host it counts in `Results`: as connections succeed, fail and time out.
Failures in a row are reported to the `Detector`, which belongs to main and decides: whether the
detection is enforced, whether so many hosts may be out, and for how long - longer with each time,
and less long again for each interval without a cause.  At every interval it lets hosts back in, and
compares the shares of successes.

For TCP, Envoy takes a connect failure for a 503, a timeout for a 504 and a success for a 200, and
counts them like answers; with `split_external_local_origin_errors` as what they are, failures of
local origin.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from random import Random
from typing import Any

from twisted.internet.interfaces import IReactorTime

from tcpmesh.cluster.health.checker import ICheckedCluster
from tcpmesh.cluster.health.event_log import EventLog, ejection_event, return_event
from tcpmesh.cluster.health.outlier_settings import Cause, OutlierStats, Settings
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.net.timer_wheel import Entry, TimerWheel
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HealthFlag
from tcpmesh.values.statuses import OutlierStatus, RateStatus

EJECTED = HealthFlag.failed_outlier_check


class Results:
    """What a worker has seen of one host: the `outlier` of its `Host`."""

    __slots__ = ("_detector", "_fives", "_gateways", "_locals", "host", "passed", "total")

    def __init__(self, detector: Detector, host: Host) -> None:
        self._detector = detector
        self.host = host
        self.total = self.passed = 0
        """Connections tried, and made, since the interval began."""
        self.forget()

    def forget(self) -> None:
        """Count failures in a row from 0."""
        self._fives = self._gateways = self._locals = 0

    def connect_succeeded(self) -> None:
        """A connection was made."""
        self.total += 1
        self.passed += 1
        self._fives = self._gateways = self._locals = 0

    def connect_failed(self) -> None:
        """The host refused, or cannot be reached."""
        self.total += 1
        detector = self._detector
        limits = detector.settings.consecutive
        if detector.settings.split:
            self._locals += 1
            if self._locals == limits[Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE]:
                detector.report(self, Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE)
            return
        self._gateways += 1
        if self._gateways == limits[Cause.CONSECUTIVE_GATEWAY_FAILURE]:
            detector.report(self, Cause.CONSECUTIVE_GATEWAY_FAILURE)
        self._fives += 1
        if self._fives == limits[Cause.CONSECUTIVE_5XX]:
            detector.report(self, Cause.CONSECUTIVE_5XX)

    def connect_timed_out(self) -> None:
        """The host did not answer in time: a 504 is as much a gateway failure as a 503."""
        self.connect_failed()

    def begin_again(self, cause: Cause) -> None:
        """A bout of failures was judged: wait for another one."""
        if cause is Cause.CONSECUTIVE_5XX:
            self._fives = 0
        elif cause is Cause.CONSECUTIVE_GATEWAY_FAILURE:
            self._gateways = 0
        else:
            self._locals = 0

    def take(self) -> tuple[int, int]:
        """The connections (tried, made) of the interval that ends now."""
        taken = self.total, self.passed
        self.total = self.passed = 0
        return taken


class _Record:
    """What main remembers of one host."""

    __slots__ = (
        "backoff",
        "ejected",
        "ejected_at",
        "ejections",
        "jitter",
        "results",
        "returned_at",
    )

    def __init__(self, results: Results) -> None:
        self.results = results
        self.ejected = False
        self.ejections = 0
        self.backoff = 0
        """What the base time of the next ejection is multiplied with, less 1."""
        self.jitter = 0.0
        self.ejected_at: float | None = None
        self.returned_at: float | None = None


class Detector:
    """Outlier detection of one cluster."""

    def __init__(
        self,
        message: Any,
        cluster: ICheckedCluster,
        stats: OutlierStats,
        clock: IReactorTime,
        wheel: TimerWheel,
        random: Random,
        log: EventLog | None,
    ) -> None:
        self.settings = Settings.from_message(message)
        self._cluster = cluster
        self._stats = stats
        self._clock = clock
        self._wheel = wheel
        self._random = random
        self._log = log
        self._records: dict[Host, _Record] = {}
        self._by_address: dict[Address, list[_Record]] = {}
        self._active = 0
        self._rates = RateStatus()
        self._entry: Entry = wheel.add(self.settings.interval, self._interval_over)

    def update_hosts(self, hosts: Iterable[Host]) -> None:
        """The cluster has these hosts now."""
        before, self._records = self._records, {}
        for host in hosts:
            record = before.pop(host) if host in before else _Record(Results(self, host))
            self._records[host] = record
            host.outlier = record.results
        self._count(-sum(record.ejected for record in before.values()))
        self._by_address = {}
        for host, record in self._records.items():
            self._by_address.setdefault(host.address, []).append(record)

    def stop(self) -> None:
        """Judge no more."""
        self._wheel.cancel(self._entry)
        self._count(-self._active)
        self._records = {}
        self._by_address = {}

    def health_check_passed(self, address: Address) -> None:
        """The host is well, say active health checks: that ends an ejection, unless the
        configuration says that it does not.
        """
        if self.settings.health_check_returns:
            for record in self._by_address.get(address, ()):
                if record.ejected:
                    self._let_back(record)

    def report(self, results: Results, cause: Cause) -> None:
        """A worker saw so many failures in a row; it is judged when the worker has done with this
        one.
        """
        self._clock.callLater(0, self._judge, results, cause)

    def _judge(self, results: Results, cause: Cause) -> None:
        record = self._records.get(results.host)
        if record is None or record.ejected:
            return
        self._detected(record, cause, "eject_consecutive_event", {})
        results.begin_again(cause)

    # Out and back

    def _detected(self, record: _Record, cause: Cause, event: str, details: dict[str, int]) -> None:
        """There is a cause to eject a host: do, where enough others are left and the dice say
        so.
        """
        stats, settings = self._stats, self.settings
        stats.detected[cause].tally += 1
        if cause in stats.old:
            stats.old[cause].tally += 1
        percent = 100 * (self._active + 1) / len(self._records)
        if percent > settings.max_ejection_percent and not (
            settings.always_eject_one_host and not self._active
        ):
            stats.overflow.tally += 1
            return
        if cause in stats.old:
            stats.old_total.tally += 1
        enforced = self._random.randrange(100) < settings.enforcing[cause]
        if enforced:
            stats.enforced_total.tally += 1
            stats.enforced[cause].tally += 1
            self._eject(record)
        if self._log is not None:
            since = self._since(record.returned_at)
            self._log.write(
                ejection_event(
                    self._cluster.name,
                    record.results.host.address,
                    self._log.now(),
                    since,
                    record.ejections,
                )
                | {"type": cause.name, "enforced": enforced, event: details}
            )

    def _eject(self, record: _Record) -> None:
        settings = self.settings
        record.ejected = True
        record.ejections += 1
        record.ejected_at = self._clock.seconds()
        record.jitter = (
            self._random.uniform(0, settings.max_ejection_time_jitter)
            if settings.max_ejection_time_jitter
            else 0.0
        )
        if (
            settings.base_ejection_time * record.backoff
            < settings.max_ejection_time + settings.base_ejection_time
        ):
            record.backoff += 1
        self._count(1)
        self._cluster.set_flags(record.results.host.address, add=EJECTED)

    def _let_back(self, record: _Record) -> None:
        since = self._since(record.ejected_at)
        record.ejected = False
        record.returned_at = self._clock.seconds()
        record.results.forget()
        self._count(-1)
        self._cluster.set_flags(record.results.host.address, remove=EJECTED)
        if self._log is not None:
            address = record.results.host.address
            self._log.write(
                return_event(self._cluster.name, address, self._log.now(), since, record.ejections)
            )

    def _since(self, then: float | None) -> int | None:
        return None if then is None else int(self._clock.seconds() - then)

    def _count(self, more: int) -> None:
        self._active += more
        self._stats.active.add(more)

    # At every interval

    def _interval_over(self) -> None:
        settings, now = self.settings, self._clock.seconds()
        for record in self._records.values():
            if not record.ejected:
                record.backoff = max(record.backoff - 1, 0)
            elif self._sentence(record) <= now - (record.ejected_at or 0.0):
                self._let_back(record)
        self._compare()
        self._entry = self._wheel.add(settings.interval, self._interval_over)

    def _sentence(self, record: _Record) -> float:
        """Seconds that an ejection lasts."""
        settings = self.settings
        return (
            min(settings.base_ejection_time * record.backoff, settings.max_ejection_time)
            + record.jitter
        )

    def _compare(self) -> None:
        """Judge the shares of successes, of hosts that had enough connections in the interval."""
        settings = self.settings
        self._rates = RateStatus()
        least = min(
            settings.success_rate_request_volume, settings.failure_percentage_request_volume
        )
        rated: list[tuple[_Record, float, int]] = []
        for record in self._records.values():
            total, passed = record.results.take()
            rate = 100 * passed / total if total and total >= least and not record.ejected else -1.0
            self._show(record.results.host, rate)
            if rate >= 0:
                rated.append((record, rate, total))
        if len(self._records) >= settings.success_rate_minimum_hosts:
            chosen = [each for each in rated if each[2] >= settings.success_rate_request_volume]
            self._judge_rates([(record, rate) for record, rate, _ in chosen])
        if len(self._records) >= settings.failure_percentage_minimum_hosts:
            chosen = [
                each for each in rated if each[2] >= settings.failure_percentage_request_volume
            ]
            self._judge_percentages([(record, rate) for record, rate, _ in chosen])

    def status(self) -> OutlierStatus:
        """How the cluster is as a whole."""
        return (
            OutlierStatus(local_origin=self._rates)
            if self.settings.split
            else OutlierStatus(external=self._rates)
        )

    def _show(self, host: Host, rate: float) -> None:
        if self.settings.split:
            host.local_origin_success_rate = rate
        else:
            host.success_rate = rate

    def _judge_rates(self, rated: list[tuple[_Record, float]]) -> None:
        """Eject who is far below the mean of all."""
        settings = self.settings
        if len(rated) < settings.success_rate_minimum_hosts:
            return
        mean, threshold = mean_and_threshold(
            [rate for _, rate in rated], settings.success_rate_stdev_factor
        )
        self._rates = RateStatus(mean, threshold)
        cause = Cause.SUCCESS_RATE_LOCAL_ORIGIN if settings.split else Cause.SUCCESS_RATE
        for record, rate in rated:
            if rate < threshold:
                details = {
                    "host_success_rate": int(rate),
                    "cluster_average_success_rate": int(mean),
                    "cluster_success_rate_ejection_threshold": int(threshold),
                }
                self._detected(record, cause, "eject_success_rate_event", details)

    def _judge_percentages(self, rated: list[tuple[_Record, float]]) -> None:
        """Eject who fails too often, whatever the others do."""
        settings = self.settings
        if len(rated) < settings.failure_percentage_minimum_hosts:
            return
        cause = (
            Cause.FAILURE_PERCENTAGE_LOCAL_ORIGIN if settings.split else Cause.FAILURE_PERCENTAGE
        )
        for record, rate in rated:
            if 100 - rate >= settings.failure_percentage_threshold and not record.ejected:
                self._detected(
                    record,
                    cause,
                    "eject_failure_percentage_event",
                    {"host_success_rate": int(rate)},
                )


def mean_and_threshold(rates: list[float], factor: float) -> tuple[float, float]:
    """The mean of the rates, and what is so many (population) standard deviations below it."""
    mean = sum(rates) / len(rates)
    deviation = sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
    return mean, mean - factor * deviation
