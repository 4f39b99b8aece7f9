"""The simulation of a cluster."""

from __future__ import annotations

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.text.problems import ConfigError
from tcpmesh.testing.balance import Balance, SimHost


class BalanceTests(SynchronousTestCase):
    """What users can ask."""

    def test_example(self) -> None:
        """The example of the module is true."""
        balance = Balance(
            "lb_policy: LEAST_REQUEST", [SimHost("fast", lasts=0.1), SimHost("slow", lasts=2.0)]
        )
        self.assertTrue(balance.serve(10_000, per_second=50)["fast"] > 7_000)
        balance.fail("fast")
        self.assertEqual({"slow": 1.0}, balance.shares(100))

    def test_seed(self) -> None:
        """The same seed gives the same picks, another one others."""
        made = [
            [balance.pick() for _ in range(50)]
            for balance in (
                Balance("lb_policy: RANDOM", [SimHost("a"), SimHost("b")], seed=seed)
                for seed in (1, 1, 2)
            )
        ]
        self.assertEqual(made[0], made[1])
        self.assertNotEqual(made[0], made[2])

    def test_connections_end(self) -> None:
        """A connection is open as long as its host says."""
        balance = Balance("", [SimHost("a", lasts=2.0)])
        balance.connect()
        balance.advance(1.5)
        self.assertEqual(1, balance.host("a").rq_active)
        balance.advance(1.0)
        self.assertEqual(0, balance.host("a").rq_active)

    def test_hash_of(self) -> None:
        """Policies by hash get the hash of each pick; hosts are hashed by their names."""
        balance = Balance("lb_policy: MAGLEV", [SimHost("a"), SimHost("b"), SimHost("c")])
        self.assertEqual(1, len(balance.picks(50, lambda index: 12345)))
        self.assertEqual(3, len(balance.picks(50, lambda index: index * 2654435761)))

    def test_wrong(self) -> None:
        """A cluster that tcpmesh would refuse is refused."""
        self.assertRaises(
            ConfigError,
            Balance,
            "lb_policy: LEAST_REQUEST\nleast_request_lb_config: {choice_count: 1}",
            [],
        )


class CostTests(SynchronousTestCase):
    """A pick costs O(1) or O(log n)."""

    def cost(self, policy: str, size: int, weights: int) -> float:
        """Seconds of CPU that many picks take, the least of some tries."""
        balance = Balance(
            f"lb_policy: {policy}", [SimHost(f"h{n}", weight=1 + n % weights) for n in range(size)]
        )
        balance.pick()
        times = []
        for _ in range(10):
            start = process_time()
            balance.picks(2000)
            times.append(process_time() - start)
        return min(times)

    def test_does_not_grow(self) -> None:
        """With 10,000 hosts a pick costs at most a few times what it costs with 10."""
        for policy in ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"):
            for weights in (1, 7):
                self.assertTrue(
                    self.cost(policy, 10000, weights) < 12 * self.cost(policy, 10, weights),
                    (policy, weights),
                )
