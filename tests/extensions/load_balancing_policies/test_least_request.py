"""LEAST_REQUEST."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.testing.balance import Balance, SimHost
from tcpmesh.values.runtime import Entry

PICKS = 20000
TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest"


def typed(more: str) -> str:
    """A cluster with the typed policy and these fields."""
    config = f'{{"@type": {TYPE}, {more}}}'
    return (
        f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: x, "
        f"typed_config: {config}}}}}]}}"
    )


def balance(cluster: str, **connections: int) -> Balance:
    """Hosts with so many connections."""
    made = Balance(cluster, [SimHost(name) for name in connections])
    for name, active in connections.items():
        made.host(name).rq_active = active
    return made


class LeastRequestTests(SynchronousTestCase):
    """The policy over equal hosts."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, balance("lb_policy: LEAST_REQUEST", a=0).cluster._balancer)

    def test_two_choices(self) -> None:
        """Two draws, which may be the same host: of one busy and one idle host the idle one gets
        three of four.
        """
        shares = balance("lb_policy: LEAST_REQUEST", busy=9, idle=0).shares(PICKS)
        self.assertApproximates(0.75, shares["idle"], 0.02)

    def test_equal(self) -> None:
        """Equally loaded hosts share evenly."""
        shares = balance("lb_policy: LEAST_REQUEST", a=2, b=2, c=2).shares(PICKS)
        for share in shares.values():
            self.assertApproximates(1 / 3, share, 0.02)

    def test_choice_count(self) -> None:
        """More draws find the idle one of two hosts more often: 1 - 1/2 to the power of
        choice_count.
        """
        shares = balance(
            "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 5}", busy=9, idle=0
        ).shares(PICKS)
        self.assertApproximates(1 - 0.5**5, shares["idle"], 0.01)

    def test_full_scan(self) -> None:
        """FULL_SCAN always finds a least loaded host; of several each gets its part."""
        for more in ("selection_method: FULL_SCAN", "enable_full_scan: true"):
            shares = balance(typed(more), a=3, b=1, c=2, d=1).shares(PICKS)
            self.assertEqual({"b", "d"}, set(shares))
            self.assertApproximates(0.5, shares["b"], 0.02)

    def test_connections_come_and_go(self) -> None:
        """A host that is twenty times slower gets fewer connections, for it holds them longer."""
        hosts = [
            SimHost(name, lasts=lasts) for name, lasts in (("a", 0.1), ("b", 0.1), ("slow", 2.0))
        ]
        counted = Balance("lb_policy: LEAST_REQUEST", hosts).serve(10000, per_second=100)
        self.assertTrue(counted["slow"] < 2000 < 3500 < counted["a"], counted)


class WeightTests(SynchronousTestCase):
    """Hosts of different weights."""

    def weighted(self, more: str = "", busy: int = 0) -> Balance:
        """A host of weight 3, with so many connections, and one of weight 1."""
        made = Balance(f"lb_policy: LEAST_REQUEST\n{more}", [SimHost("a", weight=3), SimHost("b")])
        made.host("a").rq_active = busy
        return made

    def test_idle(self) -> None:
        """Without connections they take turns by weight, exactly."""
        self.assertEqual({"a": 30, "b": 10}, dict(self.weighted().picks(40)))

    def test_connections_count(self) -> None:
        """Each connection takes weight off: 3 / (2 + 1) is as much as 1."""
        self.assertEqual({"a": 50, "b": 50}, dict(self.weighted(busy=2).picks(100)))

    def test_bias(self) -> None:
        """active_request_bias says how much: 0 not at all, 2 by the square."""
        bias = "least_request_lb_config: {active_request_bias: {default_value: %s, runtime_key: x}}"
        self.assertEqual({"a": 75, "b": 25}, dict(self.weighted(bias % "0.0", busy=9).picks(100)))
        self.assertEqual({"a": 30, "b": 90}, dict(self.weighted(bias % "2.0", busy=2).picks(120)))

    def test_bias_of_the_runtime(self) -> None:
        """The bias follows its runtime key; one below 0 is 1."""
        bias = "{default_value: 2.0, runtime_key: x}"
        fields = f"least_request_lb_config: {{active_request_bias: {bias}}}"
        balance = self.weighted(fields, busy=9)
        balance.runtime.update({"x": Entry("", 0.0)})
        self.assertEqual({"a": 75, "b": 25}, dict(balance.picks(100)))
        policy: Any = balance.cluster._balancer
        for number, expected in ((-1.0, 1.0), (float("nan"), 1.0), (3.0, 3.0)):
            balance.runtime.update({"x": Entry("", number)})
            self.assertEqual(policy._bias.value, expected)

    def test_slow_start(self) -> None:
        """A new host begins slowly here too."""
        slow = (
            "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {slow_start_config: "
            "{slow_start_window: 10s}}"
        )
        made = Balance(slow, [SimHost("a"), SimHost("b")])
        made.advance(60)
        made.set_hosts([SimHost("a"), SimHost("b"), SimHost("c")])
        self.assertTrue(80 < made.picks(2100)["c"] < 120)
