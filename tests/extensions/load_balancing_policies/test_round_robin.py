"""ROUND_ROBIN."""

from __future__ import annotations

from collections import Counter

from zope.interface.verify import verifyObject

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.extensions.load_balancing_policies.round_robin import RoundRobin
from tcpmesh.interfaces import ILoadBalancer
from tcpmesh.testing.balance import Balance, SimHost
from tests.mesh import MeshTestCase, tcp_proxy

HOSTS = ("127.0.0.2:80", "127.0.0.3:80", "127.0.0.4:80")
SLOW = "round_robin_lb_config: {slow_start_config: {slow_start_window: 10s%s}}"


def named(names: str) -> list[SimHost]:
    """A host for each letter."""
    return [SimHost(name) for name in names]


def picks(balance: Balance, times: int) -> str:
    """So many picks."""
    return "".join(balance.pick() or "-" for _ in range(times))


class RoundRobinTests(SynchronousTestCase):
    """The policy over equal hosts."""

    def test_interface(self) -> None:
        """It is a load balancer, and what a cluster has that asks for nothing else."""
        balancer = Balance("", named("ab")).cluster._balancer
        self.assertIsInstance(balancer, RoundRobin)
        verifyObject(ILoadBalancer, balancer)

    def test_takes_turns(self) -> None:
        """Each host is picked once before any is picked again, in the order of the hosts."""
        made = picks(Balance("", named("abcd")), 12)
        self.assertIn(made[:4], "abcdabcd")
        self.assertEqual(made[:4] * 3, made)

    def test_begins_anywhere(self) -> None:
        """The first pick is random, so that many proxies do not march in step."""
        first = Counter(Balance("", named("abcd"), seed=seed).pick() for seed in range(400))
        self.assertEqual(4, len(first))
        self.assertTrue(all(60 < times < 140 for times in first.values()), first)

    def test_no_hosts(self) -> None:
        """Without hosts there is no pick, until there are some."""
        balance = Balance("", [])
        self.assertIsNone(balance.pick())
        balance.set_hosts(named("a"))
        self.assertEqual("aa", picks(balance, 2))

    def test_update(self) -> None:
        """When hosts come or go, the rotation goes on over those there are."""
        balance = Balance("", named("abcd"))
        picks(balance, 3)
        balance.set_hosts(named("ab"))
        self.assertEqual({"a": 3, "b": 3}, dict(balance.picks(6)))
        balance.set_hosts(named("abcde"))
        self.assertEqual(dict.fromkeys("abcde", 2), dict(balance.picks(10)))

    def test_rotation_is_kept(self) -> None:
        """A change of health does not begin the rotation anew: frequent changes favour nobody."""
        balance = Balance("common_lb_config: {update_merge_window: 0s}", named("abcd"))
        counted: Counter[str | None] = Counter()
        for _ in range(50):
            for change in (balance.fail, balance.recover):
                change("d")
                counted += balance.picks(1)
        self.assertTrue(all(counted[name] > 15 for name in "abc"), counted)

    def test_typed(self) -> None:
        """As load_balancing_policy it is the same, whatever lb_policy says."""
        name = (
            "type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin"
        )
        policy = (
            f'{{policies: [{{typed_extension_config: {{name: x, typed_config: {{"@type": '
            f"{name}}}}}}}]}}"
        )
        made = picks(
            Balance(f"lb_policy: RANDOM\nload_balancing_policy: {policy}", named("abcd")), 8
        )
        self.assertEqual(made[:4] * 2, made)
        self.assertEqual(4, len(set(made)))


