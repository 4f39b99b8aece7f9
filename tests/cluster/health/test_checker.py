"""Active health checks: what their results make of a host, when the next one comes, and what is
told of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.checker import (
    CHECK_FLAGS,
    HealthCheck,
    HealthStats,
    HostCheck,
    Intervals,
    target,
)
from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.cluster.health.probe import Failed, IProbe, IResults
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import NO_FLAGS, HealthFlag, HostSpec
from tcpmesh.values.runtime import Entry
from tests.mesh import parse

FAILED = HealthFlag.failed_active_hc
PENDING = HealthFlag.pending_active_hc
TIMED_OUT = HealthFlag.active_hc_timeout
DEGRADED = HealthFlag.degraded_active_hc
EXCLUDED = HealthFlag.excluded_via_immediate_hc_fail

CHECK = (
    "timeout: 1s\ninterval: 10s\nunhealthy_threshold: 2\nhealthy_threshold: 3\n"
    "tcp_health_check: {}\n"
)


def spec(number: int, config: str = "") -> HostSpec:
    """A host 127.0.0.<number>:80, perhaps with a `health_check_config`."""
    kind = endpoint_components_pb2.Endpoint.HealthCheckConfig
    return HostSpec(
        Address(f"127.0.0.{number}", 80),
        health_check_config=parse(kind, config) if config else None,
    )


def by_key(*specs: HostSpec) -> dict[int, HostSpec]:
    """Hosts by the last number of their addresses."""
    return {int(each.address.host.rpartition(".")[2]): each for each in specs}


class FakeCluster:
    """Keeps the flags that it is given."""

    name = "c"

    def __init__(self) -> None:
        self.flags: dict[int, HealthFlag] = {}
        self.traffic = True

    def set_flags(
        self, key: int, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """The flags of a host."""
        self.flags[key] = (self.flags.get(key, NO_FLAGS) & ~remove) | add

    def has_traffic(self) -> bool:
        """As the test says."""
        return self.traffic


class FakeProbe:
    """Waits for the test to say the result."""

    def __init__(self, address: Address, results: IResults) -> None:
        self.address = address
        self.results = results
        self.starts = 0
        self.stopped = False

    def start(self) -> None:
        """Count."""
        self.starts += 1

    def stop(self) -> None:
        """Remember."""
        self.stopped = True


class CheckTestCase(SynchronousTestCase):
    """A test that says the results of probes."""

    def setUp(self) -> None:
        """No check yet."""
        self.clock = Clock()
        self.wheel = TimerWheel(self.clock)
        self.store = Store()
        self.cluster = FakeCluster()
        self.probes: dict[Address, FakeProbe] = {}
        self.runtime = Runtime()
        self.log_path = self.mktemp()

    def check(
        self,
        more: str = "",
        hosts: tuple[HostSpec, ...] = (spec(1),),
        unchecked: HealthFlag = FAILED,
    ) -> HealthCheck:
        """A check with these further fields, with its first probes under way."""
        message = parse(health_check_pb2.HealthCheck, CHECK + more)
        stats = HealthStats(self.store.scope("cluster.c.health_check"))
        self.log = EventLog(self.log_path)
        self.addCleanup(self.log.close)
        check = HealthCheck(
            message,
            self.cluster,
            unchecked,
            self.probe,
            self.wheel,
            Random(1),
            stats,
            [self.log],
            self.runtime,
        )
        check.update_hosts(by_key(*hosts))
        self.clock.advance(0)
        return check

    def probe(self, address: Address, spec: HostSpec, results: IResults) -> IProbe:
        """The latest probe at an address is the one to be had."""
        probe = self.probes[address] = FakeProbe(address, results)
        return probe

    def result(self, *results: Any, host: int = 1) -> None:
        """What the next probes of a host find: True, or how they failed; each is awaited."""
        probe = self.probes[Address(f"127.0.0.{host}", 80)]
        for result in results:
            self.say(probe, result)
            self.clock.advance(100)

    def say(self, probe: FakeProbe, result: Any) -> None:
        """What a probe finds: True, or how it failed."""
        if result is True:
            probe.results.succeeded()
        else:
            probe.results.failed(result)

    def flags(self, host: int = 1) -> HealthFlag:
        """The flags of a host."""
        return self.cluster.flags[host]

    def stats(self) -> dict[str, int]:
        """The statistics that are not 0."""
        prefix = "cluster.c.health_check."
        return {
            name[len(prefix) :]: value for name, value in values_of(self.store).items() if value
        }

    def events(self) -> list[dict[str, Any]]:
        """What is logged."""
        return [json.loads(line) for line in Path(self.log_path).read_text().splitlines()]


class ThresholdTests(CheckTestCase):
    """Which results change the state of a host."""

    def test_first_success(self) -> None:
        """The first result alone decides: a host is well after one success."""
        self.check()
        self.assertEqual(FAILED, self.flags())
        self.result(True)
        self.assertEqual(NO_FLAGS, self.flags())

    def test_after_first_failure(self) -> None:
        """A host that failed its first check needs healthy_threshold successes in a row."""
        self.check()
        self.result(Failed.NETWORK, True, True, Failed.NETWORK, True, True)
        self.assertEqual(FAILED, self.flags())
        self.result(True)
        self.assertEqual(NO_FLAGS, self.flags())

    def test_failures(self) -> None:
        """Only unhealthy_threshold failures in a row take a host out."""
        self.check()
        self.result(True, Failed.NETWORK, True, Failed.NETWORK_TIMEOUT)
        self.assertEqual(NO_FLAGS, self.flags())
        self.result(Failed.NETWORK)
        self.assertEqual(FAILED, self.flags())

    def test_answer(self) -> None:
        """An answer that says "unhealthy" takes a host out at once; one that may be retried counts
        like a lost connection.
        """
        self.check()
        results = self.probes[spec(1).address].results
        results.succeeded()
        results.failed(Failed.ACTIVE, retriable=True)
        self.assertEqual(NO_FLAGS, self.flags())
        results.succeeded()
        results.failed(Failed.ACTIVE)
        self.assertEqual(FAILED, self.flags())

    def test_timeout(self) -> None:
        """A host that is out and does not answer is shown so, until it fails otherwise or is
        well.
        """
        self.check("healthy_threshold: 1")
        self.result(Failed.NETWORK_TIMEOUT)
        self.assertEqual(FAILED | TIMED_OUT, self.flags())
        self.result(Failed.NETWORK)
        self.assertEqual(FAILED, self.flags())
        self.result(Failed.NETWORK_TIMEOUT, True, Failed.NETWORK_TIMEOUT)
        self.assertEqual(NO_FLAGS, self.flags())

    def test_degraded(self) -> None:
        """A host that says that it is degraded is, until it does not."""
        self.check()
        results = self.probes[spec(1).address].results
        results.succeeded(degraded=True)
        self.assertEqual((DEGRADED, 1), (self.flags(), self.stats()["degraded"]))
        results.succeeded()
        self.assertEqual(NO_FLAGS, self.flags())
        self.assertNotIn("degraded", self.stats())

    def test_exclude(self) -> None:
        """A host that asks for it is not counted, until it is well again."""
        self.check("healthy_threshold: 1")
        results = self.probes[spec(1).address].results
        results.failed(Failed.ACTIVE, exclude=True)
        self.assertEqual(FAILED | EXCLUDED, self.flags())
        results.succeeded()
        self.assertEqual(NO_FLAGS, self.flags())

    def test_pending(self) -> None:
        """Whatever the first result is, the host waits for it no longer."""
        self.check(hosts=(spec(1), spec(2)), unchecked=FAILED | PENDING)
        self.result(Failed.NETWORK)
        self.result(True, host=2)
        self.assertEqual((FAILED, NO_FLAGS), (self.flags(), self.flags(2)))


class HostsTests(CheckTestCase):
    """Hosts that come and go."""

    def test_disabled(self) -> None:
        """A host whose endpoint says disable_active_health_check is not checked."""
        check = self.check(hosts=(spec(1, "disable_active_health_check: true"), spec(2)))
        self.assertEqual([spec(2).address], list(self.probes))
        self.assertEqual((True, True), (check.is_failed(1), check.is_failed(2)))

    def test_comes_later(self) -> None:
        """A host that comes later is checked at once."""
        check = self.check()
        self.result(True)
        check.update_hosts(by_key(spec(1), spec(2)))
        self.clock.advance(1)
        self.assertEqual((FAILED, 1), (self.flags(2), self.probes[spec(2).address].starts))

    def test_goes(self) -> None:
        """A host that goes is checked no more, and does not count as healthy."""
        check = self.check()
        self.result(True)
        check.update_hosts({})
        self.clock.advance(100)
        self.assertTrue(self.probes[spec(1).address].stopped)
        self.assertNotIn("healthy", self.stats())
        self.assertEqual(NO_FLAGS, self.flags() & CHECK_FLAGS)

    def test_changed_target(self) -> None:
        """A host that is to be checked elsewhere begins anew."""
        check = self.check()
        self.result(True)
        before = self.probes[spec(1).address]
        check.update_hosts(by_key(spec(1, "port_value: 81")))
        self.clock.advance(1)
        self.assertEqual((True, FAILED), (before.stopped, self.flags()))
        self.assertEqual(1, self.probes[Address("127.0.0.1", 81)].starts)

    def test_unchanged(self) -> None:
        """A host that is told again goes on."""
        check = self.check()
        check.update_hosts(by_key(spec(1)))
        self.assertEqual(1, self.probes[spec(1).address].starts)

    def test_first_round(self) -> None:
        """The first round is over when all hosts have a result, of whatever kind, or are gone."""
        check = self.check(hosts=(spec(1), spec(2), spec(3)))
        self.result(True)
        first_round = check.first_round()
        self.result(Failed.NETWORK, host=2)
        self.assertNoResult(first_round)
        check.update_hosts(by_key(spec(1), spec(2)))
        self.successResultOf(first_round)
        self.successResultOf(check.first_round())

    def test_stop(self) -> None:
        """Once stopped there are no checks."""
        check = self.check()
        self.result(True)
        check.stop()
        self.clock.advance(1000)
        self.assertTrue(self.probes[spec(1).address].stopped)
        self.assertEqual({"attempt": 2, "success": 1}, self.stats())

    def test_target(self) -> None:
        """A host is checked at its own address, or at the port, the address or both of its
        health_check_config.
        """
        here = "address: {socket_address: {address: 127.0.0.9, port_value: 9}}"
        wanted = {
            "": "127.0.0.1:80",
            "port_value: 8": "127.0.0.1:8",
            here: "127.0.0.9:9",
            f"port_value: 8\n{here}": "127.0.0.9:8",
        }
        self.assertEqual(wanted, {config: str(target(spec(1, config))) for config in wanted})


class ReportTests(CheckTestCase):
    """What is counted and logged."""

    def test_counted(self) -> None:
        """Attempts, successes, failures - those of the network apart - and the hosts that are
        well.
        """
        self.check()
        self.result(True, Failed.NETWORK, Failed.NETWORK_TIMEOUT, Failed.ACTIVE, True, True, True)
        self.assertEqual(
            {"attempt": 8, "success": 4, "failure": 3, "network_failure": 2, "healthy": 1},
            self.stats(),
        )

    def test_events(self) -> None:
        """The log has each change of state, and the first result."""
        self.check()
        self.result(True, Failed.NETWORK, Failed.NETWORK, Failed.NETWORK)
        added, ejected = self.events()
        self.assertEqual({"first_check": True}, added["add_healthy_event"])
        self.assertEqual(
            {"failure_type": "NETWORK", "http_status_code": 0}, ejected["eject_unhealthy_event"]
        )
        self.assertEqual(("TCP", "c"), (added["health_checker_type"], added["cluster_name"]))
        self.assertEqual(
            ("127.0.0.1", 80),
            tuple(added["host"]["socket_address"][key] for key in ("address", "port_value")),
        )
        self.assertEqual({"region": "", "zone": "", "sub_zone": ""}, added["locality"])
        self.assertRegex(added["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_first_failure(self) -> None:
        """A first failure is logged as a failure, for nothing was ejected."""
        self.check()
        self.result(Failed.NETWORK, Failed.NETWORK)
        (event,) = self.events()
        wanted = {"failure_type": "NETWORK", "first_check": True, "http_status_code": 0}
        self.assertEqual(wanted, event["health_check_failure_event"])

    def test_always(self) -> None:
        """Every failure and every success is logged where that is asked for."""
        self.check("always_log_health_check_failures: true\nalways_log_health_check_success: true")
        self.result(True, Failed.NETWORK, True)
        kinds = [next(key for key in event if "event" in key) for event in self.events()]
        self.assertEqual(
            [
                "add_healthy_event",
                "successful_health_check_event",
                "health_check_failure_event",
                "successful_health_check_event",
            ],
            kinds,
        )

    def test_degraded_events(self) -> None:
        """That a host is degraded, and that it is not any more, is logged."""
        self.check()
        results = self.probes[spec(1).address].results
        results.succeeded(degraded=True)
        results.succeeded()
        self.assertEqual(
            [{}, {}],
            [
                self.events()[1]["degraded_healthy_host"],
                self.events()[2]["no_longer_degraded_host"],
            ],
        )

    def test_on_result(self) -> None:
        """Who listens is told of each result."""
        seen: list[tuple[HostCheck, bool]] = []
        check = self.check()
        check.on_result = lambda host, passed: seen.append((host, passed))
        self.result(True, Failed.NETWORK)
        self.assertEqual([True, False], [passed for _, passed in seen])
        self.assertFalse(seen[0][0].is_failed)


class IntervalTests(CheckTestCase):
    """When checks are made."""

    VARIED = (
        "interval: 1s\nunhealthy_interval: 2s\nunhealthy_edge_interval: 3s\n"
        "healthy_edge_interval: 4s\n"
        "no_traffic_interval: 5s\nno_traffic_healthy_interval: 6s"
    )

    def intervals(self, more: str = "") -> Intervals:
        """The intervals of a check."""
        return Intervals.from_message(parse(health_check_pb2.HealthCheck, more))

    def all_of(self, intervals: Intervals) -> list[float]:
        """healthy, healthy edge, unhealthy, unhealthy edge with traffic, and the same without."""
        cases = [
            (traffic, healthy, edge)
            for traffic in (True, False)
            for healthy in (True, False)
            for edge in (False, True)
        ]
        return [
            intervals.next(Random(1), healthy, edge, traffic) for traffic, healthy, edge in cases
        ]

    def test_all(self) -> None:
        """Each state has its interval; without traffic only hosts that are well have one of their
        own.
        """
        self.assertEqual([1, 4, 2, 3, 6, 5, 5, 5], self.all_of(self.intervals(self.VARIED)))

    def test_defaults(self) -> None:
        """What is not given is like the interval, or the unhealthy interval; without traffic it is
        a minute.
        """
        self.assertEqual([1, 1, 1, 1, 60, 60, 60, 60], self.all_of(self.intervals("interval: 1s")))
        self.assertEqual(
            [1, 1, 2, 2], self.all_of(self.intervals("interval: 1s\nunhealthy_interval: 2s"))[:4]
        )

    def test_used(self) -> None:
        """A host is checked again after the interval that its result asks for."""
        self.check("interval: 1s\nunhealthy_edge_interval: 3s\nno_traffic_interval: 5s")
        probe = self.probes[spec(1).address]
        starts = []
        for result, traffic, time in ((True, False, 5), (True, True, 1), (Failed.NETWORK, True, 3)):
            self.cluster.traffic = traffic
            self.say(probe, result)
            self.clock.advance(time - 0.1)
            before = probe.starts
            self.clock.advance(0.2)
            starts.append((before, probe.starts))
        self.assertEqual([(1, 2), (2, 3), (3, 4)], starts)

    def test_jitter(self) -> None:
        """Jitter is added, up to its time and its percentage of the interval."""
        random = Random(1)
        by_time = self.intervals("interval: 10s\ninterval_jitter: 2s")
        by_percent = self.intervals("interval: 10s\ninterval_jitter_percent: 10")
        for intervals, most in ((by_time, 12), (by_percent, 11)):
            times = [intervals.next(random, True, False, True) for _ in range(1000)]
            self.assertTrue(10 <= min(times) < 10.1 and most - 0.1 < max(times) <= most)

    def test_runtime(self) -> None:
        """The runtime has a shortest and a longest interval, in milliseconds, for all checks; none
        is shorter than a millisecond then.
        """
        check = self.check("interval: 10s\nno_traffic_interval: 10s\ninitial_jitter: 1s")
        seen = []
        for shortest, longest in ((None, 3000), (20_000, 3000), (20_000, None), (None, 0)):
            bounds = {"min": shortest, "max": longest}
            values = {
                f"health_check.{name}_interval": None if each is None else Entry("", float(each))
                for name, each in bounds.items()
            }
            self.runtime.update(dict.fromkeys(values, Entry("x")))
            self.runtime.update(values)
            self.runtime.update({"other": Entry("x")})
            seen.append((check.until_next(True, False), round(check.until_first(), 1)))
        self.assertEqual([each[0] for each in seen], [3, 20, 20, 0.001])
        self.assertEqual([each[1] for each in seen[1:]], [20, 20, 0])

    def test_initial_jitter(self) -> None:
        """The first check may be put off, so that not all hosts are checked at the same moment."""
        self.check("initial_jitter: 10s", hosts=tuple(map(spec, range(1, 101))))
        started = []
        for _ in range(2):
            self.clock.pump([0.01] * 500)
            started.append(sum(probe.starts for probe in self.probes.values()))
        self.assertTrue(30 < started[0] < 70)
        self.assertEqual(100, started[1])

    def test_twice(self) -> None:
        """A failure between two checks, as of a connection that was kept, puts the next one off but
        is no reason for two.
        """
        self.check("interval: 10s")
        probe = self.probes[spec(1).address]
        probe.results.succeeded()
        self.clock.advance(6)
        probe.results.failed(Failed.NETWORK)
        self.clock.advance(6)
        self.assertEqual(1, probe.starts)
        self.clock.advance(6)
        self.assertEqual(2, probe.starts)
