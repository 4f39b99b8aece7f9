"""PICK_FIRST."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.testing.balance import Balance, PickContext, SimHost

TYPE = "type.googleapis.com/envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst"


def balance(names: str, more: str = "", seed: int = 1) -> Balance:
    """The policy over these hosts."""
    config = f'{{"@type": {TYPE}, {more}}}'
    policy = (
        f"load_balancing_policy: {{policies: [{{typed_extension_config: {{name: x, "
        f"typed_config: {config}}}}}]}}"
    )
    return Balance(policy, [SimHost(name) for name in names], seed=seed)


class PickFirstTests(SynchronousTestCase):
    """The policy."""

    def test_interface(self) -> None:
        """It is a load balancer."""
        verifyObject(ILoadBalancer, balance("a").cluster._balancer)

    def test_first(self) -> None:
        """All connections go to the first host."""
        self.assertEqual({"a": 20}, dict(balance("abc").picks(20)))

    def test_fails(self) -> None:
        """While it is down they go to the next one, and afterwards to the first again."""
        made = balance("abcd")
        made.fail("a")
        self.assertEqual({"b": 20}, dict(made.picks(20)))
        made.advance(2)
        made.recover("a")
        self.assertEqual({"a": 20}, dict(made.picks(20)))

    def test_tried_in_order(self) -> None:
        """Attempts go through the hosts in their order."""
        made = balance("abcd")
        tried = [made.host(name) for name in "ab"]
        self.assertEqual("c", made.pick(PickContext(attempted=tuple(tried))))

    def test_shuffled(self) -> None:
        """shuffle_address_list gives each proxy an order of its own, which stays as hosts come and
        go.
        """
        first = {balance("abcd", "shuffle_address_list: true", seed).pick() for seed in range(60)}
        self.assertEqual(set("abcd"), first)
        made = balance("abcd", "shuffle_address_list: true")
        before = made.pick()
        made.set_hosts([SimHost(name) for name in "xyabcd" if name in "abcd"])
        self.assertEqual({before: 20}, dict(made.picks(20)))

    def test_no_hosts(self) -> None:
        """Without hosts there is no pick."""
        self.assertIsNone(balance("").pick())