class WeightTests(SynchronousTestCase):
    """Hosts of different weights."""

    def test_exact(self) -> None:
        """Wherever one begins to count, a cycle divides exactly as the weights do."""
        weights = {"a": 5, "b": 2, "c": 1}
        made = picks(
            Balance("", [SimHost(name, weight=weight) for name, weight in weights.items()]), 24
        )
        for start in range(16):
            self.assertEqual(weights, Counter(made[start : start + 8]))

    def test_million(self) -> None:
        """A million picks over a hundred weighted hosts divide to the last one."""
        hosts = [SimHost(f"h{number}", weight=number) for number in range(1, 101)]
        self.assertEqual(
            {host.name: host.weight * 198 for host in hosts},
            dict(Balance("", hosts).picks(5050 * 198)),
        )

    def test_weight_changes(self) -> None:
        """A weight that discovery changes counts from then on."""
        balance = Balance("", [SimHost("a", weight=3), SimHost("b")])
        self.assertEqual({"a": 30, "b": 10}, dict(balance.picks(40)))
        balance.set_hosts([SimHost("a"), SimHost("b", weight=4)])
        self.assertEqual({"a": 10, "b": 40}, dict(balance.picks(50)))


class SlowStartTests(SynchronousTestCase):
    """`slow_start_config`."""

    def joined(self, more: str = "") -> Balance:
        """A cluster of two hosts that a third joins after a minute."""
        balance = Balance(SLOW % more, named("ab"))
        balance.advance(60)
        self.assertEqual({"a": 50, "b": 50}, dict(balance.picks(100)))
        balance.set_hosts(named("abc"))
        return balance

    def test_grows(self) -> None:
        """A new host has a tenth of its share at first, half at half time, and all of it after the
        window.
        """
        balance = self.joined()
        shares = []
        for _ in range(3):
            balance.picks(200)
            shares.append(round(balance.picks(2100)["c"] / 2100, 2))
            balance.advance(5)
        self.assertEqual([round(0.1 / 2.1, 2), round(0.5 / 2.5, 2), round(1 / 3, 2)], shares)

    def test_aggression(self) -> None:
        """An aggression of 2 lets the share grow by the square root of the time."""
        balance = self.joined(", aggression: {default_value: 2.0}")
        balance.advance(2.5)
        balance.picks(200)
        self.assertAlmostEqual(0.5 / 2.5, balance.picks(5000)["c"] / 5000, places=2)

    def test_min_weight(self) -> None:
        """min_weight_percent is what it begins with."""
        balance = self.joined(", min_weight_percent: {value: 40}")
        self.assertAlmostEqual(0.4 / 2.4, balance.picks(5000)["c"] / 5000, places=2)

    def test_all_new(self) -> None:
        """Where all hosts are new they share evenly."""
        self.assertEqual({"a": 50, "b": 50}, dict(Balance(SLOW % "", named("ab")).picks(100)))

    def test_recovered(self) -> None:
        """A host that was down begins slowly too."""
        balance = Balance(SLOW % "", named("abc"))
        balance.advance(60)
        balance.fail("c")
        balance.advance(5)
        balance.recover("c")
        self.assertTrue(80 < balance.picks(2100)["c"] < 120)


class SharedRotationTests(MeshTestCase):
    """The policy in a cluster."""

    def test_shared_by_listeners(self) -> None:
        """Listeners that use one cluster share its rotation: their clients together take turns."""
        self.mesh.add_cluster("c", *HOSTS)
        upstreams = [self.mesh.upstream(host) for host in HOSTS]
        for port in (1, 2):
            self.mesh.add_listener(f"l{port}", f"127.0.0.1:{port}", tcp_proxy())
        self.mesh.listeners.start()
        for _ in range(3):
            for port in (1, 2):
                self.mesh.connect(f"127.0.0.1:{port}")
        self.assertEqual([2, 2, 2], [len(upstream.built) for upstream in upstreams])

    def test_host_named_twice(self) -> None:
        """A host that a STATIC cluster names twice is two hosts, and gets twice as many clients."""
        self.mesh.add_cluster("c", HOSTS[0], HOSTS[1], HOSTS[0])
        upstreams = [self.mesh.upstream(host) for host in HOSTS[:2]]
        self.mesh.serve()
        for _ in range(6):
            self.mesh.connect()
        self.assertEqual([4, 2], [len(upstream.built) for upstream in upstreams])
        self.assertEqual(3, self.mesh.stat("cluster.c.membership_total"))
