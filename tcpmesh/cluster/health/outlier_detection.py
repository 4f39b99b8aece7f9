"""Outlier detection: hosts that fail their clients, where their companions do not, are out for a
while.

Workers tell of each connection that fails, and of the first that is made after failures, and at
every interval how many there were (`tcpmesh.cluster.upstream.outcomes`).  Main decides: how many in
a row are too many, whether the detection is enforced, whether so many hosts may be out, and for how
long - longer with each time, and less long again for each interval without a cause.

The steps of an interval come in Envoy's order: hosts that have been out long enough come back, then
the shares of successes are compared, and only after that a host that has been in for a whole
interval is forgiven one ejection.  So a host that is put out in every interval stays out ever
longer.

For TCP, Envoy takes a connect failure for a 503, a timeout for a 504 and a success for a 200, and
counts them like answers; with `split_external_local_origin_errors` as what they are, failures of
local origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import sqrt
from random import Random
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from tcpmesh.cluster.health.checker import ICheckedCluster
from tcpmesh.cluster.health.event_log import IEventSink, ejection_event, return_event
from tcpmesh.cluster.health.outlier_settings import Cause, OutlierStats, Settings
from tcpmesh.net.timer_wheel import Entry, TimerWheel
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.hosts import HealthFlag, HostSpec
from tcpmesh.values.link import Outcome
from tcpmesh.values.statuses import NO_RATES, HostRates, OutlierStatus, RateStatus

EJECTED = HealthFlag.failed_outlier_check

CLOCK_TICK = 0.001
"""Seconds: times of timers are rounded to this."""


class IWatchedCluster(ICheckedCluster, Protocol):
    """What outlier detection asks of the cluster."""

    def ask_rates(self) -> None:
        """Have workers say how connections came out; `interval_told` gets it."""


class _Record:
    """What is known of one host."""

    __slots__ = (
        "_fives",
        "_gateways",
        "_locals",
        "backoff",
        "ejected",
        "ejected_at",
        "ejections",
        "jitter",
        "key",
        "rate",
        "returned_at",
        "spec",
    )

    def __init__(self, key: int, spec: HostSpec) -> None:
        self.key = key
        self.spec = spec
        self.ejected = False
        self.ejections = 0
        self.backoff = 0
        """What the base time of the next ejection is multiplied with, less 1."""
        self.jitter = 0.0
        self.rate = -1.0
        """The share of connections made in the last interval, in percent; -1 for none."""
        self.ejected_at: float | None = None
        self.returned_at: float | None = None
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count failures in a row from 0."""
        self._fives = self._gateways = self._locals = 0

    def failed(self, settings: Settings) -> Iterable[Cause]:
        """A connection failed; which rows of failures are now as long as it takes.  A timeout, a
        504, is as much a gateway failure as a 503.
        """
        limits = settings.consecutive
        if settings.split:
            self._locals += 1
            if self._locals == limits[Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE]:
                yield Cause.CONSECUTIVE_LOCAL_ORIGIN_FAILURE
            return
        self._gateways += 1
        if self._gateways == limits[Cause.CONSECUTIVE_GATEWAY_FAILURE]:
            yield Cause.CONSECUTIVE_GATEWAY_FAILURE
        self._fives += 1
        if self._fives == limits[Cause.CONSECUTIVE_5XX]:
            yield Cause.CONSECUTIVE_5XX

    def begin_again(self, cause: Cause) -> None:
        """A bout of failures was judged: wait for another one."""
        if cause is Cause.CONSECUTIVE_5XX:
            self._fives = 0
        elif cause is Cause.CONSECUTIVE_GATEWAY_FAILURE:
            self._gateways = 0
        else:
            self._locals = 0


