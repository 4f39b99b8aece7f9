"""Outlier detection: what is a cause, who is put out and for how long, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, cast

from envoy.config.cluster.v3 import outlier_detection_pb2

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.health.event_log import EventLog
from tcpmesh.cluster.health.outlier_detection import Detector, mean_and_threshold
from tcpmesh.cluster.health.outlier_settings import Cause, OutlierStats, Settings
from tcpmesh.cluster.upstream.outcomes import Outcomes
from tcpmesh.net.timer_wheel import TimerWheel
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.stats.store import Store
from tcpmesh.testing.mesh import values_of
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import NO_FLAGS, HealthFlag, HostSpec
from tcpmesh.values.link import ConnectOutcome
from tcpmesh.values.runtime import Entry
from tests.mesh import MeshTestCase, parse

FREELY = "max_ejection_percent: 100\n"


class FlaggedHosts:
    """A cluster of nothing but hosts, with keys from 1, and what its worker sees of them."""

    name = "c"

    def __init__(self, count: int) -> None:
        keys = range(1, count + 1)
        self.detector: Any = None
        self.specs = {key: HostSpec(Address(f"127.0.0.{key}", 80)) for key in keys}
        self.flags = dict.fromkeys(keys, NO_FLAGS)
        self.outcomes = {key: Outcomes(0, key, self.told) for key in keys}

    def told(self, outcome: ConnectOutcome) -> None:
        """The worker says how a connection came out."""
        self.detector.outcome(outcome.host, outcome.outcome)

    def set_flags(
        self, key: int, add: HealthFlag = NO_FLAGS, remove: HealthFlag = NO_FLAGS
    ) -> None:
        """What the detector has found."""
        self.flags[key] = (self.flags[key] & ~remove) | add

    def has_traffic(self) -> bool:
        """It has."""
        return True

    def ask_rates(self) -> None:
        """Have the worker tell them."""
        self.detector.interval_told(
            [(key, *outcomes.take()) for key, outcomes in self.outcomes.items()]
        )


class DetectorTestCase(SynchronousTestCase):
    """A test that says how connections come out."""

    def setUp(self) -> None:
        """No detector yet."""
        self.clock = Clock()
        self.store = Store()
        self.log_path = self.mktemp()

    def detect(self, more: str = "", hosts: int = 10, seed: int = 1) -> None:
        """A detector with these fields, and its hosts."""
        message = parse(outlier_detection_pb2.OutlierDetection, more)
        self.runtime = Runtime()
        self.cluster = FlaggedHosts(hosts)
        stats = OutlierStats(self.store.scope("cluster.c"))
        self.log = EventLog(self.log_path)
        self.addCleanup(self.log.close)
        clock = cast(Any, self.clock)
        self.detector = Detector(
            message,
            self.runtime,
            self.cluster,
            stats,
            clock,
            TimerWheel(clock),
            Random(seed),
            [self.log],
        )
        self.cluster.detector = self.detector
        self.detector.update_hosts(self.cluster.specs)

    def host(self, number: int) -> Outcomes:
        """What a worker sees of a host, from 1."""
        return self.cluster.outcomes[number]

    def keep(self, *gone: int) -> None:
        """These hosts are no more."""
        left = {key: spec for key, spec in self.cluster.specs.items() if key not in gone}
        self.detector.update_hosts(left)

    def fails(self, number: int, times: int = 1) -> None:
        """So many connections to a host fail."""
        for _ in range(times):
            self.host(number).connect_failed()
        self.clock.advance(0)

    def use(self, rates: dict[int, int], total: int = 100) -> None:
        """Of so many connections to each host, this many percent succeed, none of them in a long
        row; then the interval ends.
        """
        for number, rate in rates.items():
            results = self.host(number)
            for i in range(total):
                results.connect_succeeded() if (i * rate) // 100 != (
                    (i + 1) * rate
                ) // 100 else results.connect_failed()
        self.clock.advance(10)

    def out(self) -> list[int]:
        """The numbers of the hosts that are out."""
        return [
            number
            for number, flags in self.cluster.flags.items()
            if flags & HealthFlag.failed_outlier_check
        ]

    def stats(self) -> dict[str, int]:
        """The statistics that are not 0."""
        prefix = "cluster.c.outlier_detection."
        return {
            name[len(prefix) :]: value for name, value in values_of(self.store).items() if value
        }

    def events(self) -> list[dict[str, Any]]:
        """What is logged."""
        return [json.loads(line) for line in Path(self.log_path).read_text().splitlines()]


class ConsecutiveTests(DetectorTestCase):
    """Failures in a row."""

    def test_five(self) -> None:
        """Five connections in a row that fail put a host out."""
        self.detect()
        self.fails(1, 4)
        self.assertEqual([], self.out())
        self.fails(1)
        self.assertEqual([1], self.out())

    def test_success_between(self) -> None:
        """A connection that succeeds begins the row anew."""
        self.detect()
        self.fails(1, 4)
        self.host(1).connect_succeeded()
        self.fails(1, 4)
        self.assertEqual([], self.out())

    def test_timeouts(self) -> None:
        """A connection that is not made in time counts like one that is refused."""
        self.detect("consecutive_5xx: 2")
        self.host(1).connect_failed()
        self.fails(1)
        self.assertEqual([1], self.out())

    def test_later(self) -> None:
        """The host is put out once the worker has done with the connection, not from within its
        call.
        """
        self.detect("consecutive_5xx: 1")
        self.host(1).connect_failed()
        self.assertEqual([], self.out())
        self.clock.advance(0)
        self.assertEqual([1], self.out())

    def test_counted(self) -> None:
        """What is detected and what is enforced is counted by cause, also under the older names."""
        self.detect(
            "consecutive_5xx: 2\nconsecutive_gateway_failure: 2\n"
            "enforcing_consecutive_gateway_failure: 0"
        )
        self.fails(1, 2)
        self.assertEqual(
            {
                "ejections_active": 1,
                "ejections_enforced_total": 1,
                "ejections_total": 1,
                "ejections_consecutive_5xx": 1,
                "ejections_detected_consecutive_5xx": 1,
                "ejections_enforced_consecutive_5xx": 1,
                "ejections_detected_consecutive_gateway_failure": 1,
            },
            self.stats(),
        )

    def test_names(self) -> None:
        """Every statistic of Envoy's is there."""
        self.detect()
        names = {name.rpartition(".")[2] for name in values_of(self.store)}
        self.assertEqual(3 + 2 * len(Cause) + 3 + 1, len(names))
        self.assertIn("ejections_detected_degradation", names)

    def test_not_enforced(self) -> None:
        """With enforcing_consecutive_5xx: 0 it is only counted and logged, again and again."""
        self.detect("consecutive_5xx: 2\nenforcing_consecutive_5xx: 0")
        self.fails(1, 2)
        self.fails(1, 2)
        self.assertEqual([], self.out())
        self.assertEqual(2, self.stats()["ejections_detected_consecutive_5xx"])
        self.assertEqual([False, False], [event["enforced"] for event in self.events()])

    def test_enforced_in_part(self) -> None:
        """With enforcing_consecutive_5xx: 30 about 30 of 100 causes have their effect."""
        self.detect(FREELY + "consecutive_5xx: 1\nenforcing_consecutive_5xx: 30", hosts=200)
        for number in range(1, 201):
            self.fails(number)
        self.assertTrue(40 < len(self.out()) < 80)

    def test_split(self) -> None:
        """With split_external_local_origin_errors only failures of local origin count, and by their
        own name.
        """
        self.detect(
            "split_external_local_origin_errors: true\nconsecutive_5xx: 1\n"
            "consecutive_local_origin_failure: 3"
        )
        self.fails(1, 2)
        self.assertEqual([], self.out())
        self.fails(1)
        self.assertEqual([1], self.out())
        self.assertEqual(1, self.stats()["ejections_enforced_consecutive_local_origin_failure"])

    def test_gone_meanwhile(self) -> None:
        """A host that is gone before it is judged is not judged."""
        self.detect("consecutive_5xx: 1")
        self.host(1).connect_failed()
        self.keep(1)
        self.clock.advance(0)
        self.assertEqual({}, self.stats())


