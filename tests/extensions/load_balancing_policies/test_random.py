"""RANDOM."""

from __future__ import annotations

from itertools import pairwise

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.testing.balance import Balance, SimHost

PICKS = 30000


class RandomTests(SynchronousTestCase):
    """The policy."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, Balance("lb_policy: RANDOM", [SimHost("a")]).cluster._balancer)

    def test_weights_do_not_count(self) -> None:
        """Each host is as likely as the others, whatever it weighs, as in Envoy."""
        shares = Balance(
            "lb_policy: RANDOM", [SimHost("a", weight=50), SimHost("b"), SimHost("c")]
        ).shares(PICKS)
        for share in shares.values():
            self.assertApproximates(1 / 3, share, 0.015)

    def test_no_pattern(self) -> None:
        """A pick says nothing of the next one."""
        balance = Balance("lb_policy: RANDOM", [SimHost("a"), SimHost("b")])
        made = [balance.pick() for _ in range(PICKS)]
        changes = sum(one != other for one, other in pairwise(made))
        self.assertApproximates(0.5, changes / PICKS, 0.015)

    def test_all_hosts_of_a_part_time_priority(self) -> None:
        """Where a priority gets but a part of the picks, each of its hosts still gets the same."""
        hosts = [
            SimHost(f"h{number}", status="UNHEALTHY" if number % 2 else "HEALTHY")
            for number in range(200)
        ]
        shares = Balance("lb_policy: RANDOM", [*hosts, SimHost("z", priority=1)]).shares(PICKS)
        self.assertApproximates(0.3, shares.pop("z"), 0.015)
        self.assertEqual(100, len(shares))
        self.assertTrue(all(0.004 < share < 0.011 for share in shares.values()), shares)

    def test_no_hosts(self) -> None:
        """Without hosts there is no pick."""
        self.assertIsNone(Balance("lb_policy: RANDOM", []).pick())
