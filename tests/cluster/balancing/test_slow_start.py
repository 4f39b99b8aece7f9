"""Slow start as arithmetic."""

from __future__ import annotations

from envoy.extensions.load_balancing_policies.round_robin.v3.round_robin_pb2 import RoundRobin

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.balancing.slow_start import SlowStart, slow_start
from tcpmesh.cluster.hosts.host import Host
from tcpmesh.runtime.runtime import Runtime
from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.runtime import Entry
from tests.mesh import parse

WINDOW = SlowStart(window=10.0)


def host(status: str = "HEALTHY") -> Host:
    """A host that came at second 100."""
    return Host(HostSpec(Address("127.0.0.1", 80), health_status=status), 100.0)


class SlowStartTests(SynchronousTestCase):
    """What a host's weight is multiplied with."""

    def test_curve(self) -> None:
        """The part of the window that has passed, at least the least, and 1 afterwards."""
        factors = [WINDOW.factor(host(), 100 + age) for age in (0, 0.5, 2.5, 5, 10, 100)]
        self.assertEqual([0.1, 0.1, 0.25, 0.5, 1, 1], factors)

    def test_aggression(self) -> None:
        """Above 1 it grows fast at first, below 1 slowly."""
        self.assertEqual(0.5, SlowStart(window=10, aggression=2).factor(host(), 102.5))
        self.assertEqual(0.25, SlowStart(window=10, aggression=0.5).factor(host(), 105))

    def test_only_healthy(self) -> None:
        """A host that is not healthy has no slow start."""
        self.assertEqual(1, WINDOW.factor(host("DEGRADED"), 101))

    def test_concerns(self) -> None:
        """It concerns hosts in their window, and none where it is off."""
        self.assertTrue(WINDOW.concerns([host()], 105))
        self.assertFalse(WINDOW.concerns([host()], 111))
        self.assertFalse(SlowStart().concerns([host()], 100))

    def read(self, fields: str) -> SlowStart:
        """The settings of a policy with these fields."""
        return slow_start(parse(RoundRobin, fields), Runtime()).value

    def test_message(self) -> None:
        """The fields of a SlowStartConfig; without one it is off."""
        more = (
            "slow_start_window: 3s, aggression: {default_value: 2.0, runtime_key: x}, "
            "min_weight_percent: {value: 25}"
        )
        self.assertEqual(SlowStart(3.0, 2.0, 0.25), self.read(f"slow_start_config: {{{more}}}"))
        self.assertEqual(
            SlowStart(3.0, 1.0, 0.1), self.read("slow_start_config: {slow_start_window: 3s}")
        )
        self.assertEqual(0, self.read("").window)

    def test_runtime(self) -> None:
        """The aggression follows its runtime key, and is 1 where that makes no sense."""
        more = "slow_start_window: 3s, aggression: {default_value: 2.0, runtime_key: x}"
        runtime = Runtime()
        setting = slow_start(parse(RoundRobin, f"slow_start_config: {{{more}}}"), runtime)
        for number, aggression in ((4.0, 4.0), (0.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)):
            runtime.update({"x": Entry("", number)})
            self.assertEqual(setting.value.aggression, aggression)
        runtime.update({"x": None})
        self.assertEqual(setting.value.aggression, 2.0)

    def test_useless_aggression(self) -> None:
        """An aggression of 0 or less is 1, as in Envoy."""
        more = "slow_start_window: 3s, aggression: {default_value: 0.0, runtime_key: x}"
        self.assertEqual(1.0, self.read(f"slow_start_config: {{{more}}}").aggression)