class LimitTests(DetectorTestCase):
    """How many may be out."""

    def out_of(self, hosts: int, more: str) -> list[int]:
        """Who is out where each of so many hosts has a cause."""
        self.detect("consecutive_5xx: 1\n" + more, hosts)
        for number in range(1, hosts + 1):
            self.fails(number)
        return self.out()

    def test_default(self) -> None:
        """A tenth, and so none of nine; the others are counted as overflow."""
        self.assertEqual([], self.out_of(9, ""))
        self.assertEqual(9, self.stats()["ejections_overflow"])

    def test_percent(self) -> None:
        """As many as max_ejection_percent allows, of all hosts that there are."""
        self.assertEqual([1, 2], self.out_of(4, "max_ejection_percent: 50"))

    def test_always_one(self) -> None:
        """With always_eject_one_host one, however few there are."""
        self.assertEqual([1], self.out_of(3, "always_eject_one_host: true"))

    def test_host_goes(self) -> None:
        """A host that goes while it is out makes room for another."""
        self.detect("consecutive_5xx: 1", 11)
        self.fails(1)
        self.keep(1)
        self.fails(2)
        self.assertEqual(([1, 2], 1), (self.out(), self.stats()["ejections_active"]))


class TimeTests(DetectorTestCase):
    """How long."""

    def lasts(self, number: int = 1) -> float:
        """Seconds for which a host that fails now is out."""
        self.fails(number, 5)
        self.assertEqual([number], self.out())
        began = self.clock.seconds()
        while self.out():
            self.clock.advance(1)
        return self.clock.seconds() - began

    def test_grows(self) -> None:
        """Each time as much longer, up to the most; it is judged at every interval."""
        self.detect("base_ejection_time: 30s\nmax_ejection_time: 80s\ninterval: 1s")
        times = [self.lasts()]
        for _ in range(3):
            times.append(self.lasts())
        self.assertEqual([30, 60, 80, 80], times)

    def test_shrinks(self) -> None:
        """An interval without a cause takes one step back."""
        self.detect("interval: 1s\nbase_ejection_time: 10s")
        self.lasts()
        self.lasts()
        self.clock.pump([1, 1])
        self.assertEqual(10, self.lasts())

    def test_put_out_in_every_interval(self) -> None:
        """A host that is put out again by the first comparison after its return stays out longer
        each time: it is forgiven only after that.
        """
        self.detect(
            "interval: 10s\nbase_ejection_time: 9s\nconsecutive_5xx: 1000\n"
            "enforcing_success_rate: 0\nenforcing_failure_percentage: 100\n"
            "failure_percentage_minimum_hosts: 1\n" + FREELY
        )
        spans, since = [], 0.0
        for _ in range(30):
            before = self.out()
            self.use({1: 0} if not before else {})
            now = self.clock.seconds()
            if self.out() and not before:
                since = now
            elif before and not self.out():
                spans.append(now - since)
        self.assertEqual([10, 20, 30, 40, 50], spans[:5])

    def test_forgiven_after_an_interval(self) -> None:
        """A host that came back within an interval is not forgiven at its end."""
        self.detect("interval: 10s\nbase_ejection_time: 10s")
        self.fails(1, 5)
        self.clock.advance(5)
        self.detector.health_check_passed(1)
        self.clock.advance(5)
        self.assertEqual(20, self.lasts())

    def test_jitter(self) -> None:
        """Up to max_ejection_time_jitter longer."""
        self.detect("base_ejection_time: 10s\nmax_ejection_time_jitter: 10s\ninterval: 1s")
        times = []
        for _ in range(20):
            times.append(self.lasts())
            self.clock.pump([1])
        self.assertTrue(10 <= min(times) < max(times) <= 21)
        self.assertLess(5, len(set(times)))

    def test_back(self) -> None:
        """A host that is back begins with no failures in its row."""
        self.detect("base_ejection_time: 10s\nconsecutive_5xx: 2\nconsecutive_gateway_failure: 3")
        self.fails(1, 2)
        self.clock.advance(10)
        self.fails(1, 1)
        self.assertEqual([], self.out())
        self.assertNotIn("ejections_detected_consecutive_gateway_failure", self.stats())

    def test_health_check(self) -> None:
        """A passed health check ends it, unless successful_active_health_check_uneject_host is
        false.
        """
        for more, out in (("", []), ("successful_active_health_check_uneject_host: false", [1])):
            self.detect(more)
            self.fails(1, 5)
            self.detector.health_check_passed(1)
            self.detector.health_check_passed(2)
            self.assertEqual(out, self.out())

    def test_stop(self) -> None:
        """Once stopped nobody is judged, no timer is left, and nobody counts as out."""
        self.detect("consecutive_5xx: 1")
        self.fails(1)
        self.detector.stop()
        self.fails(2)
        self.clock.advance(100)
        self.assertEqual(([1], []), (self.out(), self.clock.getDelayedCalls()))
        self.assertNotIn("ejections_active", self.stats())