class Detector:
    """Outlier detection of one cluster."""

    def __init__(
        self,
        message: Any,
        runtime: Runtime,
        cluster: IWatchedCluster,
        stats: OutlierStats,
        clock: IReactorTime,
        wheel: TimerWheel,
        random: Random,
        logs: Iterable[IEventSink],
    ) -> None:
        self._message = message
        self._runtime = runtime
        self.settings = Settings.of(message, runtime)
        self._cluster = cluster
        self._stats = stats
        self._clock = clock
        self._wheel = wheel
        self._random = random
        self._logs = tuple(logs)
        self._records: dict[int, _Record] = {}
        self._reported: list[tuple[int, Cause]] = []
        """Hosts with as many failures in a row as it takes, to be judged."""
        self._judging: IDelayedCall | None = None
        self._active = 0
        self._rates = RateStatus()
        self._entry: Entry = wheel.add(self.settings.interval, self._interval_over)

    def refresh(self) -> None:
        """Go by what the runtime has now; an interval that has begun stays as long as it is."""
        self.settings = Settings.of(self._message, self._runtime)

    def update_hosts(self, hosts: Mapping[int, HostSpec]) -> None:
        """The cluster has these hosts now, by key."""
        before, self._records = self._records, {}
        for key, spec in hosts.items():
            record = before.pop(key, None)
            if record is None:
                record = _Record(key, spec)
            record.spec = spec
            self._records[key] = record
        self._count(-sum(record.ejected for record in before.values()))

    def stop(self) -> None:
        """Judge no more."""
        self._wheel.cancel(self._entry)
        if self._judging is not None:
            self._judging.cancel()
            self._judging = None
        self._count(-self._active)
        self._records = {}

    def health_check_passed(self, key: int) -> None:
        """The host is well, say active health checks: that ends an ejection, unless the
        configuration says that it does not.
        """
        record = self._records.get(key)
        if record is not None and record.ejected and self.settings.health_check_returns:
            self._let_back(record)

    def outcome(self, key: int, outcome: Outcome) -> None:
        """What came of a connection, as a worker tells it; its host is judged when the worker has
        done with the connection.
        """
        record = self._records.get(key)
        if record is None:
            return
        if outcome is Outcome.RECOVERED:
            record.begin_anew()
            return
        self._reported += ((key, cause) for cause in record.failed(self.settings))
        if self._reported and self._judging is None:
            self._judging = self._clock.callLater(0, self._judge)

    def _judge(self) -> None:
        self._judging = None
        reported, self._reported = self._reported, []
        for key, cause in reported:
            record = self._records.get(key)
            if record is not None and not record.ejected:
                self._detected(record, cause, "eject_consecutive_event", {})
                record.begin_again(cause)

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
        since = self._since(record.returned_at)
        for log in self._logs:
            log.write(
                ejection_event(
                    self._cluster.name, record.spec.address, log.now(), since, record.ejections
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
        self._cluster.set_flags(record.key, add=EJECTED)

    def _let_back(self, record: _Record) -> None:
        since = self._since(record.ejected_at)
        record.ejected = False
        record.returned_at = self._clock.seconds()
        record.begin_anew()
        self._count(-1)
        self._cluster.set_flags(record.key, remove=EJECTED)
        address = record.spec.address
        for log in self._logs:
            log.write(return_event(self._cluster.name, address, log.now(), since, record.ejections))

    def _since(self, then: float | None) -> int | None:
        return None if then is None else int(self._clock.seconds() - then)

    def _count(self, more: int) -> None:
        self._active += more
        if more:
            self._stats.active.add(more)

    # At every interval

    def _interval_over(self) -> None:
        now = self._clock.seconds()
        for record in self._records.values():
            if record.ejected and self._sentence(record) <= now - (record.ejected_at or 0.0):
                self._let_back(record)
        self._entry = self._wheel.add(self.settings.interval, self._interval_over)
        self._cluster.ask_rates()

    def interval_told(self, told: Iterable[tuple[int, int, int]]) -> None:
        """How connections came out in the interval: (host, tried, made)."""
        self._compare({key: (tried, made) for key, tried, made in told})
        for record in self._records.values():
            if not record.ejected and record.backoff and self._is_long_back(record):
                record.backoff -= 1

    def _is_long_back(self, record: _Record) -> bool:
        """Whether a host was in for all of the interval."""
        since = self._clock.seconds() - (record.returned_at or 0.0)
        return since >= self.settings.interval - CLOCK_TICK

    def _sentence(self, record: _Record) -> float:
        """Seconds that an ejection lasts."""
        settings = self.settings
        return (
            min(settings.base_ejection_time * record.backoff, settings.max_ejection_time)
            + record.jitter
        )

    def _compare(self, told: Mapping[int, tuple[int, int]]) -> None:
        """Judge the shares of successes, of hosts that had enough connections in the interval."""
        settings = self.settings
        self._rates = RateStatus()
        for record in self._records.values():
            record.rate = -1.0
        count, minimum = len(self._records), settings.success_rate_minimum_hosts
        if count < min(minimum, settings.failure_percentage_minimum_hosts):
            return
        least = min(
            settings.success_rate_request_volume, settings.failure_percentage_request_volume
        )
        rated: list[tuple[_Record, float, int]] = []
        for key, (tried, made) in told.items():
            known = self._records.get(key)
            if known is not None and not known.ejected and tried and tried >= least:
                known.rate = 100 * made / tried
                rated.append((known, known.rate, tried))
        if count >= minimum:
            chosen = [each for each in rated if each[2] >= settings.success_rate_request_volume]
            self._judge_rates([(record, rate) for record, rate, _ in chosen])
        if count >= settings.failure_percentage_minimum_hosts:
            chosen = [
                each for each in rated if each[2] >= settings.failure_percentage_request_volume
            ]
            self._judge_percentages([(record, rate) for record, rate, _ in chosen])

    def rates(self, key: int) -> HostRates:
        """How a host is."""
        record = self._records.get(key)
        if record is None:
            return NO_RATES
        return (
            HostRates(local_origin=record.rate)
            if self.settings.split
            else HostRates(external=record.rate)
        )

    def status(self) -> OutlierStatus:
        """How the cluster is as a whole."""
        return (
            OutlierStatus(local_origin=self._rates)
            if self.settings.split
            else OutlierStatus(external=self._rates)
        )

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