class RateTests(DetectorTestCase):
    """Shares of successes."""

    UNLIMITED = FREELY + "consecutive_5xx: 1000\n"

    def test_success_rate(self) -> None:
        """Who is far below the mean of all is out: further than 1.9 standard deviations."""
        self.detect(self.UNLIMITED)
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80})
        self.assertEqual([10], self.out())
        self.assertEqual(80, self.detector.rates(10).external)
        self.assertEqual(100, self.detector.rates(1).external)
        rates = self.detector.status()
        self.assertEqual(
            (98.0, 86.6, -1),
            (rates.external.average, rates.external.threshold, rates.local_origin.average),
        )
        self.assertEqual(
            (1, 1),
            (
                self.stats()["ejections_enforced_success_rate"],
                self.stats()["ejections_success_rate"],
            ),
        )

    def test_stdev_factor(self) -> None:
        """The factor is success_rate_stdev_factor, in thousandths."""
        self.detect(self.UNLIMITED + "success_rate_stdev_factor: 3100")
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80})
        self.assertEqual([], self.out())

    def test_threshold(self) -> None:
        """The threshold is what Envoy documents: the mean less the factor times the population's
        standard deviation.
        """
        self.assertEqual((98.0, 98.0 - 1.9 * 6.0), mean_and_threshold([100.0] * 9 + [80.0], 1.9))

    def test_volume(self) -> None:
        """Hosts with fewer connections than success_rate_request_volume are not compared, nor is a
        share of theirs shown.
        """
        self.detect(self.UNLIMITED + "failure_percentage_request_volume: 100")
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 0}, total=99)
        self.assertEqual(([], -1), (self.out(), self.detector.rates(10).external))

    def test_minimum_hosts(self) -> None:
        """Fewer hosts than success_rate_minimum_hosts are not compared."""
        self.detect(self.UNLIMITED, hosts=4)
        self.use({1: 100, 2: 100, 3: 100, 4: 0})
        self.assertEqual([], self.out())

    def test_each_interval_for_itself(self) -> None:
        """Only the connections of the last interval count."""
        self.detect(self.UNLIMITED)
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80}, total=60)
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80}, total=60)
        self.assertEqual([], self.out())

    def test_failure_percentage(self) -> None:
        """Where it is enforced, who fails as often as the threshold says is out, whatever the
        others do.
        """
        more = self.UNLIMITED + "enforcing_success_rate: 0\nenforcing_failure_percentage: 100\n"
        self.detect(more + "failure_percentage_threshold: 40")
        self.use({number: 61 if number < 8 else 60 for number in range(1, 11)})
        self.assertEqual([8, 9, 10], self.out())
        self.assertEqual(3, self.stats()["ejections_enforced_failure_percentage"])
        self.assertEqual(
            {"host_success_rate": 60}, self.events()[0]["eject_failure_percentage_event"]
        )

    def test_failure_percentage_default(self) -> None:
        """It is not enforced unless asked for, and 85 percent."""
        self.detect(self.UNLIMITED + "enforcing_success_rate: 0")
        self.use(dict.fromkeys(range(1, 11), 15))
        self.assertEqual([], self.out())
        self.assertEqual(10, self.stats()["ejections_detected_failure_percentage"])

    def test_split(self) -> None:
        """With split errors these are the local-origin ones, by their own names."""
        self.detect(
            self.UNLIMITED
            + "split_external_local_origin_errors: true\nconsecutive_local_origin_failure: 1000"
        )
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80})
        self.assertEqual(
            ([10], 80, -1),
            (self.out(), self.detector.rates(10).local_origin, self.detector.rates(10).external),
        )
        rates = self.detector.status()
        self.assertEqual((98.0, -1), (rates.local_origin.average, rates.external.average))
        self.clock.advance(10)
        self.assertEqual(-1, self.detector.status().local_origin.average)
        self.assertEqual(1, self.stats()["ejections_enforced_local_origin_success_rate"])
        self.assertEqual("SUCCESS_RATE_LOCAL_ORIGIN", self.events()[0]["type"])

    def test_event(self) -> None:
        """The event has the numbers that decided."""
        self.detect(self.UNLIMITED)
        self.use(dict.fromkeys(range(1, 10), 100) | {10: 80})
        numbers = {
            "host_success_rate": 80,
            "cluster_average_success_rate": 98,
            "cluster_success_rate_ejection_threshold": 86,
        }
        self.assertEqual(numbers, self.events()[0]["eject_success_rate_event"])


class EventTests(DetectorTestCase):
    """The event log."""

    def test_out_and_back(self) -> None:
        """A line for each ejection and each return, with the seconds since the one before."""
        self.detect("consecutive_gateway_failure: 1000")
        for _ in range(2):
            self.fails(1, 5)
            self.clock.advance(100)
        first, back, second, _ = self.events()
        for event in (first, back):
            self.assertRegex(event.pop("timestamp"), "Z$")
        common = {
            "type": "CONSECUTIVE_5XX",
            "cluster_name": "c",
            "upstream_url": "127.0.0.1:80",
            "num_ejections": 1,
        }
        self.assertEqual(
            common | {"action": "EJECT", "enforced": True, "eject_consecutive_event": {}}, first
        )
        self.assertEqual(
            common | {"action": "UNEJECT", "enforced": False, "secs_since_last_action": "100"}, back
        )
        self.assertEqual((2, "0"), (second["num_ejections"], second["secs_since_last_action"]))


class SettingsTests(SynchronousTestCase):
    """The message."""

    def test_max_ejection_time(self) -> None:
        """The most is 5 minutes, or the base time if that is more."""
        given = [
            parse(outlier_detection_pb2.OutlierDetection, text)
            for text in ("", "base_ejection_time: 400s")
        ]
        self.assertEqual(
            [300, 400], [Settings.of(each, Runtime()).max_ejection_time for each in given]
        )

    def test_runtime(self) -> None:
        """What the runtime has goes before what is configured: of every number, and of times in
        milliseconds.
        """
        message = parse(outlier_detection_pb2.OutlierDetection, "interval: 5s")
        names = [
            *(f"consecutive_{kind}" for kind in ("5xx", "gateway_failure", "local_origin_failure")),
            *("success_rate_minimum_hosts", "success_rate_request_volume", "max_ejection_percent"),
            *(f"failure_percentage_{kind}" for kind in ("threshold", "minimum_hosts")),
            "failure_percentage_request_volume",
            *(f"enforcing_consecutive_{kind}" for kind in ("5xx", "gateway_failure")),
            *("enforcing_consecutive_local_origin_failure", "enforcing_success_rate"),
            *("enforcing_local_origin_success_rate", "enforcing_failure_percentage"),
            "enforcing_failure_percentage_local_origin",
        ]
        values = {name: float(place + 1) for place, name in enumerate(names)}
        values |= {"interval_ms": 1500, "base_ejection_time_ms": 2500, "max_ejection_time_ms": 3500}
        values |= {"max_ejection_time_jitter_ms": 4500, "success_rate_stdev_factor": 5500}
        runtime = Runtime(
            {f"outlier_detection.{key}": Entry("", float(each)) for key, each in values.items()}
        )
        found = Settings.of(message, runtime)
        numbers = [
            *list(found.consecutive.values()),
            *(found.success_rate_minimum_hosts, found.success_rate_request_volume),
            *(found.max_ejection_percent, found.failure_percentage_threshold),
            *(found.failure_percentage_minimum_hosts, found.failure_percentage_request_volume),
            *list(found.enforcing.values()),
        ]
        self.assertEqual(numbers, list(range(1, len(names) + 1)))
        times = (found.interval, found.base_ejection_time, found.max_ejection_time)
        self.assertEqual(times, (1.5, 2.5, 3.5))
        self.assertEqual(found.max_ejection_time_jitter, 4.5)
        self.assertEqual(found.success_rate_stdev_factor, 5.5)
        runtime.update({"outlier_detection.max_ejection_percent": Entry("", 1000.0)})
        self.assertEqual(Settings.of(message, runtime).max_ejection_percent, 100)


class SessionTests(MeshTestCase):
    """Clients and the hosts that fail them."""

    def test_refused(self) -> None:
        """A host that refuses clients is out, and the others get them; a client that succeeds is a
        success.
        """
        self.mesh.add_cluster(
            "c",
            "127.0.0.2:80",
            "127.0.0.3:80",
            more="outlier_detection: {consecutive_5xx: 2, always_eject_one_host: true}",
        )
        server = self.mesh.upstream("127.0.0.2:80")
        self.mesh.serve()
        for _ in range(8):
            self.mesh.connect()
        self.assertEqual(2, self.mesh.stat("cluster.c.upstream_cx_connect_fail"))
        self.assertEqual(6, len(server.built))
        flags = [host.health_flags for host in self.mesh.clusters.statuses()[0].hosts]
        self.assertEqual([(), ("failed_outlier_check",)], flags)

    def test_silent(self) -> None:
        """A host that does not answer clients in time is out."""
        self.mesh.add_cluster(
            "c",
            "127.0.0.2:80",
            more="outlier_detection: {consecutive_5xx: 1, always_eject_one_host: true}",
        )
        self.mesh.network.silent.update(host.address for host in self.mesh.cluster("c").hosts)  # type: ignore[union-attr]
        self.mesh.serve()
        self.mesh.connect()
        self.mesh.network.advance(5)
        self.assertEqual(
            1, self.mesh.stat("cluster.c.outlier_detection.ejections_enforced_consecutive_5xx")
        )
